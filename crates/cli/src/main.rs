//! The `milena` command: lines into a topic and out of it, topics, and a broker.
//!
//! Owns what a user sees: arguments, lines on stderr, exit codes. Everything about Kafka is in the library. Without
//! `--bootstrap-server` the commands share a broker in one of their processes; see `place.rs`.

mod arguments;
mod broker;
mod consume;
mod exit;
mod intake;
mod interrupts;
mod lines;
mod place;
mod produce;
mod progress;
mod results;
mod topics;

use std::process::ExitCode;

use arguments::Command;
use exit::{Exit, Failure};
use interrupts::Interrupts;

fn main() -> ExitCode {
    let command = match arguments::parse(std::env::args_os()) {
        Ok(command) => command,
        // Its own text, on stdout for --help and --version; 2 for a mistake.
        Err(error) => error.exit(),
    };
    let end = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let end = runtime.block_on(run(command));
            // Nothing that still runs, such as a look-up of a name, has anything to say.
            runtime.shutdown_background();
            end
        }
        Err(error) => Err(Failure::to_start(format!("the runtime cannot be started: {error}"))),
    };
    end.unwrap_or_else(|failure| failure.tell()).into()
}

async fn run(command: Command) -> Result<Exit, Failure> {
    let mut interrupts = Interrupts::listen();
    match command {
        Command::Produce(options) => produce::run(&options, &mut interrupts).await,
        Command::Consume(options) => consume::run(&options, &mut interrupts).await,
        Command::CreateTopic(options) => topics::create(&options, &mut interrupts).await,
        Command::DeleteTopic(options) => topics::delete(&options, &mut interrupts).await,
        Command::Broker(options) => broker::run(&options, &mut interrupts).await,
    }
}
