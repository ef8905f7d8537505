//! The same requests to a real Kafka 4.3.1 and to milena-broker get the same answers.
//!
//! Sequences of requests are made from seeds (`sequence.rs`) and sent to both brokers, request by request. Every field of both answers is
//! compared (`leaves.rs`, `compare.rs`), with names in place of what is a broker's own (`names.rs`). What may differ stands in
//! `allowed.txt`, each with its reason; a line there that nothing differs by any more fails the test. Every API and version that milena-broker
//! serves must have been compared, and must be advertised as Kafka advertises it.
//!
//! ```text
//! cargo test -p milena-broker --test same_as_kafka -- --nocapture                              2,100 sequences, as CI does
//! SAME_AS_KAFKA_SEEDS=4711 cargo test -p milena-broker --test same_as_kafka -- --nocapture     one sequence, made smaller if it differs
//! SAME_AS_KAFKA_SEEDS=2100..4200 cargo test -p milena-broker --test same_as_kafka -- --nocapture  others
//! ```
//!
//! Needs Java and Maven; run by `cargo xtask test kafka`.

mod allowed;
mod asked;
mod batches;
mod chance;
mod compare;
mod leaves;
mod names;
mod pair;
mod report;
mod rounds;
mod run;
mod sequence;
mod settle;
mod shrink;
mod side;

use std::ops::Range;
use std::time::{Duration, Instant, SystemTime};

use milena_wire::ApiKey;
use milena_wire::messages::api_versions::request::ApiVersionsRequest;

use allowed::Allowed;
use asked::Answer;
use pair::Pair;
use run::{Counts, Rules};
use sequence::Sequence;

#[test]
fn the_same_requests_get_the_same_answers() {
    let asked = std::env::var(report::VARIABLE).ok();
    let seeds = asked.as_deref().map_or(SEEDS, seeds_of);
    let is_whole = asked.is_none();
    let started = Instant::now();
    let mut pair = Pair::start();
    println!("measured: both brokers started in {:.1} s", started.elapsed().as_secs_f64());
    let allowed = Allowed::read(include_str!("allowed.txt"));
    let (served, advertised_otherwise) = advertised(&pair);
    let keys: Vec<i16> = served.iter().map(|(api, _)| api.0).collect();
    let rules = Rules { allowed: &allowed, served: &keys, base: now() - TIMES_BEFORE };

    let mut counts = Counts::new();
    let findings = rounds::run_all(&mut pair, seeds.clone(), &rules, &mut counts);
    let requests: usize = counts.values().sum();
    let sequences = seeds.end - seeds.start;
    println!("{}", report::counts(&counts));
    println!(
        "measured: {sequences} sequences, {requests} requests to each broker in {:.1} s",
        started.elapsed().as_secs_f64()
    );
    allowed.uses().for_each(|(line, uses)| println!("allowed {uses} times: {line}"));

    let kinds = report::kinds(&findings);
    for (kind, findings) in &kinds {
        let seeds: Vec<u64> = findings.iter().map(|finding| finding.seed).take(5).collect();
        println!("{} times, seeds {seeds:?}: {kind}", findings.len());
    }
    let smaller = Instant::now();
    for (_, findings) in &kinds {
        let is_made_smaller = smaller.elapsed() < SHRINKING_MAX;
        let finding = findings[0];
        println!("{}", if is_made_smaller { shrink::smallest(&pair, finding, &rules) } else { report::text(finding) });
    }
    assert_eq!(advertised_otherwise, Vec::<String>::new(), "what is served is not what Kafka serves");
    assert!(findings.is_empty(), "{} sequences differ in {} ways", findings.len(), kinds.len());
    if is_whole {
        let missing: Vec<String> = uncovered(&served, &counts);
        assert_eq!(missing, Vec::<String>::new(), "served and never compared");
        assert_eq!(allowed.unused(), Vec::<&str>::new(), "allowed differences that are none");
    }
}

#[test]
fn a_sequence_is_its_seed() {
    let origin = sequence::Origin { prefix: "p".to_owned(), base: 1_700_000_000_000, served: (0..100).collect() };
    for seed in 0..300 {
        let sequence = Sequence::of(seed, &origin);
        assert_eq!(sequence, Sequence::of(seed, &origin));
        assert!(sequence.steps.len() >= 30, "seed {seed}");
        for step in &sequence.steps {
            let frame = step.asked.frame(1, step.version);
            frame.unwrap_or_else(|error| panic!("seed {seed}, {} v{}: {error}", step.asked.api(), step.version));
        }
    }
}

/// What milena-broker says it serves, and where Kafka says otherwise.
fn advertised(pair: &Pair) -> (Vec<(ApiKey, Range<i16>)>, Vec<String>) {
    let ranges = |mut side: side::Side| {
        let Answer::ApiVersions(answer) = side.ask(0, ApiVersionsRequest::default()).expect("it answers") else {
            panic!("another answer than was asked for");
        };
        answer.api_keys
    };
    let (kafka, ours) = (ranges(pair.kafka()), ranges(pair.ours()));
    let mut otherwise = Vec::new();
    for api in &ours {
        let theirs = kafka.iter().find(|theirs| theirs.api_key == api.api_key);
        if theirs != Some(api) {
            otherwise.push(format!("{}: Kafka {theirs:?}, here {api:?}", ApiKey(api.api_key).name()));
        }
    }
    let served = ours.iter().map(|api| (ApiKey(api.api_key), api.min_version..api.max_version + 1)).collect();
    (served, otherwise)
}

/// What is served and was never compared.
fn uncovered(served: &[(ApiKey, Range<i16>)], counts: &Counts) -> Vec<String> {
    let versions = served.iter().flat_map(|(api, versions)| versions.clone().map(|version| (*api, version)));
    // Advertised for the sake of an old client, and not served.
    let versions = versions.filter(|(api, version)| *api != ApiKey::PRODUCE || *version >= 3);
    let missing = versions.filter(|key| counts.get(key).is_none_or(|count| *count == 0));
    missing.map(|(api, version)| format!("{} v{version}", api.name())).collect()
}

fn seeds_of(text: &str) -> Range<u64> {
    let number =
        |text: &str| text.parse().unwrap_or_else(|_| panic!("{}={text}: a seed or from..to", report::VARIABLE));
    match text.split_once("..") {
        Some((from, to)) => number(from)..number(to),
        None => number(text)..number(text) + 1,
    }
}

/// Milliseconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is later than 1970");
    i64::try_from(since.as_millis()).expect("it is not that late")
}

/// What CI runs.
const SEEDS: Range<u64> = 0..2100;
/// Later ones are shown as they are.
const SHRINKING_MAX: Duration = Duration::from_secs(20);
/// How far back the times lie that producers write, so that no broker's own time is one of them.
const TIMES_BEFORE: i64 = 10 * 60 * 1000;
