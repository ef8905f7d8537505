//! The same messages in the hands of Kafka itself: the message classes of the kafka-clients jar.
//!
//! Every message in every version is written here, read there and written again there in every version, older ones and newer
//! ones: it must come back as it is written here in that version, or be refused on both sides. Defaults and headers are
//! compared as well. Needs Java; run by `cargo xtask test kafka`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod random;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::Stdio;

use milena_wire::frame::{RequestHeader, ResponseHeader};
use milena_wire::{ApiKey, EncodeError, Message, Request, Response, Writer};
use random::{Draw, Random, each_api};

/// The release that the messages are generated from.
const KAFKA_VERSION: &str = "4.3.1";

/// Messages of each version that come back in the same version.
const SAME_VERSION: u64 = 40;

/// Messages of each version that are written in every other one. Most of their fields keep their default: otherwise one of many
/// set fields would hide what becomes of the others.
const OTHER_VERSION: u64 = 60;

/// How many fields there are that some version of their message cannot carry, or not as null, and must not lose.
const FIELDS_REFUSED: usize = 94;

/// A line for the Java program, and what it must answer.
struct Exchange {
    line: String,
    /// The message's bytes, or that the version cannot carry it.
    expected: Result<Vec<u8>, EncodeError>,
}

#[test]
fn kafkas_classes_read_and_write_the_same_bytes_and_refuse_the_same_fields() {
    let mut exchanges = Vec::new();
    macro_rules! add {
        ($(($module:ident, $request:ident, $response:ident),)*) => { $( {
            use milena_wire::messages::$module::{request::$request, response::$response};
            let flexible_from = <$request as Request>::FLEXIBLE_FROM;
            add_message::<$request>(&mut exchanges, stringify!($request), <$request as Request>::VERSIONS, flexible_from);
            add_message::<$response>(&mut exchanges, stringify!($response), <$response as Response>::VERSIONS, flexible_from);
        } )* };
    }
    each_api!(add);
    let ends = compare(exchanges);
    let written = ends.values().map(|end| end.written).sum::<u64>();
    let refused = ends.values().map(|end| end.refused).sum::<u64>();
    let fields = ends.values().map(|end| end.fields.len()).sum::<usize>();
    println!(
        "measured: {written} messages of {} kinds written alike by Kafka's classes, {refused} refused alike for {fields} fields",
        ends.len()
    );
    assert_eq!(ends.len(), 144);
    let never_written: Vec<_> = ends.iter().filter(|(_, end)| end.written < SAME_VERSION).collect();
    assert!(never_written.is_empty(), "{never_written:?}");
    assert_eq!(fields, FIELDS_REFUSED, "fields that no version was asked to carry in vain");
}

#[test]
fn kafkas_classes_read_and_write_the_same_headers() {
    let mut exchanges = Vec::new();
    for seed in 0..1_000 {
        let mut random = Random::new(seed, false);
        let flexible = random.bool();
        let api_version = if flexible { 9 } else { 8 };
        random.flexible = flexible;
        let request = RequestHeader {
            api_key: ApiKey::METADATA,
            api_version,
            correlation_id: random.int32(),
            client_id: random.nullable_string(),
            unknown_tags: random.unknown_tags(),
        };
        let mut w = Writer::new();
        request.write(&mut w).unwrap();
        exchanges.push(Exchange::same("RequestHeader", if flexible { 2 } else { 1 }, w.into_bytes()));
        let response = ResponseHeader { correlation_id: random.int32(), unknown_tags: random.unknown_tags() };
        let mut w = Writer::new();
        response.write(&mut w, ApiKey::METADATA, api_version).unwrap();
        exchanges.push(Exchange::same("ResponseHeader", i16::from(flexible), w.into_bytes()));
    }
    let ends = compare(exchanges);
    let written: Vec<_> = ends.iter().map(|(name, end)| (name.as_str(), end.written)).collect();
    assert_eq!(written, [("RequestHeader", 1_000), ("ResponseHeader", 1_000)]);
}

