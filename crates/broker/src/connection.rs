//! What the cluster keeps of a client's connection, and what it tells the driver about it.
//!
//! Kafka serves one request per connection at a time: the connection is *muted* until the answer has been handed to the driver, and
//! requests that arrive meanwhile wait in order. The driver bounds them: a TCP server by not reading, a simulation by its window.
//!
//! A connection belongs to one node. While that is frozen, requests only gather; a client that leaves meanwhile is not noticed, and what it
//! sent is still executed afterwards, as a socket's buffer is.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use milena_wire::{ApiKey, DecodeError, EncodeError, ErrorCode};

use crate::faults::Aftermath;
use crate::ids::{ConnectionId, NodeId};

/// What a driver has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Write this frame, length included, to the connection. The next request of the connection is served once this event is taken.
    Response {
        /// Whose answer it is.
        connection: ConnectionId,
        /// The whole frame.
        frame: Bytes,
    },
    /// Close the connection; the cluster has forgotten it already.
    Close {
        /// Which.
        connection: ConnectionId,
        /// Why.
        reason: CloseReason,
    },
}

/// Why the broker closes a connection, as Kafka does in the same cases.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// The bytes are not a request.
    Malformed(DecodeError),
    /// There is no such API here.
    UnknownApi(ApiKey),
    /// There is such an API, but not in this version.
    UnsupportedVersion {
        /// The API.
        api: ApiKey,
        /// The version asked for.
        version: i16,
    },
    /// A batch of a Produce request with acks=0 was refused: closing is the only way left to say so.
    SilentProduceRefused(ErrorCode),
    /// The answer cannot be written in the version asked for.
    Unanswerable(EncodeError),
    /// Its node was stopped.
    NodeStopped,
    /// A fault wants it; see [`Effect`](crate::Effect).
    Fault,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CloseReason::Malformed(error) => write!(f, "malformed request: {error}"),
            CloseReason::UnknownApi(api) => write!(f, "unknown API {}", api.0),
            CloseReason::UnsupportedVersion { api, version } => write!(f, "{api} version {version} is not served"),
            CloseReason::SilentProduceRefused(code) => write!(f, "a batch sent with acks=0 was refused with {code}"),
            CloseReason::Unanswerable(error) => write!(f, "the answer cannot be written: {error}"),
            CloseReason::NodeStopped => f.write_str("the node was stopped"),
            CloseReason::Fault => f.write_str("a fault closes it"),
        }
    }
}

/// Whose turn it is on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The next request is served.
    Client,
    /// Muted: a request waits for data or for followers.
    Parked,
    /// Muted: the answer has not been taken by the driver.
    Answering,
    /// Muted: the client has its answer, and has asked too much.
    Throttled,
    /// Muted: a fault holds the answer back for a while.
    Held,
    /// For good: a fault lost an answer.
    Lost,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) node: NodeId,
    pub(crate) turn: Turn,
    /// Requests that arrived while muted, or while the node was frozen.
    pub(crate) waiting: VecDeque<Bytes>,
    /// Until when it is muted after an answer (KIP-219). Set by a throttled answer.
    pub(crate) throttled_until: Duration,
    /// The client left while the node was frozen: what it sent is still executed, and nothing is answered.
    pub(crate) is_abandoned: bool,
    /// What faults do to the answer of the request that is served. Set before that, taken by the answer.
    pub(crate) aftermath: Option<Aftermath>,
    /// What it last asked for.
    pub(crate) seen: Seen,
}

/// What a connection's requests tell of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) client: Option<Box<str>>,
    pub(crate) api: Option<ApiKey>,
    pub(crate) requests: u64,
}

impl Connection {
    pub(crate) fn to(node: NodeId) -> Connection {
        Connection {
            node,
            turn: Turn::Client,
            waiting: VecDeque::new(),
            throttled_until: Duration::ZERO,
            is_abandoned: false,
            aftermath: None,
            seen: Seen::default(),
        }
    }

    /// The next request, if it may be served now.
    pub(crate) fn next_request(&mut self) -> Option<Bytes> {
        match self.turn {
            Turn::Client => self.waiting.pop_front(),
            Turn::Parked | Turn::Answering | Turn::Throttled | Turn::Held | Turn::Lost => None,
        }
    }
}
