//! `milena audit`.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, ValueHint, value_parser};

use super::{Where, flag, json, place, place_of, reach_arguments, settings_of};
use crate::settings::Settings;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    pub place: Where,
    pub settings: Settings,
    /// At least one; `-` is stdin.
    pub files: Vec<PathBuf>,
    /// Whether the order of records is nothing to be proved.
    pub any_order: bool,
    pub is_json: bool,
}

pub fn command() -> clap::Command {
    clap::Command::new("audit")
        .about("Proves or refutes what produce told of its records, by the log")
        .after_help(
            "Reads the outcomes, then the partitions of their topics, and prints a line for each outcome that is refuted or \
             undecided, and then how many there are of each kind. Nothing is changed.\n\n\
             missing: told to be written, and not in the log; duplicated: in the log more than once; misplaced: in the \
             log elsewhere, or another record is at its offset; falsely_failed: told not to be written, and in the log; \
             wrong_order: behind a record of its run and partition that was accepted after it. undecided: the outcome says \
             unknown, and the audit whether it is in the log. unprovable: what would tell is gone (retention, deleted records, \
             compaction, a topic made anew).\n\n\
             Records are known by their content; give them a --tag in produce, and equal ones are told apart. Kafka's own \
             verifiable producer and milena's can be audited by what they print.\n\n\
             Exit codes: 0 every outcome is proved, or undecided; 1 the log or a line of outcomes could not be read; 2 usage, or not \
             started; 4 some outcomes are refuted, goes before 1 and 5; 5 some can be neither proved nor refuted; 130 Ctrl-C before its end.",
        )
        .arg(
            Arg::new("outcomes")
                .value_name("OUTCOMES")
                .required(true)
                .action(ArgAction::Append)
                .value_parser(value_parser!(PathBuf))
                .value_hint(ValueHint::FilePath)
                .help("Files that produce --outcomes wrote; - is stdin"),
        )
        .args(place())
        .arg(json().help("Each line is JSON; the last one has the counts"))
        .arg(flag("any-order").help("Records may stand in another order than they were accepted in, as without idempotence"))
        .args(reach_arguments())
}

pub fn read(matches: &ArgMatches) -> Audit {
    Audit {
        place: place_of(matches),
        settings: settings_of(matches),
        files: matches.get_many("outcomes").into_iter().flatten().cloned().collect(),
        any_order: matches.get_flag("any-order"),
        is_json: matches.get_flag("json"),
    }
}
