//! `milena bench`.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Arg, ArgMatches, value_parser};

use super::produce::{Chosen, acks, compression, compression_of};
use super::{Where, flag, place, place_of, required, settings_arguments, settings_of};
use crate::settings::Settings;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BenchProduce {
    pub place: Where,
    pub topic: String,
    pub create: bool,
    pub partitions: i32,
    pub records: u64,
    pub warmup_records: u64,
    pub size: usize,
    pub key_bytes: usize,
    /// Records a second; none: as fast as they are taken.
    pub rate: Option<u64>,
    /// None: text that looks like JSON.
    pub payload: Option<PathBuf>,
    /// None, for these: as the properties say, or the defaults in the help.
    pub batch_bytes: Option<usize>,
    pub buffer_bytes: Option<usize>,
    pub idempotence: Option<bool>,
    pub chosen: Chosen,
    pub settings: Settings,
}

pub fn command() -> clap::Command {
    let produce = clap::Command::new("produce")
        .about("Measures a producer: what a record costs, how many a second, how long until it is acknowledged")
        .after_help(
            "Prints one line of JSON: client, version, records, acked, failed, wall_s, cpu_user_s, cpu_sys_s, rec_per_s, \
             cpu_us_per_rec, peak_rss_kb, base_rss_kb, t_start and t_end (Unix seconds), lat_us with p50, p90, p99, p999 and max, \
             runtime. What the system does not tell is null.\n\n\
             With --rate, record i is due at i/rate, and its latency counts from then, whether it could be sent or not (open \
             loop). Without, records go as fast as they are taken, and latencies, of every 64th record, are the length of the queue.\n\n\
             Processor time is that of this process: name a cluster with --bootstrap-server, or the embedded broker \
             is measured too.\n\n\
             Exit codes: 0 every record is acknowledged; 1 some are not written; 2 usage, or not started; 3 some may be \
             written or not; 130 Ctrl-C before its end.",
        )
        .args(place())
        .arg(Arg::new("topic").short('t').long("topic").value_name("TOPIC").default_value("bench").help("The topic's name"))
        .arg(flag("create").help("Makes the topic if it is missing; the embedded broker always does"))
        .arg(
            Arg::new("partitions")
                .long("partitions")
                .value_name("N")
                .value_parser(value_parser!(i32).range(1..))
                .default_value("12")
                .help("The topic's partitions to write to, a batch to each in turn"),
        )
        .arg(count("records", "1000000").value_parser(value_parser!(u64).range(1..)).help("How many are measured"))
        .arg(count("warmup-records", "0").value_parser(value_parser!(u64)).help("How many are sent before that"))
        .arg(count("size", "100").value_parser(value_parser!(u64).range(1..=RECORD_BYTES_MAX)).help("Bytes of a value"))
        .arg(count("key-bytes", "0").value_parser(value_parser!(u64).range(0..=RECORD_BYTES_MAX)).help("Bytes of a key; 0 is none"))
        .arg(count("rate", "0").value_parser(value_parser!(u64).range(0..=RATE_MAX)).help("Records a second; 0 is as fast as possible"))
        .arg(
            Arg::new("payload")
                .long("payload")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Values are pieces of this file; of text that looks like JSON if absent"),
        )
        .arg(compression())
        .arg(acks())
        .arg(
            Arg::new("idempotence")
                .long("idempotence")
                .visible_alias("idempotent")
                .value_name("BOOL")
                .value_parser(BoolishValueParser::new())
                .help("Whether brokers recognise what is sent again; true if absent, unless --acks asks for less than all"),
        )
        .arg(Arg::new("linger-ms").long("linger-ms").value_name("MS").value_parser(parse_millis).help("How long a batch may fill; may be a fraction; 5 if absent"))
        .arg(number("batch-bytes").value_parser(value_parser!(u64).range(1..)).help("Bytes of a batch; 1000000 if absent"))
        .arg(number("buffer-mb").value_parser(value_parser!(u64).range(1..=BUFFER_MB_MAX)).help("MiB that wait at most; 64 if absent"))
        .args(settings_arguments());
    clap::Command::new("bench")
        .about("Measures")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(produce)
}

fn count(name: &'static str, default: &'static str) -> Arg {
    number(name).default_value(default)
}

fn number(name: &'static str) -> Arg {
    Arg::new(name).long(name).value_name("N")
}

pub fn read(matches: &ArgMatches) -> BenchProduce {
    let number = |name| required::<u64>(matches, name);
    let given = |name| matches.get_one::<u64>(name).map(|number| *number as usize);
    BenchProduce {
        place: place_of(matches),
        topic: required(matches, "topic"),
        create: matches.get_flag("create"),
        partitions: required(matches, "partitions"),
        records: number("records"),
        warmup_records: number("warmup-records"),
        size: number("size") as usize,
        key_bytes: number("key-bytes") as usize,
        rate: Some(number("rate")).filter(|rate| *rate > 0),
        payload: matches.get_one("payload").cloned(),
        batch_bytes: given("batch-bytes"),
        buffer_bytes: given("buffer-mb").map(|mib| mib << 20),
        idempotence: matches.get_one("idempotence").copied(),
        chosen: Chosen {
            linger: matches.get_one("linger-ms").copied(),
            deadline: None,
            after_deadline: None,
            fence_with: None,
            acks: matches.get_one("acks").copied(),
            compression: compression_of(matches),
        },
        settings: settings_of(matches),
    }
}

fn parse_millis(text: &str) -> Result<Duration, String> {
    let wrong = || "milliseconds, as in 5 or 0.5".to_owned();
    let millis: f64 = text.parse().map_err(|_| wrong())?;
    match (0.0..=86_400_000.0).contains(&millis) {
        true => Ok(Duration::from_nanos((millis * 1e6) as u64)),
        false => Err(wrong()),
    }
}

/// Larger ones do not fit into a request.
const RECORD_BYTES_MAX: u64 = 1 << 30;
/// Ticks of the schedule are counted in microseconds.
const RATE_MAX: u64 = 1_000_000_000;
/// 1 TiB.
const BUFFER_MB_MAX: u64 = 1 << 20;
