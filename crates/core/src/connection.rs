//! One connection as bytes see it: version negotiation, requests in order, answers in the same order, one timer.
//!
//! ```text
//! Negotiating(version) ──answer──▶ Ready
//!      └─UNSUPPORTED_VERSION─▶ Negotiating(0)
//! ```
//!
//! Always holds: answers arrive in the order of the requests (Kafka's brokers serve one request per connection at a
//! time); one that does not fit its request ends the connection. A request's time runs only while it is the oldest
//! unanswered one, because the broker does not look at it earlier (rule 27).
//!
//! Left out: the socket. The owner says what was written and read, and closes.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use milena_wire::frame::{self, FrameSplitter, FrameTooLong};
use milena_wire::messages::api_versions::request::ApiVersionsRequest;
use milena_wire::{ApiKey, EncodeError, ErrorCode, Request};

pub use crate::fault::ConnectionError;
use crate::time::Moment;

/// What a connection needs to know of the configuration.
#[derive(Clone, Debug)]
pub struct ConnectionConfig {
    /// Shown in the broker's logs and quotas.
    pub client_id: Arc<str>,
    /// How long the oldest unanswered request may wait.
    pub request_timeout: Duration,
    /// The bug planted in this run.
    #[cfg(feature = "plants")]
    pub plant: crate::plant::Plant,
}

/// A larger response ends the connection. Fetch answers are bounded by their request; nothing else comes near.
pub const RESPONSE_BYTES_MAX: usize = 128 * 1024 * 1024;

impl ConnectionConfig {
    /// As a product uses it; the same call with and without planted bugs.
    pub fn new(client_id: Arc<str>, request_timeout: Duration) -> Self {
        Self {
            client_id,
            request_timeout,
            #[cfg(feature = "plants")]
            plant: crate::plant::Plant::Clean,
        }
    }
}

/// `T` says what a request was for.
#[derive(Debug)]
pub struct Connection<T> {
    config: ConnectionConfig,
    state: State,
    splitter: FrameSplitter,
    in_flight: VecDeque<InFlight<T>>,
    /// Requests that are not answered (acks=0), by where their last byte stands.
    unanswerable: VecDeque<Unanswerable<T>>,
    answers: VecDeque<Answer<T>>,
    next_correlation: i32,
    bytes_queued: u64,
    bytes_written: u64,
    /// When the oldest unanswered request became that.
    oldest_since: Moment,
    /// The broker reads nothing before.
    throttled_until: Moment,
    /// Whether a request was answered after the versions were told.
    was_served: bool,
}

#[derive(Debug)]
enum State {
    /// The frame is there until it is handed out.
    Negotiating {
        frame: Option<Vec<u8>>,
    },
    Ready {
        versions: BTreeMap<i16, (i16, i16)>,
    },
}

#[derive(Debug)]
struct InFlight<T> {
    correlation: i32,
    key: ApiKey,
    version: i16,
    /// Where its last byte stands in the stream of all bytes sent.
    stream_end: u64,
    /// Absent for the connection's own ApiVersions.
    purpose: Option<T>,
}

/// A request that the broker does not answer, until it is handed over.
#[derive(Debug)]
struct Unanswerable<T> {
    key: ApiKey,
    since: Moment,
    /// Where its last byte stands in the stream of all bytes sent.
    stream_end: u64,
    purpose: T,
}

/// A response, not decoded yet.
#[derive(Debug)]
pub struct Answer<T> {
    /// What the request was for.
    pub purpose: T,
    /// Of the request, and so of the response.
    pub version: i16,
    /// The whole frame.
    pub frame: Bytes,
    /// How long the broker took for it, from the answer before it or, if there was none, from the request.
    pub waited: Duration,
}

impl<T> Answer<T> {
    /// Reads the response to a request of this API.
    pub fn decode<R: Request>(&self) -> Result<R::Response, ConnectionError> {
        let decoded = frame::decode_response::<R>(self.frame.clone(), self.version);
        decoded.map(|(_, response)| response).map_err(malformed)
    }
}

/// A request that will not be answered any more.
#[derive(Debug, PartialEq, Eq)]
pub struct Unanswered<T> {
    /// What it was for.
    pub purpose: T,
    /// Every byte was handed to the kernel, so the broker may execute it; otherwise it never will (rule 12).
    pub was_all_written: bool,
}

