//! Runs the rows of `rows.rs` on one version and number of nodes, one after the other, each on fresh topics.
//!
//! What the log says is read by Java after the last row, so that late copies have had their time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kafka_harness::{Kafka, NewTopic, Options, VERSIONS};

use crate::audit::audit;
use crate::content::Id;
use crate::figures::Figures;
use crate::ledger::Entry;
use crate::load::Load;
use crate::rows::{Error, Layout, On, ROWS, Row, SECOND, Stage, Way};
use crate::stalls::Stalls;

/// Runs every row for so many nodes and this release, compares, prints the figures, and gives everything that was found.
pub fn run_rows(version: &str, nodes: u32) -> Vec<String> {
    let stalls = Stalls::watch();
    let begun = Instant::now();
    let mut kafka =
        Kafka::start(Options { version: version.to_owned(), nodes, ..Options::default() }).expect("Kafka starts");
    println!("measured: Kafka {version}, {nodes} nodes: started in {:.1} s", begun.elapsed().as_secs_f64());
    let mut findings = Vec::new();
    let mut runs = Vec::new();
    for (number, row) in (1..).zip(ROWS).filter(|(_, row)| row.nodes == nodes && is_wanted(row, version)) {
        let name = format!("Kafka {version}, {nodes} nodes, {}", row.name);
        match Run::of(row, number, &mut kafka) {
            Ok((run, fault)) => {
                findings.extend(fault.err().map(|error| format!("{name}: {error}")));
                runs.push((name, row, run));
            }
            Err(error) => findings.push(format!("{name}: {error}")),
        }
        // A fault may have gone wrong half-way, and the next row counts on who leads what.
        kafka.make_whole().expect("the cluster is whole again");
    }
    let topics: Vec<&str> = runs.iter().flat_map(|(_, _, run)| &run.topics).map(String::as_str).collect();
    let mut logs = kafka.dump_topics(&topics).expect("Java reads");
    for (name, row, run) in &runs {
        let logs: Vec<_> =
            run.topics.iter().map(|topic| logs.remove(topic).expect("Java told of every topic")).collect();
        let audit = audit(&run.entries, &logs, |from, to| stalls.between(from, to));
        println!("{}", Figures { row: name, took: run.took, audit: &audit });
        findings.extend(audit.findings.iter().take(FINDINGS_SHOWN).map(|finding| format!("{name}: {finding}")));
        let whole = audit.emptiness(row.partitions(), row.releases).into_iter().chain(audit.held_up(row));
        findings.extend(whole.map(|finding| format!("{name}: {finding}")));
    }
    println!("measured: Kafka {version}, {nodes} nodes: {:.1} s in all", begun.elapsed().as_secs_f64());
    if runs.is_empty() {
        findings.push("no row ran".to_owned());
    }
    findings
}

/// One row's other side of the comparison.
struct Run {
    topics: Vec<String>,
    entries: BTreeMap<Id, Entry>,
    took: Duration,
}

impl Run {
    /// What was offered and told, and whether the fault came about as planned.
    fn of(row: &Row, number: u32, kafka: &mut Kafka) -> Result<(Self, Result<(), Error>), Error> {
        let begun = Instant::now();
        let topics: Vec<String> = (1..=row.topics.len()).map(|topic| format!("row-{number}-{topic}")).collect();
        for (name, Layout { replicas, in_sync_min, .. }) in topics.iter().zip(row.topics) {
            let config = [("min.insync.replicas", &*in_sync_min.to_string())];
            kafka.create_topic(&NewTopic { name, replicas, config: &config })?;
        }
        let servers = match row.way {
            Way::Straight => kafka.bootstrap_servers(),
            Way::Proxied => kafka.proxied_servers(),
        };
        let load = Load::start(&servers, &topics, number, row.settings)?;
        let mut stage = Stage { kafka, load: &load, topics: &topics };
        let fault = load.await_written(SECOND).map_err(Error::from).and_then(|()| (row.fault)(&mut stage));
        let entries = load.finish()?;
        Ok((Self { topics, entries, took: begun.elapsed() }, fault))
    }
}

/// Every row that strikes on this release, or those whose name holds the words of `MILENA_ROWS` on any.
fn is_wanted(row: &Row, version: &str) -> bool {
    let strikes = row.on == On::EveryRelease || version == VERSIONS[0];
    std::env::var("MILENA_ROWS").map_or(strikes, |words| row.name.contains(&words))
}

const FINDINGS_SHOWN: usize = 20;
