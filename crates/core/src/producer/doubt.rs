//! Batches that were given up after they were sent, until the log says what became of them (rules 18 to 23).
//!
//! ```text
//! Unfenced ── a batch of a later epoch is acknowledged ──▶ Read ── up to the fence ──▶ ended
//!     │ somebody else uses the producer id                  ▲ │
//!     ▼                                                     │ └── as far as the log was committed ──▶ ended
//! Unfenceable ── it is known where the log ends ────────────┘
//! ```
//!
//! Always holds: their bytes are gone and never sent again; a stretch of doubts has one base, that of its oldest, and is
//! settled by one fence; whatever ends the wait ends them with the reason.
//!
//! Left out: when a batch is given up (`back/withdrawal.rs`), asking brokers (`back/questions.rs`), reading (`scan.rs`).

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::completion::{BatchCompletion, BatchEnd};
use super::ended::{Ended, EndedSize};
use super::outcome::{NotWritten, Undetermined};
use super::scan::{Base, Fence, Mark, Scan};
use crate::ids::Identity;
use crate::time::Moment;

/// A batch that was given up.
#[derive(Debug)]
pub struct Doubt {
    pub(super) mark: Mark,
    pub(super) completion: Arc<BatchCompletion>,
    /// Which records of the completion it carried.
    pub(super) records: Range<u32>,
    /// Why it could not be brought to an end by sending, if that was not time.
    pub(super) otherwise: Option<Undetermined>,
    pub(super) size: EndedSize,
    /// Since when it waits; set at the first look at the clock.
    pub(super) since: Option<Moment>,
}

impl Doubt {
    /// Where the log could not be asked, what kept the batch from being settled by its stamp tells more.
    fn end(&self, told: BatchEnd) -> BatchEnd {
        match (told, self.otherwise) {
            (BatchEnd::Undetermined(why), Some(otherwise)) if is_want_of_proof(why) => {
                BatchEnd::Undetermined(otherwise)
            }
            _ => told,
        }
    }
}

fn is_want_of_proof(why: Undetermined) -> bool {
    matches!(why, Undetermined::NoFence | Undetermined::NoBase | Undetermined::NotPermittedToRead)
}

/// Doubts that one reading settles.
#[derive(Debug)]
struct Stretch {
    base: Base,
    doubts: Vec<Doubt>,
    progress: Progress,
}

/// How far a stretch is.
#[derive(Debug)]
enum Progress {
    Unfenced {
        /// How often a fence was asked for, and when last.
        asked: (u32, Option<Moment>),
    },
    /// No fence can come (rule 14), and it is not known yet how far to read.
    Unfenceable,
    Read(Box<Scan>),
}

/// As long as a stretch is left to the caller's own records to be fenced: most partitions with a doubt have traffic, and a fence
/// of the client's making is a record that nobody sent. Doubled with each that came to nothing.
pub const FENCE_PATIENCE: Duration = Duration::from_secs(1);

/// 64 s.
const FENCE_DOUBLINGS_MAX: u32 = 6;

/// The doubts of a partition, oldest first. Only the newest stretch can be unfenced.
#[derive(Debug, Default)]
pub(super) struct Doubts(VecDeque<Stretch>);

impl Doubts {
    /// Whether something is to be asked about the log.
    pub(super) fn wants_log(&self) -> bool {
        self.0.front().is_some_and(|stretch| !stretch.is_unfenced())
    }

    /// Whether it is to be asked where the log ends, before it is read.
    pub(super) fn wants_end(&self) -> bool {
        self.0.front().is_some_and(|stretch| matches!(stretch.progress, Progress::Unfenceable))
    }

    /// Whether a fence is waited for.
    pub(super) fn is_unfenced(&self) -> bool {
        self.0.back().is_some_and(Stretch::is_unfenced)
    }

    fn unfenced(&mut self) -> Option<&mut Stretch> {
        self.0.back_mut().filter(|stretch| stretch.is_unfenced())
    }

    /// A batch is given up. It joins those that have no fence yet: who gives up a fence goes back to the base of what it was to
    /// keep out (rule 19).
    pub(super) fn add(&mut self, base: Base, doubt: Doubt) {
        match self.unfenced() {
            Some(stretch) => stretch.doubts.push(doubt),
            None => self.0.push_back(Stretch { base, doubts: vec![doubt], progress: Progress::UNFENCED }),
        }
    }

