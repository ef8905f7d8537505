//! What each release of Kafka serves: the table that the embedded broker behaves by.
//!
//! Every kafka-clients jar has the definitions of its release, with the versions that its brokers take, and the names of the
//! settings of a topic. Nothing is remembered by hand but which releases there are.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::emit::{HEADER, constant_case};
use super::schema::Versions;
use super::{Definitions, describe, succeed};

/// Each line of releases by its last one; in the order in which they came out.
const RELEASES: [&str; 15] = [
    "2.8.2", "3.0.2", "3.1.2", "3.2.3", "3.3.2", "3.4.1", "3.5.2", "3.6.2", "3.7.2", "3.8.1", "3.9.2", "4.0.1",
    "4.1.2", "4.2.1", "4.3.1",
];

/// The first release whose brokers are meant for production without ZooKeeper. Clients of earlier ones meet those with it.
const WITHOUT_ZOOKEEPER: &str = "3.3.2";

/// What one jar says.
#[derive(Debug, Default)]
pub struct Release {
    /// `3.9` as `V3_9`.
    variant: String,
    /// By key: the name and the stable versions of what a broker takes from its clients.
    apis: BTreeMap<i16, (String, Versions)>,
    topic_settings: Vec<String>,
}

/// Fetches and reads all of them.
pub fn read(target: &Path) -> Result<Vec<Release>, String> {
    let folder = target.join("releases");
    fs::create_dir_all(&folder).map_err(|error| describe(&folder, &error))?;
    let jar = |version: &&str| folder.join(format!("kafka-clients-{version}.jar"));
    if !RELEASES.iter().all(|version| jar(version).exists()) {
        fetch(&folder)?;
    }
    RELEASES.iter().map(|version| Release::read(version, &jar(version), &folder.join(version))).collect()
}

/// All jars by one call.
fn fetch(folder: &Path) -> Result<(), String> {
    let items: String = RELEASES
        .iter()
        .map(|version| {
            format!(
                "<artifactItem><groupId>org.apache.kafka</groupId><artifactId>kafka-clients</artifactId>\
                 <version>{version}</version></artifactItem>"
            )
        })
        .collect();
    let pom = folder.join("pom.xml");
    let text = format!(
        "<project><modelVersion>4.0.0</modelVersion><groupId>milena</groupId><artifactId>releases</artifactId>\
         <version>1</version><build><plugins><plugin><groupId>org.apache.maven.plugins</groupId>\
         <artifactId>maven-dependency-plugin</artifactId><version>2.8</version><configuration>\
         <artifactItems>{items}</artifactItems></configuration></plugin></plugins></build></project>"
    );
    fs::write(&pom, text).map_err(|error| describe(&pom, &error))?;
    let mut maven = Command::new("mvn");
    maven
        .args(["-q", "-B", "-Dstyle.color=never", "-f"])
        .arg(&pom)
        .arg("dependency:copy")
        .arg(format!("-DoutputDirectory={}", folder.display()));
    succeed(&mut maven)
}

impl Release {
    fn read(version: &str, jar: &Path, folder: &Path) -> Result<Release, String> {
        let said = |error: String| format!("kafka-clients {version}: {error}");
        let listener = if version < WITHOUT_ZOOKEEPER { "zkBroker" } else { "broker" };
        let names = Definitions::of_jar(jar, folder)?.names().map_err(said)?;
        let apis = names.into_iter().filter(|api| api.listeners.iter().any(|name| name == listener));
        let stable = apis.filter_map(|api| Some((api.api_key, (api.name, api.stable_versions?))));
        let mut line = version.split('.');
        let variant = format!("V{}_{}", line.next().unwrap_or_default(), line.next().unwrap_or_default());
        Ok(Release { variant, apis: stable.collect(), topic_settings: topic_settings(jar, folder)? })
    }
}

/// The constants of the class that names them.
fn topic_settings(jar: &Path, folder: &Path) -> Result<Vec<String>, String> {
    let kept: PathBuf = folder.join("topic-config.txt");
    if !kept.exists() {
        let mut javap = Command::new("javap");
        javap.args(["-constants", "-cp"]).arg(jar).arg("org.apache.kafka.common.config.TopicConfig");
        let output = javap.output().map_err(|error| format!("javap does not start: {error}"))?;
        if !output.status.success() {
            return Err(format!("{javap:?} ends with {}", output.status));
        }
        fs::write(&kept, output.stdout).map_err(|error| describe(&kept, &error))?;
    }
    let text = fs::read_to_string(&kept).map_err(|error| describe(&kept, &error))?;
    let settings = names_in(&text);
    if settings.is_empty() { Err(format!("{}: names no settings", kept.display())) } else { Ok(settings) }
}

