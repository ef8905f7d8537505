//! What `milena broker` is told.

use std::time::Duration;

use clap::builder::ArgPredicate;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, value_parser};
use milena_broker::{BrokerOptions, FlushPolicy, KafkaRelease};

use super::{data_dir, duration, flag, required};
use crate::times::parse_duration;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// All that the broker itself has to know.
    pub start: BrokerOptions,
    /// Topics to make, with how many partitions, where they are missing.
    pub topics: Vec<(String, i32)>,
    /// One line of JSON instead of the bare addresses.
    pub json: bool,
    /// Whether it ends when its stdin does.
    pub ends_with_stdin: bool,
}

pub fn command() -> clap::Command {
    clap::Command::new("broker")
        .about("Runs a broker until Ctrl-C; its address is printed on stdout")
        .after_help(
            "Ctrl-C, SIGTERM and SIGHUP end it cleanly: those that are connected are served until nothing of theirs was unanswered for a \
             second, five seconds at most, and the next start need not look for damage. A second signal ends it at once.\n\n\
             For tests in any language: milena broker --memory --listen 127.0.0.1:0 --admin 127.0.0.1:0 --json --exit-with-stdin \
             prints {\"bootstrap\":..,\"admin\":..} once it serves, and ends with the process that started it.\n\n\
             Exit codes: 0 ended by Ctrl-C, SIGTERM, SIGHUP or with its stdin; 2 usage, or not started.",
        )
        .args(place_arguments())
        .args(log_arguments())
        .args(test_arguments())
        .args(cluster_arguments())
}

/// Where it is reached, and where its data is.
fn place_arguments() -> [Arg; 6] {
    [
        Arg::new("listen")
            .long("listen")
            .value_name("HOST:PORT")
            .default_value("127.0.0.1:9092")
            .help("Where it listens; port 0 takes a free one"),
        Arg::new("advertised-host").long("advertised-host").value_name("HOST[:PORT]").value_parser(parse_advertised).help(
            "Where clients are told to connect, if that is another place, as with --listen 0.0.0.0:9092 in a container",
        ),
        Arg::new("nodes")
            .long("nodes")
            .value_name("N")
            .value_parser(value_parser!(u16).range(1..=NODES_MAX))
            .default_value("1")
            .help("How many brokers it is, each on a port of its own: the next ones after --listen"),
        data_dir(),
        flag("memory").conflicts_with("data-dir").help("Keeps everything in memory, gone at the end"),
        Arg::new("memory-max").long("memory-max").value_name("SIZE").value_parser(parse_bytes).requires("memory").conflicts_with("data-dir").help(
            "With --memory: how much the logs may hold, as in 512MB; what is too much is refused as by a full disk",
        ),
    ]
}

/// How it keeps its logs.
fn log_arguments() -> [Arg; 5] {
    [
        Arg::new("fsync")
            .long("fsync")
            .value_name("WHEN")
            .value_parser(parse_fsync)
            .default_value("never")
            // Memory has nothing to sync; a default is not what somebody wants.
            .default_value_if("memory", ArgPredicate::IsPresent, None)
            .conflicts_with("memory")
            .help(
                "When what was written is made to survive the machine: never, as Kafka; batch, before it is acknowledged; or a \
                 time as in 100ms, after which it is at the latest",
            ),
        duration("retention-check").default_value("5m").help(
            "How often segments are looked for that are too old or too much; Kafka's default is 5m. Logs in memory also whenever a segment is full",
        ),
        duration("cleaner-backoff")
            .default_value("15s")
            .help("How often logs are looked at whether they have to be compacted; Kafka's default is 15s"),
        duration("producer-expiry")
            .help("How long after its last record's time a producer is remembered; the release's default is 1d"),
        duration("producer-expiry-check")
            .default_value("10m")
            .help("How often producers are looked at whether they are too old; Kafka's default is 10m"),
    ]
}

/// What makes it a test's.
fn test_arguments() -> [Arg; 5] {
    [
        Arg::new("admin").long("admin").value_name("HOST:PORT").help(
            "Where it is steered by HTTP, with a page for people; whoever reaches this port can do and read everything",
        ),
        Arg::new("topic")
            .long("topic")
            .value_name("NAME[:PARTITIONS]")
            .action(ArgAction::Append)
            .value_parser(parse_topic)
            .help("Makes a topic, of --default-partitions if it is not said, unless it is there; may be given more than once"),
        flag("no-auto-create-topics")
            .help("Makes no missing topic when a client asks for it, so that a misspelt one fails"),
        flag("json").help("Prints the addresses as one line of JSON: bootstrap, and admin"),
        flag("exit-with-stdin").help("Ends at once when its stdin is closed, so that no test leaves it behind"),
    ]
}

