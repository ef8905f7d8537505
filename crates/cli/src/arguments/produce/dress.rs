//! What every record gets, whatever the input says.

use clap::{Arg, ArgAction, ArgMatches, value_parser};

use crate::arguments::flag;

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
                .help("This key, whatever the input says"),
        )
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
            Arg::new("tag").long("tag").value_name("NAME").value_parser(parse_tag).help(
                "A header of this name that no other record has: a number of this run, a dash and the record's line",
            ),
        )
}

pub(super) fn read(matches: &ArgMatches) -> Dress {
    Dress {
        key: matches.get_one("key").cloned(),
        headers: matches.get_many("header").into_iter().flatten().cloned().collect(),
        partition: matches.get_one("partition").copied(),
        empty_is_null: matches.get_flag("null"),
        tag: matches.get_one("tag").cloned(),
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
