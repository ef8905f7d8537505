//! What bodies may say: orders as JSON, checked, with names and numbers as people write them.

use std::collections::BTreeMap;
use std::time::Duration;

use milena_wire::{ApiKey, ErrorCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::http::{Reply, Request};
use crate::api::SERVED;
use crate::faults::{Effect, Fault};
use crate::ids::{NodeId, PartitionIndex};
use crate::new_topic::NewTopic;

/// The body; an empty one is `{}`.
pub(super) fn body<T: DeserializeOwned>(request: &Request) -> Result<T, Reply> {
    let text: &[u8] = if request.body.trim_ascii().is_empty() { b"{}" } else { &request.body };
    if !text.trim_ascii_start().starts_with(b"{") {
        // The parser would take a list for an object whose fields have no names.
        return Err(Reply::error(400, "the body must be a JSON object, in {}"));
    }
    // Its own limit of nesting keeps the parser from recursing further.
    serde_json::from_slice(text).map_err(|error| Reply::error(400, format!("the body: {error}")))
}

/// A name, or the number behind it.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a name or a whole number")]
enum NameOrNumber {
    Number(i64),
    Name(String),
}

/// A fault.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FaultOrder {
    effect: String,
    code: Option<NameOrNumber>,
    time_ms: Option<u64>,
    bytes: Option<usize>,
    api: Option<NameOrNumber>,
    node: Option<i32>,
    client: Option<String>,
    topic: Option<String>,
    partition: Option<i32>,
    #[serde(default)]
    skip: u32,
    times: Option<u32>,
    lasting_ms: Option<u64>,
}

impl FaultOrder {
    pub(super) fn fault(self) -> Result<Fault, Reply> {
        let refused = |why: String| Reply::error(400, why);
        self.check_that_it_can_hit().map_err(refused)?;
        let effect = self.effect().map_err(refused)?;
        let api = self.api.as_ref().map(api).transpose().map_err(refused)?;
        Ok(Fault {
            api,
            node: self.node.map(NodeId),
            client: self.client,
            topic: self.topic,
            partition: self.partition.map(PartitionIndex),
            skip: self.skip,
            times: self.times,
            lasting: self.lasting_ms.map(Duration::from_millis),
            ..Fault::new(effect)
        })
    }

    fn check_that_it_can_hit(&self) -> Result<(), String> {
        match (self.times, self.lasting_ms, self.partition) {
            (Some(0), ..) => Err("\"times\" 0 would never hit; leave it out to hit all".to_owned()),
            (_, Some(0), _) => {
                Err("\"lasting_ms\" 0 would be over at once; leave it out to last until it is removed".to_owned())
            }
            (_, _, Some(index @ ..=-1)) => {
                Err(format!("\"partition\" {index} would never hit; they are numbered from 0"))
            }
            _ => Ok(()),
        }
    }

    fn effect(&self) -> Result<Effect, String> {
        let name = self.effect.as_str();
        let Some((_, needs)) = EFFECTS.iter().find(|(known, _)| *known == name) else {
            let known: Vec<_> = EFFECTS.iter().map(|(name, _)| *name).collect();
            return Err(format!("there is no effect {name:?}; there are: {}", known.join(", ")));
        };
        let given =
            [("code", self.code.is_some()), ("time_ms", self.time_ms.is_some()), ("bytes", self.bytes.is_some())];
        if let Some((unwanted, _)) = given.iter().find(|(field, is_given)| *is_given && field != needs) {
            return Err(format!("{unwanted:?} means nothing to the effect {name:?}"));
        }
        let missing = || format!("the effect {name:?} needs {needs:?}");
        let time = || self.time_ms.map(Duration::from_millis).ok_or_else(missing);
        let code = || self.code.as_ref().ok_or_else(missing).and_then(error_code);
        Ok(match name {
            "refuse" => Effect::Refuse(code()?),
            "refuse_after" => Effect::RefuseAfter(code()?),
            "close_before" => Effect::CloseBefore,
            "close_after" => Effect::CloseAfter,
            "lose_answer" => Effect::LoseAnswer,
            "delay" => Effect::Delay(time()?),
            "cut" => Effect::Cut(self.bytes.ok_or_else(missing)?),
            _ => Effect::Throttle(time()?),
        })
    }
}

