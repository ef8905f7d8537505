//! Benchmarks of the producer against a broker that throws everything away, in a process of its own, so that only the
//! producer's own work is counted.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A running [`sink`](../sink/index.html) process; it ends with this value, and with its parent.
#[derive(Debug)]
pub struct Sink {
    child: Child,
    address: String,
}

impl Sink {
    /// Starts the program that Cargo built from `src/bin/sink.rs`.
    ///
    /// # Panics
    /// If it does not start: without it there is nothing to measure.
    pub fn start(program: impl AsRef<Path>, partitions: u32) -> Self {
        Self::start_with(program, partitions, None)
    }

    /// As [`Self::start`], with when to answer Produce: milliseconds, or `never`.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_with(program: impl AsRef<Path>, partitions: u32, produce: Option<&str>) -> Self {
        let mut child = Command::new(program.as_ref())
            .arg(partitions.to_string())
            .args(produce)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the sink starts");
        let mut address = String::new();
        let stdout = child.stdout.take().expect("its output is a pipe");
        BufReader::new(stdout).read_line(&mut address).expect("the sink says where it listens");
        Self { child, address: address.trim().to_owned() }
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // It may have ended by itself; both are fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
