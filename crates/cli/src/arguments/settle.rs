//! `milena settle`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgMatches, ValueHint, value_parser};

use super::{Where, duration, json, place, place_of, reach_arguments, required, settings_of};
use crate::settings::Settings;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settle {
    pub place: Where,
    pub settings: Settings,
    pub journal: PathBuf,
    pub fence: Option<Vec<u8>>,
    pub fence_key: Option<Vec<u8>>,
    pub timeout: Option<Duration>,
    pub expiration: Option<Duration>,
    pub is_json: bool,
}

pub fn command() -> clap::Command {
    clap::Command::new("settle")
        .about("Tells what became of the batches that a killed producer left in its fate journal")
        .after_help(
            "Reads the journal that produce -X milena.fate.journal=JOURNAL, or a program with the library, left, then the \
             partitions that it names, and prints a line for each batch that was in doubt: written, not written (and never \
             will be), or undetermined, and why.\n\n\
             What is found is written. That something is not there proves nothing without a fence: --fence-with writes one \
             record to each partition in question, once however often the journal is settled, which keeps late copies out. \
             Nothing else is changed in the cluster; what is proved is noted in the journal, and told again by the next run.\n\n\
             Exit codes: 0 every batch is settled; 1 lines of the journal could not be read, or written; 2 usage, or not started: the \
             journal is in use (its producer is alive), missing or no journal, or no broker can be reached; 3 some batches \
             are undetermined, goes before 1; 130 Ctrl-C before its end.",
        )
        .arg(
            Arg::new("journal")
                .value_name("JOURNAL")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .value_hint(ValueHint::FilePath)
                .help("The file that the producer had as milena.fate.journal"),
        )
        .args(place())
        .arg(
            Arg::new("fence-with")
                .long("fence-with")
                .value_name("VALUE")
                .value_parser(value_parser!(OsString))
                .help("Writes a record with this value to each partition in question, so that what is not there can be told"),
        )
        .arg(
            Arg::new("fence-key")
                .long("fence-key")
                .value_name("KEY")
                .requires("fence-with")
                .value_parser(value_parser!(OsString))
                .help("The key of that record; a compacted topic needs one"),
        )
        .arg(duration("timeout").help("How long a partition may bring nothing new; default.api.timeout.ms, or else 30s, if absent"))
        .arg(
            duration("producer-id-expiration")
                .help("The brokers' producer.id.expiration.ms, 24h if absent: what is older than half of it is not told to be absent"),
        )
        .arg(json().help("Each line is JSON; the last one has the counts"))
        .args(reach_arguments())
}

pub fn read(matches: &ArgMatches) -> Settle {
    let bytes = |name| matches.get_one::<OsString>(name).map(|value| value.clone().into_encoded_bytes());
    Settle {
        place: place_of(matches),
        settings: settings_of(matches),
        journal: required(matches, "journal"),
        fence: bytes("fence-with"),
        fence_key: bytes("fence-key"),
        timeout: matches.get_one("timeout").copied(),
        expiration: matches.get_one("producer-id-expiration").copied(),
        is_json: matches.get_flag("json"),
    }
}
