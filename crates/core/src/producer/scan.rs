//! What a stretch of a partition's log says of batches that were given up (rule 22): a pure reading of batch headers.
//!
//! Always holds: it reads from the base, the last offset that was committed before the doubt, to the fence, the first batch of a
//! later epoch that was acknowledged. Behind a fence that stands where it was acknowledged no copy of an older epoch can
//! come, so who is not in a whole stretch never will be. What is found is written, whatever is missing around it.
//!
//! Where somebody else uses the producer id no fence can stand (rule 14): it reads as far as the log was committed, absence
//! proves nothing, and a stamp alone does not tell whose batch it is, so a batch counts only if its bytes are those that were sent.
//!
//! Left out: who reads, and over what; see `back/questions.rs`.

use milena_wire::records::{BatchHeader, TimestampType};

use super::completion::BatchEnd;
use super::outcome::{NotWritten, Undetermined};
use super::stamped::{Print, Stamp};

/// A batch by what brokers keep of it: its stamp and how many records it had, which compaction does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// With an identity; batches without one cannot be told apart.
    pub stamp: Stamp,
    /// Records that it was sent with.
    pub count: u32,
    /// Its bytes.
    pub print: Print,
}

impl Mark {
    /// Whether this is the batch, where nobody else uses the producer id.
    fn is_of(&self, header: &BatchHeader) -> bool {
        self.stamp.identity.is_some_and(|identity| {
            let producer = (header.producer_id, header.producer_epoch, header.base_sequence);
            let stamped = (identity.producer_id.0, identity.epoch.0, self.stamp.sequence.value());
            producer == stamped && i64::from(header.last_offset_delta) + 1 == i64::from(self.count)
        })
    }
}

impl Mark {
    /// Whether this is the batch, whoever else uses the producer id.
    fn is_bytes_of(&self, header: &BatchHeader) -> bool {
        self.is_of(header) && self.print.is_of(self.stamp, header)
    }
}

#[cfg(feature = "plants")]
impl Mark {
    /// Whether the batch is of the same producer and sequence.
    fn is_of_producer(&self, header: &BatchHeader) -> bool {
        let of_producer = |identity: crate::ids::Identity| identity.producer_id.0 == header.producer_id;
        self.stamp.identity.is_some_and(of_producer) && self.stamp.sequence.value() == header.base_sequence
    }
}

/// The last offset that is known to be committed before a doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Base {
    /// Of the last record before the doubt; −1 if the log was empty.
    pub offset: i64,
    /// What must stand there as long as no committed data is lost.
    pub witness: Witness,
}

/// What shows that the log is still the one that a base was taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Witness {
    /// This batch of the client's own ends there.
    Own(Mark),
    /// Something that was appended under this leader epoch or an earlier one.
    Epoch(i32),
    /// Nothing can show it.
    Nobody,
}

/// The batch of a later epoch that keeps older ones out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The batch.
    pub mark: Mark,
    /// Where it was acknowledged.
    pub offset: i64,
}

/// Where a reading ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    Fence(Fence),
    /// Where the log ended, as far as it was committed, once no attempt was on its way that this client knows of.
    End(i64),
}

/// How far a reading is.
#[derive(Debug)]
pub struct Scan {
    base: Base,
    limit: Limit,
    doubts: Vec<(Mark, Option<BatchEnd>)>,
    /// The next offset that was not seen.
    next: i64,
    is_witnessed: bool,
    /// The first thing that keeps absence from being proven.
    flaw: Option<Undetermined>,
    bytes: usize,
    /// A stamp alone does not tell whose batch it is.
    is_by_bytes: bool,
    is_done: bool,
    #[cfg(feature = "plants")]
    planted: crate::plant::Plant,
}

/// A stretch that is longer is not read: what took so many bytes behind a base is not worth its traffic.
pub const SCAN_BYTES_MAX: usize = 256 * 1024 * 1024;

impl Scan {
    /// Of a stretch that begins behind the base; none where the fence does not stand behind it, which means that committed
    /// data was lost.
    pub fn new(base: Base, fence: Fence, doubts: impl IntoIterator<Item = Mark>) -> Self {
        let mut scan = Self::begin(base, Limit::Fence(fence), doubts);
        if base.witness == Witness::Nobody || base.offset < 0 {
            scan.skip_witness();
        }
        if fence.offset <= base.offset {
            scan.give_up(Undetermined::DataLossSeen);
        }
        scan
    }

    /// Of what stands behind the base as far as the log was committed; no fence can stand, because somebody else uses the
    /// producer id. What is not found stays in doubt.
    pub fn without_fence(base: Base, end_offset: i64, doubts: impl IntoIterator<Item = Mark>) -> Self {
        let mut scan = Self::begin(base, Limit::End(end_offset), doubts);
        scan.flaw = Some(Undetermined::ProducerIdUsedElsewhere);
        scan.is_by_bytes = true;
        // What is there is there, whatever became of the log before it.
        scan.skip_witness();
        scan.is_done = scan.next >= end_offset;
        scan
    }

    /// Of what stands behind the base as far as the log is committed, where no fence was sent. What is not found stays in doubt.
    pub fn unfenced(base: Base, end_offset: i64, doubts: impl IntoIterator<Item = Mark>) -> Self {
        let mut scan = Self::without_fence(base, end_offset, doubts);
        scan.flaw = Some(Undetermined::NoFence);
        scan.is_by_bytes = false;
        scan
    }

