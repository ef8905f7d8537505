//! A lane with its fronts, its clock and its socket, played by hand: the driver's turn in virtual time.
//!
//! Always holds: a turn ends, and then nothing is due. What the lane says is kept until a test looks at it.

use std::sync::Arc;

use milena_wire::messages::produce::request::ProduceRequest;
use milena_wire::messages::produce::response::ProduceResponse;
use milena_wire::records::Packer;
use milena_wire::{ApiKey, ErrorCode, Uuid};

use super::*;
use crate::connection::ConnectionError;
use crate::ids::{NodeId, PartitionIndex, ProducerId, TopicIndex};
use crate::producer::back::{Acks, BackConfig, TopicRef};
use crate::producer::completion::{BatchEnd, Delivery};
use crate::producer::control::NewPartition;
use crate::producer::expiry::Expiry;
use crate::producer::front::{FrontConfig, RecordRef, Reply, WhenFull};
use crate::producer::journal::{Scribe, Sending};
use crate::producer::packing::{Encodings, PackJob};
use crate::producer::produce_request::Transmit;
use crate::producer::testbed::{Asked, CountedMemory, FRONT, Peer};
use crate::producer::trouble::Trouble;
use crate::time::Now;
use milena_wire::messages::produce::response::{PartitionProduceResponse, TopicProduceResponse};

pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
pub(super) const DELIVERY_TIMEOUT: Duration = Duration::from_secs(5);
pub(super) const RETRY: Backoff = Backoff { initial: Duration::from_millis(100), max: Duration::from_millis(400) };

pub(super) struct Rig {
    pub(super) lane: Lane,
    pub(super) fronts: BTreeMap<PartitionId, PartitionFront>,
    pub(super) memory: CountedMemory,
    pub(super) now: Moment,
    pub(super) expiry: Expiry<PartitionId>,
    /// The socket, if it is open.
    pub(super) peer: Option<Peer>,
    /// What the peer has read and not answered, oldest first.
    pub(super) asked: VecDeque<Asked>,
    /// What it had read when the socket was closed; a broker may still execute it.
    pub(super) late: Vec<Asked>,
    /// Whether the socket takes bytes.
    pub(super) is_writable: bool,
    outgoing: Option<(Transmit, usize)>,
    pub(super) is_dialing: bool,
    /// How batches ended since the last look.
    pub(super) ends: Vec<(PartitionId, BatchEnd)>,
    pub(super) faults: Vec<ConnectionError>,
    /// How often versions were agreed on.
    pub(super) connections: u32,
    pub(super) released: Vec<PartitionBack>,
    pub(super) needs_identity: Vec<(PartitionId, Option<ProducerId>)>,
    /// What else it told control.
    pub(super) reports: Vec<LaneReport>,
    pub(super) fences_wanted: Vec<PartitionId>,
    pub(super) metadata_wanted: u32,
    /// The newest version of Produce that the peer speaks.
    pub(super) produce_version: i16,
    packer: Packer,
    /// Nobody has time for the work on bytes: it piles up.
    pub(super) packs_later: bool,
    pub(super) packs: VecDeque<PackJob>,
    pub(super) notebook: Notebook,
}

/// Who is told of batches before they are handed over.
#[derive(Default)]
pub(super) struct Notebook {
    /// Each request's batches.
    pub(super) noted: Vec<Vec<Sending>>,
    /// What is to be noted cannot be, and it is known.
    pub(super) is_known_broken: bool,
    /// What is to be noted next cannot be.
    pub(super) is_broken: bool,
}

impl Scribe for Notebook {
    const IS_ON: bool = true;

    fn may_claim(&mut self) -> bool {
        !self.is_known_broken
    }

    fn note(&mut self, sendings: &[Sending]) -> bool {
        if !self.is_broken && !sendings.is_empty() {
            self.noted.push(sendings.to_vec());
        }
        self.is_known_broken |= self.is_broken;
        !self.is_broken
    }
}

