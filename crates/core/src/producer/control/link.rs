//! The connection over which metadata and producer ids are asked for, and whom it leads to.
//!
//! ```text
//! Down(retry at) ─▶ Dialing ─▶ Up(connection) ─ lost, silent or useless ─▶ Down
//! ```
//!
//! Always holds: who answers stays; who does not is left for the next address, known brokers first. When no known broker can
//! be asked, or a broker demands it, the bootstrap addresses are asked again (KIP-899, KIP-1102), their names looked up
//! anew, and only they, and only then, may say that another cluster is there now.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::BytesMut;
use milena_wire::messages::init_producer_id::request::InitProducerIdRequest;
use milena_wire::messages::metadata::request::MetadataRequest;
use milena_wire::{ApiKey, Request};

use super::{Control, ControlEvent};
use crate::connection::{Answer, Connection, ConnectionConfig, ConnectionError};
use crate::metadata::Address;
use crate::time::Moment;

#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    Metadata,
    ProducerId,
}

#[derive(Debug)]
pub(super) enum Link {
    Down { retry_at: Moment },
    Dialing { address: Address, since: Moment },
    Up { address: Address, connection: Box<Connection<Purpose>> },
}

/// One after the other, each address is tried once.
#[derive(Debug, Default)]
pub(super) struct Round {
    left: VecDeque<Address>,
    /// Known brokers were tried, all in vain.
    is_known_tried: bool,
    /// The bootstrap addresses are being tried; there is nobody else to ask.
    is_last: bool,
    /// All were tried once, in vain: now each attempt waits.
    is_patient: bool,
    /// How many said nothing.
    silences: u32,
    /// Brokers that were known before they were forgotten: asked after the bootstrap addresses, which may be gone for good.
    former: Vec<Address>,
}

/// A broker that is not connected or silent for longer, at the first attempt, is left for another one: any can be asked, and a leader that
/// froze is often the one that would tell. Each that says nothing doubles it, up to `request_timeout`: all may be slow. One that
/// refuses connections says nothing about the next.
const PATIENCE_FIRST: Duration = Duration::from_secs(2);

/// Before this version Metadata creates the topics it is asked for (KIP-204); brokers since 0.11 speak it.
const METADATA_OLDEST: i16 = 4;

impl Control {
    /// The control connection's socket is open.
    pub fn handle_connected(&mut self, now: Moment) {
        if let Link::Dialing { address, .. } = &self.link {
            let request_timeout = self.config.connection.request_timeout.min(self.patience());
            let config = ConnectionConfig { request_timeout, ..self.config.connection.clone() };
            let connection = Box::new(Connection::new(config, now));
            self.link = Link::Up { address: address.clone(), connection };
        }
    }

    fn patience(&self) -> Duration {
        PATIENCE_FIRST.saturating_mul(1 << self.round.silences.min(10))
    }

    /// When a dial is given up for another address; where there is none, its owner says when it has failed.
    fn dial_ends(&self, since: Moment) -> Option<Moment> {
        let has_others = !self.round.left.is_empty() || !self.round.is_last;
        has_others.then(|| since + self.patience())
    }

    /// The control connection's socket could not be opened, or is closed, for this reason.
    pub fn handle_disconnected(&mut self, now: Moment, error: ConnectionError) {
        let (address, connection) = match std::mem::replace(&mut self.link, Link::Down { retry_at: now }) {
            down @ Link::Down { .. } => {
                self.link = down;
                return;
            }
            Link::Dialing { address, .. } => (address, None),
            Link::Up { address, connection } => (address, Some(connection)),
        };
        self.failures += 1;
        self.round.is_patient |= self.round.is_last && self.round.left.is_empty();
        let pause = match self.round.is_patient {
            true => self.config.retry.after(self.failures, &mut self.chance),
            false => Duration::ZERO,
        };
        self.link = Link::Down { retry_at: now + pause };
        let error = match &connection {
            Some(connection) => connection.explain(error),
            None => error,
        };
        let is_silence = matches!(error, ConnectionError::TimedOut { .. } | ConnectionError::NotYet { .. });
        self.round.silences += u32::from(is_silence);
        self.reach.faults.note(now, address, error);
        // A broker that is gone may lead nothing any more.
        self.metadata.doubt_brokers();
        for unanswered in connection.into_iter().flat_map(|connection| connection.close()) {
            self.handle_unanswered(now, unanswered.purpose);
        }
    }