/// The effects, and what each needs beside its name.
pub(super) const EFFECTS: [(&str, &str); 8] = [
    ("refuse", "code"),
    ("refuse_after", "code"),
    ("close_before", ""),
    ("close_after", ""),
    ("lose_answer", ""),
    ("delay", "time_ms"),
    ("cut", "bytes"),
    ("throttle", "time_ms"),
];

fn error_code(given: &NameOrNumber) -> Result<ErrorCode, String> {
    let named = |name: &String| {
        let all = (-1..i16::from(u8::MAX)).map(ErrorCode);
        all.into_iter().find(|code| code.name().is_some_and(|known| known.eq_ignore_ascii_case(name)))
    };
    let (found, said) = match given {
        NameOrNumber::Number(number) => {
            (i16::try_from(*number).ok().map(ErrorCode).filter(|code| code.name().is_some()), number.to_string())
        }
        NameOrNumber::Name(name) => (named(name), format!("{name:?}")),
    };
    match found {
        Some(code) if code.is_none() => Err("NONE is no error; leave the request alone instead".to_owned()),
        Some(code) => Ok(code),
        None => Err(format!(
            "{said} is no error of Kafka; the code must be a name such as NOT_LEADER_OR_FOLLOWER, or its number"
        )),
    }
}

fn api(given: &NameOrNumber) -> Result<ApiKey, String> {
    let found = SERVED.into_iter().find(|api| match given {
        NameOrNumber::Number(number) => i64::from(api.0) == *number,
        NameOrNumber::Name(name) => api.name().eq_ignore_ascii_case(name),
    });
    found.ok_or_else(|| {
        let known: Vec<_> = SERVED.iter().map(|api| api.name()).collect();
        format!("the api must be the name or the number of one that is served: {}", known.join(", "))
    })
}

/// A new topic.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TopicOrder {
    name: String,
    partitions: Option<i32>,
    replication_factor: Option<i16>,
    #[serde(default)]
    configs: BTreeMap<String, String>,
}

impl TopicOrder {
    pub(super) fn topic(self) -> Result<NewTopic, Reply> {
        let mut topic = NewTopic::new(self.name);
        topic.partitions = self.partitions;
        topic.replication_factor = self.replication_factor;
        for (name, value) in &self.configs {
            topic = topic.set(name, value).map_err(|error| Reply::error(400, error.to_string()))?;
        }
        Ok(topic)
    }
}

/// Another leader.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LeaderOrder {
    pub(super) node: i32,
    #[serde(default)]
    pub(super) unclean: bool,
}

/// Other replicas, the preferred leader first.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReplicasOrder {
    pub(super) nodes: Vec<i32>,
}

/// How a node stops.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StopOrder {
    #[serde(default)]
    pub(super) clean: bool,
}

/// How late a node copies; neither field ends it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LagOrder {
    time_ms: Option<u64>,
    #[serde(default)]
    never: bool,
}

impl LagOrder {
    pub(super) fn lag(self) -> Result<Option<Duration>, Reply> {
        match (self.time_ms, self.never) {
            (Some(_), true) => Err(Reply::error(400, "say \"time_ms\", or \"never\" for a node that copies nothing")),
            (time, false) => Ok(time.map(Duration::from_millis)),
            (None, true) => Ok(Some(Duration::MAX)),
        }
    }
}

/// How old a node's metadata is; 0 for as it is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AgeOrder {
    pub(super) time_ms: u64,
}

/// Nothing to say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoOrder {}