    fn begin(base: Base, limit: Limit, doubts: impl IntoIterator<Item = Mark>) -> Self {
        Self {
            base,
            limit,
            doubts: doubts.into_iter().map(|mark| (mark, None)).collect(),
            next: base.offset,
            is_witnessed: false,
            flaw: None,
            bytes: 0,
            is_by_bytes: false,
            is_done: false,
            #[cfg(feature = "plants")]
            planted: crate::plant::Plant::Clean,
        }
    }

    /// Whether it reads up to a fence.
    pub fn has_fence(&self) -> bool {
        matches!(self.limit, Limit::Fence(_))
    }

    /// Where to read on.
    pub fn next_offset(&self) -> i64 {
        self.next
    }

    /// The log does not reach back to the base. What stands behind it may be there all the same: whether it was that, or it
    /// is read on from there.
    pub fn skip_witness(&mut self) -> bool {
        let is_first = !self.is_witnessed;
        if is_first {
            (self.is_witnessed, self.next) = (true, self.base.offset + 1);
        }
        is_first
    }

    /// Whether nothing more needs to be read.
    pub fn is_done(&self) -> bool {
        self.is_done
    }

    /// Nothing more can be read, for this reason.
    pub fn give_up(&mut self, why: Undetermined) {
        self.flaw = self.flaw.or(Some(why));
        self.is_done = true;
    }

    /// There is nothing where it was to be read on: a log that reaches so far does not begin early enough, and one that does
    /// not has lost what was committed.
    pub fn give_up_out_of_range(&mut self, end_offset: i64) {
        let is_there = end_offset > self.next;
        self.give_up(if is_there { Undetermined::LogTruncated } else { Undetermined::DataLossSeen });
    }

    /// The log may not be read. Where the fence stands right behind the base there is nothing to read: no place is left for
    /// anything else.
    pub fn refuse(&mut self) {
        match self.limit {
            Limit::Fence(fence) if fence.offset == self.base.offset + 1 => self.is_done = true,
            _ => self.give_up(Undetermined::NotPermittedToRead),
        }
    }

    /// What became of this one is known by other means.
    pub fn forget(&mut self, place: usize) {
        self.doubts.remove(place);
    }

    /// Rule 14 or 22 broken.
    #[cfg(feature = "plants")]
    pub(super) fn plant(&mut self, plant: crate::plant::Plant) {
        self.planted = plant;
        if plant == crate::plant::Plant::AbsentWithoutEnd && !self.has_fence() {
            self.flaw = None;
        }
    }

    /// The next batch of the log.
    pub fn take(&mut self, header: &BatchHeader) {
        // A broker gives whole batches, so the first one may begin, or lie, before what was asked for.
        if self.is_done || header.last_offset() < self.next {
            return;
        }
        self.bytes = self.bytes.saturating_add(header.total_bytes());
        if !self.is_witnessed {
            self.look_for_witness(header);
        } else if header.base_offset != self.next {
            self.flaw = self.flaw.or(Some(Undetermined::OffsetGap));
        }
        for (mark, found) in &mut self.doubts {
            let is_it = match self.is_by_bytes {
                false => mark.is_of(header),
                true => mark.is_bytes_of(header),
            };
            #[cfg(feature = "plants")]
            let is_it = is_it
                || self.planted == crate::plant::Plant::AnyEpochIsFound && mark.is_of_producer(header)
                || self.planted == crate::plant::Plant::StampsAreBytes && mark.is_of(header);
            if found.is_none() && is_it {
                let is_by_broker = header.attributes.timestamp_type() == TimestampType::LogAppendTime;
                let log_append_time = is_by_broker.then_some(header.max_timestamp);
                *found = Some(BatchEnd::Written { base_offset: Some(header.base_offset), log_append_time });
            }
        }
        self.next = header.last_offset().saturating_add(1);
        match self.limit {
            Limit::Fence(fence) if header.last_offset() >= fence.offset => {
                let is_there = header.base_offset == fence.offset && fence.mark.is_of(header);
                match is_there {
                    true => self.is_done = true,
                    false => self.give_up(Undetermined::DataLossSeen),
                }
            }
            Limit::End(end) if self.next >= end => self.is_done = true,
            _ if self.bytes > SCAN_BYTES_MAX => self.give_up(Undetermined::ScanTooLong),
            _ => {}
        }
        self.is_done |= self.doubts.iter().all(|(_, found)| found.is_some());
    }

    fn look_for_witness(&mut self, header: &BatchHeader) {
        self.is_witnessed = true;
        // Where nothing covers the offset its batch may have been compacted away, which leaves no proof either.
        let is_gap = header.base_offset > self.base.offset;
        let is_as_it_was = match self.base.witness {
            Witness::Own(mark) => header.last_offset() == self.base.offset && mark.is_of(header),
            // What replaced it was appended by a later leader.
            Witness::Epoch(epoch) => header.partition_leader_epoch <= epoch,
            Witness::Nobody => true,
        };
        if is_gap {
            self.flaw = self.flaw.or(Some(Undetermined::OffsetGap));
        } else if !is_as_it_was {
            self.flaw = self.flaw.or(Some(Undetermined::DataLossSeen));
        }
    }

    /// What became of each, in the order in which they were given.
    pub fn ends(&self) -> impl Iterator<Item = BatchEnd> {
        self.doubts.iter().map(|(_, found)| match (found, self.flaw) {
            (Some(end), _) => *end,
            (None, None) => BatchEnd::NotWritten(NotWritten::Fenced),
            (None, Some(why)) => BatchEnd::Undetermined(why),
        })
    }
}
