//! Random events against a broker with Kafka's rules for producer state: whatever happens, turns end with nothing due,
//! everybody learns what became of his record, and the log agrees.

use super::rig::{Rig, answer_to, topic};
use milena_wire::messages::produce::request::ProduceRequest;
use milena_wire::messages::produce::response::ProduceResponse;
use milena_wire::{ApiKey, ErrorCode, Uuid};

use super::*;
use crate::ids::{Epoch, ProducerId, TopicIndex};
use crate::producer::completion::Delivery;
use crate::producer::outcome::{Outcome, Settlement, Written};
use crate::producer::testbed::{Asked, FRONT, value};
use bytes::Bytes;
use milena_wire::records::{self, BatchView};

const SEEDS: u64 = 150;
const EVENTS: u32 = 400;
const PARTITIONS: u32 = 4;

/// A partition as a broker keeps it: of each producer the newest epoch and the last five batches; any first sequence from
/// a new one.
#[derive(Default)]
struct Log {
    values: Vec<u64>,
    producers: BTreeMap<i64, Known>,
}

struct Known {
    epoch: i16,
    batches: VecDeque<(i32, i32, i64)>,
}

impl Log {
    fn append(&mut self, batch: &BatchView) -> (ErrorCode, i64) {
        let (first, count, epoch) =
            (batch.header.base_sequence, batch.header.record_count, batch.header.producer_epoch);
        let is_new = !self.producers.contains_key(&batch.header.producer_id);
        let empty = Known { epoch, batches: VecDeque::new() };
        let known = self.producers.entry(batch.header.producer_id).or_insert(empty);
        if epoch < known.epoch {
            return (ErrorCode::INVALID_PRODUCER_EPOCH, -1);
        }
        let held = known.batches.iter().find(|held| (held.0, held.1) == (first, count));
        if let Some((_, _, offset)) = held.filter(|_| epoch == known.epoch) {
            return (ErrorCode::NONE, *offset);
        }
        let next = known.batches.back().filter(|_| epoch == known.epoch).map_or(0, |last| last.0 + last.1);
        if !is_new && first != next {
            return (ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1);
        }
        if epoch > known.epoch {
            *known = Known { epoch, batches: VecDeque::new() };
        }
        let offset = self.values.len() as i64;
        known.batches.push_back((first, count, offset));
        if known.batches.len() > 5 {
            known.batches.pop_front();
        }
        self.values.extend(batch.records().map(|record| number(&record.expect("whole").value.expect("not null"))));
        (ErrorCode::NONE, offset)
    }
}

fn number(bytes: &Bytes) -> u64 {
    u64::from_be_bytes(bytes[..8].try_into().expect("eight bytes"))
}

struct Cluster {
    logs: BTreeMap<(Uuid, i32), Log>,
    /// The topic's id; another one after it was deleted and created again.
    topic_id: Uuid,
}

impl Cluster {
    /// Executes a request; what it did for each partition.
    fn execute(&mut self, asked: &Asked) -> BTreeMap<i32, (ErrorCode, i64)> {
        let request: ProduceRequest = asked.decode();
        let mut told = BTreeMap::new();
        for topic in request.topic_data {
            for partition in topic.partition_data {
                let answer = if topic.topic_id == self.topic_id {
                    let batch = records::batches(partition.records.expect("not null")).next().expect("one batch");
                    let log = self.logs.entry((topic.topic_id, partition.index)).or_default();
                    log.append(&batch.expect("whole"))
                } else {
                    (ErrorCode::UNKNOWN_TOPIC_ID, -1)
                };
                told.insert(partition.index, answer);
            }
        }
        told
    }
}

struct Sent {
    number: u64,
    partition: u32,
    delivery: Delivery,
}

struct Chaos {
    rig: Rig,
    cluster: Cluster,
    chance: Chance,
    sent: Vec<Sent>,
    recalled: BTreeSet<PartitionId>,
    newest_producer: i64,
    /// The lane does not know yet that the topic is another one.
    is_recreated: bool,
}

#[derive(Debug, Default)]
struct Seen {
    written: u32,
    not_written: u32,
    settled_written: u32,
    settled_not_written: u32,
    undetermined: u32,
}

impl Chaos {
    fn new(seed: u64) -> Self {
        let mut rig = Rig::new();
        (0..PARTITIONS).for_each(|id| rig.adopt_new(id, TopicIndex(0), FRONT));
        rig.turn();
        let cluster = Cluster { logs: BTreeMap::new(), topic_id: topic(TopicIndex(0)).id };
        Self {
            rig,
            cluster,
            chance: Chance::new(seed),
            sent: Vec::new(),
            recalled: BTreeSet::new(),
            newest_producer: 0,
            is_recreated: false,
        }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.chance.bits() % limit
    }

