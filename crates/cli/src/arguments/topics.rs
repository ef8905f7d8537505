//! `milena topics`.

use clap::{Arg, ArgAction, ArgMatches, value_parser};

use super::{
    Command, Where, flag, json, parse_pair, partitions, place, place_of, reach_arguments, required, settings_of, topic,
};
use crate::settings::Settings;

/// Which cluster, and what it is to know of who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    pub place: Where,
    pub settings: Settings,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateTopic {
    pub access: Access,
    pub topic: String,
    pub partitions: Option<i32>,
    pub replication: Option<i16>,
    pub configs: Vec<(String, String)>,
    pub is_json: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteTopic {
    pub access: Access,
    pub topic: String,
    pub is_json: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListTopics {
    pub access: Access,
    pub with_internal: bool,
    pub is_json: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribeTopic {
    pub access: Access,
    pub topic: String,
    pub is_json: bool,
}

pub fn command() -> clap::Command {
    let create = clap::Command::new("create")
        .about("Makes a topic")
        .arg(topic())
        .arg(partitions())
        .arg(
            Arg::new("replication-factor")
                .long("replication-factor")
                .value_name("N")
                .value_parser(value_parser!(i16).range(1..))
                .help("Copies of each partition; the cluster's default if absent"),
        )
        .arg(
            Arg::new("topic-config")
                .short('c')
                .long("topic-config")
                .value_name("NAME=VALUE")
                .action(ArgAction::Append)
                .value_parser(parse_pair)
                .help("A setting of the topic by Kafka's name, as in max.message.bytes=2000000. May be repeated"),
        )
        .arg(json().help("Prints the topic that was made as a line of JSON"));
    let delete = clap::Command::new("delete")
        .about("Removes a topic with its records")
        .arg(topic())
        .arg(json().help("Prints the topic that was removed as a line of JSON"));
    let list = clap::Command::new("list")
        .about("Prints name, number of partitions and replication factor of each topic, with tabs between")
        .arg(flag("internal").help("Kafka's own topics too"))
        .arg(json().help("Each topic is a line of JSON"));
    let describe = clap::Command::new("describe")
        .about("Prints the partitions of a topic: leader, replicas, offsets, and the settings that it has of its own")
        .arg(topic())
        .arg(json().help("As one line of JSON"));
    clap::Command::new("topics")
        .about("Lists, describes, makes and removes topics")
        .after_help("Exit codes: 0 done; 1 failed midway, or the cluster refuses; 2 usage, or not started (no broker, no such topic); 130 Ctrl-C \
             before its end.")
        // Whichever side of the subcommand they stand on.
        .args(place().into_iter().chain(reach_arguments()).map(|argument| argument.global(true)))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(list)
        .subcommand(describe)
        .subcommand(create)
        .subcommand(delete)
}

pub fn read(matches: &ArgMatches) -> Command {
    match matches.subcommand() {
        Some(("create", matches)) => Command::CreateTopic(CreateTopic {
            access: access_of(matches),
            topic: required(matches, "topic"),
            partitions: matches.get_one("partitions").copied(),
            replication: matches.get_one("replication-factor").copied(),
            configs: matches.get_many("topic-config").into_iter().flatten().cloned().collect(),
            is_json: matches.get_flag("json"),
        }),
        Some(("delete", matches)) => Command::DeleteTopic(DeleteTopic {
            access: access_of(matches),
            topic: required(matches, "topic"),
            is_json: matches.get_flag("json"),
        }),
        Some(("list", matches)) => Command::ListTopics(ListTopics {
            access: access_of(matches),
            with_internal: matches.get_flag("internal"),
            is_json: matches.get_flag("json"),
        }),
        Some(("describe", matches)) => Command::DescribeTopic(DescribeTopic {
            access: access_of(matches),
            topic: required(matches, "topic"),
            is_json: matches.get_flag("json"),
        }),
        _ => unreachable!("clap asks for one of the commands above"),
    }
}

fn access_of(matches: &ArgMatches) -> Access {
    Access { place: place_of(matches), settings: settings_of(matches) }
}
