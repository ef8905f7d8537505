//! `cargo xtask kafka up | down`: a real Kafka for work by hand, one node, which stays up after the task has ended.

use crate::{TaskError, TaskResult};
use kafka_harness::{Options, java_available, standing};

pub fn run(arguments: &[String]) -> TaskResult {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["up"] => up(),
        ["down"] => down(),
        _ => Err(TaskError::Usage("kafka takes one of: up, down".to_owned())),
    }
}

fn up() -> TaskResult {
    java_available().map_err(TaskError::Failed)?;
    let folder = standing::folder();
    let options = Options::default();
    let version = options.version.clone();
    let kafka = standing::up(&folder, options).map_err(|error| TaskError::Failed(error.to_string()))?;
    let state = if kafka.was_up { "was up already" } else { "is up" };
    eprintln!("Kafka {version} {state}; data and log in {}; `cargo xtask kafka down` ends it", folder.display());
    println!("{}", kafka.bootstrap_servers);
    Ok(())
}

fn down() -> TaskResult {
    let was_up = standing::down(&standing::folder()).map_err(|error| TaskError::Failed(error.to_string()))?;
    eprintln!("{}", if was_up { "Kafka is down, its data deleted" } else { "no Kafka was up" });
    Ok(())
}