/// How the cluster behaves.
fn cluster_arguments() -> [Arg; 5] {
    [
        Arg::new("kafka-version")
            .long("kafka-version")
            .value_name("VERSION")
            .value_parser(|text: &str| text.parse::<KafkaRelease>())
            .default_value("4.3")
            .help("The release of Kafka whose API versions and behaviour it has, from 2.8 on"),
        Arg::new("default-partitions")
            .long("default-partitions")
            .value_name("N")
            .value_parser(value_parser!(i32).range(1..=PARTITIONS_MAX))
            .default_value("1")
            .help("Partitions of topics whose creator does not say"),
        Arg::new("racks")
            .long("racks")
            .value_name("RACK,..")
            .value_delimiter(',')
            .help("The rack of each broker, from the first on; consumers that name one read from a replica there"),
        duration("session-timeout")
            .default_value("9s")
            .help("When what a frozen or killed broker leads goes to others; Kafka's default is 9s"),
        duration("replica-lag-time-max")
            .default_value("30s")
            .help("When a follower that lacks something is out of sync; Kafka's default is 30s"),
    ]
}

pub fn read(matches: &ArgMatches) -> Result<Broker, clap::Error> {
    let nodes: u16 = required(matches, "nodes");
    let racks: Vec<String> = matches.get_many("racks").into_iter().flatten().cloned().collect();
    if racks.len() > usize::from(nodes) {
        return Err(mistake(format!("--racks names {} racks, and there are {nodes} brokers (--nodes)", racks.len())));
    }
    let default_partitions = required(matches, "default-partitions");
    let advertised = matches.get_one::<(String, Option<u16>)>("advertised-host").cloned();
    let (advertised_host, advertised_port) = advertised.map_or((None, None), |(host, port)| (Some(host), port));
    let start = BrokerOptions {
        listen: required(matches, "listen"),
        advertised_host,
        advertised_port,
        nodes,
        data_dir: (!matches.get_flag("memory")).then(|| required(matches, "data-dir")),
        memory_max: matches.get_one("memory-max").copied(),
        flush: matches.get_one("fsync").copied().unwrap_or(FlushPolicy::Never),
        retention_check: required(matches, "retention-check"),
        cleaner_backoff: required(matches, "cleaner-backoff"),
        producer_expiry: matches.get_one::<Duration>("producer-expiry").copied(),
        producer_expiry_check: required(matches, "producer-expiry-check"),
        auto_create_topics: !matches.get_flag("no-auto-create-topics"),
        racks,
        default_partitions,
        session_timeout: required(matches, "session-timeout"),
        replica_lag_time_max: required(matches, "replica-lag-time-max"),
        release: required(matches, "kafka-version"),
        admin: matches.get_one("admin").cloned(),
    };
    Ok(Broker {
        start,
        topics: topics(matches, default_partitions)?,
        json: matches.get_flag("json"),
        ends_with_stdin: matches.get_flag("exit-with-stdin"),
    })
}

/// Each once: of two that differ in partitions one would be ignored.
fn topics(matches: &ArgMatches, default_partitions: i32) -> Result<Vec<(String, i32)>, clap::Error> {
    let mut topics: Vec<(String, i32)> = Vec::new();
    for (name, partitions) in matches.get_many::<(String, Option<i32>)>("topic").into_iter().flatten() {
        if topics.iter().any(|(known, _)| known == name) {
            return Err(mistake(format!("--topic {name} is given more than once")));
        }
        topics.push((name.clone(), partitions.unwrap_or(default_partitions)));
    }
    Ok(topics)
}

fn mistake(sentence: String) -> clap::Error {
    super::command().error(ErrorKind::ValueValidation, sentence)
}

fn parse_topic(text: &str) -> Result<(String, Option<i32>), String> {
    let Some((name, partitions)) = text.split_once(':') else { return Ok((text.to_owned(), None)) };
    match partitions.parse() {
        Ok(partitions @ 1..) => Ok((name.to_owned(), Some(partitions))),
        _ => Err("a name, or a name, : and how many partitions from 1 on, as in orders:3".to_owned()),
    }
}

/// A host, and a port behind it if it is not the one that the broker listens on. An IPv6 address with a port has brackets.
fn parse_advertised(text: &str) -> Result<(String, Option<u16>), String> {
    let wrong = || "a host, or a host, : and a port, as in kafka.test:19092 or [::1]:19092".to_owned();
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or_else(wrong)?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or_else(wrong)?) })
        }
        None if text.matches(':').count() > 1 => (text, None),
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = match port.map(str::parse) {
        None => None,
        Some(Ok(port @ 1..)) => Some(port),
        Some(_) => return Err(wrong()),
    };
    let is_host = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || "/,[]".contains(c));
    if is_host { Ok((host.to_owned(), port)) } else { Err(wrong()) }
}