fn lane_config() -> LaneConfig {
    LaneConfig {
        connection: ConnectionConfig::new(Arc::from("me"), REQUEST_TIMEOUT),
        produce_timeout: Duration::from_secs(1),
        reconnect: RETRY,
    }
}

fn back_config() -> BackConfig {
    BackConfig::new(DELIVERY_TIMEOUT, RETRY)
}

pub(super) fn topic(index: TopicIndex) -> TopicRef {
    TopicRef { name: Arc::from(format!("topic-{index}")), id: Uuid([index.0 as u8 + 1; 16]) }
}

impl Rig {
    pub(super) fn new() -> Self {
        Self {
            lane: Lane::new(LaneId::fast(NodeId(1)), lane_config(), 5),
            fronts: BTreeMap::new(),
            memory: CountedMemory::new(usize::MAX),
            now: Moment::from_micros(1_000_000),
            expiry: Expiry::new(),
            peer: None,
            asked: VecDeque::new(),
            late: Vec::new(),
            is_writable: true,
            outgoing: None,
            is_dialing: false,
            ends: Vec::new(),
            faults: Vec::new(),
            connections: 0,
            released: Vec::new(),
            needs_identity: Vec::new(),
            metadata_wanted: 0,
            produce_version: 13,
            packer: Packer::new(),
            packs_later: false,
            packs: VecDeque::new(),
            reports: Vec::new(),
            fences_wanted: Vec::new(),
            notebook: Notebook::default(),
        }
    }

    /// A connected lane with so many partitions of one topic, each of which has an acknowledged batch of one record.
    pub(super) fn anchored(partitions: u32) -> Self {
        let mut rig = Self::connected(partitions);
        for id in 0..partitions {
            rig.append(id, b"first");
        }
        rig.wait(FRONT.linger);
        while !rig.asked.is_empty() {
            rig.acknowledge();
        }
        assert_eq!(rig.ends.len(), partitions as usize);
        rig.ends.clear();
        rig
    }

    /// A connected slow lane with one partition.
    pub(super) fn slow() -> Self {
        let mut rig = Self::new();
        rig.lane = Lane::new(LaneId { node: NodeId(1), is_slow: true }, lane_config(), 5);
        rig.begin(1, back_config());
        rig
    }

    /// A connected lane with one partition that is not idempotent and asks for such acknowledgements.
    pub(super) fn with_acks(acks: Acks) -> Self {
        let mut rig = Self::new();
        rig.begin(1, BackConfig { acks, is_idempotent: false, ..back_config() });
        rig
    }

    /// A connected lane with so many partitions whose records are written by the first of these that the peer takes.
    pub(super) fn compressing(partitions: u32, encodings: Encodings) -> Self {
        let mut rig = Self::new();
        rig.begin_compressing(partitions, encodings);
        rig
    }

    pub(super) fn begin_compressing(&mut self, partitions: u32, encodings: Encodings) {
        self.begin(partitions, BackConfig { encodings, ..back_config() });
    }

    /// Another partition that is not idempotent.
    pub(super) fn adopt_unstamped(&mut self, id: u32) {
        let config = BackConfig { acks: Acks::Leader, is_idempotent: false, ..back_config() };
        self.adopt_with(id, TopicIndex(0), FRONT, config);
        self.turn();
    }

    /// A connected lane with so many partitions of one topic.
    pub(super) fn connected(partitions: u32) -> Self {
        let mut rig = Self::new();
        rig.begin(partitions, back_config());
        rig
    }

    fn begin(&mut self, partitions: u32, config: BackConfig) {
        for id in 0..partitions {
            self.adopt_with(id, TopicIndex(0), FRONT, config);
            self.grant(id, crate::producer::testbed::IDENTITY);
        }
        self.turn();
        if self.is_dialing {
            self.connect();
        }
    }

    pub(super) fn adopt_new(&mut self, id: u32, of: TopicIndex, front: FrontConfig) {
        self.adopt_with(id, of, front, back_config());
    }

