//! What the input of `milena produce` looks like.

use clap::{Arg, ArgGroup, ArgMatches};

use crate::arguments::{delimiter, flag, json};
use crate::format::Format;
use crate::input::Reading;

pub(super) fn with_arguments(command: clap::Command) -> clap::Command {
    let splits = ["delimiter", "key-delimiter", "lines"];
    command
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
        .group(ArgGroup::new("splits").args(splits).multiple(true).conflicts_with_all(["json", "format"]))
        .group(ArgGroup::new("shape").args(["json", "format"]))
}

pub(super) fn read(matches: &ArgMatches) -> Reading {
    let bytes = |name| matches.get_one::<Vec<u8>>(name).cloned();
    let (delimiter, key_delimiter) = (bytes("delimiter"), bytes("key-delimiter"));
    let has_file = matches.contains_id("file") || (matches.contains_id("topic-option") && matches.contains_id("topic"));
    let is_taken_apart = matches.get_flag("lines") || delimiter.is_some() || key_delimiter.is_some();
    if let Some(format) = matches.get_one::<Format>("format") {
        Reading::Format(format.clone())
    } else if matches.get_flag("json") {
        Reading::Json { keeps_partitions: matches.get_flag("keep-partitions") }
    } else if is_taken_apart || !has_file {
        Reading::Lines { delimiter: delimiter.unwrap_or_else(|| b"\n".to_vec()), key_delimiter }
    } else {
        Reading::Whole
    }
}
