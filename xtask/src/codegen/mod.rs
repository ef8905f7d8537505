//! `cargo xtask codegen [--check] [--jar PATH]`: the messages of `milena-wire` out of Kafka's own definitions.
//!
//! The definitions are read from the kafka-clients jar, which Maven brings unless a path is given. The result is checked
//! in; `--check` compares it with what the definitions give and changes nothing. What earlier releases serve is a table of
//! `milena-broker`; it comes from their own jars, and is left alone where a path is given.

mod emit;
mod families;
mod releases;
mod schema;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use families::FAMILIES;
use schema::{Direction, Schema, Summary};

/// The release whose definitions are used.
const KAFKA_VERSION: &str = "4.3.1";

/// Where jars and what is unpacked of them are kept.
const TARGET: &str = "target/codegen";

const MESSAGES: &str = "crates/wire/src/messages";
const RANDOM: &str = "crates/wire/tests/random";
const RELEASES: &str = "crates/broker/src/release/table.rs";

/// One API: its two messages.
pub struct Api {
    pub name: String,
    /// The feature that it is compiled with; `None` if always.
    pub feature: Option<&'static str>,
    pub request: Schema,
    pub response: Schema,
}

/// The features of `milena-wire`, one per family of messages.
pub fn features() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().filter_map(|family| family.feature)
}

/// Generates, or with `--check` compares.
pub fn run(args: &[String]) -> Result<(), String> {
    let options = Options::parse(args)?;
    let root = workspace_root();
    let definitions = Definitions::unpack(&root, options.jar.as_deref())?;
    let names = definitions.names()?;
    families::check(&names)?;
    let apis = definitions.apis()?;
    let schemas: Vec<&Schema> = apis.iter().flat_map(|api| [&api.request, &api.response]).collect();
    emit::sizes::check(&schemas)?;
    let mut files = BTreeMap::new();
    for api in &apis {
        let path = format!("{MESSAGES}/{}.rs", emit::snake_case(&api.name));
        files.insert(path, formatted(&root, &emit::api_file(api))?);
    }
    files.insert(format!("{MESSAGES}/mod.rs"), formatted(&root, &emit::modules_file(&apis))?);
    files.insert(format!("{MESSAGES}/apis.rs"), formatted(&root, &emit::table_file(&apis, &names))?);
    files.insert(format!("{RANDOM}/messages.rs"), formatted(&root, &emit::random_file(&apis))?);
    if options.jar.is_none() {
        let releases = releases::read(&root.join(TARGET))?;
        files.insert(RELEASES.to_owned(), formatted(&root, &releases::file(&releases))?);
    }
    let stale = stale_files(&root, &files)?;
    if options.check { check(&root, &files, &stale) } else { write(&root, &files, &stale) }
}

struct Options {
    check: bool,
    jar: Option<PathBuf>,
}

impl Options {
    fn parse(args: &[String]) -> Result<Options, String> {
        let mut options = Options { check: false, jar: None };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--check" => options.check = true,
                "--jar" => options.jar = Some(args.next().ok_or("--jar needs a path")?.into()),
                other => {
                    return Err(format!("codegen does not know {other:?}; it takes --check and --jar PATH"));
                }
            }
        }
        Ok(options)
    }
}

/// The folder with Kafka's definitions.
struct Definitions {
    folder: PathBuf,
}

impl Definitions {
    fn unpack(root: &Path, jar: Option<&Path>) -> Result<Definitions, String> {
        let target = root.join(TARGET);
        fs::create_dir_all(&target).map_err(|error| describe(&target, &error))?;
        let jar = match jar {
            Some(jar) => fs::canonicalize(jar).map_err(|error| describe(jar, &error))?,
            None => jar_from_maven(&target)?,
        };
        Definitions::of_jar(&jar, &target)
    }

    /// Unpacks them below `target`, in place of what was unpacked there before.
    fn of_jar(jar: &Path, target: &Path) -> Result<Definitions, String> {
        let folder = target.join("common/message");
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(|error| describe(&folder, &error))?;
        }
        fs::create_dir_all(target).map_err(|error| describe(target, &error))?;
        // The JDK that Maven needs anyway can open a jar.
        let mut unpack = Command::new("jar");
        unpack.arg("xf").arg(jar).arg("common/message").current_dir(target);
        succeed(&mut unpack)?;
        Ok(Definitions { folder })
    }

    fn apis(&self) -> Result<Vec<Api>, String> {
        let mut apis = Vec::new();
        let placed = FAMILIES.iter().flat_map(|family| family.apis.iter().map(|name| (name, family.feature)));
        for (name, feature) in placed {
            let request = self.schema(&format!("{name}Request"))?;
            let response = self.schema(&format!("{name}Response"))?;
            let same = request.api_key == response.api_key
                && request.direction == Direction::Request
                && response.direction == Direction::Response
                && request.versions == response.versions
                && request.flexible_from == response.flexible_from;
            if !same {
                return Err(format!("{name}: request and response do not fit each other"));
            }
            apis.push(Api { name: (*name).to_owned(), feature, request, response });
        }
        apis.sort_by_key(|api| api.request.api_key);
        Ok(apis)
    }

    fn schema(&self, name: &str) -> Result<Schema, String> {
        let path = self.folder.join(format!("{name}.json"));
        let text = fs::read_to_string(&path).map_err(|error| describe(&path, &error))?;
        Schema::parse(&text).map_err(|error| format!("{name}.json: {error}"))
    }

    /// Every request of the definitions, ascending, also those that no messages are generated for.
    fn names(&self) -> Result<Vec<Summary>, String> {
        let mut names = Vec::new();
        let entries = fs::read_dir(&self.folder).map_err(|error| describe(&self.folder, &error))?;
        for entry in entries {
            let path = entry.map_err(|error| describe(&self.folder, &error))?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            if !stem.ends_with("Request") {
                continue;
            }
            let text = fs::read_to_string(&path).map_err(|error| describe(&path, &error))?;
            names.push(Summary::parse(&text).map_err(|error| format!("{stem}.json: {error}"))?);
        }
        names.sort_by_key(|summary| summary.api_key);
        Ok(names)
    }
}

