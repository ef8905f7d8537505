//! Kafka's jars, of its brokers, its tools or its clients: fetched once per version, then never looked at again.
//!
//! A folder counts only with its completion mark, which is written last; an interrupted fetch is simply run again. The
//! harness's lock keeps two processes from fetching at the same time.

use crate::error::StartError;
use crate::folders;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What jars are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A broker, with its clients.
    Broker,
    /// The command line tools.
    Tools,
    /// Java's producer, consumer and admin client alone.
    Clients,
}

/// The folder with all jars of a broker; fetches them by Maven if they are not here yet.
pub fn jars(version: &str) -> Result<PathBuf, StartError> {
    jars_of(Part::Broker, version)
}

/// The same of any part.
pub fn jars_of(part: Part, version: &str) -> Result<PathBuf, StartError> {
    let home = folders::home();
    let (name, pom) = part.folder_and_pom();
    let folder = home.join(format!("{name}-{version}"));
    let mark = folder.join("complete");
    if mark.exists() {
        return Ok(folder);
    }
    let _lock = folders::lock(&home).map_err(StartError::io("lock", &home))?;
    if !mark.exists() {
        fetch(pom, version, &folder)?;
        fs::write(&mark, "").map_err(StartError::io("write", &mark))?;
    }
    Ok(folder)
}

fn fetch(pom: &str, version: &str, folder: &Path) -> Result<(), StartError> {
    let output = Command::new("mvn")
        .args(["--quiet", "--batch-mode", "--file", pom, DEPENDENCY_GOAL])
        .arg(format!("-DoutputDirectory={}", folder.display()))
        .arg(format!("-Dkafka.version={version}"))
        .stdin(Stdio::null())
        .output()
        .map_err(StartError::io("run", Path::new("mvn")))?;
    if output.status.success() {
        return Ok(());
    }
    let mut said = output.stdout;
    said.extend(output.stderr);
    Err(StartError::Fetch { version: version.to_owned(), said: String::from_utf8_lossy(&said).into_owned() })
}

impl Part {
    fn folder_and_pom(self) -> (&'static str, &'static str) {
        match self {
            Part::Broker => ("libs", concat!(env!("CARGO_MANIFEST_DIR"), "/maven/pom.xml")),
            Part::Tools => ("tools", concat!(env!("CARGO_MANIFEST_DIR"), "/maven/tools.xml")),
            Part::Clients => ("clients", concat!(env!("CARGO_MANIFEST_DIR"), "/maven/clients.xml")),
        }
    }
}

/// Named with its version, so that the fetch does not change under us.
const DEPENDENCY_GOAL: &str = "org.apache.maven.plugins:maven-dependency-plugin:2.8:copy-dependencies";
