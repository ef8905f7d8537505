//! Properties of whoever sends nothing: reads partitions, looks at topics.
//!
//! Always holds, as for the producer's: a property sets something, is what happens anyway, or is an error that says what to
//! use. What is about connections has the producer's answers; what is about sending means nothing here.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Answer, Entry, Properties, PropertiesError, PropertyFault, PropertyRefused, SERVERS, answer, value};

/// How to reach a cluster, as far as properties say. None: they do not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Brokers as `host:port`.
    pub servers: Option<Vec<String>>,
    /// As whom, in the brokers' logs and quotas.
    pub client_id: Option<String>,
    /// How long a question to the cluster may take in all.
    pub deadline: Option<Duration>,
}

impl Access {
    /// By the names of Java's clients and of librdkafka: `bootstrap.servers`, `metadata.broker.list`, `client.id`,
    /// `default.api.timeout.ms`.
    pub fn from_properties(properties: Properties) -> Result<Self, PropertiesError> {
        let Properties { entries } = properties;
        let (mut access, mut faults) = (Self::default(), Vec::new());
        for (name, entry) in &entries {
            if let Err(why) = access.take(name, entry.value.trim(), &entries) {
                faults.push(PropertyFault { name: name.clone(), place: entry.place.clone(), why });
            }
        }
        if faults.is_empty() { Ok(access) } else { Err(PropertiesError::new(faults)) }
    }

    fn take(&mut self, name: &str, value: &str, all: &BTreeMap<String, Entry>) -> Result<(), PropertyRefused> {
        let invalid = |wanted| PropertyRefused::InvalidValue { value: value.to_owned(), wanted };
        match name {
            _ if SERVERS.contains(&name) => {
                let other = SERVERS.iter().find(|other| **other != name && all.contains_key(**other));
                if let Some(other) = other.filter(|other| all[**other].value.trim() != value) {
                    return Err(PropertyRefused::Twice { other: (*other).to_owned() });
                }
                self.servers = Some(value::servers(value).map_err(invalid)?);
            }
            "client.id" => self.client_id = Some(value.to_owned()),
            "default.api.timeout.ms" => {
                self.deadline = Some(value::millis(value).map_err(invalid)?);
            }
            _ => return refuse(name, value),
        }
        Ok(())
    }
}

/// Unless it is what happens anyway.
fn refuse(name: &str, value: &str) -> Result<(), PropertyRefused> {
    if let Some((_, allowed, advice)) = READING.iter().find(|(names, ..)| names.contains(&name)) {
        return match allowed {
            [] => Err(PropertyRefused::NotHere { advice }),
            allowed if allowed.contains(&value) => Ok(()),
            allowed => Err(PropertyRefused::NotThisValue { allowed, advice }),
        };
    }
    match answer(name) {
        Some(Answer::Other(other)) if CONNECTING.contains(&name) => match other.allowed {
            [] => Err(PropertyRefused::NotHere { advice: other.advice }),
            allowed if allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(value)) => Ok(()),
            allowed => Err(PropertyRefused::NotThisValue { allowed, advice: other.advice }),
        },
        Some(Answer::Elsewhere(elsewhere)) if elsewhere.advice == super::others::PLAINTEXT => {
            Err(PropertyRefused::NotHere { advice: elsewhere.advice })
        }
        _ => Err(PropertyRefused::NotHere { advice: NOT_READING }),
    }
}

type Row = (&'static [&'static str], &'static [&'static str], &'static str);

/// What consumers have: names, the values that are what happens anyway, and what to use instead.
const READING: &[Row] = &[
    (&["auto.offset.reset"], &[], "say where to begin with --from, as in --from start"),
    (&["isolation.level"], &["read_uncommitted"], "records of aborted transactions are read too"),
    (&["check.crcs"], &["true"], "checksums are always compared"),
    (
        &["group.id", "group.instance.id", "group.protocol", "group.remote.assignor", "enable.auto.commit"],
        &[],
        "partitions are read without a group, and no offset is kept; remove it",
    ),
    (
        &[
            "fetch.max.bytes",
            "max.partition.fetch.bytes",
            "fetch.message.max.bytes",
            "fetch.min.bytes",
            "max.poll.records",
        ],
        &[],
        "an answer is as large as it has to be, 4 MiB at most; remove it",
    ),
    (
        &["request.timeout.ms", "socket.timeout.ms"],
        &[],
        "an answer is waited for 10 s; use default.api.timeout.ms for a question with all its attempts",
    ),
];

/// What means for connections of any client what it means for the producer's.
const CONNECTING: &[&str] = &[
    "security.protocol",
    "security.providers",
    "client.dns.lookup",
    "connections.max.idle.ms",
    "broker.address.family",
    "broker.address.ttl",
    "socket.nagle.disable",
    "socket.keepalive.enable",
    "send.buffer.bytes",
    "receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "socket.receive.buffer.bytes",
];

const NOT_READING: &str = "reading and looking know bootstrap.servers, client.id and default.api.timeout.ms";

#[cfg(all(test, not(milena_model)))]
mod tests {
    use super::*;

    fn access<const COUNT: usize>(pairs: [(&str, &str); COUNT]) -> Result<Access, String> {
        Access::from_properties(Properties::from(pairs)).map_err(|error| error.to_string())
    }

    #[test]
    fn what_reaches_a_cluster_is_taken_and_nothing_is_ignored() {
        let all = access([
            ("metadata.broker.list", "a:1, b:2"),
            ("client.id", "shop"),
            ("default.api.timeout.ms", "500"),
            ("security.protocol", "plaintext"),
            ("isolation.level", "read_uncommitted"),
        ]);
        let expected = Access {
            servers: Some(vec!["a:1".to_owned(), "b:2".to_owned()]),
            client_id: Some("shop".to_owned()),
            deadline: Some(Duration::from_millis(500)),
        };
        assert_eq!(all, Ok(expected));
        for (name, value, said) in [
            ("linger.ms", "5", "linger.ms means nothing here: reading and looking know bootstrap.servers"),
            ("bootstrap.servers", "localhost", "bootstrap.servers is \"localhost\": give brokers as host:port"),
            ("nonsense", "5", "nonsense means nothing here"),
            ("auto.offset.reset", "earliest", "--from start"),
            ("isolation.level", "read_committed", "can only be read_uncommitted"),
            ("default.api.timeout.ms", "soon", "whole number of milliseconds"),
            ("sasl.password", "x", "PLAINTEXT"),
            ("security.protocol", "SSL", "can only be PLAINTEXT"),
            ("group.id", "shop", "without a group"),
        ] {
            let why = access([(name, value)]).expect_err(name);
            assert!(why.contains(said), "{name}: {why}");
        }
        let twice = access([("bootstrap.servers", "a:1"), ("metadata.broker.list", "b:1")]).expect_err("two values");
        assert!(twice.contains("the same setting with two values"), "{twice}");
    }
}
