//! `milena produce`.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgGroup, ArgMatches, value_parser};
use milena::{Acks, Compression};

use super::{
    Where, duration, flag, json, partitions, place, place_of, required, settings_arguments, settings_of, topic,
};
use crate::format::{Format, unescape};
use crate::input::Reading;
use crate::settings::Settings;
use crate::times::parse_duration;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Produce {
    pub place: Where,
    pub topic: String,
    pub create: bool,
    pub partitions: Option<i32>,
    /// None: stdin.
    pub files: Vec<PathBuf>,
    pub reading: Reading,
    pub dress: Dress,
    pub outcomes: Option<PathBuf>,
    pub settings: Settings,
    pub chosen: Chosen,
    pub close_timeout: Duration,
}

/// What every record gets, whatever the input says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dress {
    pub key: Option<String>,
    pub headers: Vec<(String, Option<String>)>,
    pub partition: Option<i32>,
    /// Whether an empty key or value means null.
    pub empty_is_null: bool,
    /// The header that tells records apart.
    pub tag: Option<String>,
}

/// Settings with options of their own. None: as the properties say, or the library does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    pub linger: Option<Duration>,
    pub deadline: Option<Duration>,
    pub acks: Option<Acks>,
    /// In order of preference, with a level or the codec's own.
    pub compression: Vec<(Compression, Option<i32>)>,
}

pub fn command() -> clap::Command {
    clap::Command::new("produce")
        .about("Sends each line of stdin, or of files, as a record")
        .after_help(
            "A record's value is the line without its LF; CR and bytes that are not UTF-8 stay, and an empty line is a \
             record with an empty value. Ctrl-C sends what was read, within --close-timeout, and reports; a second one \
             ends at once. Either way the exit code speaks of the records read so far; it is 130 only before the \
             first could be read.\n\n\
             --format: %k %v key and value, %K %V their lengths (-1 is null), %p partition, %d timestamp (ms; %d{s}, \
             %d{rfc3339}), %H number of headers, %h{%k=%v,} what each looks like, %% %{ %}; \\n \\t \\r \\0 \\\\ \\xNN. Text can be \
             {hex} or {base64}; numbers {big32}, {little16}, {hex8} and so on. A part ends where its length says, if that \
             comes first, or at the text behind it: '%k %v\\n', '%K{big32}%k%V{big32}%v'.\n\n\
             --json: {\"key\":\"a\",\"value\":\"b\",\"headers\":[{\"key\":\"c\",\"value\":\"d\"}],\"timestamp\":0}, as \
             consume --json prints it; bytes that are no text as \"value_base64\", any other JSON as it is written.\n\n\
             Exit codes: 0 every record is written; 1 some are not, and it is known which; 2 usage, or not started; 3 some \
             may be written or not; 130 Ctrl-C before the first record could be read.",
        )
        .arg(topic())
        .arg(
            Arg::new("file")
                .value_name("FILE")
                .action(ArgAction::Append)
                .value_parser(value_parser!(PathBuf))
                .help("Instead of stdin; each is one value, unless --lines, --json, --format, -K or -D take it apart"),
        )
        .args(place())
        .arg(flag("create").help("Makes the topic if it is missing; the embedded broker always does"))
        .arg(partitions())
        .next_help_heading("What the input looks like")
        .arg(flag("lines").short('l').help("Each line of the files is a record, as those of stdin are"))
        .arg(json().help("Each line is a record in JSON"))
        .arg(
            flag("keep-partitions")
                .requires("json")
                .conflicts_with("partition")
                .help("With --json: a record goes to the partition that its line names"),
        )
        .arg(
            Arg::new("format")
                .short('f')
                .long("format")
                .value_name("FORMAT")
                .allow_hyphen_values(true)
                .value_parser(|text: &str| Format::for_input(text))
                .help("What a record looks like, as in '%k %v\\n'"),
        )
        .arg(delimiter("delimiter", 'D').help("What ends a line, instead of LF, as in '\\0'"))
        .arg(delimiter("key-delimiter", 'K').help("What stands between key and value; a line without it has no key"))
        .group(ArgGroup::new("splits").args(["delimiter", "key-delimiter", "lines"]).multiple(true).conflicts_with_all(["json", "format"]))
        .group(ArgGroup::new("shape").args(["json", "format"]))
        .next_help_heading("What each record gets")
        .arg(Arg::new("key").short('k').long("key").value_name("KEY").allow_hyphen_values(true).conflicts_with("key-delimiter").help("This key, whatever the input says"))
        .arg(
            Arg::new("header")
                .short('H')
                .long("header")
                .value_name("NAME=VALUE")
                .action(ArgAction::Append)
                .value_parser(parse_header)
                .help("This header too; NAME alone has no value (null). May be repeated"),
        )
        .arg(flag("null").short('Z').help("An empty value or key becomes null"))
        .arg(
            Arg::new("partition")
                .short('p')
                .long("partition")
                .value_name("N")
                .value_parser(value_parser!(i32).range(0..))
                .help("Goes to this partition, whatever the input says"),
        )
        .arg(
            Arg::new("tag")
                .long("tag")
                .value_name("NAME")
                .value_parser(parse_tag)
                .help("A header of this name that no other record has: a number of this run, a dash and the record's line"),
        )
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
        .arg(compression())
        .arg(acks())
        .args(settings_arguments())
        .arg(duration("close-timeout").default_value("5s").help("How long Ctrl-C waits for what was read to be sent and answered"))
}

