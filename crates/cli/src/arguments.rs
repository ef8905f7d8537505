//! What the user asks for: the arguments, checked, as one value per command.

mod audit;
mod bench;
mod broker;
mod consume;
mod produce;
mod settle;
mod topics;
mod verifiable;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, ValueHint, value_parser};
use clap_complete::Shell;

use crate::format::unescape;
use crate::settings::Settings;
use crate::times::parse_duration;

/// A command with its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Produce(Produce),
    Consume(Consume),
    Audit(Audit),
    Settle(Settle),
    CreateTopic(CreateTopic),
    DeleteTopic(DeleteTopic),
    ListTopics(ListTopics),
    DescribeTopic(DescribeTopic),
    BenchProduce(BenchProduce),
    VerifiableProducer(VerifiableProducer),
    Broker(Broker),
    Completion(Shell),
}

/// Which cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Where {
    /// The one that has these brokers.
    Named(Vec<String>),
    /// The embedded one with its data here.
    Embedded(PathBuf),
}

pub use self::audit::Audit;
pub use self::bench::BenchProduce;
pub use self::broker::Broker;
pub use self::consume::{Consume, Position, Shape};
pub use self::produce::{Chosen, Dress, Produce};
pub use self::settle::Settle;
pub use self::topics::{Access, CreateTopic, DeleteTopic, DescribeTopic, ListTopics};
pub use self::verifiable::VerifiableProducer;

/// The command line as values, or what clap has to say: a mistake, help, the version.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, clap::Error> {
    let matches = command().try_get_matches_from(arguments)?;
    Ok(match matches.subcommand() {
        Some(("produce", matches)) => Command::Produce(produce::read(matches)?),
        Some(("consume", matches)) => Command::Consume(consume::read(matches)),
        Some(("audit", matches)) => Command::Audit(audit::read(matches)),
        Some(("settle", matches)) => Command::Settle(settle::read(matches)),
        Some(("topics", matches)) => topics::read(matches),
        Some(("bench", matches)) => match matches.subcommand() {
            Some(("produce", matches)) => Command::BenchProduce(bench::read(matches)),
            _ => unreachable!("clap asks for one of the benchmarks"),
        },
        Some(("verifiable-producer", matches)) => Command::VerifiableProducer(verifiable::read(matches)),
        Some(("broker", matches)) => Command::Broker(broker::read(matches)?),
        Some(("completion", matches)) => Command::Completion(required(matches, "shell")),
        _ => unreachable!("clap asks for one of the commands above"),
    })
}

