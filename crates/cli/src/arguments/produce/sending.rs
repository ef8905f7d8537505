//! How records are sent.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Arg, ArgMatches, value_parser};
use milena::{Acks, AfterDeadline, Compression};

use crate::arguments::{duration, settings_arguments};
use crate::times::parse_duration;

/// Settings with options of their own. None: as the properties say, or the library does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    pub linger: Option<Duration>,
    pub deadline: Option<Duration>,
    pub after_deadline: Option<AfterDeadline>,
    /// The value of a record that settles what is in doubt where nothing else is sent.
    pub fence_with: Option<Vec<u8>>,
    pub acks: Option<Acks>,
    /// In order of preference, with a level or the codec's own.
    pub compression: Vec<(Compression, Option<i32>)>,
}

pub(super) fn with_arguments(command: clap::Command) -> clap::Command {
    command
        .next_help_heading("How it is sent")
        .arg(
            Arg::new("outcomes")
                .long("outcomes")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Writes a line of JSON for what became of each record (- is stdout); an unknown one gets a second, when it is settled"),
        )
        .arg(duration("linger").help("How long a batch may fill before it is sent; 5ms if absent"))
        .arg(
            duration("deadline")
                .value_parser(parse_deadline)
                .help("When the outcome of a record is told at the latest; at most 720m, 30s if absent"),
        )
        .arg(after_deadline())
        .arg(
            Arg::new("fence-with")
                .long("fence-with")
                .value_name("VALUE")
                .value_parser(value_parser!(OsString))
                .help("Sends a record with this value where something was given up and nothing follows, so that its end can be told"),
        )
        .arg(compression())
        .arg(acks())
        .args(settings_arguments())
        .arg(duration("close-timeout").help(
            "How long is waited in the end: after Ctrl-C for what was read to be sent and answered, 5s if absent; at the end of \
             the input for what is unknown at its deadline to be settled, delivery.timeout.ms if absent",
        ))
}

pub(in crate::arguments) fn compression() -> Arg {
    Arg::new("compression")
        .short('z')
        .long("compression")
        .value_name("CODEC[:LEVEL]")
        .value_delimiter(',')
        .value_parser(Codecs)
        .hide_possible_values(true)
        .help("none, gzip, snappy, lz4 or zstd, with a level as in zstd:6 or zstd:-5; of several the first that the broker takes")
}

fn after_deadline() -> Arg {
    let names = PossibleValuesParser::new(["complete", "withdraw"]);
    Arg::new("after-deadline")
        .long("after-deadline")
        .value_name("POLICY")
        .value_parser(names.map(|name| match &*name {
            "withdraw" => AfterDeadline::Withdraw,
            _ => AfterDeadline::Complete,
        }))
        .help(
            "What becomes of a record that was sent and not answered by then: it is sent until it is (complete), or no more, \
             and whether it was written is looked up (withdraw); complete if absent",
        )
}

pub(in crate::arguments) fn acks() -> Arg {
    let names = PossibleValuesParser::new(["all", "1", "0", "-1"]);
    Arg::new("acks")
        .short('a')
        .long("acks")
        .value_name("ACKS")
        .allow_negative_numbers(true)
        .value_parser(names.map(|name| match &*name {
            "1" => Acks::Leader,
            "0" => Acks::None,
            _ => Acks::All,
        }))
        .help("Who has to have a record before it counts as written: all in sync, the leader (1), nobody (0); all if absent")
}

pub(super) fn read(matches: &ArgMatches) -> Chosen {
    Chosen {
        linger: matches.get_one("linger").copied(),
        deadline: matches.get_one("deadline").copied(),
        after_deadline: matches.get_one("after-deadline").copied(),
        fence_with: matches.get_one::<OsString>("fence-with").map(|value| value.clone().into_encoded_bytes()),
        acks: matches.get_one("acks").copied(),
        compression: compression_of(matches),
    }
}

pub(in crate::arguments) fn compression_of(matches: &ArgMatches) -> Vec<(Compression, Option<i32>)> {
    matches.get_many("compression").into_iter().flatten().copied().collect()
}

/// Parses a codec with its level, and tells shells the codecs' names.
#[derive(Clone, Copy)]
struct Codecs;

impl TypedValueParser for Codecs {
    type Value = (Compression, Option<i32>);

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&Arg>,
        text: &OsStr,
    ) -> Result<Self::Value, clap::Error> {
        parse_compression.parse_ref(command, argument, text)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(["none", "gzip", "snappy", "lz4", "zstd"].into_iter().map(PossibleValue::new)))
    }
}

fn parse_compression(text: &str) -> Result<(Compression, Option<i32>), String> {
    let (name, level) = match text.split_once(':') {
        Some((name, level)) => (name, Some(level)),
        None => (text, None),
    };
    let codec = match name {
        "none" => Compression::None,
        "gzip" => Compression::Gzip,
        "snappy" => Compression::Snappy,
        "lz4" => Compression::Lz4,
        "zstd" => Compression::Zstd,
        _ => return Err("use none, gzip, snappy, lz4 or zstd".to_owned()),
    };
    let level = level.map(str::parse).transpose().map_err(|_| "a level is a whole number, as in zstd:6".to_owned())?;
    if let Some(level) = level {
        check_level(codec, level)?;
    }
    Ok((codec, level))
}

/// As the library checks it, in terms of what was typed.
fn check_level(codec: Compression, level: i32) -> Result<(), String> {
    let why = match codec {
        Compression::Gzip if !(1..=9).contains(&level) => "the level of gzip must be 1 to 9",
        Compression::Zstd if !(-131_072..=22).contains(&level) => "the level of zstd must be -131072 to 22",
        Compression::Snappy => "snappy has no levels; use snappy alone, or gzip or zstd",
        Compression::Lz4 => "lz4 is written at one level here; use lz4 alone, or gzip or zstd",
        Compression::None => "without a codec there is no level; use none alone, or gzip or zstd",
        _ => return Ok(()),
    };
    Err(why.to_owned())
}

fn parse_deadline(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        deadline if deadline <= DEADLINE_MAX => Ok(deadline),
        _ => Err("at most 720m, 12 hours".to_owned()),
    }
}

/// The library retries a record at least until its deadline, and no longer than this: half of what brokers remember of a
/// producer.
const DEADLINE_MAX: Duration = Duration::from_secs(12 * 3600);