    /// Somebody else uses the producer id: what waits for a fence is looked for without one.
    pub(super) fn give_up_fence(&mut self) {
        if let Some(stretch) = self.unfenced() {
            stretch.progress = Progress::Unfenceable;
        }
    }

    /// So far the log is committed; what waits to hear it is looked for up to there.
    pub(super) fn read_to(&mut self, end_offset: i64) {
        let stretch = self.0.front_mut().filter(|stretch| matches!(stretch.progress, Progress::Unfenceable));
        if let Some(stretch) = stretch {
            let marks = stretch.doubts.iter().map(|doubt| doubt.mark);
            stretch.progress = Progress::Read(Box::new(Scan::without_fence(stretch.base, end_offset, marks)));
        }
    }

    /// A batch was acknowledged; whether it keeps out what waits for a fence.
    pub(super) fn raise_fence(&mut self, fence: Fence) -> bool {
        let Some(stretch) = self.unfenced() else { return false };
        let Some(identity) = fence.mark.stamp.identity else { return false };
        let keeps_out = stretch.is_kept_out_by(identity);
        if keeps_out {
            stretch.read_to(fence);
        }
        keeps_out
    }

    /// Rule 21 or 24 broken.
    #[cfg(feature = "plants")]
    pub(super) fn plant(&mut self, plant: crate::plant::Plant, fence: Fence) {
        use crate::plant::Plant;
        let Some(stretch) = self.unfenced() else { return };
        match (plant, fence.mark.stamp.identity) {
            (Plant::BaseAtFence, _) => {
                stretch.base = Base { offset: fence.offset - 1, witness: crate::producer::scan::Witness::Nobody };
            }
            (Plant::FreshIdFences, Some(identity)) => {
                let is_older = |older: Identity| older.producer_id != identity.producer_id;
                if stretch.doubts.iter().all(|doubt| doubt.mark.stamp.identity.is_some_and(is_older)) {
                    stretch.read_to(fence);
                }
            }
            _ => {}
        }
    }

    /// When a fence of this identity is to be asked for, unless something is sent before; now if some doubts do not know yet since
    /// when they wait.
    pub(super) fn wants_fence_at(&self, identity: Identity) -> Option<Moment> {
        let stretch = self.0.back().filter(|stretch| stretch.is_kept_out_by(identity))?;
        let Progress::Unfenced { asked: (asked, last) } = stretch.progress else { return None };
        let Some(since) = stretch.doubts.last()?.since else { return Some(Moment::START) };
        let patience = FENCE_PATIENCE * 2u32.pow(asked.min(FENCE_DOUBLINGS_MAX));
        Some(last.map_or(since, |last| last.max(since)) + patience)
    }

    /// A fence was asked for.
    pub(super) fn note_fence_asked(&mut self, now: Moment) {
        if let Some(Stretch { progress: Progress::Unfenced { asked }, .. }) = self.0.back_mut() {
            *asked = (asked.0 + 1, Some(now));
        }
    }

    /// The reading that is to go on.
    pub(super) fn scan(&mut self) -> Option<&mut Scan> {
        self.0.front_mut()?.scan_mut()
    }

    /// Ends what was read to the end.
    pub(super) fn end_read(&mut self, ended: &mut Vec<Ended>) {
        while let Some(scan) = self.0.front_mut().and_then(Stretch::scan_mut).filter(|scan| scan.is_done()) {
            let ends: Vec<BatchEnd> = scan.ends().collect();
            let stretch = self.0.pop_front().expect("its scan was just looked at");
            ended.extend(stretch.doubts.into_iter().zip(ends).map(|(doubt, end)| {
                let end = doubt.end(end);
                Ended::Doubt(doubt, end)
            }));
        }
    }

    /// No fence will come.
    pub(super) fn end_unfenced(&mut self, why: Undetermined, ended: &mut Vec<Ended>) {
        if self.is_unfenced()
            && let Some(stretch) = self.0.pop_back()
        {
            stretch.end(why, ended);
        }
    }

    /// Those that wait for a fence are not in the log and never will be (rule 20).
    pub(super) fn end_absent(&mut self, ended: &mut Vec<Ended>) {
        if self.is_unfenced()
            && let Some(stretch) = self.0.pop_back()
        {
            let end = BatchEnd::NotWritten(NotWritten::Fenced);
            ended.extend(stretch.doubts.into_iter().map(|doubt| Ended::Doubt(doubt, end)));
        }
    }

