//! The list of Java's properties, by which ours are answered and documented, is the one of Kafka's own jar.

use std::path::PathBuf;
use std::process::Stdio;

use kafka_harness::VERSIONS;

const LIST: &str = include_str!("../src/config/properties/names/java-4.3.1.txt");

#[test]
fn the_list_of_java_s_properties_and_defaults_is_that_of_its_jar() {
    assert_eq!(VERSIONS[0], "4.3.1", "the list is that of this version");
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/java/ProducerProperties.java");
    let mut program = kafka_harness::program(VERSIONS[0], &source).expect("the jars are there");
    let output = program.stdin(Stdio::null()).output().expect("runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let printed = String::from_utf8(output.stdout).expect("text");
    assert!(printed.lines().count() > 100, "{said}");
    for (ours, jars) in LIST.lines().zip(printed.lines()) {
        assert_eq!(ours, jars);
    }
    assert_eq!(LIST.lines().count(), printed.lines().count());
}
