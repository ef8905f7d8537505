//! `milena broker`: the embedded broker by itself, or several of them, until Ctrl-C or another signal that asks for an end.
//!
//! Who is connected then is served for a little longer, and no longer than that: most clients never leave by themselves. For tests in other
//! languages it can be steered by HTTP, and ends with the process that holds its stdin.

use std::io::{self, Write};
use std::net::ToSocketAddrs;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use milena_broker::{Broker, Cluster, CreateTopicError};
use serde::Serialize;
use tokio::sync::oneshot;

use crate::arguments;
use crate::exit::{Exit, Failure, tell};
use crate::interrupts::{Interrupted, Interrupts};
use crate::json;
use crate::place::tell_torn_tails;

/// The addresses are the only line on stdout, so that a script can read it.
pub async fn run(options: &arguments::Broker, interrupts: &mut Interrupts) -> Result<Exit, Failure> {
    interrupts.include_other_ends();
    let broker = Broker::start(options.start.clone()).map_err(Failure::to_start)?;
    tell_torn_tails(&broker);
    let notices = tell_notices(&broker);
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
    if let Err(Interrupted) = interrupts.unless_pressed(end_of_stdin(options.ends_with_stdin)).await {
        serve_until_quiet(&broker, interrupts).await;
    }
    broker.stop();
    if let Some(notices) = notices {
        // What the end itself had to say; nothing more can come.
        let _panicked = notices.join();
    }
    Ok(Exit::Done)
}

/// On a thread of its own, which ends with the broker.
fn tell_notices(broker: &Broker) -> Option<JoinHandle<()>> {
    let notices = broker.notices()?;
    Some(std::thread::spawn(move || notices.iter().for_each(tell)))
}

/// Until nobody is connected, or nobody wants anything but news, or it has taken long enough, or the next signal.
async fn serve_until_quiet(broker: &Broker, interrupts: &mut Interrupts) {
    let begun = Instant::now();
    let (mut work, mut quiet_since) = (broker.look(Cluster::work), begun);
    let connections = broker.connections();
    if connections > 0 {
        let plural = if connections == 1 { "" } else { "s" };
        tell(format_args!(
            "it ends once {connections} connection{plural} had nothing unanswered for {} s, in {} s at the latest; Ctrl-C again ends it at once",
            QUIET_TIME.as_secs(),
            END_TIME.as_secs()
        ));
    }
    while broker.connections() > 0 && quiet_since.elapsed() < QUIET_TIME && begun.elapsed() < END_TIME {
        if let Err(Interrupted) = interrupts.unless_pressed(tokio::time::sleep(LOOK_PAUSE)).await {
            return;
        }
        let now = broker.look(Cluster::work);
        if now.unanswered > 0 || now.answered != work.answered {
            quiet_since = Instant::now();
        }
        work = now;
    }
}

fn tell_where(options: &arguments::Broker, broker: &Broker) {
    let place = match &options.start.data_dir {
        Some(directory) => directory.display().to_string(),
        None => "memory".to_owned(),
    };
    let address = broker.bootstrap();
    match options.start.nodes {
        1 => tell(format_args!("a broker runs at {address}, with its data in {place}; Ctrl-C ends it")),
        count => tell(format_args!("{count} brokers run at {address}, with their data in {place}; Ctrl-C ends them")),
    }
    if options.start.advertised_host.is_none() && listens_everywhere(&options.start.listen) {
        tell(format_args!(
            "it listens on all addresses and tells clients to connect to {address}, which is each machine's own; clients elsewhere \
             need --advertised-host HOST"
        ));
    }
    let Some(admin) = broker.admin() else { return };
    tell(format_args!("steer it, and see it live, at http://{admin}"));
    if !admin.ip().is_loopback() {
        tell(
            "whoever reaches that port can steer the broker and read every record; 127.0.0.1 keeps it to this machine",
        );
    }
}

fn listens_everywhere(listen: &str) -> bool {
    listen.to_socket_addrs().is_ok_and(|mut addresses| addresses.any(|address| address.ip().is_unspecified()))
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

/// A client that works asks again long before.
const QUIET_TIME: Duration = Duration::from_secs(1);
/// Half of what docker waits before it kills.
const END_TIME: Duration = Duration::from_secs(5);
/// Often enough that the end of the last connection is not waited for.
const LOOK_PAUSE: Duration = Duration::from_millis(5);