impl<T> Connection<T> {
    /// A connection whose socket is open; its first frame is ready to be sent.
    pub fn new(config: ConnectionConfig, now: Moment) -> Self {
        let mut connection = Self {
            config,
            state: State::Negotiating { frame: None },
            splitter: FrameSplitter::new(RESPONSE_BYTES_MAX),
            in_flight: VecDeque::new(),
            unanswerable: VecDeque::new(),
            answers: VecDeque::new(),
            next_correlation: 0,
            bytes_queued: 0,
            bytes_written: 0,
            oldest_since: now,
            throttled_until: now,
            was_served: false,
        };
        connection.ask_versions(now, API_VERSIONS_FIRST);
        connection
    }

    fn ask_versions(&mut self, now: Moment, version: i16) {
        let request = ApiVersionsRequest {
            client_software_name: if version < 3 { "".into() } else { "milena".into() },
            client_software_version: if version < 3 { "".into() } else { env!("CARGO_PKG_VERSION").into() },
            ..ApiVersionsRequest::default()
        };
        let frame = self.encode(version, &request).expect("both fields fit the version");
        self.register_frame(now, ApiKey::API_VERSIONS, version, frame.len(), None);
        self.state = State::Negotiating { frame: Some(frame) };
    }

    /// The connection's own first frame, once.
    pub fn poll_handshake(&mut self) -> Option<Vec<u8>> {
        match &mut self.state {
            State::Negotiating { frame } => frame.take(),
            State::Ready { .. } => None,
        }
    }

