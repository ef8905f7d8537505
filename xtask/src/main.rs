//! Tasks of the project; `cargo xtask help` lists them.
//!
//! Each task is a module with one `run`. A task prints what a person needs and says by its result whether it went well;
//! a wrong command line is told apart (exit code 2) from work that failed (exit code 1).

mod chaos;
mod check;
mod codegen;
#[cfg(test)]
mod coverage;
mod examples;
mod fuzz;
mod groups;
mod judge;
mod kafka;
mod sim;
mod tally;
mod test;
mod workspace;

use std::process::ExitCode;

/// Why a task did not succeed.
#[derive(Debug)]
enum TaskError {
    /// The command line asks for something that does not exist; nothing was done.
    Usage(String),
    /// The work was done, or tried, and did not go well.
    Failed(String),
    /// The same, and the task has printed everything there is to say.
    Told,
}

type TaskResult = Result<(), TaskError>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(TaskError::Usage(message)) => {
            eprintln!("{message}\n\n{HELP}");
            ExitCode::from(2)
        }
        Err(TaskError::Failed(message)) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
        Err(TaskError::Told) => ExitCode::FAILURE,
    }
}

fn dispatch(arguments: &[String]) -> TaskResult {
    let (task, rest) = arguments.split_first().map_or(("help", [].as_slice()), |(task, rest)| (task.as_str(), rest));
    match task {
        "help" | "--help" | "-h" => help(),
        "chaos" => chaos::run(rest),
        "check" => check::run(rest),
        "codegen" => codegen::run(rest).map_err(TaskError::Failed),
        "fuzz" => fuzz::run(rest),
        "kafka" => kafka::run(rest),
        "sim" => sim::run(rest),
        "test" => test::run(rest),
        _ => Err(TaskError::Usage(format!("there is no task {task}"))),
    }
}

fn help() -> TaskResult {
    println!("{HELP}\n\nTest groups, in the order in which they run:");
    for group in groups::GROUPS {
        println!("  {:<15} {}", group.name, group.what);
    }
    Ok(())
}

const HELP: &str = "\
usage: cargo xtask TASK

  test [GROUP...] [--deny-skips]   run the test groups (all by default); --deny-skips: a skipped test or group fails
  check [--deny-skips]             format, clippy, rustdoc, the generated code, the number of crates
  codegen [--check] [--jar PATH]   write the messages of milena-wire, or compare them with what the generator gives
  fuzz [--minutes N] [NAME]        hostile bytes by libFuzzer for every decoder, or for the harnesses with that in their name
  chaos --minutes N [--seed S]     a real Kafka of three nodes under load, faults of every kind by chance; every outcome is compared
  chaos --load                     a million records, all nodes frozen in the middle: lateness, memory, rates
  sim --seed N | --seeds A..B      run seeds of the simulation; a failing one prints the line that replays it
  kafka up | down                  a real Kafka 4.3.1 on loopback, which stays up; prints its address
  help                             this text and the test groups";
