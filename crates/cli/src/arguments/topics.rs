//! `milena topics`.

use clap::{Arg, ArgAction, ArgMatches, value_parser};

use super::{Command, Where, flag, json, parse_pair, partitions, place, place_of, required, topic};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateTopic {
    pub place: Where,
    pub topic: String,
    pub partitions: Option<i32>,
    pub replication: Option<i16>,
    pub configs: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteTopic {
    pub place: Where,
    pub topic: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListTopics {
    pub place: Where,
    pub with_internal: bool,
    pub is_json: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribeTopic {
    pub place: Where,
    pub topic: String,
    pub is_json: bool,
}

pub fn command() -> clap::Command {
    let create = clap::Command::new("create")
        .about("Makes a topic")
        .arg(topic())
        .args(place())
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
        );
    let delete = clap::Command::new("delete").about("Removes a topic with its records").arg(topic()).args(place());
    let list = clap::Command::new("list")
        .about("Prints name, number of partitions and replication factor of each topic, with tabs between")
        .args(place())
        .arg(flag("internal").help("Kafka's own topics too"))
        .arg(json().help("Each topic is a line of JSON"));
    let describe = clap::Command::new("describe")
        .about("Prints the partitions of a topic: leader, replicas, offsets")
        .arg(topic())
        .args(place())
        .arg(json().help("As one line of JSON"));
    clap::Command::new("topics")
        .about("Lists, describes, makes and removes topics")
        .after_help("Exit codes: 0 done; 1 failed midway; 2 usage, or not started; 130 Ctrl-C before its end.")
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
            place: place_of(matches),
            topic: required(matches, "topic"),
            partitions: matches.get_one("partitions").copied(),
            replication: matches.get_one("replication-factor").copied(),
            configs: matches.get_many("topic-config").into_iter().flatten().cloned().collect(),
        }),
        Some(("delete", matches)) => {
            Command::DeleteTopic(DeleteTopic { place: place_of(matches), topic: required(matches, "topic") })
        }
        Some(("list", matches)) => Command::ListTopics(ListTopics {
            place: place_of(matches),
            with_internal: matches.get_flag("internal"),
            is_json: matches.get_flag("json"),
        }),
        Some(("describe", matches)) => Command::DescribeTopic(DescribeTopic {
            place: place_of(matches),
            topic: required(matches, "topic"),
            is_json: matches.get_flag("json"),
        }),
        _ => unreachable!("clap asks for one of the commands above"),
    }
}
