//! Produce with batches that are well made, and stamps of every kind: the next one, one again, one too far, one of another epoch.

use bytes::Bytes;
use milena_wire::ApiKey;
use milena_wire::messages::produce::request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use milena_wire::records::{Codec, Encoding};

use super::{Author, STRANGE_ID, WriterModel};
use crate::batches::{Draft, RecordDraft, Stamp};
use crate::names;

/// How a stamp stands to those before it.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Next,
    Unstamped,
    FirstAnywhere,
    Again,
    AgainWithOtherData,
    OtherCount,
    Gap,
    Back,
    OldEpoch,
    NextEpoch,
    NextEpochNotFromZero,
    FarEpoch,
    Wrap,
}

const KINDS: [(usize, Kind); 13] = [
    (30, Kind::Next),
    (6, Kind::Unstamped),
    (3, Kind::FirstAnywhere),
    (12, Kind::Again),
    (2, Kind::AgainWithOtherData),
    (3, Kind::OtherCount),
    (5, Kind::Gap),
    (3, Kind::Back),
    (5, Kind::OldEpoch),
    (5, Kind::NextEpoch),
    (3, Kind::NextEpochNotFromZero),
    (2, Kind::FarEpoch),
    (4, Kind::Wrap),
];

const KINDS_AFTER_RESTART: [(usize, Kind); 6] = [
    (3, Kind::Next),
    (3, Kind::NextEpoch),
    (2, Kind::Gap),
    (2, Kind::OldEpoch),
    (1, Kind::NextEpochNotFromZero),
    (1, Kind::FarEpoch),
];