fn jar_from_maven(target: &Path) -> Result<PathBuf, String> {
    let jar = target.join(format!("kafka-clients-{KAFKA_VERSION}.jar"));
    if !jar.exists() {
        let mut maven = Command::new("mvn");
        maven
            .args(["-q", "-B", "-Dstyle.color=never", "dependency:copy"])
            .arg(format!("-Dartifact=org.apache.kafka:kafka-clients:{KAFKA_VERSION}"))
            .arg(format!("-DoutputDirectory={}", target.display()))
            .current_dir(target);
        succeed(&mut maven)?;
    }
    Ok(jar)
}

/// Generated files of an earlier run that this one no longer gives.
fn stale_files(root: &Path, files: &BTreeMap<String, String>) -> Result<Vec<String>, String> {
    let folder = root.join(MESSAGES);
    let mut stale = Vec::new();
    if !folder.exists() {
        return Ok(stale);
    }
    for entry in fs::read_dir(&folder).map_err(|error| describe(&folder, &error))? {
        let name = entry.map_err(|error| describe(&folder, &error))?.file_name();
        let path = format!("{MESSAGES}/{}", name.to_string_lossy());
        if !files.contains_key(&path) {
            stale.push(path);
        }
    }
    Ok(stale)
}

fn check(root: &Path, files: &BTreeMap<String, String>, stale: &[String]) -> Result<(), String> {
    let mut wrong = String::new();
    for (path, generated) in files {
        let tree = fs::read_to_string(root.join(path)).unwrap_or_default();
        if let Some(difference) = first_difference(&tree, generated) {
            wrong += &format!("{path}: {difference}\n");
        }
    }
    for path in stale {
        wrong += &format!("{path}: the generator gives no such file\n");
    }
    if wrong.is_empty() {
        println!("codegen: {} files are what the generator gives", files.len());
        return Ok(());
    }
    Err(format!("{wrong}generated code differs; run `cargo xtask codegen` and commit the result"))
}

/// Where two texts part, as a line of each.
fn first_difference(tree: &str, generated: &str) -> Option<String> {
    if tree == generated {
        return None;
    }
    let (mut ours, mut theirs) = (tree.lines(), generated.lines());
    let mut number = 0;
    loop {
        number += 1;
        match (ours.next(), theirs.next()) {
            (None, None) => return Some("line ends differ".to_owned()),
            (ours, theirs) if ours == theirs => {}
            (ours, theirs) => {
                let line = |line: Option<&str>| line.unwrap_or("(end of file)").to_owned();
                let (ours, theirs) = (line(ours), line(theirs));
                return Some(format!("line {number}\n- {ours}\n+ {theirs}"));
            }
        }
    }
}

fn write(root: &Path, files: &BTreeMap<String, String>, stale: &[String]) -> Result<(), String> {
    let mut lines = 0;
    for (path, text) in files {
        let path = root.join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|error| describe(folder, &error))?;
        }
        fs::write(&path, text).map_err(|error| describe(&path, &error))?;
        lines += text.lines().count();
    }
    for path in stale {
        let path = root.join(path);
        fs::remove_file(&path).map_err(|error| describe(&path, &error))?;
    }
    println!("codegen: {} files, {lines} lines", files.len());
    Ok(())
}

fn formatted(root: &Path, code: &str) -> Result<String, String> {
    let mut rustfmt = Command::new("rustfmt")
        .args(["--edition", "2024"])
        .current_dir(root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("rustfmt does not start: {error}"))?;
    let mut stdin = rustfmt.stdin.take().expect("stdin was asked for");
    let code = code.to_owned();
    // On a thread of its own: rustfmt may answer before it has read everything.
    let feed = std::thread::spawn(move || stdin.write_all(code.as_bytes()));
    let output = rustfmt.wait_with_output().map_err(|error| format!("rustfmt: {error}"))?;
    let fed = feed.join().is_ok_and(|fed| fed.is_ok());
    if !output.status.success() || !fed {
        return Err("rustfmt refuses the generated code".to_owned());
    }
    String::from_utf8(output.stdout).map_err(|error| format!("rustfmt: {error}"))
}

fn succeed(command: &mut Command) -> Result<(), String> {
    let status = command.status().map_err(|error| format!("{:?} does not start: {error}", command.get_program()))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} ends with {status}")) }
}

fn describe(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

fn workspace_root() -> PathBuf {
    // Cargo sets this for what it runs; the binary itself holds no path of the machine that built it.
    let xtask = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| "xtask".into(), PathBuf::from);
    xtask.parent().map_or_else(|| ".".into(), Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_differs_is_named_with_its_first_line_that_does() {
        let folder = std::env::temp_dir().join(format!("codegen-check-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("a.rs"), "one\ntwo\n").unwrap();
        let files = |text: &str| BTreeMap::from([("a.rs".to_owned(), text.to_owned())]);
        let same = check(&folder, &files("one\ntwo\n"), &[]);
        let changed = check(&folder, &files("one\n2\n"), &[]).unwrap_err();
        let stale = check(&folder, &files("one\ntwo\n"), &["b.rs".to_owned()]).unwrap_err();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(same, Ok(()));
        assert!(changed.contains("a.rs: line 2\n- two\n+ 2"), "{changed}");
        assert!(stale.contains("b.rs"), "{stale}");
    }
}