/// Everything that may be typed.
pub fn command() -> clap::Command {
    clap::Command::new("milena")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Records into Kafka and out of it, and a Kafka to try it on")
        .after_help(
            "Without --bootstrap-server a broker runs inside the command, with its data in ./milena-data; other \
             commands that start meanwhile use the same one.\n\nExit codes: 0 done; 1 failed midway, or some records not \
             written; 2 usage, or not started; 3 some records may be written or not; 4 audit: some outcomes are refuted; 5 audit: some can be neither proved nor refuted; 130 \
             Ctrl-C before the first record was read, for consume, audit, settle, topics and bench before the end.\nInterrupted later, produce gives 0, 1 or 3; Ctrl-C is the ordinary end of a broker, 0.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(produce::command())
        .subcommand(consume::command())
        .subcommand(audit::command())
        .subcommand(settle::command())
        .subcommand(topics::command())
        .subcommand(bench::command())
        .subcommand(verifiable::command())
        .subcommand(broker::command())
        .subcommand(completion_command())
}

/// As [`command`], for scripts that complete words: names of files are offered only where files are asked for.
pub fn for_shells() -> clap::Command {
    fn hinted(command: clap::Command) -> clap::Command {
        let command = command.mut_args(|argument| {
            // To zsh a colon in a value's name is the begin of a command to run.
            let has_colon = argument.get_value_names().unwrap_or_default().iter().any(|name| name.contains(':'));
            let argument = if has_colon { argument.value_name("VALUE") } else { argument };
            let is_open = argument.get_action().takes_values() && argument.get_possible_values().is_empty();
            match argument.get_value_hint() {
                ValueHint::Unknown if is_open => argument.value_hint(ValueHint::Other),
                _ => argument,
            }
        });
        command.mut_subcommands(hinted)
    }
    hinted(command())
}

fn completion_command() -> clap::Command {
    clap::Command::new("completion")
        .about("Prints what makes a shell complete the command's words")
        .after_help(
            "For bash: milena completion bash > /etc/bash_completion.d/milena. For zsh: into a file _milena in a folder of \
             $fpath. For fish: into ~/.config/fish/completions/milena.fish.\n\n\
             Exit codes: 0 done; 1 stdout cannot be written; 2 usage.",
        )
        .arg(Arg::new("shell").value_name("SHELL").required(true).value_parser(value_parser!(Shell)))
}

fn topic() -> Arg {
    Arg::new("topic").value_name("TOPIC").required(true).help("The topic's name")
}

/// As [`topic`], or as kcat has it.
fn topic_either_way() -> [Arg; 2] {
    let option = Arg::new("topic-option").short('t').value_name("TOPIC").help("The topic, as an option instead");
    [topic().required(false).required_unless_present("topic-option"), option]
}

/// A partition; -1 is any, as kcat has it.
fn partition() -> Arg {
    Arg::new("partition")
        .short('p')
        .long("partition")
        .value_name("N")
        .allow_negative_numbers(true)
        .value_parser(value_parser!(i32).range(-1..))
}

fn partition_of(matches: &ArgMatches) -> Option<i32> {
    matches.get_one("partition").copied().filter(|partition| *partition >= 0)
}

fn place() -> [Arg; 2] {
    let servers = Arg::new("bootstrap-server")
        .short('b')
        .long("bootstrap-server")
        .visible_alias("bootstrap")
        .value_name("HOST:PORT,..")
        .value_delimiter(',')
        .action(ArgAction::Append)
        .conflicts_with("data-dir")
        .help("Brokers of the cluster to use, instead of the embedded one");
    [servers, data_dir()]
}

fn data_dir() -> Arg {
    Arg::new("data-dir")
        .long("data-dir")
        .value_name("DIR")
        .value_parser(value_parser!(PathBuf))
        .value_hint(ValueHint::DirPath)
        .default_value("./milena-data")
        .help("Where the embedded broker keeps its data")
}

fn partitions() -> Arg {
    Arg::new("partitions")
        .long("partitions")
        .value_name("N")
        .value_parser(value_parser!(i32).range(1..))
        .help("Partitions of a new topic; the cluster's default if absent")
}

fn flag(name: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue)
}

fn duration(name: &'static str) -> Arg {
    Arg::new(name).long(name).value_name("TIME").value_parser(parse_duration)
}

/// Bytes that stand between others.
fn delimiter(name: &'static str, short: char) -> Arg {
    Arg::new(name).short(short).long(name).value_name("DELIMITER").allow_hyphen_values(true).value_parser(unescape)
}

fn json() -> Arg {
    flag("json").short('J')
}

/// Settings of the producer by the names of other clients.
fn settings_arguments() -> [Arg; 2] {
    properties("A setting by the name that Java's producer or librdkafka gives it, as in -X linger.ms=20")
}

/// Settings of whoever sends nothing.
fn reach_arguments() -> [Arg; 2] {
    properties(
        "A setting by the name that Java's clients or librdkafka give it: bootstrap.servers, client.id, \
         default.api.timeout.ms",
    )
}

fn properties(help: &'static str) -> [Arg; 2] {
    let property = Arg::new("property")
        .short('X')
        .value_name("NAME=VALUE")
        .action(ArgAction::Append)
        .value_parser(parse_pair)
        .help(help);
    let file = Arg::new("config")
        .short('F')
        .long("config")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("A file of such settings; -X goes before it, and the other options before both");
    [property, file]
}