pub(super) fn compression() -> Arg {
    Arg::new("compression")
        .short('z')
        .long("compression")
        .value_name("CODEC[:LEVEL]")
        .value_delimiter(',')
        .value_parser(parse_compression)
        .help("none, gzip, snappy, lz4 or zstd, with a level as in zstd:6; of several the first that the broker takes")
}

pub(super) fn acks() -> Arg {
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

fn delimiter(name: &'static str, short: char) -> Arg {
    Arg::new(name).short(short).long(name).value_name("DELIMITER").allow_hyphen_values(true).value_parser(unescape)
}

pub fn read(matches: &ArgMatches) -> Result<Produce, clap::Error> {
    let produce = Produce {
        place: place_of(matches),
        topic: required(matches, "topic"),
        create: matches.get_flag("create"),
        partitions: matches.get_one("partitions").copied(),
        files: matches.get_many("file").into_iter().flatten().cloned().collect(),
        reading: reading(matches),
        dress: Dress {
            key: matches.get_one("key").cloned(),
            headers: matches.get_many("header").into_iter().flatten().cloned().collect(),
            partition: matches.get_one("partition").copied(),
            empty_is_null: matches.get_flag("null"),
            tag: matches.get_one("tag").cloned(),
        },
        outcomes: matches.get_one("outcomes").cloned(),
        settings: settings_of(matches),
        chosen: Chosen {
            linger: matches.get_one("linger").copied(),
            deadline: matches.get_one("deadline").copied(),
            acks: matches.get_one("acks").copied(),
            compression: compression_of(matches),
        },
        close_timeout: required(matches, "close-timeout"),
    };
    may_create(produce)
}

pub(super) fn compression_of(matches: &ArgMatches) -> Vec<(Compression, Option<i32>)> {
    matches.get_many("compression").into_iter().flatten().copied().collect()
}

fn reading(matches: &ArgMatches) -> Reading {
    let bytes = |name| matches.get_one::<Vec<u8>>(name).cloned();
    let (delimiter, key_delimiter) = (bytes("delimiter"), bytes("key-delimiter"));
    let is_taken_apart = matches.get_flag("lines") || delimiter.is_some() || key_delimiter.is_some();
    if let Some(format) = matches.get_one::<Format>("format") {
        Reading::Format(format.clone())
    } else if matches.get_flag("json") {
        Reading::Json { keeps_partitions: matches.get_flag("keep-partitions") }
    } else if is_taken_apart || !matches.contains_id("file") {
        Reading::Lines { delimiter: delimiter.unwrap_or_else(|| b"\n".to_vec()), key_delimiter }
    } else {
        Reading::Whole
    }
}

/// A topic of a named cluster is made only if that is asked for, so a number of partitions alone is a mistake there.
fn may_create(produce: Produce) -> Result<Produce, clap::Error> {
    match produce {
        Produce { place: Where::Named(_), create: false, partitions: Some(_), .. } => Err(command()
            .bin_name("milena produce")
            .error(ErrorKind::MissingRequiredArgument, "with --bootstrap-server, --partitions needs --create")),
        produce => Ok(produce),
    }
}

fn parse_header(text: &str) -> Result<(String, Option<String>), String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    };
    match name.is_empty() {
        true => Err("a header has a name: use NAME=VALUE, or NAME alone for one without a value".to_owned()),
        false => Ok((name.to_owned(), value)),
    }
}

fn parse_tag(text: &str) -> Result<String, String> {
    match text.is_empty() {
        true => Err("a header has a name, as in --tag milena-tag".to_owned()),
        false => Ok(text.to_owned()),
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
    Ok((codec, level))
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