fn names_in(javap: &str) -> Vec<String> {
    let constants = javap.lines().filter_map(|line| line.split_once("_CONFIG = \""));
    let mut names: Vec<String> =
        constants.filter_map(|(_, value)| value.strip_suffix("\";").map(str::to_owned)).collect();
    names.sort();
    names
}

/// The table: of each API the releases in which its versions changed, of each setting the first and the last release.
pub fn file(releases: &[Release]) -> String {
    let mut out = HEADER.to_owned();
    out += "//! Which versions of each API, and which settings of a topic, the releases of Kafka have.\n\n";
    out += "use milena_wire::ApiKey;\n\nuse super::KafkaRelease;\nuse super::KafkaRelease::*;\n\n";
    out += "/// Lowest and highest version, from a release on; none where the API is not served.\n";
    out += "pub(super) type Change = (KafkaRelease, Option<(i16, i16)>);\n\n";
    out += "/// By API, ascending, and by release.\n";
    out += "pub(super) const APIS: &[(ApiKey, &[Change])] = &[\n";
    let keys: BTreeMap<i16, &str> =
        releases.iter().flat_map(|release| release.apis.iter().map(|(key, (name, _))| (*key, name.as_str()))).collect();
    for (key, name) in keys {
        let mut changes = Vec::new();
        let mut before = None;
        for release in releases {
            let versions = release.apis.get(&key).map(|(_, versions)| (versions.min, versions.max));
            if versions != before {
                changes.push(format!("({}, {versions:?})", release.variant));
            }
            before = versions;
        }
        let _ = writeln!(out, "(ApiKey::{}, &[{}]),", constant_case(name), changes.join(", "));
    }
    out += "];\n\n/// By name: the first release that has it, and the last one.\n";
    out += "pub(super) const TOPIC_SETTINGS: &[(&str, KafkaRelease, KafkaRelease)] = &[\n";
    let mut settings: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
    for release in releases {
        for name in &release.topic_settings {
            settings.entry(name).or_insert((&release.variant, &release.variant)).1 = &release.variant;
        }
    }
    for (name, (since, until)) in settings {
        let _ = writeln!(out, "({name:?}, {since}, {until}),");
    }
    out + "];\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(variant: &str, versions: &[(i16, i16, i16)], settings: &[&str]) -> Release {
        Release {
            variant: variant.to_owned(),
            apis: versions
                .iter()
                .map(|(key, min, max)| (*key, ("Fetch".to_owned(), Versions { min: *min, max: *max })))
                .collect(),
            topic_settings: settings.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn only_changes_are_listed_and_a_setting_has_a_first_and_a_last_release() {
        let table = file(&[
            release("V1", &[(1, 0, 3)], &["old", "both"]),
            release("V2", &[(1, 0, 3)], &["both"]),
            release("V3", &[(1, 2, 4)], &["both", "new"]),
            release("V4", &[], &["both", "new"]),
        ]);
        assert!(table.contains("(ApiKey::FETCH, &[(V1, Some((0, 3))), (V3, Some((2, 4))), (V4, None)]),"), "{table}");
        assert!(table.contains("(\"both\", V1, V4),\n(\"new\", V3, V4),\n(\"old\", V1, V1),\n"), "{table}");
    }

    #[test]
    fn settings_are_the_constants_that_name_them() {
        let javap = "  public static final java.lang.String SEGMENT_MS_CONFIG = \"segment.ms\";\n\
                     \x20 public static final java.lang.String SEGMENT_MS_DOC = \"This configuration\";\n\
                     \x20 public static final java.lang.String CLEANUP_POLICY_DELETE = \"delete\";\n\
                     \x20 public static final java.lang.String CLEANUP_POLICY_CONFIG = \"cleanup.policy\";\n";
        assert_eq!(names_in(javap), ["cleanup.policy", "segment.ms"]);
    }
}
