//! One partition: its replicas, who leads them, and the faults planted for tests.
//!
//! The leadership kept here is the controller's, the truth; a replica acts on what its own node knows. So a leader that was frozen may
//! append under an epoch that is over, but nothing of it is ever committed: nobody copies it, and it is cut off when its node learns.
//!
//! Everything that a leader appends passes here: batch check, stamp check, log, producer state, in this order. How followers
//! copy it is in `replication.rs`.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use milena_wire::ErrorCode;
use milena_wire::records::{BatchHeader, TimestampType};

use crate::batch_check::{BadRecord, CheckedBatch, Judge, Refused};
use crate::ids::NodeId;
use crate::leadership::{Leadership, Past};
use crate::log::{Appending, Flush, PartitionLog};
use crate::moment::Moment;
use crate::nodes::Nodes;
use crate::producer_state::{CachedBatch, Producers, Verdict, validate};
use crate::replica::{Recovery, Replica, stamp_of};
use crate::replication::Appends;
use crate::storage::StorageError;
use crate::topic_config::TopicConfig;

/// A partition and its replicas.
#[derive(Debug)]
pub struct Partition {
    /// In the order of the assignment; never empty.
    pub(crate) replicas: Vec<Replica>,
    pub(crate) leadership: Leadership,
    pub(crate) past: Past,
    /// The index of the replica that leads, or led last.
    pub(crate) leading: usize,
    pub(crate) appends: Appends,
    pub(crate) moving: Move,
    /// `min.insync.replicas`, where eligible leader replicas are known (KIP-966); follows the topic's settings.
    pub(crate) min_insync: Option<usize>,
    faults: VecDeque<ProduceFault>,
}

/// A reassignment that is not over: replicas that are to come and to go. None of either, and there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Move {
    /// They stay once all of them are in sync.
    pub(crate) adding: Vec<NodeId>,
    /// They leave then.
    pub(crate) removing: Vec<NodeId>,
}

impl Move {
    pub(crate) fn is_under_way(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }
}

/// An answer to give instead of the true one. Planted by tests and simulations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProduceFault {
    /// What the client is told.
    pub code: ErrorCode,
    /// Whether the batch is handled first. Kafka does so with codes like REQUEST_TIMED_OUT; the answer then carries the base offset. It
    /// does not wait for followers.
    pub appended: bool,
    /// How many attempts are treated so.
    pub times: u32,
}

/// What became of a batch, as the answer tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Produced {
    pub(crate) code: ErrorCode,
    /// −1 beside an error, unless the batch is in the log all the same.
    pub(crate) base_offset: i64,
    /// One past the batch's last record, where it is in the log without an error: what has to be committed for acks=all.
    pub(crate) end_offset: Option<i64>,
    /// The broker's time where it counts: LogAppendTime topics and duplicates; otherwise −1.
    pub(crate) append_timestamp: i64,
    pub(crate) log_start_offset: i64,
    pub(crate) message: Option<String>,
    pub(crate) bad_records: Vec<BadRecord>,
}

impl Produced {
    /// An error that says nothing about the log.
    pub(crate) fn error(code: ErrorCode) -> Produced {
        Produced {
            code,
            base_offset: -1,
            end_offset: None,
            append_timestamp: -1,
            log_start_offset: -1,
            message: None,
            bad_records: Vec::new(),
        }
    }

    /// The same with the reason.
    pub(crate) fn refused(refused: Refused) -> Produced {
        Produced { message: refused.message, bad_records: refused.records, ..Produced::error(refused.code) }
    }
}

impl Partition {
    /// Of replicas that were just made or opened, all of them told the same.
    pub(crate) fn new(replicas: Vec<Replica>, leadership: Leadership) -> Partition {
        let mut partition = Partition {
            replicas,
            leadership,
            past: Past::default(),
            leading: 0,
            appends: Appends::default(),
            moving: Move::default(),
            min_insync: None,
            faults: VecDeque::new(),
        };
        partition.find_leader();
        partition
    }

    // The truth, for whoever checks.

    /// The log of its leader, or of who led last.
    pub fn log(&self) -> &PartitionLog {
        &self.replicas[self.leading].log
    }

    /// What the same replica knows of those who write here.
    pub fn producers(&self) -> &Producers {
        &self.replicas[self.leading].producers
    }

    /// One past the last committed record, as the same replica knows it.
    pub fn high_watermark(&self) -> i64 {
        self.replicas[self.leading].high_watermark
    }

    /// Who leads; none while no replica in sync is alive.
    pub fn leader(&self) -> Option<NodeId> {
        self.leadership.leader
    }

    /// Rises by one with every change of the leader.
    pub fn leader_epoch(&self) -> i32 {
        self.leadership.epoch
    }

