//! `cargo xtask sim …`: the simulation, optimised; what follows goes to its own command line.

use crate::{TaskError, TaskResult, workspace};

pub fn run(arguments: &[String]) -> TaskResult {
    let mut command = workspace::cargo(&["run", "--quiet", "--release", "--package", "milena-sim", "--"]);
    let status = command.args(arguments).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(TaskError::Told),
        Err(error) => Err(TaskError::Failed(format!("cannot run cargo: {error}"))),
    }
}
