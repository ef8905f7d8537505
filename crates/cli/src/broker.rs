//! `milena broker`: the embedded broker by itself, or several of them, until Ctrl-C and, unless it is pressed again, until nobody is connected.
//!
//! For tests in other languages it can be steered by HTTP, and ends with the process that holds its stdin.

use std::io::{self, Write};
use std::time::Duration;

use milena_broker::{Broker, BrokerOptions, CreateTopicError};
use serde::Serialize;
use tokio::sync::oneshot;

use crate::arguments;
use crate::exit::{Exit, Failure, tell};
use crate::interrupts::{Interrupted, Interrupts};
use crate::json;
use crate::place::{serve_out, tell_torn_tails};

/// The addresses are the only line on stdout, so that a script can read it.
pub async fn run(options: &arguments::Broker, interrupts: &mut Interrupts) -> Result<Exit, Failure> {
    let start = BrokerOptions {
        listen: options.listen.clone(),
        nodes: options.nodes,
        data_dir: options.data_dir.clone(),
        release: options.release,
        flush: options.flush,
        auto_create_topics: options.auto_create_topics,
        session_timeout: options.session_timeout,
        admin: options.admin.clone(),
        ..BrokerOptions::default()
    };
    let broker = Broker::start(start).map_err(Failure::to_start)?;
    tell_torn_tails(&broker);
    for (name, partitions) in &options.topics {
        match broker.create_topic(name, *partitions) {
            Ok(_) | Err(CreateTopicError::Exists(_)) => {}
            Err(error) => return Err(Failure::to_start(format!("topic {name:?}: {error}"))),
        }
    }
    tell_where(options, &broker);
    let mut out = io::stdout().lock();
    let _nobody_reads_it = out.write_all(&addresses(options, &broker)).and_then(|()| out.flush());
    drop(out);
    match interrupts.unless_pressed(end_of_stdin(options.ends_with_stdin)).await {
        Ok(()) => broker.stop(),
        Err(Interrupted) => {
            let say = |connections| {
                let plural = if connections == 1 { "" } else { "s" };
                tell(format_args!(
                    "Ctrl-C: it serves {connections} connection{plural} until done; Ctrl-C again ends at once"
                ));
            };
            serve_out(broker, Duration::ZERO, say, interrupts).await;
        }
    }
    Ok(Exit::Done)
}

fn tell_where(options: &arguments::Broker, broker: &Broker) {
    let place = match &options.data_dir {
        Some(directory) => directory.display().to_string(),
        None => "memory".to_owned(),
    };
    let address = broker.bootstrap();
    match options.nodes {
        1 => tell(format_args!("a broker runs at {address}, with its data in {place}; Ctrl-C ends it")),
        count => tell(format_args!("{count} brokers run at {address}, with their data in {place}; Ctrl-C ends them")),
    }
    let Some(admin) = broker.admin() else { return };
    tell(format_args!("steer it, and see it live, at http://{admin}"));
    if !admin.ip().is_loopback() {
        tell(
            "whoever reaches that port can steer the broker and read every record; 127.0.0.1 keeps it to this machine",
        );
    }
}

fn addresses(options: &arguments::Broker, broker: &Broker) -> Vec<u8> {
    #[derive(Serialize)]
    struct Addresses<'a> {
        bootstrap: &'a str,
        admin: Option<String>,
    }
    let bootstrap = broker.bootstrap();
    if !options.json {
        return format!("{bootstrap}\n").into_bytes();
    }
    let mut line = Vec::new();
    json::line(&Addresses { bootstrap, admin: broker.admin().map(|admin| format!("http://{admin}")) }, &mut line);
    line
}

/// Never, unless it is asked for.
async fn end_of_stdin(is_wanted: bool) {
    if !is_wanted {
        return std::future::pending().await;
    }
    let (ended, end) = oneshot::channel();
    // Its own thread, because nothing ends a read of stdin; the process does.
    std::thread::spawn(move || {
        let _closed_or_broken = io::copy(&mut io::stdin().lock(), &mut io::sink());
        let _still_awaited = ended.send(());
    });
    let _ended_either_way = end.await;
}
