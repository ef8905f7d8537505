//! The next request: which partitions it takes along, and its bytes.

use std::ops::Bound;
use std::sync::Arc;

use milena_wire::messages::produce::request::ProduceRequest;
use milena_wire::{ApiKey, Uuid};

use super::{Attempt, AttemptKey, Flight, Lane, Link};
use crate::ids::PartitionId;
use crate::producer::back::Acks;
use crate::producer::body::ChunkSource;
use crate::producer::journal::{BatchKey, Scribe, Sending};
use crate::producer::outcome::AttemptError;
use crate::producer::produce_request::{self, Entry, Envelope, TOPIC_IDS_FROM, Transmit};
use crate::time::Moment;

/// Requests on one connection that are not answered: enough to keep a broker busy, which serves one at a time.
const REQUESTS_IN_FLIGHT_MAX: usize = 5;

/// No batch joins a request of this size: one that is larger delays its first partition without helping the last.
const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a request takes along.
struct Gathered {
    attempts: Vec<Attempt>,
    entries: Vec<Entry>,
    /// Empty where nobody is told.
    sendings: Vec<Sending>,
}

impl Lane {
    /// The next bytes for the socket: batches are claimed here, once every byte before them is handed over.
    pub fn poll_request(&mut self, now: Moment, chunks: &(impl ChunkSource + ?Sized)) -> Option<Transmit> {
        self.poll_noted_request(now, chunks, &mut ())
    }

    /// As [`Self::poll_request`], and somebody is told of batches before they are handed over (rule 26).
    pub fn poll_noted_request(
        &mut self,
        now: Moment,
        chunks: &(impl ChunkSource + ?Sized),
        scribe: &mut impl Scribe,
    ) -> Option<Transmit> {
        let Link::Up(connection) = &mut self.link else { return None };
        if let Some(frame) = connection.poll_handshake() {
            return Some(Transmit::whole(frame));
        }
        if self.leave_if_held_up(now) {
            return None;
        }
        let Link::Up(connection) = &mut self.link else { return None };
        // A throttled broker reads nothing (KIP-219): what is claimed later can be withdrawn until then, and fills up.
        let may_send = connection.is_ready() && !connection.has_unsent() && connection.throttled_until() <= now;
        if !may_send || connection.in_flight() >= REQUESTS_IN_FLIGHT_MAX {
            return None;
        }
        if let Some(question) = self.poll_question(now) {
            return Some(question);
        }
        let Link::Up(connection) = &mut self.link else { return None };
        let version = match connection.version_of::<ProduceRequest>() {
            Ok(version) => version,
            Err(error) => {
                self.handle_disconnected(now, error);
                return None;
            }
        };
        let Gathered { attempts, entries, sendings } = self.gather(now, chunks, scribe);
        if entries.is_empty() {
            return None;
        }
        if !scribe.note(&sendings) {
            self.take_back(now, &attempts);
            return None;
        }
        Some(self.encode(now, version, attempts, entries))
    }

    /// Nothing of it was handed over, because nobody could be told of it.
    fn take_back(&mut self, now: Moment, attempts: &[Attempt]) {
        for attempt in attempts {
            self.lose_attempt(now, attempt, false);
            if let Some(held) = self.partitions.get(&attempt.partition) {
                held.back.trouble().note(None, AttemptError::JournalFailed);
            }
        }
    }

    /// Takes one batch of each partition that has one, in turn.
    fn gather<S: Scribe>(&mut self, now: Moment, chunks: &(impl ChunkSource + ?Sized), scribe: &mut S) -> Gathered {
        let (mut attempts, mut entries, mut sendings) = (Vec::new(), Vec::new(), Vec::new());
        let (mut bytes, may_claim) = (0, scribe.may_claim());
        if may_claim && std::mem::take(&mut self.is_held_back) {
            self.ready.extend(self.partitions.keys());
        }
        let (mut ended, mut turn) = (std::mem::take(&mut self.ended), std::mem::take(&mut self.turn));
        let after = self.ready.range((Bound::Excluded(self.last_served), Bound::Unbounded));
        turn.extend(after.chain(self.ready.range(..=self.last_served)));
        for id in turn.drain(..) {
            let held = self.partitions.get_mut(&id).expect("ready partitions belong to this lane");
            let next = if held.is_recalled { None } else { held.back.next_bytes(now) };
            let Some(next) = next else {
                self.ready.remove(&id);
                continue;
            };
            if bytes > 0 && bytes + next > REQUEST_BYTES_MAX {
                break;
            }
            if !may_claim && held.back.is_next_new(now) {
                held.back.trouble().note(None, AttemptError::JournalFailed);
                self.is_held_back = true;
                self.ready.remove(&id);
                continue;
            }
            let (topic, index, base) = (held.back.topic().clone(), held.back.index(), held.back.base());
            if let Some(batch) = held.back.take_next(now, chunks, &mut ended) {
                bytes += batch.wire_len();
                let key = AttemptKey { ordinal: batch.stamp.ordinal, number: batch.attempts };
                if S::IS_ON {
                    sendings.push(Sending {
                        topic: topic.clone(),
                        partition: index,
                        mark: batch.mark(),
                        base,
                        is_stale: batch.is_stale,
                        opened_at: batch.opened_wall(),
                        batch: BatchKey::new(&batch.completion, batch.records.start),
                    });
                }
                attempts.push(Attempt { partition: id, topic: topic.clone(), index, key });
                entries.push(Entry { topic, index, header: batch.header, body: Arc::clone(&batch.body) });
            } else if ended.is_empty() {
                // It must be packed once more; nothing else has changed.
                self.ready.remove(&id);
                self.work.open.insert(id);
                continue;
            }
            held.back.pack_next();
            self.last_served = id;
            self.publish(id, ended.drain(..));
            // A claim makes room too: a batch whose linger is over meanwhile goes along with the next request.
            self.touch(id);
        }
        (self.ended, self.turn) = (ended, turn);
        Gathered { attempts, entries, sendings }
    }

    fn encode(&mut self, now: Moment, version: i16, attempts: Vec<Attempt>, mut entries: Vec<Entry>) -> Transmit {
        let (acks, patience) = (self.acks_of(&attempts), self.patience(now));
        let Link::Up(connection) = &mut self.link else { unreachable!("only a connected lane encodes") };
        // A broker that knows no topic ids gave none, and speaks no version that needs them; one that is being upgraded may.
        let lacks_ids = entries.iter().any(|entry| entry.topic.id == Uuid::ZERO);
        let version = if lacks_ids { version.min(TOPIC_IDS_FROM - 1) } else { version };
        entries.sort_by(|a, b| (&*a.topic.name, a.topic.id, a.index).cmp(&(&*b.topic.name, b.topic.id, b.index)));
        let envelope = Envelope {
            client_id: connection.client_id(),
            correlation: connection.correlation(),
            version,
            acks,
            timeout: patience,
        };
        let transmit = produce_request::encode(envelope, &entries).expect("topic names came from this broker and fit");
        match acks {
            Acks::None => {
                connection.register_unanswerable(now, ApiKey::PRODUCE, transmit.len(), Flight::Batches(attempts))
            }
            _ => connection.register(now, ApiKey::PRODUCE, version, transmit.len(), Flight::Batches(attempts)),
        }
        self.watch_oldest(now);
        transmit
    }

    /// Every partition of a producer asks for the same.
    fn acks_of(&self, attempts: &[Attempt]) -> Acks {
        let of = |id: PartitionId| self.partitions.get(&id).map(|held| held.back.acks());
        attempts.first().and_then(|attempt| of(attempt.partition)).unwrap_or_default()
    }
}
