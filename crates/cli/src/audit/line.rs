//! One line of outcomes, taken apart: what `produce --outcomes` writes, and the events of verifiable producers, ours and Kafka's.

use std::borrow::Cow;

use serde::Deserialize;

use crate::checksum::{Checksum, Summing};
use crate::json;

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// A run begins; the lines behind it are its own.
    Run(Run<'a>),
    Told(Told<'a>),
    /// An event that is about no record.
    Nothing,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run<'a> {
    pub topic: Cow<'a, str>,
    pub topic_id: Option<Cow<'a, str>>,
    pub from_offsets: Vec<i64>,
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told<'a> {
    /// Its number in the order of acceptance, from 1.
    pub number: u64,
    pub topic: Cow<'a, str>,
    pub is_settlement: bool,
    pub fate: Fate,
    /// None: the line does not say what the record is.
    pub checksum: Option<Checksum>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Written {
        partition: i32,
        offset: Option<i64>,
    },
    NotWritten,
    /// It never was a record: the input was none.
    NoRecord,
    Unknown,
}

/// What is wrong with the line is the error.
pub fn parse(line: &[u8]) -> Result<Line<'_>, String> {
    let given: Given<'_> = json::object(line)?;
    match (&given.name, &given.from_offsets) {
        (Some(_), _) => event(given),
        (None, Some(_)) => run(given).map(Line::Run),
        (None, None) => outcome(given).map(Line::Told),
    }
}