    fn adopt_with(&mut self, id: u32, of: TopicIndex, front: FrontConfig, config: BackConfig) {
        let index = PartitionIndex(id as i32);
        let new = NewPartition { id: PartitionId(id), index, trouble: Trouble::new() };
        self.fronts.insert(PartitionId(id), PartitionFront::new(index, Arc::clone(&new.trouble), front));
        self.adopt(PartitionBack::new(&new, topic(of), config));
    }

    pub(super) fn adopt(&mut self, back: PartitionBack) {
        let id = back.id();
        self.lane.obey(self.now, LaneOrder::Adopt(Box::new(back)));
        self.collect(id);
    }

    pub(super) fn grant(&mut self, id: u32, identity: Identity) {
        self.lane.obey(self.now, LaneOrder::Grant(PartitionId(id), identity));
    }

    pub(super) fn last_error(&self, id: u32) -> Option<AttemptError> {
        self.lane.partitions[&PartitionId(id)].back.trouble().last().1
    }

    pub(super) fn recall(&mut self, id: u32, recall: Recall) {
        self.lane.obey(self.now, LaneOrder::Recall(PartitionId(id), recall));
    }

    pub(super) fn recreate(&mut self, id: u32, topic: Uuid) {
        self.lane.obey(self.now, LaneOrder::TopicRecreated(PartitionId(id), topic));
    }

    pub(super) fn collect(&mut self, id: PartitionId) {
        let front = self.fronts.get_mut(&id).expect("every partition has a front");
        self.lane.collect(id, front, self.now);
    }

    /// The dial that is due succeeds, and the peer tells its versions.
    pub(super) fn connect(&mut self) {
        assert!(std::mem::take(&mut self.is_dialing), "nobody dialed");
        self.peer = Some(Peer::new());
        self.lane.handle_connected(self.now);
        self.turn();
        let asked = self.asked.pop_front().expect("the first frame");
        assert_eq!(asked.key, ApiKey::API_VERSIONS);
        let answer = asked.answer_versions(&[(ApiKey::API_VERSIONS, 4), (ApiKey::PRODUCE, self.produce_version)]);
        self.receive(&answer);
    }

    pub(super) fn append_record(&mut self, id: u32, record: RecordRef<'_>) -> Delivery {
        let id = PartitionId(id);
        let now = Now { moment: self.now, wall_millis: 1 };
        let front = self.fronts.get_mut(&id).expect("every partition has a front");
        let appended = front.append(now, &self.memory, record, Reply::Handle, WhenFull::OpenNext);
        let appended = appended.expect("there is room");
        let delivery = appended.delivery();
        if appended.must_watch {
            self.expiry.register(id, Arc::clone(appended.completion));
        }
        if appended.notice != crate::producer::front::Notice::Nothing {
            self.collect(id);
        }
        delivery
    }

    pub(super) fn append(&mut self, id: u32, value: &[u8]) {
        drop(self.append_record(id, crate::producer::testbed::value(value)));
        self.turn();
    }

    /// A batch of one record that does not wait for its linger.
    pub(super) fn flush(&mut self, id: u32, value: &[u8]) {
        drop(self.append_record(id, crate::producer::testbed::value(value)));
        self.fronts.get_mut(&PartitionId(id)).expect("every partition has a front").seal(SealReason::Flush);
        self.collect(PartitionId(id));
        self.turn();
    }