    /// Whether requests can be sent.
    pub fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready { .. })
    }

    /// Requests that are not answered.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// The newest stable version of an API that both sides speak; none before the negotiation.
    pub fn version_of<R: Request>(&self) -> Result<i16, ConnectionError> {
        self.version_from::<R>(0)
    }

    /// As [`Self::version_of`], leaving out the versions before this one.
    pub fn version_from<R: Request>(&self, oldest: i16) -> Result<i16, ConnectionError> {
        let api = R::KEY.name();
        let theirs = match &self.state {
            State::Ready { versions } => versions.get(&R::KEY.0).filter(|(from, to)| from <= to),
            State::Negotiating { .. } => None,
        };
        let ours = R::KEY.stable_versions().map(|ours| *ours.start().max(&oldest)..=*ours.end());
        let Some((ours, (from, to))) = ours.zip(theirs.copied()) else {
            return Err(ConnectionError::ApiMissing { api });
        };
        common_version(api, ours, from..=to)
    }

    /// The correlation id that the next frame must carry.
    pub fn correlation(&self) -> i32 {
        self.next_correlation
    }

    /// Who the frame must say it is from.
    pub fn client_id(&self) -> &str {
        &self.config.client_id
    }

    /// A whole request frame, to be registered with its length.
    pub fn encode<R: Request>(&self, version: i16, request: &R) -> Result<Vec<u8>, EncodeError> {
        frame::encode_request(&self.config.client_id, self.next_correlation, version, request)
    }

    /// A frame with the current [`Self::correlation`] id goes out next.
    pub fn register(&mut self, now: Moment, key: ApiKey, version: i16, frame_len: usize, purpose: T) {
        self.register_frame(now, key, version, frame_len, Some(purpose));
    }

    fn register_frame(&mut self, now: Moment, key: ApiKey, version: i16, frame_len: usize, purpose: Option<T>) {
        if self.in_flight.is_empty() {
            self.oldest_since = now;
        }
        self.bytes_queued += frame_len as u64;
        let correlation = self.next_correlation;
        self.in_flight.push_back(InFlight { correlation, key, version, stream_end: self.bytes_queued, purpose });
        self.next_correlation = self.next_correlation.wrapping_add(1);
    }

    /// A frame with the current [`Self::correlation`] id goes out next, and the broker does not answer it.
    pub fn register_unanswerable(&mut self, now: Moment, key: ApiKey, frame_len: usize, purpose: T) {
        self.bytes_queued += frame_len as u64;
        self.unanswerable.push_back(Unanswerable { key, since: now, stream_end: self.bytes_queued, purpose });
        self.next_correlation = self.next_correlation.wrapping_add(1);
    }

    /// A request that is not answered and of which every byte was handed to the kernel, once.
    pub fn poll_handed_over(&mut self) -> Option<T> {
        let is_handed_over = self.unanswerable.front()?.stream_end <= self.bytes_written;
        if is_handed_over { self.unanswerable.pop_front().map(|request| request.purpose) } else { None }
    }

    /// What the unanswered requests are for, oldest first.
    pub fn purposes(&self) -> impl Iterator<Item = &T> {
        self.in_flight.iter().filter_map(|request| request.purpose.as_ref())
    }

    /// Since when the oldest unanswered request is served, throttling not counted; none if there is none.
    pub fn waits_since(&self) -> Option<Moment> {
        let asked = self.in_flight.front().map(|_| self.oldest_since);
        // One that is not answered has its time until it is handed over.
        let since = asked.or_else(|| self.unanswerable.front().map(|request| request.since))?;
        Some(since.max(self.throttled_until))
    }

    /// The broker reads nothing before.
    pub fn throttled_until(&self) -> Moment {
        self.throttled_until
    }

    /// So many more bytes were handed to the kernel.
    pub fn handle_written(&mut self, bytes: usize) {
        self.bytes_written += bytes as u64;
    }

    /// Bytes that were registered and not yet handed to the kernel.
    pub fn has_unsent(&self) -> bool {
        self.bytes_written < self.bytes_queued
    }

    /// Bytes came from the socket. On an error the connection must be closed.
    pub fn handle_bytes(&mut self, now: Moment, bytes: &[u8]) -> Result<(), ConnectionError> {
        self.splitter.push(bytes);
        self.handle_read(now)
    }

    /// Where the socket may read to; followed by [`Self::handle_read`].
    pub fn read_buffer(&mut self) -> &mut BytesMut {
        self.splitter.read_buffer()
    }

    /// The read buffer has grown. On an error the connection must be closed.
    pub fn handle_read(&mut self, now: Moment) -> Result<(), ConnectionError> {
        loop {
            match self.splitter.next_frame() {
                Ok(Some(frame)) => self.handle_frame(now, frame)?,
                Ok(None) => return Ok(()),
                Err(error) => return Err(self.misread(&error)),
            }
        }
    }

    /// A peer that has not answered yet may speak anything.
    fn misread(&self, error: &FrameTooLong) -> ConnectionError {
        if self.is_ready() { malformed(error) } else { ConnectionError::of_stranger(error.stated.to_be_bytes()) }
    }

    fn handle_frame(&mut self, now: Moment, frame: Bytes) -> Result<(), ConnectionError> {
        // Looked at before it is taken out: after a fault the request still counts among the unanswered.
        let expected = self.in_flight.front().ok_or(ConnectionError::Unasked)?.correlation;
        let found = frame::correlation_id(&frame).map_err(malformed)?;
        if found != expected && !self.is_planted() {
            return Err(ConnectionError::WrongCorrelation { expected, found });
        }
        let request = self.take_oldest().expect("a request was just seen in flight");
        let waited = now.since(self.oldest_since.max(self.throttled_until));
        self.oldest_since = now;
        match request.purpose {
            Some(purpose) => {
                self.was_served = true;
                self.answers.push_back(Answer { purpose, version: request.version, frame, waited });
            }
            None => self.handle_versions(now, request.version, frame)?,
        }
        Ok(())
    }

    #[cfg(not(feature = "plants"))]
    fn take_oldest(&mut self) -> Option<InFlight<T>> {
        self.in_flight.pop_front()
    }

    #[cfg(not(feature = "plants"))]
    fn is_planted(&self) -> bool {
        false
    }

    #[cfg(feature = "plants")]
    fn take_oldest(&mut self) -> Option<InFlight<T>> {
        if self.is_planted() { self.in_flight.pop_back() } else { self.in_flight.pop_front() }
    }

    #[cfg(feature = "plants")]
    fn is_planted(&self) -> bool {
        self.config.plant == crate::plant::Plant::AnswerToWrongRequest
    }

    fn handle_versions(&mut self, now: Moment, version: i16, frame: Bytes) -> Result<(), ConnectionError> {
        // A broker that does not know the version answers in version 0, error code first (KIP-511).
        let code = frame.get(RESPONSE_HEADER_BYTES..RESPONSE_HEADER_BYTES + 2);
        if version > 0 && code == Some(&ErrorCode::UNSUPPORTED_VERSION.0.to_be_bytes()) {
            self.ask_versions(now, 0);
            return Ok(());
        }
        let (_, response) = frame::decode_response::<ApiVersionsRequest>(frame, version).map_err(malformed)?;
        ErrorCode(response.error_code).into_result().map_err(|code| ConnectionError::VersionsRefused(code.into()))?;
        let ranges = response.api_keys.iter().map(|api| (api.api_key, (api.min_version, api.max_version)));
        self.state = State::Ready { versions: ranges.collect() };
        Ok(())
    }

    /// The next answer, oldest first.
    pub fn poll_answer(&mut self) -> Option<Answer<T>> {
        self.answers.pop_front()
    }

    /// An answer said for how long the broker reads nothing more from this connection (KIP-219). No request's time runs
    /// meanwhile.
    pub fn handle_throttle(&mut self, now: Moment, throttle_time_ms: i32) {
        let pause = Duration::from_millis(u64::try_from(throttle_time_ms).unwrap_or(0));
        self.throttled_until = self.throttled_until.max(now + pause.min(THROTTLE_MAX));
    }

    /// When [`Self::handle_timeout`] must be called.
    pub fn poll_timeout(&self) -> Option<Moment> {
        Some(self.waits_since()? + self.config.request_timeout)
    }

    /// On an error the connection must be closed.
    pub fn handle_timeout(&mut self, now: Moment) -> Result<(), ConnectionError> {
        match (self.poll_timeout(), self.oldest_key()) {
            (Some(due), Some(key)) if due <= now => {
                Err(ConnectionError::TimedOut { api: key.name(), after: self.config.request_timeout })
            }
            _ => Ok(()),
        }
    }

    /// What has been waited for the longest, and since when: why nothing has come yet.
    pub fn waits(&self) -> Option<(ApiKey, Moment)> {
        Some((self.oldest_key()?, self.waits_since()?))
    }

    fn oldest_key(&self) -> Option<ApiKey> {
        let asked = self.in_flight.front().map(|request| request.key);
        asked.or_else(|| self.unanswerable.front().map(|request| request.key))
    }

    /// What it means that the peer closed the connection, or broke it, at this point.
    pub fn explain(&self, error: ConnectionError) -> ConnectionError {
        match (&error, self.in_flight.front()) {
            (ConnectionError::Closed | ConnectionError::Lost { .. }, _) if !self.is_ready() => {
                ConnectionError::ClosedBeforeVersions
            }
            (ConnectionError::Closed | ConnectionError::Lost { .. }, Some(asked)) if !self.was_served => {
                ConnectionError::ClosedAtFirstRequest { api: asked.key.name() }
            }
            _ => error,
        }
    }

    /// The socket is closed: what will not be answered any more, oldest first. An answer that nobody took counts as none.
    pub fn close(self) -> impl Iterator<Item = Unanswered<T>> {
        let written = self.bytes_written;
        let untaken =
            self.answers.into_iter().map(|answer| Unanswered { purpose: answer.purpose, was_all_written: true });
        let unanswerable = self.unanswerable.into_iter().map(|request| (request.stream_end, Some(request.purpose)));
        let asked = self.in_flight.into_iter().map(|request| (request.stream_end, request.purpose)).chain(unanswerable);
        untaken.chain(asked.filter_map(move |(end, purpose)| {
            purpose.map(|purpose| Unanswered { purpose, was_all_written: end <= written })
        }))
    }
}

fn malformed(error: impl std::fmt::Display) -> ConnectionError {
    ConnectionError::Malformed { why: error.to_string().into() }
}

fn common_version(
    api: &'static str,
    ours: RangeInclusive<i16>,
    theirs: RangeInclusive<i16>,
) -> Result<i16, ConnectionError> {
    if theirs.end() < ours.start() {
        Err(ConnectionError::BrokerTooOld { api, ours, theirs })
    } else if theirs.start() > ours.end() {
        Err(ConnectionError::ClientTooOld { api, ours, theirs })
    } else {
        Ok(*ours.end().min(theirs.end()))
    }
}

/// The first version with the client's name in it (KIP-511); every broker since 2.4 speaks it, older ones say so.
const API_VERSIONS_FIRST: i16 = 3;

/// ApiVersions answers always carry response header version 0: the correlation id.
const RESPONSE_HEADER_BYTES: usize = 4;

/// The longest pause that is believed: brokers throttle for at most their quota window, 11 s by default.
const THROTTLE_MAX: Duration = Duration::from_secs(60);

#[cfg(all(test, not(milena_model)))]
mod tests;