    /// Nothing more can be found out.
    pub(super) fn end_all(&mut self, why: Undetermined, ended: &mut Vec<Ended>) {
        self.0.drain(..).for_each(|stretch| stretch.end(why, ended));
    }

    /// Those that are new wait from now on.
    pub(super) fn begin_to_wait(&mut self, now: Moment) {
        let doubts = self.0.iter_mut().flat_map(|stretch| &mut stretch.doubts);
        doubts.for_each(|doubt| _ = doubt.since.get_or_insert(now));
    }

    /// When the oldest has had so much time; now if some do not know yet since when they wait.
    pub(super) fn end_at(&self, patience: Duration) -> Option<Moment> {
        let newest = self.0.back().and_then(|stretch| stretch.doubts.last());
        let oldest = self.0.front().and_then(|stretch| stretch.doubts.first());
        let is_told = newest.is_some_and(|doubt| doubt.since.is_some());
        oldest.map(|doubt| doubt.since.filter(|_| is_told).map_or(Moment::START, |since| since + patience))
    }

    /// Ends those that have waited since then. What is read together ends together.
    pub(super) fn end_since(&mut self, since: Moment, ended: &mut Vec<Ended>) {
        let is_old = |doubt: &Doubt| doubt.since.is_some_and(|began| began <= since);
        while let Some(stretch) = self.0.front_mut().filter(|stretch| stretch.doubts.first().is_some_and(is_old)) {
            let unread = match &stretch.progress {
                Progress::Unfenced { .. } => None,
                Progress::Read(scan) if scan.has_fence() => Some(Undetermined::ScanTooLong),
                Progress::Unfenceable | Progress::Read(_) => Some(Undetermined::ProducerIdUsedElsewhere),
            };
            if let Some(why) = unread {
                let stretch = self.0.pop_front().expect("it was just looked at");
                stretch.end(why, ended);
                continue;
            }
            let young = stretch.doubts.iter().position(|doubt| !is_old(doubt)).unwrap_or(stretch.doubts.len());
            let doubts = stretch.doubts.drain(..young).collect();
            let old = Stretch { base: stretch.base, doubts, progress: Progress::UNFENCED };
            old.end(Undetermined::NoFence, ended);
            self.0.retain(|stretch| !stretch.doubts.is_empty());
            break;
        }
    }

    /// An answer that came late says that this one is in the log.
    pub(super) fn settle(&mut self, ordinal: u64, end: BatchEnd, ended: &mut Vec<Ended>) {
        for stretch in &mut self.0 {
            if let Some(place) = stretch.doubts.iter().position(|doubt| doubt.mark.stamp.ordinal == ordinal) {
                ended.push(Ended::Doubt(stretch.doubts.remove(place), end));
                if let Some(scan) = stretch.scan_mut() {
                    scan.forget(place);
                }
                break;
            }
        }
        self.0.retain(|stretch| !stretch.doubts.is_empty());
    }
}

impl Progress {
    const UNFENCED: Self = Self::Unfenced { asked: (0, None) };
}

impl Stretch {
    fn is_unfenced(&self) -> bool {
        matches!(self.progress, Progress::Unfenced { .. })
    }

    fn scan_mut(&mut self) -> Option<&mut Scan> {
        if let Progress::Read(scan) = &mut self.progress { Some(scan.as_mut()) } else { None }
    }

    fn read_to(&mut self, fence: Fence) {
        let marks = self.doubts.iter().map(|doubt| doubt.mark);
        self.progress = Progress::Read(Box::new(Scan::new(self.base, fence, marks)));
    }

    /// Whether brokers that have seen this identity refuse every copy.
    fn is_kept_out_by(&self, identity: Identity) -> bool {
        let is_older = |older: Identity| older.producer_id == identity.producer_id && older.epoch < identity.epoch;
        self.doubts.iter().all(|doubt| doubt.mark.stamp.identity.is_some_and(is_older))
    }

    fn end(self, why: Undetermined, ended: &mut Vec<Ended>) {
        ended.extend(self.doubts.into_iter().map(|doubt| {
            let end = doubt.end(BatchEnd::Undetermined(why));
            Ended::Doubt(doubt, end)
        }));
    }
}