    pub(super) fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        self.turn();
    }

    /// As the driver does it: everything that is due, until nothing is.
    pub(super) fn turn(&mut self) {
        for _ in 0..TURNS_MAX {
            if !self.step() {
                let due = self.lane.poll_timeout();
                assert!(due.is_none_or(|due| due > self.now), "quiet at {} and yet due at {due:?}", self.now);
                return;
            }
        }
        panic!("the lane is never quiet");
    }

    fn step(&mut self) -> bool {
        let is_due = |due: Option<Moment>, now| due.is_some_and(|due| due <= now);
        let mut progressed = false;
        if is_due(self.expiry.poll_timeout(), self.now) {
            self.expire();
            progressed = true;
        }
        if is_due(self.lane.poll_timeout(), self.now) {
            self.lane.handle_timeout(self.now);
            progressed = true;
        }
        while let Some(id) = self.lane.poll_collect(self.now) {
            self.collect(id);
            progressed = true;
        }
        while let Some(event) = self.lane.poll_event() {
            self.take_event(event);
            progressed = true;
        }
        if self.lane.poll_dial(self.now) {
            assert!(self.peer.is_none() && !self.is_dialing, "one socket at a time");
            self.is_dialing = true;
            progressed = true;
        }
        progressed |= self.write();
        // A claim may find that a batch must be packed once more.
        progressed |= self.pack();
        while let Some(event) = self.lane.poll_event() {
            self.take_event(event);
            progressed = true;
        }
        progressed
    }

    fn pack(&mut self) -> bool {
        let before = self.packs.len();
        self.packs.extend(std::iter::from_fn(|| self.lane.poll_pack()));
        if self.packs_later {
            return self.packs.len() > before;
        }
        let packs = std::mem::take(&mut self.packs);
        let worked = !packs.is_empty();
        packs.into_iter().for_each(|job| self.do_work(job));
        worked
    }

    fn do_work(&mut self, job: PackJob) {
        let done = job.run(&mut self.packer);
        self.lane.handle_packed(done, &self.memory);
    }

    /// The work that piled up is done, the newest first.
    pub(super) fn pack_all(&mut self) {
        for job in std::mem::take(&mut self.packs).into_iter().rev() {
            self.do_work(job);
        }
        self.turn();
    }

    fn expire(&mut self) {
        for mut expired in self.expiry.expire(self.now) {
            let front = self.fronts.get_mut(&expired.place).expect("known");
            if expired.needs_seal {
                front.seal_batch(&expired.completion, SealReason::Deadline);
                expired.sealed();
            }
            if !expired.is_dead {
                continue;
            }
            for batch in front.take_dead() {
                let end = BatchEnd::NotWritten(NotWritten::DeadlinePassed);
                self.conclude(expired.place, Ended::Sealed(batch, end));
            }
            self.lane.look_at(expired.place, self.now);
        }
    }

    /// Whether bytes moved.
    fn write(&mut self) -> bool {
        if self.peer.is_none() || !self.is_writable {
            return false;
        }
        let mut moved = false;
        loop {
            if self.outgoing.is_none() {
                self.poll_request();
            }
            let Some((transmit, _)) = &self.outgoing else { return moved };
            let rest = transmit.len();
            self.write_some(rest);
            moved = true;
        }
    }

    fn poll_request(&mut self) {
        let request = self.lane.poll_noted_request(self.now, &self.memory, &mut self.notebook);
        self.outgoing = request.map(|transmit| (transmit, 0));
    }

    /// The kernel takes so many bytes of the request that is written, or all that is left.
    pub(super) fn write_some(&mut self, bytes: usize) {
        if self.outgoing.is_none() {
            self.poll_request();
        }
        let Some((transmit, written)) = &mut self.outgoing else { return };
        let all: Vec<u8> = transmit.slices().collect::<Vec<_>>().concat();
        assert_eq!(all.len(), transmit.len());
        let end = (*written + bytes).min(all.len());
        let read = self.peer.as_mut().expect("the socket is open").read(&all[*written..end]);
        self.asked.extend(read);
        self.lane.handle_written(end - *written);
        *written = end;
        if end == all.len() {
            let (transmit, _) = self.outgoing.take().expect("it was just written");
            transmit.give_back(&self.memory);
        }
    }

    fn take_event(&mut self, event: LaneEvent) {
        match event {
            LaneEvent::Ended(id, ended) => self.conclude(id, ended),
            LaneEvent::Report(LaneReport::NeedsIdentity(id, abandoned)) => self.needs_identity.push((id, abandoned)),
            LaneEvent::Report(LaneReport::NeedsMetadata(_)) => self.metadata_wanted += 1,
            LaneEvent::Report(LaneReport::Released(back)) => self.released.push(*back),
            LaneEvent::Report(LaneReport::Connected) => self.connections += 1,
            // The same as the event of its name.
            LaneEvent::Report(LaneReport::Disconnected(_)) => {}
            LaneEvent::Report(report) => self.reports.push(report),
            LaneEvent::FenceWanted(id) => self.fences_wanted.push(id),
            LaneEvent::Disconnected(error) => {
                self.faults.push(error);
                self.close_socket();
            }
        }
    }

    pub(super) fn conclude(&mut self, id: PartitionId, ended: Ended) {
        let end = match &ended {
            Ended::Sealed(_, end) | Ended::Stamped(_, end) => Some(*end),
            Ended::Doubt(_, end) => Some(*end),
            Ended::Records(..) | Ended::Payload(..) => None,
        };
        if let Some(memory) = ended.conclude().memory {
            memory.give_back(&self.memory);
        }
        self.ends.extend(end.map(|end| (id, end)));
    }

    fn close_socket(&mut self) {
        self.peer = None;
        if let Some((transmit, _)) = self.outgoing.take() {
            transmit.give_back(&self.memory);
        }
        self.late.extend(self.asked.drain(..));
    }

    /// The peer, or the network, closes the connection.
    pub(super) fn cut(&mut self) {
        self.is_dialing = false;
        self.close_socket();
        self.lane.handle_disconnected(self.now, ConnectionError::Closed);
        self.turn();
    }

    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.receive_quietly(bytes);
        self.turn();
    }

    /// As [`Self::receive`], without the turn that follows.
    pub(super) fn receive_quietly(&mut self, bytes: &[u8]) {
        self.lane.read_buffer().expect("the socket is open").extend_from_slice(bytes);
        self.lane.handle_read(self.now);
    }

    /// The partitions in the oldest request.
    pub(super) fn partitions_asked(&self) -> Vec<i32> {
        self.asked.front().map(partitions_of).unwrap_or_default()
    }

    /// The oldest request is answered: for each partition what `tell` says.
    pub(super) fn answer_with(&mut self, tell: impl FnMut(i32) -> (ErrorCode, i64)) {
        let asked = self.asked.pop_front().expect("a request waits");
        let answer = answer_to(&asked, tell);
        self.receive(&answer);
    }

    /// The oldest request is appended, every batch of it at offset 100.
    pub(super) fn acknowledge(&mut self) {
        self.answer_with(|_| (ErrorCode::NONE, 100));
    }

    pub(super) fn refuse(&mut self, code: ErrorCode) {
        self.answer_with(|_| (code, -1));
    }
}

