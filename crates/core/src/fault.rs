//! Why a broker could not be asked: every way in which a connection is not opened or does not last.
//!
//! Always holds: a fault is a value that is kept, compared and shown later; its sentence says what is wrong and what to
//! do about it, and leaves the address to whoever shows it.
//!
//! Left out: what a fault means for a record; see `producer/verdict.rs`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use crate::metadata::Address;
use crate::producer::outcome::{AttemptError, KafkaError};
use crate::time::Moment;

/// Why a connection was not opened, or did not last. The client goes on trying in any case, because whoever runs the
/// cluster may be mending it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The host's name has no address.
    NameNotResolved {
        /// The name.
        host: Arc<str>,
        /// In the operating system's words.
        why: Arc<str>,
    },
    /// The host's name was not looked up in time.
    NameLookupTimedOut {
        /// The name.
        host: Arc<str>,
        /// How long it was waited for.
        after: Duration,
    },
    /// None of the host's addresses took a connection.
    NotConnected {
        /// The name, or the address itself.
        host: Arc<str>,
        /// All addresses that were tried, in this order.
        tried: Arc<[FailedDial]>,
    },
    /// The attempt has not come to its end; only told to those who wait no longer.
    NotYet {
        /// How long it has lasted.
        after: Duration,
    },
    /// Its turn has not come; only told to those who wait no longer.
    NotTried,
    /// The peer answers in TLS.
    SpeaksTls,
    /// The peer answers in HTTP.
    SpeaksHttp,
    /// The peer answers, but not in Kafka's protocol.
    NotKafka {
        /// The first bytes of its answer.
        begins: [u8; 4],
    },
    /// The connection was closed before the peer said anything.
    ClosedBeforeVersions,
    /// The connection was closed when the first request after the negotiation of versions came.
    ClosedAtFirstRequest {
        /// The API of that request.
        api: &'static str,
    },
    /// The broker's newest version of an API is older than the oldest that this client speaks.
    BrokerTooOld {
        /// The API.
        api: &'static str,
        /// The versions that this client speaks.
        ours: RangeInclusive<i16>,
        /// The versions that the broker speaks.
        theirs: RangeInclusive<i16>,
    },
    /// The broker's oldest version of an API is newer than the newest that this client speaks.
    ClientTooOld {
        /// The API.
        api: &'static str,
        /// The versions that this client speaks.
        ours: RangeInclusive<i16>,
        /// The versions that the broker speaks.
        theirs: RangeInclusive<i16>,
    },
    /// The peer speaks Kafka's protocol, but not this API in any version.
    ApiMissing {
        /// The API.
        api: &'static str,
    },
    /// The broker refuses to tell its versions.
    VersionsRefused(KafkaError),
    /// The oldest request was not answered in time.
    TimedOut {
        /// Its API.
        api: &'static str,
        /// How long it was waited for.
        after: Duration,
    },
    /// Bytes that are no response of Kafka.
    Malformed {
        /// What is wrong with them.
        why: Arc<str>,
    },
    /// An answer to another request than the oldest.
    WrongCorrelation {
        /// Of the oldest request.
        expected: i32,
        /// Of the answer.
        found: i32,
    },
    /// An answer, but nothing was asked.
    Unasked,
    /// The open connection broke.
    Lost {
        /// In the operating system's words.
        why: Arc<str>,
    },
    /// The broker closed the connection.
    Closed,
    /// The broker belongs to another cluster than all before.
    OtherCluster {
        /// The id of the cluster that is meant.
        expected: Arc<str>,
        /// The id that the broker gave.
        found: Arc<str>,
    },
    /// The broker refuses to tell of any topic or broker.
    MetadataRefused(KafkaError),
    /// The broker does not know of any broker, itself included.
    KnowsNoBrokers,
    /// The cluster says that the broker is at another address now.
    Moved,
    /// Nobody who could be asked knows where the broker is.
    BrokerUnknown,
    /// Nothing is wrong with it: what was asked on it for a slow partition would hold up the others, which are sent on
    /// another one.
    HeldUp,
}

/// An IP address that took no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedDial {
    /// Where.
    pub to: SocketAddr,
    /// Why not.
    pub why: DialError,
}

/// Why an IP address took no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DialError {
    /// The host says that nothing listens there.
    Refused,
    /// Nobody said anything.
    TimedOut {
        /// How long it was waited for.
        after: Duration,
    },
    /// Anything else, in the operating system's words.
    Failed {
        /// They.
        why: Arc<str>,
    },
}