    fn event(&mut self) {
        match self.below(100) {
            0..30 => self.append(),
            30..45 => {
                let micros = self.below(30_000);
                self.rig.wait(Duration::from_micros(micros));
            }
            45..50 => {
                let millis = self.below(800);
                self.rig.wait(Duration::from_millis(millis));
            }
            50..75 => self.answer(),
            75..79 => self.cut(),
            79..82 => self.write_in_pieces(),
            82..88 => self.connect(),
            88..92 => self.grant(),
            92..95 => self.cancel(),
            95..97 => self.recall_or_adopt(),
            97 => self.execute_late(),
            98 => self.learn_of_recreation(),
            _ => self.recreate_seldom(),
        }
        self.rig.turn();
    }

    fn append(&mut self) {
        let partition = self.below(u64::from(PARTITIONS)) as u32;
        // Now and then enough for more batches than may be unsettled.
        let (count, bytes_max) = if self.below(8) == 0 { (20, 6_000) } else { (4, 3_000) };
        for _ in 0..=self.below(count) {
            let number = self.sent.len() as u64;
            let mut bytes = number.to_be_bytes().to_vec();
            bytes.resize(8 + self.below(bytes_max) as usize, 0);
            let delivery = self.rig.append_record(partition, value(&bytes));
            self.sent.push(Sent { number, partition, delivery });
        }
    }

    /// One answer, or several that arrive together.
    fn answer(&mut self) {
        let mut bytes = Vec::new();
        for _ in 0..=self.below(3) {
            if let Some(asked) = self.rig.asked.pop_front() {
                bytes.extend(self.answer_to(&asked));
            }
        }
        if !bytes.is_empty() {
            self.rig.receive(&bytes);
        }
    }

    fn answer_to(&mut self, asked: &Asked) -> Vec<u8> {
        let kind = self.below(20);
        let is_executed = kind < 12 || self.below(2) == 0;
        let mut told = if is_executed { self.cluster.execute(asked) } else { BTreeMap::new() };
        let refusals = [19, 2, 10, 87, 29, 45].map(ErrorCode);
        let ambiguous = [7, 20, 6, 56, 3, -1, 999].map(ErrorCode);
        let refusal = refusals[self.below(refusals.len() as u64) as usize];
        let doubt = ambiguous[self.below(ambiguous.len() as u64) as usize];
        match kind {
            0..12 => answer_to(asked, |index| told[&index]),
            12..14 => answer_to(asked, |_| (doubt, -1)),
            14 | 15 => answer_to(asked, |index| (doubt, told.remove(&index).map_or(-1, |(_, offset)| offset))),
            16 | 17 if !is_executed => answer_to(asked, |_| (refusal, -1)),
            16 | 17 => asked.answer(&ProduceResponse::default()),
            18 => vec![0, 0, 0, 6, 9, 9, 9, 9, 9, 9],
            _ => {
                let mut garbage = asked.answer(&ProduceResponse::default());
                garbage[8..].fill(0xff);
                garbage
            }
        }
    }

    fn cut(&mut self) {
        if self.rig.peer.is_some() || self.rig.is_dialing {
            self.rig.cut();
        }
    }

    fn write_in_pieces(&mut self) {
        self.rig.is_writable = !self.rig.is_writable;
        let bytes = self.below(5_000) as usize;
        if self.rig.peer.is_some() {
            self.rig.write_some(bytes);
        }
    }

    fn connect(&mut self) {
        if self.rig.is_dialing {
            self.rig.is_writable = true;
            self.rig.connect();
        }
    }

    fn grant(&mut self) {
        for (partition, abandoned) in std::mem::take(&mut self.rig.needs_identity) {
            if abandoned == Some(ProducerId(self.newest_producer)) {
                self.newest_producer += 1;
            }
            let producer_id = ProducerId(self.newest_producer);
            self.rig.grant(partition.0, Identity { producer_id, epoch: Epoch(0) });
        }
    }

    fn cancel(&mut self) {
        if !self.sent.is_empty() {
            let last = self.sent.len() as u64;
            let place = last - 1 - self.below(last.min(10));
            self.sent[place as usize].delivery.cancel();
        }
    }

    fn recall_or_adopt(&mut self) {
        self.adopt_released();
        let partition = PartitionId(self.below(u64::from(PARTITIONS)) as u32);
        if self.recalled.insert(partition) {
            let recall = if self.below(2) == 0 { Recall::WhenIdle } else { Recall::AtOnce };
            self.rig.recall(partition.0, recall);
        }
    }

