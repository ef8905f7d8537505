//! The Java side of the machine: whether it is there, and how a program is run with Kafka's classpath.

use crate::artifacts::{self, Part};
use crate::error::StartError;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The oldest Java that Kafka 4 brokers run on.
const JAVA_MAJOR_MIN: u32 = 17;

const LOGGING: &str = concat!("-Dlog4j2.configurationFile=", env!("CARGO_MANIFEST_DIR"), "/maven/log4j2.properties");

/// Whether a Java and a Maven are here that can run Kafka; the reason if not, as a sentence for the reader of a skip.
pub fn java_available() -> Result<(), String> {
    let version = first_output("java", "-version")?;
    match java_major(&version) {
        Some(major) if major >= JAVA_MAJOR_MIN => {}
        Some(major) => return Err(format!("java is version {major}, Kafka needs {JAVA_MAJOR_MIN} or later")),
        None => return Err(format!("java does not tell its version: {version:?}")),
    }
    first_output("mvn", "--version").map(|_| ())
}

/// A Java program of one source file, with the jars of a Kafka version on its classpath; fetches them if they are not here
/// yet. What is printed to standard output is the program's own: logging goes to standard error. Not started.
pub fn program(version: &str, source: &Path) -> Result<Command, StartError> {
    let mut command = Java::of_version(artifacts::jars(version)?).short_lived();
    command.arg(source);
    Ok(command)
}

/// The same with Java's clients of a version alone, which may be older than the oldest Kafka that is started here.
pub fn client_program(version: &str, source: &Path) -> Result<Command, StartError> {
    let mut command = Java::of_version(artifacts::jars_of(Part::Clients, version)?).short_lived();
    command.arg(source);
    Ok(command)
}

/// One of Kafka's command line tools of a version, by its class. Not started.
pub fn tool(version: &str, class: &str) -> Result<Command, StartError> {
    let mut command = Java::of_version(artifacts::jars_of(Part::Tools, version)?).short_lived();
    command.arg(class);
    Ok(command)
}

/// Java with the jars of one Kafka version.
#[derive(Clone, Debug)]
pub struct Java {
    jars: PathBuf,
}

impl Java {
    pub fn of_version(jars: PathBuf) -> Self {
        Self { jars }
    }

    /// A call with every jar on the classpath and logging to stderr, not yet started.
    pub fn command(&self) -> Command {
        self.with(&[])
    }

    /// The same for a program that lives for a minute: without the optimising compiler, which takes longer than it saves.
    /// A broker then starts with 1.6 s of processor time instead of 2.7 s.
    pub fn short_lived(&self) -> Command {
        self.with(&["-XX:TieredStopAtLevel=1"])
    }

    fn with(&self, options: &[&str]) -> Command {
        let mut classpath = OsString::from(&self.jars);
        classpath.push("/*");
        let mut command = Command::new("java");
        command.args(["-Xms128m", "-Xmx384m", "-XX:+UseSerialGC", LOGGING]).args(options).arg("-cp").arg(classpath);
        command
    }
}

/// What a program prints when asked for its version. Java answers on stderr, Maven on stdout.
fn first_output(program: &str, argument: &str) -> Result<String, String> {
    let output = Command::new(program).arg(argument).stdin(Stdio::null()).output();
    let output = output
        .map_err(|error| format!("{program} cannot be run ({error}); a JDK (17 or later) and Maven are needed"))?;
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    let text = String::from_utf8_lossy(&text).into_owned();
    if output.status.success() { Ok(text) } else { Err(format!("{program} {argument} fails: {text}")) }
}

/// The 17 in `openjdk version "17.0.15" 2025-04-15`; `None` for Java 8 and older, which say `"1.8.0_392"`.
fn java_major(version: &str) -> Option<u32> {
    let quoted = version.split('"').nth(1)?;
    let major = quoted.split(['.', '-', '+']).next()?.parse().ok()?;
    (major > 1).then_some(major)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_what_java_prints() {
        assert_eq!(java_major("openjdk version \"17.0.15\" 2025-04-15\nOpenJDK Runtime"), Some(17));
        assert_eq!(java_major("openjdk version \"21\" 2023-09-19"), Some(21));
        assert_eq!(java_major("openjdk version \"25-ea\" 2025-09-16"), Some(25));
        assert_eq!(java_major("java version \"1.8.0_392\""), None);
        assert_eq!(java_major("bash: java: command not found"), None);
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let reason = first_output("no-such-program-here", "-version").unwrap_err();
        assert!(reason.contains("no-such-program-here"), "{reason}");
    }
}