impl ConnectionError {
    /// What the first bytes of a connection say of a peer that they do not come from a Kafka broker: as a length they are
    /// more than any answer has.
    pub(crate) fn of_stranger(begins: [u8; 4]) -> Self {
        match begins {
            // The type of a TLS record (change cipher spec to application data), then its version, SSL 3.0 to TLS 1.3. A
            // TLS server answers plain text with an alert.
            [0x14..=0x17, 3, 0..=4, _] => Self::SpeaksTls,
            // Very old servers answer what they do not understand with a bare page.
            [b'H', b'T', b'T', b'P'] | [b'<', b'h' | b'H' | b'!', _, _] => Self::SpeaksHttp,
            begins => Self::NotKafka { begins },
        }
    }

    /// What a record is told that waited for this connection.
    pub fn attempt_error(&self) -> AttemptError {
        match self {
            Self::NameNotResolved { .. } | Self::NameLookupTimedOut { .. } => AttemptError::NameNotResolved,
            Self::NotConnected { tried, .. } if tried.iter().all(|dial| dial.why == DialError::Refused) => {
                AttemptError::ConnectionRefused
            }
            Self::NotConnected { .. } | Self::NotYet { .. } | Self::NotTried => AttemptError::NotConnected,
            Self::SpeaksTls => AttemptError::SpeaksTls,
            Self::SpeaksHttp | Self::NotKafka { .. } | Self::ClosedBeforeVersions => AttemptError::NotKafka,
            Self::BrokerTooOld { .. } | Self::ClientTooOld { .. } | Self::ApiMissing { .. } => {
                AttemptError::NoCommonVersion
            }
            Self::VersionsRefused(code) | Self::MetadataRefused(code) => AttemptError::Kafka(*code),
            Self::TimedOut { .. } => AttemptError::RequestTimedOut,
            Self::Malformed { .. } | Self::WrongCorrelation { .. } | Self::Unasked => AttemptError::InvalidAnswer,
            Self::OtherCluster { .. } | Self::KnowsNoBrokers | Self::BrokerUnknown => AttemptError::NotConnected,
            Self::ClosedAtFirstRequest { .. } | Self::Lost { .. } | Self::Closed | Self::Moved | Self::HeldUp => {
                AttemptError::ConnectionLost
            }
        }
    }

    /// Whether another attempt may go better though nobody changes anything.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::SpeaksTls
            | Self::SpeaksHttp
            | Self::NotKafka { .. }
            | Self::BrokerTooOld { .. }
            | Self::ClientTooOld { .. }
            | Self::ApiMissing { .. }
            | Self::VersionsRefused(_)
            | Self::Malformed { .. }
            | Self::WrongCorrelation { .. }
            | Self::Unasked
            | Self::OtherCluster { .. } => false,
            Self::NameNotResolved { .. }
            | Self::NameLookupTimedOut { .. }
            | Self::NotConnected { .. }
            | Self::NotYet { .. }
            | Self::NotTried
            | Self::ClosedBeforeVersions
            | Self::ClosedAtFirstRequest { .. }
            | Self::TimedOut { .. }
            | Self::Lost { .. }
            | Self::Closed
            | Self::MetadataRefused(_)
            | Self::KnowsNoBrokers
            | Self::Moved
            | Self::BrokerUnknown
            | Self::HeldUp => true,
        }
    }
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NameNotResolved { host, why } => {
                write!(f, "the name {host} does not resolve ({why}): check its spelling, and the DNS of this machine")
            }
            Self::NameLookupTimedOut { host, after } => {
                write!(f, "the name {host} was not resolved within {after:?}: check the DNS of this machine")
            }
            Self::NotConnected { host, tried } => write_failed_dials(f, host, tried),
            Self::NotYet { after } => write!(f, "not connected after {after:?}"),
            Self::NotTried => f.write_str("not tried yet"),
            Self::SpeaksTls => f.write_str(
                "the port speaks TLS, this client plain text only: use the port of a PLAINTEXT listener of the broker",
            ),
            Self::SpeaksHttp => f.write_str("the port speaks HTTP, so it is no Kafka broker's: check the port"),
            Self::NotKafka { begins } => write!(
                f,
                "the answer begins with \"{}\", so the port is no Kafka broker's: check host and port",
                begins.escape_ascii()
            ),
            Self::ClosedBeforeVersions => f.write_str(
                "the connection was closed before any answer: the port asks for TLS, or is no Kafka broker's",
            ),
            Self::ClosedAtFirstRequest { api } => write!(
                f,
                "the broker closed the connection at the first {api} request, as listeners do that ask for SASL: use \
                 one that asks for none"
            ),
            Self::BrokerTooOld { api, ours, theirs } => {
                write!(f, "the broker is too old: ")?;
                write_versions(f, api, ours, theirs)?;
                f.write_str(", Kafka 2.1 or later is needed")
            }
            Self::ClientTooOld { api, ours, theirs } => {
                write!(f, "the broker is too new: ")?;
                write_versions(f, api, ours, theirs)?;
                f.write_str(", a newer version of this client is needed")
            }
            Self::ApiMissing { api } => write!(
                f,
                "the peer does not serve {api} requests: use the port of a broker of Kafka 2.1 or later, not that of a \
                 controller"
            ),
            Self::VersionsRefused(code) => write!(f, "the broker refuses to tell its API versions: {code}"),
            Self::TimedOut { api, after } => {
                write!(f, "{api} was not answered within {after:?}")?;
                // Whoever asks with less time learns nothing about the broker.
                if *after < TELLING {
                    return Ok(());
                }
                f.write_str(": the broker hangs or is overloaded")?;
                // The first request of a connection.
                let is_first = *api == milena_wire::ApiKey::API_VERSIONS.name();
                f.write_str(if is_first { ", or the port is no Kafka broker's" } else { "" })
            }
            Self::Malformed { why } => {
                write!(f, "the peer does not answer like a Kafka broker ({why}): check host and port")
            }
            Self::WrongCorrelation { expected, found } => {
                write!(f, "answer {found} came where answer {expected} was due")
            }
            Self::Unasked => f.write_str("an answer came though nothing was asked"),
            Self::Lost { why } => write!(f, "the connection broke: {why}"),
            Self::Closed => f.write_str("the broker closed the connection"),
            Self::OtherCluster { expected, found } => write!(
                f,
                "the broker belongs to cluster {found}, not to {expected}: its address was given to another one, check the \
                 advertised listeners"
            ),
            Self::MetadataRefused(code) => write!(f, "the broker refuses to tell of topics and brokers: {code}"),
            Self::KnowsNoBrokers => {
                f.write_str("the broker knows of no broker yet, itself included: it is still starting")
            }
            Self::Moved => f.write_str("given up, because the broker is at another address now"),
            Self::BrokerUnknown => f.write_str("no broker that could be asked knows where this one is"),
            Self::HeldUp => f.write_str("given up, because a slow partition held up the others on it"),
        }
    }
}