fn settings_of(matches: &ArgMatches) -> Settings {
    let properties = matches.get_many("property").into_iter().flatten().cloned().collect();
    Settings { file: matches.get_one("config").cloned(), properties }
}

/// A name and a value, which may be empty.
fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => {
            let name = name.trim();
            // What kcat and old librdkafka write before settings of a topic; some names begin so by themselves.
            let plain = name.strip_prefix("topic.").filter(|_| !TOPICS_OWN.iter().any(|own| name.starts_with(own)));
            Ok((plain.unwrap_or(name).to_owned(), value.to_owned()))
        }
        _ => Err("a name, = and a value, as in client.id=shop".to_owned()),
    }
}

fn place_of(matches: &ArgMatches) -> Where {
    match matches.get_many::<String>("bootstrap-server") {
        Some(servers) => Where::Named(servers.map(|server| server.trim().to_owned()).collect()),
        None => Where::Embedded(required(matches, "data-dir")),
    }
}

fn required<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> T {
    matches.get_one::<T>(name).expect("clap asks for it, or has a default").clone()
}

/// Begins of librdkafka's settings that have `topic.` in their own names.
const TOPICS_OWN: [&str; 2] = ["topic.metadata.", "topic.blacklist"];

#[cfg(test)]
mod tests {

    use super::*;
    use crate::input::Reading;

    fn parsed(line: &str) -> Result<Command, clap::Error> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn clap_finds_nothing_wrong_with_the_definitions() {
        command().debug_assert();
    }

    #[test]
    fn the_shortest_commands_have_the_documented_defaults() {
        let Ok(Command::Produce(produce)) = parsed("milena produce orders") else { panic!("is a command") };
        assert_eq!(produce.place, Where::Embedded("./milena-data".into()));
        assert_eq!(produce.close_timeout, None);
        let Ok(Command::Consume(consume)) = parsed("milena consume orders") else { panic!("is a command") };
        assert_eq!((consume.from, consume.to, consume.partition), (Position::Start(0), Position::End(0), None));
    }

    #[test]
    fn several_servers_are_separated_by_commas() {
        let Ok(Command::DeleteTopic(delete)) = parsed("milena topics delete t --bootstrap-server a:1,b:2") else {
            panic!("is a command")
        };
        assert_eq!(delete.access.place, Where::Named(vec!["a:1".to_owned(), "b:2".to_owned()]));
    }

    #[test]
    fn mistakes_have_exit_code_2_and_help_has_0() {
        for line in [
            "milena produce",
            "milena produce t --linger 5",
            "milena produce t --after-deadline retry",
            "milena produce t --deadline 721m",
            "milena produce t --partitions 3 --bootstrap-server a:1",
            "milena produce t --bootstrap-server a:1 --data-dir d",
            "milena consume t --to later",
            "milena consume t --from -1h",
            "milena consume t --from @soon",
            "milena consume t --count 0",
            "milena consume t --json --format %v",
            "milena consume t -K : -J",
            "milena produce t -K : -k a",
            "milena produce t -K : --json",
            "milena produce t --keep-partitions",
            "milena produce t -p -2",
            "milena consume t -p -2",
            "milena consume t -t u",
            "milena consume",
            "milena produce t -z brotli",
            "milena produce t -z zstd:high",
            "milena produce t --acks 2",
            "milena produce t -H =v",
            "milena produce t -X linger.ms",
            "milena bench",
            "milena bench produce --rate fast",
            "milena bench produce --idempotence perhaps",
            "milena bench produce --linger-ms -1",
            "milena completion tcsh",
            "milena topics rename t",
            "milena broker --memory --data-dir d",
            "milena broker --nodes 0",
            "milena broker --topic orders:0",
            "milena broker --topic orders:many",
            "milena broker --nodes 100",
            "milena broker --kafka-version 1.1",
            "milena broker --fsync sometimes",
            "milena dance",
        ] {
            assert_eq!(parsed(line).expect_err(line).exit_code(), 2, "{line}");
        }
        for line in ["milena --help", "milena --version", "milena topics delete --help"] {
            assert_eq!(parsed(line).expect_err(line).exit_code(), 0, "{line}");
        }
    }