impl Exchange {
    fn same(name: &str, version: i16, bytes: Vec<u8>) -> Self {
        Self { line: line(name, version, version, Some(&bytes)), expected: Ok(bytes) }
    }
}

fn add_message<M>(
    exchanges: &mut Vec<Exchange>,
    name: &str,
    versions: impl Iterator<Item = i16> + Clone,
    flexible_from: i16,
) where
    M: Message + Draw + Default,
{
    for version in versions.clone() {
        let flexible = version >= flexible_from;
        exchanges
            .push(Exchange { line: line(name, version, version, None), expected: written(&M::default(), version) });
        for seed in 0..SAME_VERSION {
            let message = M::draw(&mut Random::new(seed, flexible), version);
            exchanges.push(Exchange::same(name, version, written(&message, version).unwrap()));
        }
        for seed in 0..OTHER_VERSION {
            let message = M::draw(&mut Random::sparse(seed, flexible), version);
            let bytes = written(&message, version).unwrap();
            for other in versions.clone() {
                let line = line(name, version, other, Some(&bytes));
                exchanges.push(Exchange { line, expected: written(&message, other) });
            }
        }
    }
}

fn written<M: Message>(message: &M, version: i16) -> Result<Vec<u8>, EncodeError> {
    let mut w = Writer::new();
    message.write(&mut w, version).map(|()| w.into_bytes())
}

/// What became of a message's exchanges.
#[derive(Debug, Default)]
struct Ends {
    written: u64,
    refused: u64,
    /// For which fields.
    fields: BTreeSet<&'static str>,
}

/// Has the Java program answer all lines, and compares.
fn compare(exchanges: Vec<Exchange>) -> BTreeMap<String, Ends> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/java/RewriteMessages.java");
    let mut program = kafka_harness::program(KAFKA_VERSION, &source).unwrap();
    let mut java = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, stdout) = (java.stdin.take().unwrap(), java.stdout.take().unwrap());
    let lines: Vec<String> = exchanges.iter().map(|exchange| exchange.line.clone() + "\n").collect();
    // On a thread of its own: the program answers while it reads.
    let feed = std::thread::spawn(move || lines.iter().try_for_each(|line| stdin.write_all(line.as_bytes())));
    let mut answers = BufReader::new(stdout).lines();
    let mut ends: BTreeMap<String, Ends> = BTreeMap::new();
    let mut differences = Vec::new();
    for exchange in &exchanges {
        let answer = answers.next().expect("an answer to every line").unwrap();
        let name = exchange.line.split(' ').next().unwrap();
        let end = ends.entry(name.to_owned()).or_default();
        match (&exchange.expected, answer.split(' ').next().unwrap()) {
            (Ok(bytes), theirs) if hex(bytes) == theirs => end.written += 1,
            (Err(error), "refused") => {
                end.refused += 1;
                if let EncodeError::NotInVersion { field, .. } | EncodeError::NullNotAllowed { field, .. } = error {
                    end.fields.insert(field);
                }
            }
            (expected, _) => {
                let expected = expected.as_ref().map_or_else(|error| format!("refused {error}"), |bytes| hex(bytes));
                differences.push(format!("{}\nhere  {expected}\nthere {answer}", exchange.line));
            }
        }
    }
    feed.join().unwrap().unwrap();
    assert!(java.wait().unwrap().success());
    let shown = &differences[..differences.len().min(10)];
    assert!(differences.is_empty(), "{} of {} differ:\n{}", differences.len(), exchanges.len(), shown.join("\n\n"));
    ends
}

fn line(name: &str, read: i16, write: i16, bytes: Option<&[u8]>) -> String {
    format!("{name} {read} {write} {}", bytes.map_or_else(|| "default".to_owned(), hex))
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().fold(String::new(), |mut digits, byte| {
        write!(digits, "{byte:02x}").unwrap();
        digits
    });
    if digits.is_empty() { "-".to_owned() } else { digits }
}
