//! The programs of docs/broker.md in Python, Java and Go, as they stand there: each starts a broker, has it lose an answer, and
//! finds one record in the log. Run by `cargo xtask test languages`; needs Java and Maven, a Python with confluent-kafka, and Go for Go's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const PAGE: &str = include_str!("../../../../docs/broker.md");

/// What every one of them prints.
const SAID: &str = "sent twice, written: 1";

#[test]
fn python() {
    let folder = folder("python");
    let source = write(&folder, "lost_answer.py", "python");
    let python = kafka_harness::librdkafka_available().expect("the group runs only where it is");
    // The package is the virtual environment's, whose path must not be resolved.
    run(Command::new(python).arg(source));
}

#[test]
fn java() {
    let folder = folder("java");
    let source = write(&folder, "LostAnswer.java", "java");
    run(&mut kafka_harness::program(kafka_harness::VERSIONS[0], &source).expect("Kafka's jars are here"));
}

#[test]
fn go() {
    if Command::new("go").arg("version").output().is_err() {
        println!("there is no Go on this machine: its program was not run");
        return;
    }
    let folder = folder("go");
    write(&folder, "main.go", "go");
    for name in ["go.mod", "go.sum"] {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/other_languages/go").join(name);
        fs::copy(from, folder.join(name)).expect("it can be copied");
    }
    run(Command::new("go").args(["run", "."]).current_dir(&folder));
}

fn folder(language: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("other-languages").join(language);
    fs::create_dir_all(&folder).expect("the target folder can be written");
    folder
}

/// The page's block in a language, as a file.
fn write(folder: &Path, name: &str, language: &str) -> PathBuf {
    let begin = format!("```{language}\n");
    let (_, rest) = PAGE.split_once(&begin).expect("the page has such a program");
    let (program, rest) = rest.split_once("\n```").expect("it ends");
    assert!(!rest.contains(&begin), "the page has more than one program in {language}");
    let file = folder.join(name);
    fs::write(&file, program.trim_start().to_owned() + "\n").expect("the target folder can be written");
    file
}

/// With the built `milena` in its path.
fn run(program: &mut Command) {
    let binary = Path::new(env!("CARGO_BIN_EXE_milena")).parent().expect("is in a folder");
    let rest = std::env::var("PATH").unwrap_or_default();
    let output = program.env("PATH", format!("{}:{rest}", binary.display())).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.trim(), SAID);
}
