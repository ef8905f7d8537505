//! Kafka's jars: fetched once per version, then never looked at again.
//!
//! A folder counts only with its completion mark, which is written last; an interrupted fetch is simply run again. The
//! harness's lock keeps two processes from fetching at the same time.

use crate::error::StartError;
use crate::folders;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The folder with all jars of a Kafka version; fetches them by Maven if they are not here yet.
pub fn jars(version: &str) -> Result<PathBuf, StartError> {
    let home = folders::home();
    let folder = home.join(format!("libs-{version}"));
    let mark = folder.join("complete");
    if mark.exists() {
        return Ok(folder);
    }
    let _lock = folders::lock(&home).map_err(StartError::io("lock", &home))?;
    if !mark.exists() {
        fetch(version, &folder)?;
        fs::write(&mark, "").map_err(StartError::io("write", &mark))?;
    }
    Ok(folder)
}

fn fetch(version: &str, folder: &Path) -> Result<(), StartError> {
    let output = Command::new("mvn")
        .args(["--quiet", "--batch-mode", "--file", POM, DEPENDENCY_GOAL])
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

const POM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/maven/pom.xml");

/// Named with its version, so that the fetch does not change under us.
const DEPENDENCY_GOAL: &str = "org.apache.maven.plugins:maven-dependency-plugin:2.8:copy-dependencies";