fn parse_fsync(text: &str) -> Result<FlushPolicy, String> {
    match text {
        "never" => Ok(FlushPolicy::Never),
        "batch" => Ok(FlushPolicy::EveryBatch),
        time => parse_duration(time).map(FlushPolicy::Interval).map_err(|error| format!("never, batch, or {error}")),
    }
}

/// As everybody writes it: thousands, or powers of 1024 with an i.
fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit: u64 = match text[digits..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => 0,
    };
    let bytes = text[..digits].parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    bytes.filter(|bytes| *bytes > 0).ok_or_else(|| "a number of bytes, as in 512MB or 2GiB".to_owned())
}

/// What Kafka makes of one request at most.
const PARTITIONS_MAX: i64 = 10_000;

/// More than anybody needs on one machine, and few enough that the ports after the first are likely free.
const NODES_MAX: i64 = 99;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advertised_hosts_have_a_port_or_none() {
        let read = |text| parse_advertised(text).ok();
        let host = |name: &str, port| Some((name.to_owned(), port));
        assert_eq!(read("kafka"), host("kafka", None));
        assert_eq!(read("kafka.test:19092"), host("kafka.test", Some(19092)));
        assert_eq!(read("::1"), host("::1", None));
        assert_eq!((read("[::1]"), read("[::1]:9")), (host("::1", None), host("::1", Some(9))));
        for wrong in
            ["", ":9092", "kafka:", "kafka:0", "kafka:70000", "[::1", "[::1]9092", "a,b", "http://kafka", "a b"]
        {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    /// An option that is parsed and forgotten is none.
    #[test]
    fn every_option_reaches_the_broker() {
        let line = "milena broker --listen h:1 --advertised-host out:2 --nodes 3 --racks a,b --memory --memory-max 5k --retention-check 1s \
                    --cleaner-backoff 2s --producer-expiry 3s --producer-expiry-check 4s --session-timeout 5s --replica-lag-time-max 6s \
                    --kafka-version 3.9 --default-partitions 7 --topic x --topic y:8 --no-auto-create-topics --admin h:9 --json --exit-with-stdin";
        let parsed = super::super::parse(line.split_whitespace().map(Into::into)).expect("a good line");
        let super::super::Command::Broker(broker) = parsed else { panic!("it is a broker") };
        let expected = Broker {
            start: BrokerOptions {
                listen: "h:1".to_owned(),
                advertised_host: Some("out".to_owned()),
                advertised_port: Some(2),
                nodes: 3,
                data_dir: None,
                memory_max: Some(5_000),
                flush: FlushPolicy::Never,
                retention_check: Duration::from_secs(1),
                cleaner_backoff: Duration::from_secs(2),
                producer_expiry: Some(Duration::from_secs(3)),
                producer_expiry_check: Duration::from_secs(4),
                auto_create_topics: false,
                racks: vec!["a".to_owned(), "b".to_owned()],
                default_partitions: 7,
                session_timeout: Duration::from_secs(5),
                replica_lag_time_max: Duration::from_secs(6),
                release: KafkaRelease::V3_9,
                admin: Some("h:9".to_owned()),
            },
            topics: vec![("x".to_owned(), 7), ("y".to_owned(), 8)],
            json: true,
            ends_with_stdin: true,
        };
        assert_eq!(broker, expected);
        let parsed =
            super::super::parse("milena broker --fsync batch".split(' ').map(Into::into)).expect("a good line");
        let super::super::Command::Broker(broker) = parsed else { panic!("it is a broker") };
        let expected = BrokerOptions {
            listen: "127.0.0.1:9092".to_owned(),
            data_dir: Some("./milena-data".into()),
            flush: FlushPolicy::EveryBatch,
            ..BrokerOptions::default()
        };
        assert_eq!(broker.start, expected, "the defaults are those of the library");
    }

    #[test]
    fn it_fsyncs_as_it_is_told() {
        let flush = |line: &str| match super::super::parse(line.split(' ').map(Into::into)) {
            Ok(super::super::Command::Broker(broker)) => broker.start.flush,
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(flush("milena broker"), FlushPolicy::Never);
        assert_eq!(flush("milena broker --fsync batch"), FlushPolicy::EveryBatch);
        assert_eq!(flush("milena broker --fsync 100ms"), FlushPolicy::Interval(Duration::from_millis(100)));
    }

    #[test]
    fn sizes_are_numbers_with_units() {
        let rows = [("5", 5), ("1k", 1_000), ("512MB", 512_000_000), ("2GiB", 2 << 30), ("3mib", 3 << 20)];
        for (text, bytes) in rows {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for wrong in ["", "0", "MB", "-1", "1.5GB", "5TBs", "99999999999GB"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
    }
}