/// The partitions in a request.
pub(super) fn partitions_of(asked: &Asked) -> Vec<i32> {
    let request: ProduceRequest = asked.decode();
    request.topic_data.iter().flat_map(|topic| &topic.partition_data).map(|partition| partition.index).collect()
}

/// An answer to a Produce request, with what `tell` says for each partition.
pub(super) fn answer_to(asked: &Asked, tell: impl FnMut(i32) -> (ErrorCode, i64)) -> Vec<u8> {
    asked.answer(&response_to(asked, tell))
}

/// As [`answer_to`], not encoded yet.
pub(super) fn response_to(asked: &Asked, mut tell: impl FnMut(i32) -> (ErrorCode, i64)) -> ProduceResponse {
    let request: ProduceRequest = asked.decode();
    let responses = request.topic_data.iter().map(|topic| TopicProduceResponse {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partition_responses: topic
            .partition_data
            .iter()
            .map(|partition| {
                let (error, base_offset) = tell(partition.index);
                PartitionProduceResponse {
                    index: partition.index,
                    error_code: error.0,
                    base_offset,
                    log_append_time_ms: -1,
                    ..PartitionProduceResponse::default()
                }
            })
            .collect(),
        ..TopicProduceResponse::default()
    });
    ProduceResponse { responses: responses.collect(), ..ProduceResponse::default() }
}

/// Far more steps than any turn has work for.
const TURNS_MAX: usize = 200;
