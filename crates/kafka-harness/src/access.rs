//! Who may do what: everybody everything, or clients little and the harness everything.
//!
//! Where access is limited, nodes, controllers and the harness itself are [`USER`], who proves it by SASL/PLAIN on the listeners
//! between nodes. Clients come without a name, which makes them `User:ANONYMOUS`, and may do what ACLs grant.

use crate::exchange::{Answer, Door, PASSWORD, Request, USER, cut_short};
use std::io;
use std::time::Duration;

/// What clients without a name may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Everything; nobody asks.
    #[default]
    Open,
    /// WRITE and DESCRIBE of every topic; no READ. What else is to be allowed must be granted.
    WriteOnly,
}

/// An operation that ACLs name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// To read a topic's records.
    Read = 3,
    /// To append records, and to be given a producer id.
    Write = 4,
    /// To learn of a topic's partitions.
    Describe = 8,
}

impl Access {
    pub(crate) fn is_guarded(self) -> bool {
        self == Self::WriteOnly
    }

    /// What is in force from the beginning.
    pub(crate) fn granted(self) -> &'static [Operation] {
        match self {
            Self::Open => &[],
            Self::WriteOnly => &[Operation::Write, Operation::Describe],
        }
    }

    /// Lines of a node's properties.
    pub(crate) fn properties(self) -> String {
        let internal = if self.is_guarded() { "SASL_PLAINTEXT" } else { "PLAINTEXT" };
        let mut text = format!(
            "listener.security.protocol.map=\
             CONTROLLER:{internal},INTERNAL:{internal},PLAIN:PLAINTEXT,PROXIED:PLAINTEXT\n"
        );
        if self.is_guarded() {
            text += GUARDED_PROPERTIES;
            text += &format!("super.users=User:{USER}\n");
            for listener in ["internal", "controller"] {
                let jaas = jaas();
                text +=
                    &format!("listener.name.{listener}.plain.sasl.jaas.config={jaas} user_{USER}=\"{PASSWORD}\";\n");
            }
        }
        text
    }
}

/// How Java proves who it is, up to the options of a server or the semicolon.
fn jaas() -> String {
    format!(
        "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"{USER}\" password=\"{PASSWORD}\""
    )
}

/// How a Java client of the harness logs in.
pub fn client_jaas() -> String {
    jaas() + ";"
}

/// Grants an operation on every topic to clients without a name, or takes it back: CreateAcls v1 and DeleteAcls v1, which name
/// an ACL alike. Any broker will do.
pub fn change(door: Door, change: Change, operation: Operation, patience: Duration) -> io::Result<()> {
    const TOPIC: i8 = 2;
    const LITERAL: i8 = 3;
    const ALLOW: i8 = 3;
    let mut request = Request::new(change as i16, 1);
    request.count(1).int8(TOPIC).string("*").int8(LITERAL).string("User:ANONYMOUS").string("*");
    request.int8(operation as i8).int8(ALLOW);
    let answer = request.exchange(door, patience)?;
    match refusal(&mut Answer(&answer)).ok_or_else(cut_short)? {
        None => Ok(()),
        Some(said) => Err(io::Error::other(format!("ACLs: {said}"))),
    }
}

/// By the number of its API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Grant = 30,
    Revoke = 31,
}

/// After the throttle time, per ACL an error and a sentence; DeleteAcls tells more behind it.
fn refusal(answer: &mut Answer<'_>) -> Option<Option<String>> {
    let _throttle_and_count = (answer.int32()?, answer.int32()?);
    let (code, sentence) = (answer.int16()?, answer.string()?);
    Some((code != 0).then(|| format!("error {code}: {sentence}")))
}

const GUARDED_PROPERTIES: &str = "\
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
sasl.enabled.mechanisms=PLAIN
sasl.mechanism.inter.broker.protocol=PLAIN
sasl.mechanism.controller.protocol=PLAIN
";