impl std::error::Error for ConnectionError {}

/// An answer may well take so long.
const TELLING: Duration = Duration::from_millis(100);

fn write_versions(
    f: &mut fmt::Formatter<'_>,
    api: &str,
    ours: &RangeInclusive<i16>,
    theirs: &RangeInclusive<i16>,
) -> fmt::Result {
    let (from, to) = (theirs.start(), theirs.end());
    write!(f, "it speaks {api} in versions {from} to {to}, this client in {} to {}", ours.start(), ours.end())
}

fn write_failed_dials(f: &mut fmt::Formatter<'_>, host: &str, tried: &[FailedDial]) -> fmt::Result {
    // Where the host is an IP address, that is what was tried, and it was told already.
    let is_plain = matches!(tried, [one] if one.to.ip().to_string() == host);
    for (place, dial) in tried.iter().enumerate() {
        f.write_str(if place > 0 { " and " } else { "" })?;
        write!(f, "{}", dial.why)?;
        if !is_plain {
            write!(f, " ({})", dial.to)?;
        }
    }
    f.write_str(match tried.iter().all(|dial| dial.why == DialError::Refused) {
        true => ": nothing listens there, check the port and that the broker runs",
        false => ": check the route, firewalls, and that the broker runs",
    })
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("connection refused"),
            Self::TimedOut { after } => write!(f, "no connection within {after:?}"),
            Self::Failed { why } => f.write_str(why),
        }
    }
}

impl std::error::Error for DialError {}

/// What is known of an address that could not be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressFault {
    /// How often it was tried since anybody answered.
    pub attempts: u32,
    /// When the last attempt failed.
    pub failed_at: Moment,
    /// Why.
    pub error: ConnectionError,
}

/// Which addresses could not be asked since the last answer, and why. As many as there are addresses to try.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    by_address: BTreeMap<Address, AddressFault>,
    /// Counts changes, for those who keep a copy.
    revision: u64,
}

impl Faults {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// An attempt failed.
    pub fn note(&mut self, now: Moment, address: Address, error: ConnectionError) {
        let attempts = self.by_address.get(&address).map_or(0, |fault| fault.attempts) + 1;
        self.by_address.insert(address, AddressFault { attempts, failed_at: now, error });
        self.revision += 1;
    }

    /// Somebody answered.
    pub fn clear(&mut self) {
        if !self.by_address.is_empty() {
            self.by_address.clear();
            self.revision += 1;
        }
    }

    /// Another number after every change.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.by_address.is_empty()
    }

    /// In the order of the addresses.
    pub fn iter(&self) -> impl Iterator<Item = (&Address, &AddressFault)> {
        self.by_address.iter()
    }
}

#[cfg(all(test, not(milena_model)))]
mod tests;
