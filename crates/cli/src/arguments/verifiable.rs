//! `milena verifiable-producer`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, value_parser};
use milena::Acks;

use super::{Where, duration, parse_pair, place, place_of, required, settings_of};
use crate::settings::Settings;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiableProducer {
    pub place: Where,
    pub settings: Settings,
    pub topic: String,
    /// None: until it is ended.
    pub messages_max: Option<u64>,
    /// Records a second. None: as many as are taken.
    pub throughput: Option<u64>,
    pub acks: Acks,
    /// When the first record says that it was made, in milliseconds since 1970.
    pub create_time: Option<i64>,
    pub value_prefix: Option<i64>,
    /// How many keys there are in turn. None: records have no keys.
    pub repeating_keys: Option<u64>,
    pub deadline: Option<Duration>,
    pub close_timeout: Option<Duration>,
}

pub fn command() -> clap::Command {
    clap::Command::new("verifiable-producer")
        .about("Sends increasing numbers, and prints what became of each as Kafka's system tests read it")
        .after_help(
            "Takes the arguments of kafka-verifiable-producer.sh, and prints its events, a line of JSON each: startup_complete, \
             producer_send_success, producer_send_error, shutdown_complete, tool_data. Unlike there records are sent again until \
             their deadline, an error means that the record is certainly not written, and one that may be written or not is a \
             producer_send_unknown, which a producer_send_settled follows. milena audit proves what was told.\n\n\
             Ctrl-C and SIGTERM end it: what was sent is waited for, and then the last events are told.\n\n\
             Exit codes: 0 ended, whatever became of the records; 1 stdout cannot be written; 2 usage, or not started; 130 Ctrl-C \
             before it began.",
        )
        .arg(Arg::new("topic").long("topic").value_name("TOPIC").required(true).help("The topic's name"))
        .args(place())
        .arg(limit("max-messages", "N", "So many records, and then it ends; -1 is until it is ended"))
        .arg(limit("throughput", "N", "At most so many records a second; -1 is as many as are taken"))
        .arg(super::produce::acks().default_value("-1"))
        .arg(
            limit("message-create-time", "MILLIS", "Records say that they were made from then on, in milliseconds since 1970")
                .value_parser(value_parser!(i64).range(-1..)),
        )
        .arg(
            Arg::new("value-prefix")
                .long("value-prefix")
                .value_name("N")
                .allow_negative_numbers(true)
                .value_parser(value_parser!(i64))
                .help("Each value is this, a dot and its number, instead of its number alone"),
        )
        .arg(
            Arg::new("repeating-keys")
                .long("repeating-keys")
                .value_name("N")
                .value_parser(value_parser!(u64).range(1..))
                .help("Each record has a key: 0 and so on, below N, and then 0 again"),
        )
        .arg(
            Arg::new("config")
                .long("command-config")
                .visible_alias("producer.config")
                .visible_alias("config")
                .short('F')
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("A file of settings by the names of Java's producer or librdkafka"),
        )
        .arg(
            Arg::new("property")
                .short('X')
                .value_name("NAME=VALUE")
                .action(ArgAction::Append)
                .value_parser(parse_pair)
                .help("Such a setting; goes before the file, and the other options before both"),
        )
        .arg(duration("deadline").help("When the outcome of a record is told at the latest; 30s if absent"))
        .arg(duration("close-timeout").help(
            "How long is waited in the end for what was sent to be answered; delivery.timeout.ms if absent",
        ))
}

/// Nothing below -1, which is none.
fn limit(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name(value)
        .default_value("-1")
        .allow_negative_numbers(true)
        .value_parser(value_parser!(i64).range(-1..))
        .help(help)
}

pub fn read(matches: &ArgMatches) -> VerifiableProducer {
    let unless_none = |name| u64::try_from(required::<i64>(matches, name)).ok();
    VerifiableProducer {
        place: place_of(matches),
        settings: settings_of(matches),
        topic: required(matches, "topic"),
        messages_max: unless_none("max-messages"),
        throughput: unless_none("throughput"),
        acks: required(matches, "acks"),
        create_time: Some(required::<i64>(matches, "message-create-time")).filter(|time| *time >= 0),
        value_prefix: matches.get_one("value-prefix").copied(),
        repeating_keys: matches.get_one("repeating-keys").copied(),
        deadline: matches.get_one("deadline").copied(),
        close_timeout: matches.get_one("close-timeout").copied(),
    }
}