    fn adopt_released(&mut self) {
        for mut back in std::mem::take(&mut self.rig.released) {
            self.recalled.remove(&back.id());
            if !self.is_recreated && back.topic().id != self.cluster.topic_id {
                let mut ended = Vec::new();
                back.handle_topic_recreated(self.cluster.topic_id, &mut ended);
                self.rig.adopt(back);
                assert!(
                    ended
                        .iter()
                        .all(|ended| matches!(ended, Ended::Stamped(..) | Ended::Payload(..) | Ended::Doubt(..)))
                );
                ended.into_iter().for_each(|ended| self.rig.conclude(PartitionId(0), ended));
            } else {
                self.rig.adopt(back);
            }
        }
    }

    fn execute_late(&mut self) {
        if !self.rig.late.is_empty() {
            let place = self.below(self.rig.late.len() as u64) as usize;
            let asked = self.rig.late.swap_remove(place);
            if asked.key == ApiKey::PRODUCE {
                self.cluster.execute(&asked);
            }
        }
    }

    fn recreate_seldom(&mut self) {
        if self.below(10) == 0 {
            self.cluster.topic_id.0[15] += 1;
            self.is_recreated = true;
        }
    }

    fn learn_of_recreation(&mut self) {
        if std::mem::take(&mut self.is_recreated) {
            for id in 0..PARTITIONS {
                self.rig.recreate(id, self.cluster.topic_id);
            }
        }
    }

    /// The network heals and the broker answers: everything is settled after a while.
    fn heal(&mut self) {
        self.learn_of_recreation();
        self.rig.is_writable = true;
        for _ in 0..400 {
            self.connect();
            self.adopt_released();
            self.grant();
            self.rig.turn();
            while let Some(asked) = self.rig.asked.pop_front() {
                let told = if asked.key == ApiKey::PRODUCE { self.cluster.execute(&asked) } else { BTreeMap::new() };
                if !told.is_empty() {
                    self.rig.receive(&answer_to(&asked, |index| told[&index]));
                }
            }
            self.rig.wait(Duration::from_millis(50));
        }
        while !self.rig.late.is_empty() {
            self.execute_late();
        }
        self.rig.wait(crate::producer::back::SETTLE_TIMEOUT);
        self.rig.turn();
        assert_eq!(self.rig.memory.held(), 0, "everything ended, so nothing is held");
    }

    fn check(&self, seen: &mut Seen) {
        let mut places: BTreeMap<u64, Vec<(i32, usize)>> = BTreeMap::new();
        for ((_, index), log) in &self.cluster.logs {
            for (offset, number) in log.values.iter().enumerate() {
                places.entry(*number).or_default().push((*index, offset));
            }
        }
        let mut last: BTreeMap<u32, (Uuid, i64)> = BTreeMap::new();
        for Sent { number, partition, delivery } in &self.sent {
            let places = places.get(number).map_or(&[][..], Vec::as_slice);
            assert!(places.len() <= 1, "record {number} is in the log twice: {places:?}");
            let mut written = |at: Written| {
                let offset = at.offset.expect("this broker always tells");
                assert_eq!(places, [(*partition as i32, offset as usize)], "record {number}");
                let id = self.incarnation_of(*number, *partition);
                let before = last.insert(*partition, (id, offset));
                assert!(before.is_none_or(|(old, before)| old != id || before < offset), "record {number} overtook");
            };
            match delivery.try_outcome().expect("everybody has an outcome") {
                Outcome::Written(at) => {
                    seen.written += 1;
                    written(at);
                }
                Outcome::NotWritten(why) => {
                    seen.not_written += 1;
                    assert!(places.is_empty(), "record {number} is in the log, and yet: {why}");
                }
                Outcome::Unknown(fate) => match fate.try_settlement().expect("every fate is settled") {
                    Settlement::Written(at) => {
                        seen.settled_written += 1;
                        written(at);
                    }
                    Settlement::NotWritten(why) => {
                        seen.settled_not_written += 1;
                        assert!(places.is_empty(), "record {number} is in the log, and yet: {why}");
                    }
                    Settlement::Undetermined(_) => seen.undetermined += 1,
                },
            }
        }
    }

    fn incarnation_of(&self, number: u64, partition: u32) -> Uuid {
        let holds = |(key, log): (&(Uuid, i32), &Log)| {
            (key.1 == partition as i32 && log.values.contains(&number)).then_some(key.0)
        };
        self.cluster.logs.iter().find_map(holds).expect("it was found before")
    }
}

#[test]
fn whatever_happens_the_lane_comes_to_rest_and_every_outcome_agrees_with_the_log() {
    let mut seen = Seen::default();
    for seed in 0..SEEDS {
        let mut chaos = Chaos::new(seed);
        for _ in 0..EVENTS {
            chaos.event();
        }
        chaos.heal();
        chaos.check(&mut seen);
    }
    println!("{seen:?}");
    let Seen { written, not_written, settled_written, settled_not_written, undetermined } = seen;
    let fewest = [written, not_written, settled_written, settled_not_written, undetermined].into_iter().min();
    assert!(fewest > Some(20), "every kind of outcome is seen: {seen:?}");
}