    fn handle_unanswered(&mut self, now: Moment, purpose: Purpose) {
        match purpose {
            Purpose::Metadata => self.metadata.handle_failed(now, &mut self.chance),
            Purpose::ProducerId => self.identities.handle_failed(now, self.config.retry, &mut self.chance),
        }
    }

    fn fail(&mut self, now: Moment, error: ConnectionError) {
        self.events.push_back(ControlEvent::HangUp);
        self.handle_disconnected(now, error);
    }

    fn next_address(&mut self) -> Address {
        if self.round.left.is_empty() {
            self.begin_round();
        }
        self.dials += 1;
        self.round.left.pop_front().expect("there is at least one bootstrap address")
    }

    /// Addresses that were not tried yet since the last answer.
    pub(super) fn untried(&self) -> impl Iterator<Item = &Address> {
        // The first round has not begun.
        let is_new = self.dials == 0;
        let (first, left) = self.round.left.as_slices();
        let (first, left) = if is_new { (&*self.config.bootstrap, left) } else { (first, left) };
        first.iter().chain(left)
    }

    fn begin_round(&mut self) {
        if self.round.is_known_tried {
            self.forget_brokers();
        }
        if !self.metadata.brokers().is_empty() {
            self.round.is_known_tried = true;
            self.round.left = self.metadata.brokers().values().cloned().collect();
            let turn = self.dials % self.round.left.len();
            self.round.left.rotate_left(turn);
            return;
        }
        self.round.is_last = true;
        for address in self.config.bootstrap.iter().chain(&self.round.former) {
            if !self.round.left.contains(address) {
                self.round.left.push_back(address.clone());
            }
        }
    }

    /// A question was answered: whoever was in vain before is worth another try.
    pub(super) fn end_round(&mut self, now: Moment) {
        self.failures = 0;
        self.unanswered_since = None;
        self.reach.answered_at = Some(now);
        self.reach.faults.clear();
        self.round = Round::default();
    }

    fn forget_brokers(&mut self) {
        if !self.metadata.brokers().is_empty() {
            self.round.former = self.metadata.brokers().values().cloned().collect();
            self.metadata.forget_brokers();
        }
        self.round.is_known_tried = false;
    }

    /// What is known of brokers is wrong: no lane keeps its connection, and the bootstrap addresses are asked.
    pub(super) fn rebootstrap(&mut self) {
        self.forget_brokers();
        self.round.left.clear();
        for (id, lane) in &mut self.lanes {
            if lane.address.take().is_some() {
                self.events.push_back(ControlEvent::LaneLost(*id));
            }
        }
    }

    /// Whether whoever is connected is believed to say what cluster is meant: an address of the configuration, when no broker
    /// of the former cluster was left.
    pub(super) fn is_believed_about_cluster(&self) -> bool {
        match &self.link {
            Link::Up { address, .. } => self.round.is_last && self.config.bootstrap.contains(address),
            Link::Down { .. } | Link::Dialing { .. } => false,
        }
    }

    /// So many more bytes were handed to the kernel.
    pub fn handle_written(&mut self, bytes: usize) {
        if let Link::Up { connection, .. } = &mut self.link {
            connection.handle_written(bytes);
        }
    }

    /// Where the socket may read to; followed by [`Self::handle_read`].
    pub fn read_buffer(&mut self) -> Option<&mut BytesMut> {
        if let Link::Up { connection, .. } = &mut self.link { Some(connection.read_buffer()) } else { None }
    }

    /// The read buffer has grown.
    pub fn handle_read(&mut self, now: Moment) {
        let Link::Up { connection, .. } = &mut self.link else { return };
        let read = connection.handle_read(now);
        while let Link::Up { connection, .. } = &mut self.link {
            let Some(answer) = connection.poll_answer() else { break };
            if let Err(error) = self.take_answer(now, &answer) {
                self.handle_unanswered(now, answer.purpose);
                return self.fail(now, error);
            }
        }
        if let Err(error) = read {
            self.fail(now, error);
        }
    }