    /// The replicas in sync: they have all that is committed, and only they are elected.
    pub fn isr(&self) -> &[NodeId] {
        &self.leadership.isr
    }

    /// The nodes that keep a replica, the preferred leader first.
    pub fn replicas(&self) -> impl Iterator<Item = NodeId> + Clone {
        self.replicas.iter().map(|replica| replica.node)
    }

    /// The log as one node has it.
    pub fn log_on(&self, node: NodeId) -> Option<&PartitionLog> {
        self.replica(node).map(|replica| &replica.log)
    }

    pub(crate) fn unplant(&mut self) {
        self.faults.clear();
    }

    pub(crate) fn plant(&mut self, fault: ProduceFault) {
        self.faults.push_back(fault);
    }

    pub(crate) fn replica(&self, node: NodeId) -> Option<&Replica> {
        self.replicas.iter().find(|replica| replica.node == node)
    }

    /// The replica on a node that believes it leads.
    pub(crate) fn led_on(&self, node: NodeId) -> Result<&Replica, ErrorCode> {
        self.replica(node).filter(|replica| replica.leads()).ok_or(ErrorCode::NOT_LEADER_OR_FOLLOWER)
    }

    /// What a node believes about the leadership, if its view of the cluster ends at a time.
    pub(crate) fn leadership_seen(&self, view: Duration) -> &Leadership {
        self.past.at(view).unwrap_or(&self.leadership)
    }

    pub(crate) fn expire_producers(&mut self, now: Moment, expiry: Duration, nodes: &Nodes) {
        for replica in self.replicas.iter_mut().filter(|replica| nodes.state(replica.node).works()) {
            replica.producers.expire(now, expiry);
        }
    }

    // What time does to the logs.

    /// Deletes what is too old or too much, on every node that works.
    pub(crate) fn retain(&mut self, config: &TopicConfig, now: Moment, nodes: &Nodes) {
        for replica in self.replicas.iter_mut().filter(|replica| nodes.state(replica.node).works()) {
            // What cannot be removed now is removed at the next look.
            let _tried_again = replica.retain(config, now);
        }
    }

    /// Whether any replica has a record.
    pub(crate) fn has_data(&self) -> bool {
        self.replicas.iter().any(|replica| replica.log.bytes() > 0)
    }

    /// Deletes the records before an offset, for a client that asks the node to; −1 stands for the high watermark. Followers learn of it when they
    /// copy next, so replicate afterwards. The answer is where the log starts then.
    pub(crate) fn delete_records_before(
        &mut self,
        node: NodeId,
        offset: i64,
        config: &TopicConfig,
    ) -> Result<i64, ErrorCode> {
        self.led_on(node)?;
        if config.cleanup.compacts() && !config.cleanup.deletes() {
            return Err(ErrorCode::POLICY_VIOLATION);
        }
        let replica = self.replicas.iter_mut().find(|replica| replica.node == node).expect("it was found to lead");
        let offset = if offset == HIGH_WATERMARK { replica.high_watermark } else { offset };
        if offset < 0 {
            return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
        }
        replica.delete_records_before(offset)?;
        Ok(replica.log.start_offset())
    }

    // What the controller does.

    /// The controller decides; nodes that are awake hear it at once. Says whether anything changes.
    pub(crate) fn decide(&mut self, now: Duration, leadership: Leadership, nodes: &Nodes) -> bool {
        let min_isr = self.min_insync.map(|min| min.min(self.replicas.len()));
        let leadership = self.leadership.followed_by(leadership, min_isr, |node| self.replica(node).is_some());
        if leadership == self.leadership {
            return false;
        }
        self.past.push(now, std::mem::replace(&mut self.leadership, leadership));
        self.find_leader();
        for replica in self.replicas.iter_mut().filter(|replica| nodes.state(replica.node).is_informed()) {
            replica.learn(&self.leadership);
        }
        true
    }

    /// A node has caught up with what the controller decided meanwhile.
    pub(crate) fn tell(&mut self, node: NodeId) {
        if let Some(replica) = self.replicas.iter_mut().find(|replica| replica.node == node) {
            replica.learn(&self.leadership);
        }
    }

    /// A node's process began again.
    pub(crate) fn restart(&mut self, node: NodeId, recovery: Recovery) {
        if let Some(replica) = self.replicas.iter_mut().find(|replica| replica.node == node) {
            // A snapshot that cannot be written is made up for by reading more of the log.
            let _replayed_instead = replica.forget_as_a_restart_does(recovery);
        }
    }

    fn find_leader(&mut self) {
        if let Some(leader) = self.leadership.leader {
            let found = self.replicas.iter().position(|replica| replica.node == leader);
            self.leading = found.expect("only a replica is elected");
            self.appends.cut(self.replicas[self.leading].end());
        }
    }

    // What clients do.

