//! The `milena` command: records into a topic and out of it, topics, benchmarks, and a broker.
//!
//! Owns what a user sees: arguments, lines on stderr, exit codes. Everything about Kafka is in the library. Without
//! `--bootstrap-server` the commands share a broker in one of their processes; see `place.rs`.

mod arguments;
mod audit;
mod bench;
mod broker;
mod checksum;
mod consume;
mod dress;
mod exit;
mod format;
mod input;
mod intake;
mod interrupts;
mod json;
mod lines;
mod outcomes;
mod place;
mod produce;
mod progress;
mod results;
mod settings;
mod settle;
mod times;
mod topics;
mod verifiable;

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
    interrupts::survive_limits_of_files();
    match command {
        Command::Produce(options) => produce::run(&options, &mut interrupts).await,
        Command::Consume(options) => consume::run(&options, &mut interrupts).await,
        Command::Audit(options) => audit::run(&options, &mut interrupts).await,
        Command::Settle(options) => settle::run(&options, &mut interrupts).await,
        Command::CreateTopic(options) => topics::create(&options, &mut interrupts).await,
        Command::DeleteTopic(options) => topics::delete(&options, &mut interrupts).await,
        Command::ListTopics(options) => topics::list(&options, &mut interrupts).await,
        Command::DescribeTopic(options) => topics::describe(&options, &mut interrupts).await,
        Command::BenchProduce(options) => bench::produce(&options, &mut interrupts).await,
        Command::VerifiableProducer(options) => verifiable::run(&options, &mut interrupts.or_terminated()).await,
        Command::Completion(shell) => exit::print(&completion(shell)),
        Command::Broker(options) => broker::run(&options, &mut interrupts).await,
    }
}

/// Made in memory first: whoever writes it to stdout would panic when nobody reads.
fn completion(shell: clap_complete::Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut arguments::for_shells(), "milena", &mut script);
    script
}