impl Author<'_> {
    pub(super) fn produce(&mut self) {
        let Some((topic, partition)) = self.place() else { return self.create_topics() };
        let kind = self.chance.weighted(&KINDS);
        let writers = self.topics[topic].partitions[partition].writers.len();
        if writers == 0 || matches!(kind, Kind::FirstAnywhere | Kind::Unstamped) {
            return self.begin_writing(topic, partition, kind);
        }
        let at = self.chance.below(writers);
        self.write_as((topic, partition), at, kind);
    }

    /// A batch of a producer that has written there.
    fn write_as(&mut self, (topic, partition): (usize, usize), writer: usize, kind: Kind) {
        let writer = self.topics[topic].partitions[partition].writers[writer].clone();
        let stamp = Stamp { producer_id: writer.producer, epoch: writer.epoch, sequence: writer.next };
        let count = self.chance.within(1..5) as i32;
        let sent = |author: &mut Author<'_>| {
            let newest = writer.sent.len().min(8);
            let back = author.chance.below(newest.max(1));
            writer.sent.iter().rev().nth(back).cloned()
        };
        match kind {
            Kind::Next | Kind::FirstAnywhere | Kind::Unstamped => {
                self.write("the next batch", (topic, partition), stamp, count, true)
            }
            Kind::Again => match sent(self) {
                Some((_, _, batch)) => self.send("a batch again", (topic, partition), batch),
                None => self.write("the next batch", (topic, partition), stamp, count, true),
            },
            Kind::AgainWithOtherData => {
                let (sequence, count) = sent(self).map_or((stamp.sequence, count), |(at, count, _)| (at, count));
                self.write("other data under a known stamp", (topic, partition), stamp.at(sequence), count, false);
            }
            Kind::OtherCount => {
                let (sequence, count) = sent(self).map_or((stamp.sequence, count), |(at, count, _)| (at, count));
                self.write("a known stamp with more records", (topic, partition), stamp.at(sequence), count + 1, false);
            }
            Kind::Gap => {
                let gap = self.chance.pick(&[1, 1, 2, 5, 1000]);
                let sequence = stamp.sequence.wrapping_add(gap) & i32::MAX;
                self.write("a gap", (topic, partition), stamp.at(sequence), count, false);
            }
            Kind::Back => {
                let back = self.chance.within(1..7) as i32;
                let sequence = stamp.sequence.wrapping_sub(back) & i32::MAX;
                self.write("a sequence that is over", (topic, partition), stamp.at(sequence), count, false);
            }
            Kind::OldEpoch => {
                let epoch = (stamp.epoch - 1 - self.chance.below(2) as i16).max(0);
                let sequence = self.chance.pick(&[0, stamp.sequence]);
                let what = if epoch < stamp.epoch { "an epoch that is over" } else { "epoch 0" };
                self.write(what, (topic, partition), Stamp { epoch, sequence, ..stamp }, count, epoch == stamp.epoch);
            }
            Kind::NextEpoch => {
                let stamp = Stamp { epoch: stamp.epoch.saturating_add(1), sequence: 0, ..stamp };
                self.write("the next epoch", (topic, partition), stamp, count, true);
            }
            Kind::NextEpochNotFromZero => {
                let sequence = stamp.sequence.max(1);
                let stamp = Stamp { epoch: stamp.epoch.saturating_add(1), sequence, ..stamp };
                self.write("the next epoch, not from 0", (topic, partition), stamp, count, false);
            }
            Kind::FarEpoch => {
                let epoch = self.chance.pick(&[stamp.epoch.saturating_add(7), 30_000, i16::MAX]);
                let stamp = Stamp { epoch, sequence: 0, ..stamp };
                self.write("a far epoch", (topic, partition), stamp, count, epoch >= writer.epoch);
            }
            Kind::Wrap => {
                let stamp = stamp.at(i32::MAX - self.chance.below(4) as i32);
                let is_next = stamp.sequence == writer.next;
                self.write("sequences about to wrap", (topic, partition), stamp, count, is_next);
            }
        }
    }

    /// A producer's first batch on a partition, or one of no producer's.
    fn begin_writing(&mut self, topic: usize, partition: usize, kind: Kind) {
        let count = self.chance.within(1..5) as i32;
        if matches!(kind, Kind::Unstamped) {
            return self.write("a batch without a producer id", (topic, partition), Stamp::NONE, count, true);
        }
        let slot = self.chance.pick(&self.producers.clone());
        let producer_id =
            if self.chance.one_in(6) { STRANGE_PRODUCER + i64::from(slot) } else { names::producer_id(slot) };
        let stamp = match self.chance.below(8) {
            0 => Stamp {
                producer_id,
                epoch: self.chance.pick(&[0, 5, i16::MAX]),
                sequence: self.chance.pick(&[1, 7, 100]),
            },
            1 | 2 => Stamp { producer_id, epoch: 0, sequence: i32::MAX - self.chance.below(6) as i32 },
            _ => Stamp { producer_id, epoch: 0, sequence: 0 },
        };
        self.write("a producer's first batch", (topic, partition), stamp, count, true);
    }

    /// Sends a batch; the model believes that it is taken, or that it is not.
    fn write(&mut self, what: &'static str, at: (usize, usize), stamp: Stamp, count: i32, taken: bool) {
        let batch = self.draft(stamp, count).bytes();
        self.send(what, at, batch.clone());
        if taken {
            self.note(at, stamp, count, batch);
        }
    }

    fn note(&mut self, (topic, partition): (usize, usize), stamp: Stamp, count: i32, batch: Bytes) {
        let partition = &mut self.topics[topic].partitions[partition];
        partition.end += i64::from(count);
        if stamp.producer_id < 0 {
            return;
        }
        let next = stamp.sequence.wrapping_add(count) & i32::MAX;
        let known = partition.writers.iter_mut().find(|writer| writer.producer == stamp.producer_id);
        match known {
            Some(writer) => {
                (writer.epoch, writer.next) = (stamp.epoch, next);
                writer.sent.push((stamp.sequence, count, batch));
            }
            None => {
                let sent = vec![(stamp.sequence, count, batch)];
                partition.writers.push(WriterModel { producer: stamp.producer_id, epoch: stamp.epoch, next, sent });
            }
        }
    }

    /// Records that are good by themselves; sometimes compressed, sometimes with times that not every topic takes.
    pub(super) fn draft(&mut self, stamp: Stamp, count: i32) -> Draft {
        let encoding = self.chance.one_in(4).then(|| Encoding::new(self.chance.pick(&Codec::ALL)));
        let is_large = self.is_repacked || encoding.is_some();
        // Compacted topics take no others.
        let is_keyed = self.chance.one_in(3);
        let hour = 3_600_000;
        let shift = match self.chance.below(12) {
            0 => -3 * hour,
            1 => 2 * hour,
            // Longer than producers are remembered, shorter than a segment lasts.
            2 => -6 * 24 * hour,
            _ => 0,
        };
        let records = (0..count).map(|at| {
            let timestamp = self.origin.base + shift + self.chance.within(-1000..1000);
            let length = if is_large { 80 } else { self.chance.below(40) };
            let value = vec![b'a' + self.chance.below(26) as u8; length];
            let key = (is_keyed || self.chance.one_in(4)).then(|| vec![b'k'; self.chance.below(4)]);
            let headers =
                if self.chance.one_in(6) { vec![("h", Some(b"1".as_slice())), ("", None)] } else { Vec::new() };
            let timestamp = if self.chance.one_in(40) { -1 } else { timestamp };
            // What is compressed has to be worth it.
            let may_be_null = encoding.is_none() || at > 0;
            let value = if may_be_null && self.chance.one_in(8) { None } else { Some(value) };
            RecordDraft { timestamp, key, value, headers }
        });
        Draft { stamp, records: records.collect(), encoding }
    }

    pub(super) fn send(&mut self, what: &'static str, at: (usize, usize), batch: Bytes) {
        let version = self.version(ApiKey::PRODUCE);
        let acks = self.chance.weighted(&[(12, -1), (4, 1), (1, 0)]);
        let data = self.data(at, Some(batch));
        let request = ProduceRequest { acks, timeout_ms: 5_000, topic_data: vec![data], ..Default::default() };
        self.ask(what, version, request);
    }

    /// For one partition; named both ways, since versions differ in which one counts.
    fn data(&self, (topic, partition): (usize, usize), records: Option<Bytes>) -> TopicProduceData {
        let index = i32::try_from(partition).expect("there are few");
        let topic = &self.topics[topic];
        let data = PartitionProduceData { index, records, ..Default::default() };
        let (name, topic_id) = (topic.name.as_str().into(), topic.id());
        TopicProduceData { name, topic_id, partition_data: vec![data], ..Default::default() }
    }

    fn good_data(&mut self, at: (usize, usize)) -> TopicProduceData {
        let batch = self.draft(Stamp::NONE, 2).bytes();
        self.data(at, Some(batch))
    }

    /// Requests that are odd as a whole: several partitions, unknown ones, acks that nobody has.
    pub(super) fn produce_oddly(&mut self) {
        let Some(at) = self.place() else { return self.create_topics() };
        let version = self.version(ApiKey::PRODUCE);
        let mut request = ProduceRequest { acks: -1, timeout_ms: 5_000, ..Default::default() };
        let what;
        match self.chance.below(13) {
            0 => {
                what = "acks that nobody has";
                request.acks = self.chance.pick(&[2, -2, i16::MAX]);
                let data = self.good_data(at);
                request.topic_data.push(data);
            }
            1 => {
                what = "an unknown partition";
                let mut data = self.good_data(at);
                data.partition_data[0].index = self.chance.pick(&[-1, 2, 99]);
                request.topic_data.push(data);
            }
            2 | 3 => {
                what = "an unknown topic";
                let mut data = self.good_data(at);
                data.name = self.missing_name().into();
                data.topic_id = self.chance.pick(&[STRANGE_ID, milena_wire::Uuid::ZERO]);
                request.topic_data.push(data);
            }
            4 => {
                what = "a topic that was replaced";
                let gone = self.topics[at.0].gone.first().map_or(STRANGE_ID, |slot| names::topic_id(*slot));
                request.topic_data.push(TopicProduceData { topic_id: gone, ..self.good_data(at) });
            }
            5 | 6 => {
                what = "several partitions";
                for topic in 0..self.topics.len() {
                    let places = 0..self.topics[topic].partitions.len();
                    let data: Vec<_> = places.map(|partition| self.good_data((topic, partition))).collect();
                    request.topic_data.extend(data);
                }
                let mut missing = self.good_data(at);
                (missing.name, missing.topic_id) = ("no-such-topic".into(), STRANGE_ID);
                request.topic_data.push(missing);
            }
            7 => {
                what = "no batch at all";
                // Not null: Kafka never answers that, and holds up the connection for good.
                request.topic_data.push(self.data(at, Some(Bytes::new())));
            }
            8 => what = "no topic at all",
            9 => {
                what = "a transactional id and a plain batch";
                request.transactional_id = Some(self.chance.pick(&["", "t"]).into());
                let data = self.good_data(at);
                request.topic_data.push(data);
            }
            10 | 11 if !self.is_alone => {
                what = "a transaction that nobody began";
                // Of this sequence alone: of two at once with one name, Kafka tells the first to try again.
                let id = format!("{}-{}", self.origin.prefix, self.chance.pick(&["t", "u"]));
                request.transactional_id = Some(id.as_str().into());
                // Kafka remembers the attempt, and refuses what the same producer writes without a transaction afterwards.
                let draft = self.draft(Stamp { producer_id: STRANGE_PRODUCER - 1, epoch: 0, sequence: 0 }, 2);
                let batch = draft.bytes_with(|header| header.attributes.0 |= TRANSACTIONAL, |_| {});
                request.topic_data.push(self.data(at, Some(batch)));
            }
            _ => {
                what = "a timeout that is none";
                request.timeout_ms = self.chance.pick(&[0, -1]);
                let data = self.good_data(at);
                request.topic_data.push(data);
            }
        }
        self.ask(what, version, request);
    }

    /// Every producer of a partition once more, in some way.
    pub(super) fn go_on(&mut self, topic: usize, partition: usize) {
        if !self.topics[topic].exists {
            return;
        }
        for writer in 0..self.topics[topic].partitions[partition].writers.len().min(2) {
            let kind = self.chance.weighted(&KINDS_AFTER_RESTART);
            self.write_as((topic, partition), writer, kind);
        }
    }

    /// Everything that a partition's producers sent last, the oldest first.
    pub(super) fn repeat_all(&mut self, topic: usize, partition: usize) {
        if !self.topics[topic].exists {
            return;
        }
        let writers = self.topics[topic].partitions[partition].writers.clone();
        for writer in writers.iter().take(2) {
            for (_, _, batch) in writer.sent.iter().rev().take(3).rev() {
                self.send("a batch again after a restart", (topic, partition), batch.clone());
            }
        }
    }
}

/// The bit of a batch's attributes.
const TRANSACTIONAL: i16 = 1 << 4;
/// A producer id that no broker gave.
const STRANGE_PRODUCER: i64 = 4_000_000_000;