    /// Handles one batch at a node, as the planted faults want it.
    pub(crate) fn produce(&mut self, batch: &Bytes, judge: Judge<'_>, arrival: Arrival) -> Produced {
        if let Err(code) = self.led_on(arrival.node) {
            return Produced::error(code);
        }
        match self.next_fault() {
            None => self.append(batch, judge, arrival),
            Some(fault) if !fault.appended => Produced::error(fault.code),
            Some(fault) => {
                let produced = self.append(batch, judge, arrival);
                let code = if produced.code.is_none() { fault.code } else { produced.code };
                Produced { code, end_offset: None, ..produced }
            }
        }
    }

    fn next_fault(&mut self) -> Option<ProduceFault> {
        self.faults.retain(|fault| fault.times > 0);
        let fault = self.faults.front_mut()?;
        fault.times -= 1;
        Some(*fault)
    }

    fn append(&mut self, batch: &Bytes, judge: Judge<'_>, arrival: Arrival) -> Produced {
        let at = self.replicas.iter().position(|replica| replica.node == arrival.node).expect("it was found to lead");
        let min_isr = judge.config.min_isr(self.replicas.len());
        let replica = &mut self.replicas[at];
        if arrival.acks_all && replica.known.isr.len() < min_isr {
            // Before anything else is looked at, so a duplicate is refused too.
            return Produced::error(ErrorCode::NOT_ENOUGH_REPLICAS);
        }
        let checked = match judge.check(batch) {
            Ok(checked) => checked,
            Err(refused) => return replica.refused(refused),
        };
        let how = Appending { config: judge.config, flush: arrival.flush, now: judge.now };
        let before = replica.end();
        let produced = replica.take(&checked, &how);
        let end = replica.end();
        if end > before && at == self.leading && self.replicas.len() > 1 {
            self.appends.note(judge.now.elapsed, produced.base_offset, end);
        }
        produced
    }
}

/// Stands for the high watermark in a request to delete records.
const HIGH_WATERMARK: i64 = -1;

/// Where a batch came, and how sure its sender wants to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) node: NodeId,
    pub(crate) acks_all: bool,
    /// When what is appended is fsynced.
    pub(crate) flush: Flush,
}

impl Replica {
    /// A batch without a producer id is always the next one.
    fn verdict(&self, header: &BatchHeader) -> Verdict {
        match stamp_of(header) {
            Some(stamp) => validate(self.producers.entry(stamp.producer_id), &stamp),
            None => Verdict::Append,
        }
    }

    fn take(&mut self, checked: &CheckedBatch, how: &Appending<'_>) -> Produced {
        let base_offset = self.end();
        let header = BatchHeader { base_offset, partition_leader_epoch: self.known.epoch, ..checked.header };
        let (size, limit) = (header.total_bytes(), how.config.segment_size());
        if size as u64 > limit {
            let message = Some(format!("record batch of {size} bytes exceeds segment.bytes {limit}"));
            return Produced { message, ..Produced::error(ErrorCode::RECORD_LIST_TOO_LARGE) };
        }
        let failed = |error: StorageError| {
            let message = Some(error.to_string());
            Produced { message, ..Produced::error(ErrorCode::KAFKA_STORAGE_ERROR) }
        };
        // Kafka looks at who writes after that, so a batch that is not taken may begin a segment, too, which shows where a fetch ends.
        if let Err(error) = self.roll_if_full(&header, how) {
            return failed(error);
        }
        match self.verdict(&header) {
            Verdict::Append => {}
            Verdict::Duplicate(original) => return self.duplicate(&original),
            Verdict::Refuse(refusal) => {
                return Produced { log_start_offset: self.log.start_offset(), ..Produced::error(refusal.code()) };
            }
        }
        if let Err(error) = self.append(&header, &checked.records, how) {
            return failed(error);
        }
        let append_timestamp = match header.attributes.timestamp_type() {
            TimestampType::CreateTime => -1,
            TimestampType::LogAppendTime => header.max_timestamp,
        };
        Produced { append_timestamp, ..self.written(base_offset, self.end()) }
    }

    /// Kafka gives the original's timestamp here on topics of either timestamp type.
    fn duplicate(&self, original: &CachedBatch) -> Produced {
        Produced {
            append_timestamp: original.timestamp,
            ..self.written(original.base_offset, original.last_offset + 1)
        }
    }

    fn written(&self, base_offset: i64, end_offset: i64) -> Produced {
        let log_start_offset = self.log.start_offset();
        Produced { base_offset, end_offset: Some(end_offset), log_start_offset, ..Produced::error(ErrorCode::NONE) }
    }

    fn refused(&self, refused: Refused) -> Produced {
        let log_start_offset = if refused.by_log { self.log.start_offset() } else { -1 };
        Produced { log_start_offset, ..Produced::refused(refused) }
    }
}
