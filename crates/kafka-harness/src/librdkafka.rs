//! Whether librdkafka is here: as a Python package, which brings it along.

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A Python that has confluent-kafka, and so librdkafka; the reason if there is none, as a sentence for the reader of a skip.
/// `.ci/run` puts one into `target/librdkafka`.
pub fn librdkafka_available() -> Result<PathBuf, String> {
    let own = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/librdkafka/bin/python"));
    let candidates = [std::env::var_os("MILENA_PYTHON").map(PathBuf::from), Some(own), Some("python3".into())];
    candidates.into_iter().flatten().find(has_package).ok_or_else(|| {
        "no Python with confluent-kafka; `python3 -m venv target/librdkafka && target/librdkafka/bin/pip install \
         confluent-kafka` brings one, MILENA_PYTHON names another"
            .to_owned()
    })
}

fn has_package(python: &PathBuf) -> bool {
    let mut call = Command::new(python);
    call.args(["-c", "import confluent_kafka"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    call.status().is_ok_and(|status| status.success())
}