    #[test]
    fn what_kcat_and_old_librdkafka_write_means_the_same() {
        let produce = |line: &str| match parsed(line) {
            Ok(Command::Produce(produce)) => produce,
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(produce("milena produce -t t -p -1"), produce("milena produce t"));
        assert_eq!(produce("milena produce -t t a b"), produce("milena produce t a b"));
        assert_eq!(produce("milena produce t -X topic.acks=1"), produce("milena produce t -X acks=1"));
        let own = produce("milena produce t -X topic.blacklist=a").settings.properties;
        assert_eq!(own, [("topic.blacklist".to_owned(), "a".to_owned())]);
        let consume = |line: &str| match parsed(line) {
            Ok(Command::Consume(consume)) => consume,
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(consume("milena consume -t t -p -1"), consume("milena consume t"));
    }

    #[test]
    fn what_the_input_looks_like_follows_from_the_options() {
        let reading = |line: &str| match parsed(line) {
            Ok(Command::Produce(produce)) => produce.reading,
            other => panic!("{line}: {other:?}"),
        };
        let lines = |key_delimiter: Option<&[u8]>| Reading::Lines {
            delimiter: b"\n".to_vec(),
            key_delimiter: key_delimiter.map(<[u8]>::to_vec),
        };
        assert_eq!(reading("milena produce t"), lines(None));
        assert_eq!(reading("milena produce t a b"), Reading::Whole);
        assert_eq!(reading("milena produce t -l a b"), lines(None));
        assert_eq!(reading(r"milena produce t -K \t a"), lines(Some(b"\t")));
        assert_eq!(reading("milena produce t -J a"), Reading::Json { keeps_partitions: false });
        assert_eq!(reading("milena produce t -J --keep-partitions"), Reading::Json { keeps_partitions: true });
        assert!(matches!(reading(r"milena produce t -f %v\n"), Reading::Format(_)));
    }

    #[test]
    fn places_are_told_as_in_rpk() {
        let from = |place: &str| match parsed(&format!("milena consume t -o {place}")) {
            Ok(Command::Consume(consume)) => consume.from,
            other => panic!("{place}: {other:?}"),
        };
        assert_eq!(from("start"), Position::Start(0));
        assert_eq!(from("+3"), Position::Start(3));
        assert_eq!(from("-3"), Position::End(3));
        assert_eq!(from("17"), Position::Offset(17));
        assert_eq!(from("@1767225600000"), Position::Time(1_767_225_600_000));
    }

    #[test]
    fn every_option_stands_in_the_documentation() {
        let text = include_str!("../../../docs/cli.md");
        let mut commands = vec![command()];
        while let Some(command) = commands.pop() {
            commands.extend(command.get_subcommands().cloned());
            for option in command.get_arguments() {
                if let Some(long) = option.get_long() {
                    let is_there = text.contains(&format!("`--{long}"));
                    let short = option.get_short().is_some_and(|short| text.contains(&format!("`-{short}`")));
                    assert!(is_there || short, "{}: --{long}", command.get_name());
                }
            }
        }
    }

    #[test]
    fn the_help_of_what_can_fail_tells_its_exit_codes() {
        for line in [
            "milena",
            "milena produce",
            "milena consume",
            "milena audit",
            "milena settle",
            "milena topics",
            "milena bench produce",
            "milena verifiable-producer",
        ] {
            let help = parsed(&format!("{line} --help")).expect_err("is help").to_string();
            assert!(help.contains("Exit codes: 0 ") && help.contains("130 Ctrl-C"), "{line}: {help}");
        }
    }
}
