//! What every record gets, whatever the input says.

use std::ffi::OsString;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Arg, ArgAction, ArgMatches};

use crate::arguments::{flag, partition, partition_of};

/// What every record gets, whatever the input says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dress {
    pub key: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    pub partition: Option<i32>,
    /// Whether an empty key or value means null.
    pub empty_is_null: bool,
    /// The header that tells records apart.
    pub tag: Option<String>,
}

pub(super) fn with_arguments(command: clap::Command) -> clap::Command {
    command
        .next_help_heading("What each record gets")
        .arg(
            Arg::new("key")
                .short('k')
                .long("key")
                .value_name("KEY")
                .allow_hyphen_values(true)
                .conflicts_with("key-delimiter")
                .value_parser(OsStringValueParser::new().map(OsString::into_encoded_bytes))
                .help("This key, whatever the input says"),
        )
        .arg(
            Arg::new("header")
                .short('H')
                .long("header")
                .value_name("NAME=VALUE")
                .action(ArgAction::Append)
                .value_parser(OsStringValueParser::new().try_map(parse_header))
                .help("This header too; NAME alone has no value (null). May be repeated"),
        )
        .arg(flag("null").short('Z').help("An empty value or key becomes null"))
        .arg(partition().help("Goes to this partition, whatever the input says; -1 is any"))
        .arg(
            Arg::new("tag").long("tag").value_name("NAME").value_parser(OsStringValueParser::new().try_map(parse_tag)).help(
                "A header of this name that no other record has: a number of this run, a dash and the record's line",
            ),
        )
}

pub(super) fn read(matches: &ArgMatches) -> Dress {
    Dress {
        key: matches.get_one("key").cloned(),
        headers: matches.get_many("header").into_iter().flatten().cloned().collect(),
        partition: partition_of(matches),
        empty_is_null: matches.get_flag("null"),
        tag: matches.get_one("tag").cloned(),
    }
}

/// On Unix these are the bytes that were typed; elsewhere they are UTF-8, or what stands for the rest of the system's text.
fn parse_header(text: OsString) -> Result<(String, Option<Vec<u8>>), String> {
    let mut name = text.into_encoded_bytes();
    let value = name.iter().position(|byte| *byte == b'=').map(|at| {
        let value = name.split_off(at + 1);
        name.truncate(at);
        value
    });
    match String::from_utf8(name) {
        Ok(name) if name.is_empty() => {
            Err("a header has a name: use NAME=VALUE, or NAME alone for one without a value".to_owned())
        }
        Ok(name) => Ok((name, value)),
        Err(_) => Err("the name of a header is UTF-8; only its value may be any bytes".to_owned()),
    }
}

fn parse_tag(text: OsString) -> Result<String, String> {
    match text.into_string() {
        Ok(name) if name.is_empty() => Err("a header has a name, as in --tag milena-tag".to_owned()),
        Ok(name) => Ok(name),
        Err(_) => Err("the name of a header is UTF-8".to_owned()),
    }
}