fn run(given: Given<'_>) -> Result<Run<'_>, String> {
    let from_offsets = given.from_offsets.unwrap_or_default();
    if let Some(offset) = from_offsets.iter().find(|offset| **offset < 0) {
        return Err(format!("from_offsets has {offset}, which is no offset"));
    }
    Ok(Run { topic: given.topic.ok_or("it names no topic")?, topic_id: given.topic_id, from_offsets })
}

fn outcome(given: Given<'_>) -> Result<Told<'_>, String> {
    let number = given.line.filter(|line| *line > 0).ok_or("it has no number of a line, as in \"line\":1")?;
    let (said, is_settlement) = match (given.outcome.as_deref(), given.settlement.as_deref()) {
        (Some(said), None) => (said, false),
        (None, Some(said)) => (said, true),
        _ => return Err("it has to have either outcome or settlement".to_owned()),
    };
    let fate = match said {
        "written" => written(&given)?,
        "not_written" if given.reason.as_deref() == Some("no_record") => Fate::NoRecord,
        "not_written" => Fate::NotWritten,
        "unknown" if !is_settlement => Fate::Unknown,
        "undetermined" if is_settlement => Fate::Unknown,
        said => return Err(format!("{said:?} is no {}", if is_settlement { "settlement" } else { "outcome" })),
    };
    let checksum = given
        .checksum
        .as_deref()
        .map(|text| Checksum::parse(text).ok_or_else(|| format!("checksum {text:?} is not 16 hexadecimal digits")));
    let topic = given.topic.ok_or("it names no topic")?;
    Ok(Told { number, topic, is_settlement, fate, checksum: checksum.transpose()? })
}

fn written(given: &Given<'_>) -> Result<Fate, String> {
    let partition = given.partition.filter(|partition| *partition >= 0);
    let partition = partition.ok_or("a written record has a partition, from 0 on")?;
    match given.offset {
        // What librdkafka and Java say where the broker gave none.
        None | Some(-1) => Ok(Fate::Written { partition, offset: None }),
        Some(offset @ 0..) => Ok(Fate::Written { partition, offset: Some(offset) }),
        Some(offset) => Err(format!("{offset} is no offset")),
    }
}

/// A verifiable producer counts its records in their values. Kafka's says of one that it gave up that it failed, which says
/// nothing about the log.
fn event(given: Given<'_>) -> Result<Line<'_>, String> {
    let (fate, is_settlement) = match (given.name.as_deref(), given.outcome.as_deref(), given.settlement.as_deref()) {
        (Some("producer_send_success"), ..) => (written(&given)?, false),
        (Some("producer_send_error"), Some("not_written"), _) => (Fate::NotWritten, false),
        (Some("producer_send_error" | "producer_send_unknown"), ..) => (Fate::Unknown, false),
        (Some("producer_send_settled"), _, Some("written")) => (written(&given)?, true),
        (Some("producer_send_settled"), _, Some("not_written")) => (Fate::NotWritten, true),
        (Some("producer_send_settled"), _, Some("undetermined")) => (Fate::Unknown, true),
        (Some("producer_send_settled"), ..) => return Err("it has no settlement".to_owned()),
        (Some(_), ..) => {
            let begins = given.from_offsets.is_some();
            return if begins { run(given).map(Line::Run) } else { Ok(Line::Nothing) };
        }
        (None, ..) => unreachable!("an event has a name"),
    };
    let value = given.value.as_deref().ok_or("it has no value")?;
    let counter = value.rsplit_once('.').map_or(value, |(_, counter)| counter);
    let number: u64 = counter.parse().map_err(|_| format!("value {value:?} does not end with a number"))?;
    let checksum = Summing::new(given.key.as_deref().map(str::as_bytes), Some(value.as_bytes())).end();
    let topic = given.topic.ok_or("it names no topic")?;
    let number = number.saturating_add(1);
    Ok(Line::Told(Told { number, topic, is_settlement, fate, checksum: Some(checksum) }))
}

/// Every field that means something here; others may be there.
#[derive(Debug, Deserialize)]
pub struct Given<'a> {
    line: Option<u64>,
    #[serde(borrow)]
    topic: Option<Cow<'a, str>>,
    #[serde(borrow)]
    topic_id: Option<Cow<'a, str>>,
    from_offsets: Option<Vec<i64>>,
    #[serde(borrow)]
    outcome: Option<Cow<'a, str>>,
    #[serde(borrow)]
    settlement: Option<Cow<'a, str>>,
    #[serde(borrow)]
    checksum: Option<Cow<'a, str>>,
    partition: Option<i32>,
    offset: Option<i64>,
    #[serde(borrow)]
    reason: Option<Cow<'a, str>>,
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    key: Option<Cow<'a, str>>,
    #[serde(borrow)]
    value: Option<Cow<'a, str>>,
}

impl json::Named for Given<'_> {
    const WHAT: &'static str = "an outcome";
    const EXAMPLE: &'static str = "{\"line\":1,\"topic\":\"a\",\"outcome\":\"unknown\"}";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(line: &str) -> Told<'_> {
        match parse(line.as_bytes()) {
            Ok(Line::Told(told)) => told,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn every_line_of_a_producer_is_understood() {
        let line = r#"{"line":7,"tag":"x-7","topic":"t","outcome":"written","checksum":"00000000000000ff","partition":1,"offset":5,"latency_us":9}"#;
        let written = Fate::Written { partition: 1, offset: Some(5) };
        let expected =
            Told { number: 7, topic: "t".into(), is_settlement: false, fate: written, checksum: Some(Checksum(255)) };
        assert_eq!(told(line), expected);
        for (line, is_settlement, fate) in [
            (r#"{"line":1,"topic":"t","outcome":"unknown"}"#, false, Fate::Unknown),
            (r#"{"line":1,"topic":"t","outcome":"not_written","reason":"closed"}"#, false, Fate::NotWritten),
            (r#"{"line":1,"topic":"t","outcome":"not_written","reason":"no_record"}"#, false, Fate::NoRecord),
            (r#"{"line":1,"topic":"t","settlement":"undetermined","reason":"no_fence"}"#, true, Fate::Unknown),
            (
                r#"{"line":1,"topic":"t","settlement":"written","partition":0}"#,
                true,
                Fate::Written { partition: 0, offset: None },
            ),
        ] {
            assert_eq!((told(line).is_settlement, told(line).fate), (is_settlement, fate), "{line}");
        }
        let run = parse(br#"{"topic":"t","topic_id":"abc","from_offsets":[3,0]}"#);
        let expected = Run { topic: "t".into(), topic_id: Some("abc".into()), from_offsets: vec![3, 0] };
        assert_eq!(run, Ok(Line::Run(expected)));
    }

    #[test]
    fn events_of_verifiable_producers_are_understood() {
        let success = r#"{"timestamp":1,"name":"producer_send_success","key":null,"value":"7.41","topic":"t","partition":0,"offset":3}"#;
        let checksum = Some(Summing::new(None, Some(b"7.41")).end());
        let fate = Fate::Written { partition: 0, offset: Some(3) };
        assert_eq!(told(success), Told { number: 42, topic: "t".into(), is_settlement: false, fate, checksum });
        for (rest, fate) in [
            (r#""producer_send_error","exception":"class X","message":"late""#, Fate::Unknown),
            (r#""producer_send_error","outcome":"not_written""#, Fate::NotWritten),
            (r#""producer_send_unknown""#, Fate::Unknown),
            (r#""producer_send_settled","settlement":"not_written""#, Fate::NotWritten),
        ] {
            let line = format!(r#"{{"key":"1","value":"0","topic":"t","name":{rest}}}"#);
            assert_eq!((told(&line).number, told(&line).fate), (1, fate), "{line}");
        }
        for name in ["startup_complete", "tool_data", "shutdown_complete"] {
            assert_eq!(parse(format!(r#"{{"name":"{name}","sent":1}}"#).as_bytes()), Ok(Line::Nothing));
        }
    }

    #[test]
    fn what_is_wrong_with_a_line_is_said() {
        for (line, said) in [
            ("", "EOF"),
            ("[1]", "expected an outcome, as in {\"line\":1"),
            (r#"{"line":1,"topic":"t","outc"#, "EOF"),
            ("{}", "no number of a line"),
            (r#"{"line":0,"topic":"t","outcome":"unknown"}"#, "no number of a line"),
            (r#"{"line":1,"topic":"t"}"#, "either outcome or settlement"),
            (r#"{"line":1,"topic":"t","outcome":"lost"}"#, "\"lost\" is no outcome"),
            (r#"{"line":1,"topic":"t","settlement":"unknown"}"#, "\"unknown\" is no settlement"),
            (r#"{"line":1,"topic":"t","outcome":"written","offset":1}"#, "has a partition"),
            (r#"{"line":1,"topic":"t","outcome":"written","partition":0,"offset":-7}"#, "-7 is no offset"),
            (r#"{"line":1,"outcome":"unknown"}"#, "names no topic"),
            (r#"{"line":1,"topic":"t","outcome":"unknown","checksum":"1"}"#, "not 16 hexadecimal digits"),
            (r#"{"topic":"t","from_offsets":[-1]}"#, "-1, which is no offset"),
            (r#"{"name":"producer_send_success","topic":"t","partition":0,"offset":1}"#, "no value"),
            (r#"{"name":"producer_send_unknown","topic":"t","value":"a"}"#, "does not end with a number"),
        ] {
            let why = parse(line.as_bytes()).expect_err(line);
            assert!(why.contains(said), "{line}: {why}");
        }
    }
}