    fn take_answer(&mut self, now: Moment, answer: &Answer<Purpose>) -> Result<(), ConnectionError> {
        match answer.purpose {
            Purpose::Metadata => {
                let response = answer.decode::<MetadataRequest>()?;
                self.handle_throttle(now, response.throttle_time_ms);
                self.take_metadata(now, &response)
            }
            Purpose::ProducerId => {
                let response = answer.decode::<InitProducerIdRequest>()?;
                self.handle_throttle(now, response.throttle_time_ms);
                self.take_identity(now, &response);
                Ok(())
            }
        }
    }

    fn handle_throttle(&mut self, now: Moment, throttle_time_ms: i32) {
        if let Link::Up { connection, .. } = &mut self.link {
            connection.handle_throttle(now, throttle_time_ms);
        }
    }

    /// The next bytes for the control connection's socket.
    pub fn poll_transmit(&mut self, now: Moment) -> Option<Vec<u8>> {
        let Link::Up { connection, .. } = &mut self.link else { return None };
        if let Some(frame) = connection.poll_handshake() {
            return Some(frame);
        }
        if !connection.is_ready() {
            return None;
        }
        if let Some(request) = self.metadata.poll_request(now) {
            self.unanswered_since.get_or_insert(now);
            // From now on a doubt is one about the answer to this.
            self.lanes.values_mut().for_each(|lane| lane.is_doubted = false);
            return self.ask(now, METADATA_OLDEST, Purpose::Metadata, &request);
        }
        if !self.metadata.is_unanswered() {
            self.unanswered_since = None;
        }
        let request = self.identities.poll_request(now)?;
        self.ask(now, 0, Purpose::ProducerId, &request)
    }

    fn ask<R: Request>(&mut self, now: Moment, oldest: i16, purpose: Purpose, request: &R) -> Option<Vec<u8>> {
        let Link::Up { connection, .. } = &mut self.link else { return None };
        let version = match connection.version_from::<R>(oldest) {
            Ok(version) => version,
            Err(error) => {
                self.handle_unanswered(now, purpose);
                self.fail(now, error);
                return None;
            }
        };
        let frame = connection.encode(version, request).expect("topic names are checked before they are wanted");
        connection.register(now, R::KEY, version, frame.len(), purpose);
        Some(frame)
    }

    /// When [`Self::handle_timeout`] must be called.
    pub fn poll_timeout(&self) -> Option<Moment> {
        let rebootstrap = self.unanswered_since.map(|since| since + self.config.rebootstrap_after);
        let link = match &self.link {
            Link::Down { retry_at } => Some(*retry_at),
            Link::Dialing { since, .. } => self.dial_ends(*since),
            Link::Up { connection, .. } => {
                // Nothing is asked while the request before is not written; what frees the socket comes by itself.
                let may_ask = connection.is_ready() && !connection.has_unsent();
                let metadata = self.metadata.poll_timeout().filter(|_| may_ask);
                let identity = self.identities.poll_timeout().filter(|_| may_ask);
                [connection.poll_timeout(), metadata, identity].into_iter().flatten().min()
            }
        };
        link.into_iter().chain(rebootstrap).min()
    }

    /// Time has passed; what is due is then given by [`Self::poll_transmit`] and [`Self::poll_event`].
    pub fn handle_timeout(&mut self, now: Moment) {
        self.rebootstrap_if_due(now);
        if let Link::Dialing { since, .. } = self.link
            && self.dial_ends(since).is_some_and(|ends| ends <= now)
        {
            return self.fail(now, ConnectionError::NotYet { after: now.since(since) });
        }
        match &mut self.link {
            Link::Down { retry_at } if *retry_at <= now => {
                self.unanswered_since.get_or_insert(now);
                let address = self.next_address();
                self.link = Link::Dialing { address: address.clone(), since: now };
                self.events.push_back(ControlEvent::Dial(address));
            }
            Link::Down { .. } | Link::Dialing { .. } => {}
            Link::Up { connection, .. } => {
                if let Err(error) = connection.handle_timeout(now) {
                    self.fail(now, error);
                }
            }
        }
    }

    fn rebootstrap_if_due(&mut self, now: Moment) {
        if self.unanswered_since.is_none_or(|since| since + self.config.rebootstrap_after > now) {
            return;
        }
        self.unanswered_since = Some(now);
        self.rebootstrap();
        if !matches!(self.link, Link::Down { .. }) {
            self.fail(
                now,
                ConnectionError::TimedOut { api: ApiKey::METADATA.name(), after: self.config.rebootstrap_after },
            );
        }
    }
}
