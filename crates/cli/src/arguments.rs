//! What the user asks for: the arguments, checked, as one value per command.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, value_parser};

/// A command with its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Produce(Produce),
    Consume(Consume),
    CreateTopic(CreateTopic),
    DeleteTopic(DeleteTopic),
    Broker(Broker),
}

/// Which cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Where {
    /// The one that has these brokers.
    Named(Vec<String>),
    /// The embedded one with its data here.
    Embedded(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Produce {
    pub place: Where,
    pub topic: String,
    pub create: bool,
    pub partitions: Option<i32>,
    pub linger: Duration,
    pub deadline: Duration,
    pub close_timeout: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consume {
    pub place: Where,
    pub topic: String,
    pub partition: Option<i32>,
    pub from: Position,
    pub to: Position,
}

/// A place in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    Start,
    End,
    Offset(i64),
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("start"),
            Self::End => f.write_str("end"),
            Self::Offset(offset) => offset.fmt(f),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateTopic {
    pub place: Where,
    pub topic: String,
    pub partitions: Option<i32>,
    pub replication: Option<i16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteTopic {
    pub place: Where,
    pub topic: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    pub listen: String,
    pub nodes: u16,
    /// None: in memory.
    pub data_dir: Option<PathBuf>,
}

/// The command line as values, or what clap has to say: a mistake, help, the version.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, clap::Error> {
    let matches = command().try_get_matches_from(arguments)?;
    Ok(match matches.subcommand() {
        Some(("produce", matches)) => Command::Produce(may_create(produce(matches))?),
        Some(("consume", matches)) => Command::Consume(consume(matches)),
        Some(("topics", matches)) => topics(matches),
        Some(("broker", matches)) => Command::Broker(broker(matches)),
        _ => unreachable!("clap asks for one of the commands above"),
    })
}

fn command() -> clap::Command {
    clap::Command::new("milena")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Lines into Kafka and out of it, and a Kafka to try it on")
        .after_help(
            "Without --bootstrap-server a broker runs inside the command, with its data in ./milena-data; other \
             commands that start meanwhile use the same one.\n\nExit codes: 0 done; 1 failed midway, or some records not \
             written; 2 usage, or not started; 3 some records may be written or not; 130 Ctrl-C before it began, for consume and topics also before \
             its end. Interrupted later, produce gives 0, 1 or 3.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(produce_command())
        .subcommand(consume_command())
        .subcommand(topics_command())
        .subcommand(broker_command())
}

fn produce_command() -> clap::Command {
    clap::Command::new("produce")
        .about("Sends each line of stdin as a record")
        .after_help(
            "A record's value is the line without its LF; CR and bytes that are not UTF-8 stay, and an empty line is a \
             record with an empty value. Ctrl-C sends what was read, within --close-timeout, and reports; a second one \
             ends at once. Either way the exit code speaks of the records read so far; it is 130 only before the \
             first could be read.",
        )
        .arg(topic())
        .args(place())
        .arg(flag("create").help("Makes the topic if it is missing; the embedded broker always does"))
        .arg(partitions())
        .arg(duration("linger", "5ms").help("How long a batch may fill before it is sent"))
        .arg(
            duration("deadline", "30s")
                .value_parser(parse_deadline)
                .help("When the outcome of a record is told at the latest; at most 720m"),
        )
        .arg(duration("close-timeout", "5s").help("How long Ctrl-C waits for what was read to be sent and answered"))
}

fn consume_command() -> clap::Command {
    clap::Command::new("consume")
        .about("Prints the value of each record and an LF")
        .after_help(
            "Partitions are printed one after the other, each in its order. A record without a value (null) is an empty \
             line. Records of aborted transactions are printed.",
        )
        .arg(topic())
        .args(place())
        .arg(
            Arg::new("partition")
                .long("partition")
                .value_name("N")
                .value_parser(value_parser!(i32).range(0..))
                .help("This partition only"),
        )
        .arg(position("from", "start").help("start, end or an offset: the first record that is printed"))
        .arg(position("to", "end").help("start, end or an offset: the first record that is not printed any more"))
}

fn topics_command() -> clap::Command {
    let create = clap::Command::new("create").about("Makes a topic").arg(topic()).args(place()).arg(partitions()).arg(
        Arg::new("replication-factor")
            .long("replication-factor")
            .value_name("N")
            .value_parser(value_parser!(i16).range(1..))
            .help("Copies of each partition; the cluster's default if absent"),
    );
    let delete = clap::Command::new("delete").about("Removes a topic with its records").arg(topic()).args(place());
    clap::Command::new("topics")
        .about("Makes and removes topics")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(create)
        .subcommand(delete)
}

fn broker_command() -> clap::Command {
    clap::Command::new("broker")
        .about("Runs a broker until Ctrl-C; its address is printed on stdout")
        .after_help("Ctrl-C serves those that are connected until they are done; a second one ends at once.")
        .arg(
            Arg::new("listen")
                .long("listen")
                .value_name("HOST:PORT")
                .default_value("127.0.0.1:9092")
                .help("Where it listens; port 0 takes a free one"),
        )
        .arg(
            Arg::new("nodes")
                .long("nodes")
                .value_name("N")
                .value_parser(value_parser!(u16).range(1..=NODES_MAX))
                .default_value("1")
                .help("How many brokers it is, each on a port of its own: the next ones after --listen"),
        )
        .arg(data_dir())
        .arg(flag("memory").conflicts_with("data-dir").help("Keeps everything in memory, gone at the end"))
}

fn topic() -> Arg {
    Arg::new("topic").value_name("TOPIC").required(true).help("The topic's name")
}

fn place() -> [Arg; 2] {
    let servers = Arg::new("bootstrap-server")
        .long("bootstrap-server")
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

fn duration(name: &'static str, default: &'static str) -> Arg {
    Arg::new(name).long(name).value_name("TIME").default_value(default).value_parser(parse_duration)
}

fn position(name: &'static str, default: &'static str) -> Arg {
    Arg::new(name).long(name).value_name("PLACE").default_value(default).value_parser(parse_position)
}

fn produce(matches: &ArgMatches) -> Produce {
    Produce {
        place: place_of(matches),
        topic: required(matches, "topic"),
        create: matches.get_flag("create"),
        partitions: matches.get_one("partitions").copied(),
        linger: required(matches, "linger"),
        deadline: required(matches, "deadline"),
        close_timeout: required(matches, "close-timeout"),
    }
}

/// A topic of a named cluster is made only if that is asked for, so a number of partitions alone is a mistake there.
fn may_create(produce: Produce) -> Result<Produce, clap::Error> {
    match produce {
        Produce { place: Where::Named(_), create: false, partitions: Some(_), .. } => Err(produce_command()
            .bin_name("milena produce")
            .error(ErrorKind::MissingRequiredArgument, "with --bootstrap-server, --partitions needs --create")),
        produce => Ok(produce),
    }
}

fn consume(matches: &ArgMatches) -> Consume {
    Consume {
        place: place_of(matches),
        topic: required(matches, "topic"),
        partition: matches.get_one("partition").copied(),
        from: required(matches, "from"),
        to: required(matches, "to"),
    }
}

fn topics(matches: &ArgMatches) -> Command {
    match matches.subcommand() {
        Some(("create", matches)) => Command::CreateTopic(CreateTopic {
            place: place_of(matches),
            topic: required(matches, "topic"),
            partitions: matches.get_one("partitions").copied(),
            replication: matches.get_one("replication-factor").copied(),
        }),
        Some(("delete", matches)) => {
            Command::DeleteTopic(DeleteTopic { place: place_of(matches), topic: required(matches, "topic") })
        }
        _ => unreachable!("clap asks for one of the commands above"),
    }
}

fn broker(matches: &ArgMatches) -> Broker {
    let data_dir = (!matches.get_flag("memory")).then(|| required(matches, "data-dir"));
    Broker { listen: required(matches, "listen"), nodes: required(matches, "nodes"), data_dir }
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

/// A number and a unit, as in `500ms`, `5s`, `2m`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| NOT_A_DURATION.to_owned())?;
    let milliseconds = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        _ => None,
    };
    milliseconds.map(Duration::from_millis).ok_or_else(|| NOT_A_DURATION.to_owned())
}

fn parse_deadline(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        deadline if deadline <= DEADLINE_MAX => Ok(deadline),
        _ => Err("at most 720m, 12 hours".to_owned()),
    }
}

/// The library retries a record at least until its deadline, and no longer than this: half of what brokers remember of a
/// producer.
const DEADLINE_MAX: Duration = Duration::from_secs(12 * 3600);

/// More than anybody needs on one machine, and few enough that the ports after the first are likely free.
const NODES_MAX: i64 = 99;

const NOT_A_DURATION: &str = "a whole number and ms, s or m, as in 500ms or 5s";

fn parse_position(text: &str) -> Result<Position, String> {
    match text {
        "start" => Ok(Position::Start),
        "end" => Ok(Position::End),
        offset => match offset.parse() {
            Ok(offset) if offset >= 0 => Ok(Position::Offset(offset)),
            _ => Err("start, end or an offset from 0 on".to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(produce.close_timeout, Duration::from_secs(5));
        let Ok(Command::Consume(consume)) = parsed("milena consume orders") else { panic!("is a command") };
        assert_eq!((consume.from, consume.to, consume.partition), (Position::Start, Position::End, None));
    }

    #[test]
    fn several_servers_are_separated_by_commas() {
        let Ok(Command::DeleteTopic(delete)) = parsed("milena topics delete t --bootstrap-server a:1,b:2") else {
            panic!("is a command")
        };
        assert_eq!(delete.place, Where::Named(vec!["a:1".to_owned(), "b:2".to_owned()]));
    }

    #[test]
    fn mistakes_have_exit_code_2_and_help_has_0() {
        for line in [
            "milena produce",
            "milena produce t --linger 5",
            "milena produce t --deadline 721m",
            "milena produce t --partitions 3 --bootstrap-server a:1",
            "milena produce t --bootstrap-server a:1 --data-dir d",
            "milena consume t --from -1",
            "milena consume t --to later",
            "milena topics rename t",
            "milena broker --memory --data-dir d",
            "milena broker --nodes 0",
            "milena broker --nodes 100",
            "milena dance",
        ] {
            assert_eq!(parsed(line).expect_err(line).exit_code(), 2, "{line}");
        }
        for line in ["milena --help", "milena --version", "milena topics delete --help"] {
            assert_eq!(parsed(line).expect_err(line).exit_code(), 0, "{line}");
        }
    }

    #[test]
    fn durations_carry_their_unit() {
        assert_eq!(parse_duration("0s"), Ok(Duration::ZERO));
        assert_eq!(parse_duration("1500ms"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        for text in ["", "5", "s", "-1s", "1.5s", "5h", "99999999999999999999s", "18446744073709551615s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
