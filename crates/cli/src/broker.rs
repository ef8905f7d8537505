//! `milena broker`: the embedded broker by itself, or several of them, until Ctrl-C and, unless it is pressed again, until nobody is connected.

use std::io::Write;
use std::time::Duration;

use milena_broker::{Broker, BrokerOptions};

use crate::arguments;
use crate::exit::{Exit, Failure, tell};
use crate::interrupts::Interrupts;
use crate::place::{serve_out, tell_torn_tails};

/// The addresses are the only line on stdout, so that a script can read it.
pub async fn run(options: &arguments::Broker, interrupts: &mut Interrupts) -> Result<Exit, Failure> {
    let start = BrokerOptions {
        listen: options.listen.clone(),
        nodes: options.nodes,
        data_dir: options.data_dir.clone(),
        release: options.release,
        flush: options.flush,
        ..BrokerOptions::default()
    };
    let broker = Broker::start(start).map_err(Failure::to_start)?;
    tell_torn_tails(&broker);
    let place = match &options.data_dir {
        Some(directory) => directory.display().to_string(),
        None => "memory".to_owned(),
    };
    match options.nodes {
        1 => tell(format_args!("a broker runs at {}, with its data in {place}; Ctrl-C ends it", broker.bootstrap())),
        count => tell(format_args!(
            "{count} brokers run at {}, with their data in {place}; Ctrl-C ends them",
            broker.bootstrap()
        )),
    }
    let mut out = std::io::stdout().lock();
    let _nobody_reads_it = writeln!(out, "{}", broker.bootstrap()).and_then(|()| out.flush());
    drop(out);
    interrupts.pressed().await;
    let say = |connections| {
        let plural = if connections == 1 { "" } else { "s" };
        tell(format_args!("Ctrl-C: it serves {connections} connection{plural} until done; Ctrl-C again ends at once"));
    };
    serve_out(broker, Duration::ZERO, say, interrupts).await;
    Ok(Exit::Done)
}
