//! `milena produce`.

mod dress;
mod reading;
mod sending;

use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, value_parser};

pub use self::dress::Dress;
pub use self::sending::Chosen;
pub(super) use self::sending::{acks, compression, compression_of};
use super::{Where, flag, partitions, place, place_of, required, settings_of, topic_either_way};
use crate::input::Reading;
use crate::settings::Settings;

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
    /// None: at the end of the input as long as records are sent again, after Ctrl-C a few seconds.
    pub close_timeout: Option<Duration>,
}

pub fn command() -> clap::Command {
    let command = clap::Command::new("produce")
        .about("Sends each line of stdin, or of files, as a record")
        .after_help(
            "A record's value is the line without its LF; CR and bytes that are not UTF-8 stay, and an empty line is a \
             record with an empty value. Ctrl-C sends what was read, within --close-timeout, and reports; a second one \
             ends at once. At the end of the input each record is waited for until its --deadline, and for \
             --close-timeout what is unknown then. Either way the exit code speaks of the records read so far; it is 130 only before the \
             first could be read.\n\n\
             --format: %k %v key and value, %K %V their lengths (-1 is null), %p partition, %d timestamp (ms; %d{s}, \
             %d{rfc3339}, %d{strftime[%F %T]}), %H number of headers, %h{%k=%v,} what each looks like, %% %{ %}; \\n \\t \\r \\0 \\\\ \\xNN. Text can be \
             {hex}, {base64} or {json}; numbers {big32}, {little16}, {hex8} and so on. A part ends where its length says, if that \
             comes first, or at the text behind it: '%k %v\\n', '%K{big32}%k%V{big32}%v'.\n\n\
             --json: {\"key\":\"a\",\"value\":\"b\",\"headers\":[{\"key\":\"c\",\"value\":\"d\"}],\"timestamp\":0}, as \
             consume --json prints it; bytes that are no text as \"value_base64\", any other JSON as it is written.\n\n\
             Exit codes: 0 every record is written; 1 some are not, and it is known which; 2 usage, or not started; 3 some \
             may be written or not; 130 Ctrl-C before the first record could be read.",
        )
        .args(topic_either_way())
        .arg(
            Arg::new("file")
                .value_name("FILE")
                .action(ArgAction::Append)
                .value_parser(value_parser!(PathBuf))
                .help("Instead of stdin; each is one value, unless --lines, --json, --format, -K or -D take it apart"),
        )
        .args(place())
        .arg(flag("create").help("Makes the topic if it is missing; the embedded broker always does"))
        .arg(partitions());
    sending::with_arguments(dress::with_arguments(reading::with_arguments(command)))
}

pub fn read(matches: &ArgMatches) -> Result<Produce, clap::Error> {
    let (topic, first) = match matches.get_one::<String>("topic-option") {
        // Then every argument is a file.
        Some(topic) => (topic.clone(), matches.get_one::<String>("topic").map(PathBuf::from)),
        None => (required(matches, "topic"), None),
    };
    let produce = Produce {
        place: place_of(matches),
        topic,
        create: matches.get_flag("create"),
        partitions: matches.get_one("partitions").copied(),
        files: first.into_iter().chain(matches.get_many("file").into_iter().flatten().cloned()).collect(),
        reading: reading::read(matches),
        dress: dress::read(matches),
        outcomes: matches.get_one("outcomes").cloned(),
        settings: settings_of(matches),
        chosen: sending::read(matches),
        close_timeout: matches.get_one("close-timeout").copied(),
    };
    may_create(produce)
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
