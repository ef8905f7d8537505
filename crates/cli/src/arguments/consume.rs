//! `milena consume`.

use std::fmt;

use clap::{Arg, ArgGroup, ArgMatches, value_parser};

use super::{
    Where, delimiter, flag, json, partition, partition_of, place, place_of, reach_arguments, required, settings_of,
    topic_either_way,
};
use crate::format::Format;
use crate::settings::Settings;
use crate::times;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consume {
    pub place: Where,
    pub settings: Settings,
    pub topic: String,
    pub partition: Option<i32>,
    pub from: Position,
    pub to: Position,
    /// None: all of them.
    pub count: Option<u64>,
    pub shape: Shape,
    /// In place of a key or value that is null.
    pub null: &'static [u8],
}

/// What a record is printed as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    Format(Format),
    Json,
}

/// A place in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// So many offsets after the first.
    Start(i64),
    /// So many before the end.
    End(i64),
    Offset(i64),
    /// The first record of this time, in milliseconds since 1970, or later.
    Time(i64),
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(0) => f.write_str("start"),
            Self::End(0) => f.write_str("end"),
            Self::Start(after) => write!(f, "+{after}"),
            Self::End(before) => write!(f, "-{before}"),
            Self::Offset(offset) => offset.fmt(f),
            Self::Time(millis) => write!(f, "@{}", times::rfc3339(*millis)),
        }
    }
}

pub fn command() -> clap::Command {
    clap::Command::new("consume")
        .about("Prints the value of each record and an LF")
        .after_help(
            "Partitions are printed one after the other, each in its order. A record without a value (null) is an empty \
             line, or NULL with -Z. Records of aborted transactions are printed.\n\n\
             PLACE: start, end, an offset, +N (so many after the start), -N (so many before the end), or a time: @ and milliseconds since 1970, \
             @2026-01-31, @2026-01-31T12:00:00Z, or how long ago, @-1h. A time stands for the first record of then or \
             later.\n\n\
             --format: %t %p %o topic, partition and offset, %k %v key and value, %T %K %V lengths (-1 is null), %d timestamp \
             (ms; %d{s}, %d{rfc3339}, %d{strftime[%F %T]}, %d{go[2006-01-02]}), %a{compression} and other attributes, %x %y producer id and \
             epoch, %e leader epoch, %[ %| %] first, stable and end offset, %H number of headers, %h{%k=%v } what each looks like, %i records so far, %% %{ %}; \
             \\n \\t \\r \\0 \\\\ \\xNN. Text can be {hex}, {base64} or {unpack[>iq]}; numbers {big32}, {little16}, {hex8} and so on.\n\n\
             Exit codes: 0 done; 1 failed midway; 2 usage, or not started; 130 Ctrl-C before its end.",
        )
        .args(topic_either_way())
        .group(ArgGroup::new("topics").args(["topic", "topic-option"]))
        .args(place())
        .arg(partition().help("This partition only; -1 is all"))
        .arg(position("from", "start").short('o').help("The first record that is printed"))
        .arg(position("to", "end").help("The first record that is not printed any more"))
        .arg(
            Arg::new("count")
                .short('c')
                .long("count")
                .value_name("N")
                .value_parser(value_parser!(u64).range(1..))
                .help("At most so many records"),
        )
        .arg(
            Arg::new("format")
                .short('f')
                .long("format")
                .value_name("FORMAT")
                .allow_hyphen_values(true)
                .value_parser(|text: &str| Format::for_output(text))
                .help("What a record is printed as, as in '%o %k %v\\n'"),
        )
        .arg(json().help("Each record is a line of JSON"))
        .arg(delimiter("delimiter", 'D').help("What ends a record, instead of LF, as in '\\0'"))
        .arg(delimiter("key-delimiter", 'K').help("Prints the key and this before the value"))
        .group(
            ArgGroup::new("splits").args(["delimiter", "key-delimiter"]).multiple(true).conflicts_with_all(["json", "format"]),
        )
        .group(ArgGroup::new("shape").args(["json", "format"]))
        .arg(flag("null").short('Z').conflicts_with("json").help("Prints NULL for a key or value that is null"))
        .args(reach_arguments())
}

pub fn read(matches: &ArgMatches) -> Consume {
    let bytes = |name| matches.get_one::<Vec<u8>>(name).map(Vec::as_slice);
    let shape = match matches.get_one::<Format>("format") {
        Some(format) => Shape::Format(format.clone()),
        None if matches.get_flag("json") => Shape::Json,
        None => Shape::Format(Format::of_lines(bytes("key-delimiter"), bytes("delimiter").unwrap_or(b"\n"))),
    };
    Consume {
        place: place_of(matches),
        settings: settings_of(matches),
        topic: if matches.contains_id("topic-option") {
            required(matches, "topic-option")
        } else {
            required(matches, "topic")
        },
        partition: partition_of(matches),
        from: required(matches, "from"),
        to: required(matches, "to"),
        count: matches.get_one("count").copied(),
        shape,
        null: if matches.get_flag("null") { b"NULL" } else { b"" },
    }
}

fn position(name: &'static str, default: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name("PLACE")
        .default_value(default)
        .allow_hyphen_values(true)
        .value_parser(parse_position)
}

fn parse_position(text: &str) -> Result<Position, String> {
    let wrong = || "start, end, an offset, +N after the start, -N before the end, or a time as in @-1h".to_owned();
    let number = |digits: &str| match digits.bytes().all(|byte| byte.is_ascii_digit()) {
        true => digits.parse::<i64>().map_err(|_| wrong()),
        false => Err(wrong()),
    };
    match text {
        "start" | "beginning" | "earliest" => Ok(Position::Start(0)),
        "end" | "latest" => Ok(Position::End(0)),
        _ => match (text.as_bytes().first(), text.get(1..)) {
            (Some(b'@'), Some(time)) => times::parse_moment(time, times::now()).map(Position::Time),
            (Some(b'+'), Some(after)) => number(after).map(Position::Start),
            (Some(b'-'), Some(before)) => number(before).map(Position::End),
            _ => number(text).map(Position::Offset),
        },
    }
}
