//! `cargo xtask chaos …`: milena before a real Kafka that is hurt, optimised; what follows goes to its own command line.

use crate::{TaskError, TaskResult, workspace};
use kafka_harness::java_available;

pub fn run(arguments: &[String]) -> TaskResult {
    java_available().map_err(TaskError::Failed)?;
    let mut command = workspace::cargo(&["run", "--quiet", "--release", "--package", "milena-chaos", "--"]);
    match command.args(arguments).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(TaskError::Told),
        Err(error) => Err(TaskError::Failed(format!("cannot run cargo: {error}"))),
    }
}
