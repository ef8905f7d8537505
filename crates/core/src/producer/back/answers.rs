//! What an answer, or the loss of one, does to a partition.

use milena_wire::ErrorCode;

use super::renewal::Renewal;
use super::{AttemptKey, Mode, PartitionBack};
use crate::backoff::Chance;
use crate::ids::{ProducerId, Sequence};
use crate::producer::anchor::{Acknowledged, Anchor};
use crate::producer::completion::BatchEnd;
use crate::producer::ended::Ended;
use crate::producer::outcome::{NotWritten, Undetermined};
use crate::producer::stamped::{Flight, StampedBatch, Surgery};
use crate::producer::verdict::{Answer, Context, Row, Verdict, classify};
use crate::time::Moment;

/// What came of an answer, for the lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// The partition may have moved.
    pub refresh_metadata: bool,
    /// The leader has it and its followers have not: the partition is slow (rule 27).
    pub is_slow: bool,
    /// Somebody else stamps with this producer id (rule 14): it must not be used on any partition.
    pub used_elsewhere: Option<ProducerId>,
    /// Which row of the table the answer was, and where its batch stood.
    pub reached: Option<(Row, BatchState)>,
}

/// What is heard of an attempt after its partition has left the connection.
#[derive(Clone, Debug)]
pub enum Word {
    /// An answer.
    Answer(Answer),
    /// The connection is gone and not every byte was handed over: it is not executed (rule 12).
    NotExecuted,
    /// The connection is gone, and nothing was answered.
    Unanswered,
}

impl Word {
    pub(in crate::producer) fn of_loss(was_all_written: bool) -> Self {
        if was_all_written { Self::Unanswered } else { Self::NotExecuted }
    }
}

/// Where a batch stands when an answer to it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BatchState {
    /// The first of its identity.
    Alone,
    /// The oldest unsettled one, sent once.
    Head,
    /// Another one is older.
    Behind,
    /// The oldest unsettled one, sent again.
    Resent,
    /// Asked because of one before it (rule 13).
    Probe,
}

impl BatchState {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Alone, Self::Head, Self::Behind, Self::Resent, Self::Probe];
}

impl PartitionBack {
    /// An answer for an attempt.
    pub(in crate::producer) fn handle_answer(
        &mut self,
        now: Moment,
        key: AttemptKey,
        answer: &Answer,
        chance: &mut Chance,
        ended: &mut Vec<Ended>,
    ) -> Effects {
        let Some(place) = self.place_of(key) else {
            self.hear(now, key, &Word::Answer(answer.clone()), ended);
            return Effects::default();
        };
        let state = self.state_of(place);
        if !answer.error.is_none() && answer.base_offset >= 0 {
            self.look_for_loss(&self.acknowledgement(place, now, answer));
        }
        let (row, verdict) = classify(answer, self.context_of(place));
        let mut effects =
            Effects { is_slow: row == Row::NotCommitted, reached: Some((row, state)), ..Effects::default() };
        let batch = &mut self.unsettled[place];
        batch.flight = Flight::Waiting;
        // Whatever follows from the answer: an offset beside an error says that the batch is in that leader's log.
        batch.is_ambiguous |= !answer.error.is_none() && answer.base_offset >= 0;
        match verdict {
            Verdict::Written => self.acknowledge(now, place, answer, ended),
            Verdict::Resend { is_ambiguous, refresh_metadata } => {
                effects.refresh_metadata = refresh_metadata;
                let is_word = matches!(row, Row::GapBehind | Row::RefusedBehind);
                if row == Row::RefusedBehind {
                    self.doubt_by(answer.error);
                }
                self.fail_attempt(now, place, is_ambiguous, is_word, chance, ended);
            }
            Verdict::Probe => self.probe(place, Undetermined::StateLost),
            Verdict::Renew => self.renew_lost_stamps(place),
            // A piece could be taken for one of those whose place it takes.
            Verdict::Split if self.squat.is_some() => self.renew(Renewal::of_epoch(Undetermined::NoFence)),
            Verdict::Split => self.operate(now, place, Surgery::Split),
            Verdict::DropRecords => self.drop_records(place, answer, ended),
            Verdict::Refuse => self.refuse(place, answer.error, ended),
            // What is in doubt only until an old connection has spoken waits for its word.
            Verdict::Doubt if !self.unsettled[place].is_ambiguous && answer.base_offset < 0 => {
                self.fail_attempt(now, place, false, false, chance, ended);
            }
            Verdict::Doubt => self.doubt(place, answer.error, ended),
            Verdict::StateLost => self.lose_proof(place, Undetermined::StateLost),
            #[cfg(feature = "plants")]
            Verdict::Abandon if self.config.plant == crate::plant::Plant::ForeignEpochOutbid => {
                self.renew(Renewal { has_proof: true, ..Renewal::of_epoch(Undetermined::StateLost) });
            }
            Verdict::Abandon => {
                let identity = self.unsettled[place].stamp.identity;
                effects.used_elsewhere = identity.map(|identity| identity.producer_id);
                self.renew(Renewal::of_producer_id(Undetermined::ProducerIdUsedElsewhere));
            }
            Verdict::Ignore => {}
        }
        self.finish_at(now, ended);
        effects
    }

    /// The attempt that is on the wire now, if this is it.
    fn place_of(&self, key: AttemptKey) -> Option<usize> {
        self.unsettled.iter().position(|batch| {
            let is_on_wire = batch.flight == Flight::OnWire && batch.attempts == key.number;
            batch.stamp.ordinal == key.ordinal && is_on_wire
        })
    }

    fn state_of(&self, place: usize) -> BatchState {
        let batch = &self.unsettled[place];
        match self.mode {
            Mode::Probing { .. } if place > 0 => BatchState::Probe,
            _ if place > 0 => BatchState::Behind,
            _ if batch.attempts_of_stamp > 1 => BatchState::Resent,
            _ if self.config.is_idempotent && !self.is_anchored(batch) => BatchState::Alone,
            _ => BatchState::Head,
        }
    }

    fn context_of(&self, place: usize) -> Context {
        let batch = &self.unsettled[place];
        Context {
            is_head: place == 0,
            is_doubtful: batch.is_doubtful(),
            is_anchored: self.is_anchored(batch),
            is_superseded: batch
                .stamp
                .identity
                .zip(self.identity)
                .is_some_and(|(stamped, now)| stamped.producer_id == now.producer_id && stamped.epoch < now.epoch),
            is_idempotent: self.config.is_idempotent,
            acks: self.config.acks,
            records: batch.count(),
            #[cfg(feature = "plants")]
            plant: self.config.plant,
        }
    }

    /// Of an attempt on a connection that the partition has left, or of one before the newest. That it was appended counts;
    /// that it was not takes away the doubt that this attempt left.
    pub(in crate::producer) fn hear(&mut self, now: Moment, key: AttemptKey, word: &Word, ended: &mut Vec<Ended>) {
        let Some(place) = self.unsettled.iter().position(|batch| batch.stamp.ordinal == key.ordinal) else {
            return self.hear_of_doubt(key, word, ended);
        };
        let is_ambiguous = match word {
            Word::NotExecuted => false,
            Word::Unanswered => true,
            Word::Answer(answer) => {
                match classify(answer, Context { is_doubtful: false, ..self.context_of(place) }).1 {
                    Verdict::Written => {
                        self.acknowledge(now, place, answer, ended);
                        return self.finish(ended);
                    }
                    Verdict::Resend { is_ambiguous, .. } => is_ambiguous,
                    Verdict::Doubt | Verdict::Probe | Verdict::StateLost => true,
                    _ => false,
                }
            }
        };
        self.unsettled[place].hear_of(key.number, is_ambiguous);
    }

    /// A partition that moved on has no use for a word, unless it says that what was given up is there.
    fn hear_of_doubt(&mut self, key: AttemptKey, word: &Word, ended: &mut Vec<Ended>) {
        let Word::Answer(answer) = word else { return };
        let end = match answer.error {
            ErrorCode::NONE => BatchEnd::Written {
                base_offset: known(answer.base_offset),
                log_append_time: known(answer.log_append_time),
            },
            ErrorCode::DUPLICATE_SEQUENCE_NUMBER => BatchEnd::Written { base_offset: None, log_append_time: None },
            _ => return,
        };
        self.doubts.settle(key.ordinal, end, ended);
    }

    /// A probe that was refused by validation says nothing about what is there; if nothing else does, that is the reason.
    fn doubt_by(&mut self, code: ErrorCode) {
        if let Mode::Probing { doubt, .. } = &mut self.mode {
            *doubt = Undetermined::RefusedAfterAmbiguousAttempt(code.into());
        }
    }

    /// In the log: it ends, and with it those before it that it proves (rule 9).
    fn acknowledge(&mut self, now: Moment, place: usize, answer: &Answer, ended: &mut Vec<Ended>) {
        let batch = &self.unsettled[place];
        let mut acknowledged = self.acknowledgement(place, now, answer);
        acknowledged.base_offset = acknowledged.base_offset.filter(|_| answer.error == ErrorCode::NONE);
        // An answer from the cache carries the original's timestamp on topics of either type.
        if batch.attempts_of_stamp == 1 && answer.error == ErrorCode::NONE {
            self.is_log_append_time = Some(answer.log_append_time >= 0);
        }
        let implied = self.implied_by(place, &acknowledged);
        self.look_for_loss(&acknowledged);
        let mut place = place;
        if let Some(first_offset) = implied {
            self.settle_implied(place, first_offset, ended);
            place = 0;
        }
        let batch = self.unsettled.remove(place).expect("the batch was found at this place");
        if place == 0 {
            self.take_base(&batch, &acknowledged);
        }
        let is_proof = self.squat_of(&batch, &acknowledged, answer.error);
        let log_append_time = known(answer.log_append_time).filter(|_| answer.error == ErrorCode::NONE);
        // Brokers measure a producer's age by its timestamps: a stale batch leaves a memory that may end any time.
        self.anchor = (self.config.is_idempotent && !batch.is_stale).then(|| Anchor::after(self.anchor, &acknowledged));
        ended.push(Ended::Stamped(batch, BatchEnd::Written { base_offset: acknowledged.base_offset, log_append_time }));
        self.go_on_after(place);
        self.end_squat(is_proof, ended);
    }

    /// Where an answer says that the batch was appended.
    fn acknowledgement(&self, place: usize, now: Moment, answer: &Answer) -> Acknowledged {
        let batch = &self.unsettled[place];
        Acknowledged {
            ordinal: batch.stamp.ordinal,
            // Brokers measure a producer's age by its timestamps, and those were at most a horizon old when the batch was first
            // sent: what they remember lasts another horizon from there on, however late the answer comes.
            at: batch.first_sent_at.unwrap_or(now),
            base_offset: known(answer.base_offset),
            records_before: self.unsettled.range(..place).map(|batch| u64::from(batch.count())).sum(),
            records: batch.count(),
            log_start_offset: known(answer.log_start_offset),
        }
    }

    /// Where a batch was appended may show that what was acknowledged before it is gone.
    fn look_for_loss(&mut self, appended: &Acknowledged) {
        if self.anchor.is_some_and(|anchor| anchor.is_refuted_by(appended)) {
            self.anchor = None;
        }
    }

    /// The head is settled: the window opens again. A batch behind an unsettled head says nothing more about that one if it
    /// did not settle it.
    fn go_on_after(&mut self, place: usize) {
        match self.mode {
            Mode::Recovering { .. } if place == 0 => self.mode = Mode::Streaming,
            Mode::Probing { .. } if place == 0 => self.mode = Mode::Streaming,
            Mode::Probing { doubt, .. } => self.renew(Renewal::of_producer_id(doubt)),
            _ => {}
        }
    }

    /// Whether an acknowledgement proves the batches before it, and where they start, if that can be told. Where an
    /// offset was not told, nothing would show that the broker has lost what was acknowledged before.
    fn implied_by(&self, place: usize, acknowledged: &Acknowledged) -> Option<Option<i64>> {
        let head = self.unsettled.front().filter(|_| place > 0 && self.config.is_idempotent)?;
        let has_offsets = |anchor: &Anchor| anchor.end_offset.is_some() && acknowledged.base_offset.is_some();
        let is_before = |anchor: &Anchor| anchor.ordinal < head.stamp.ordinal && has_offsets(anchor);
        let anchor = self.anchor.filter(|anchor| is_before(anchor) && !anchor.is_refuted_by(acknowledged));
        #[cfg(feature = "plants")]
        if self.config.plant == crate::plant::Plant::ImpliedWithoutAnchor && anchor.is_none() {
            return Some(None);
        }
        #[cfg(feature = "plants")]
        if self.config.plant == crate::plant::Plant::OffsetsGuessed {
            return anchor.map(|anchor| anchor.end_offset);
        }
        anchor.map(|anchor| anchor.offset_after(acknowledged))
    }

    fn settle_implied(&mut self, count: usize, first_offset: Option<i64>, ended: &mut Vec<Ended>) {
        let mut base_offset = first_offset;
        for batch in self.unsettled.drain(..count) {
            let records = i64::from(batch.count());
            ended.push(Ended::Stamped(batch, BatchEnd::Written { base_offset, log_append_time: None }));
            base_offset = base_offset.and_then(|base| base.checked_add(records));
        }
    }

    /// The attempt was not the last one. `is_word` if the answer says that the broker does not take it here and now because
    /// of what is before it.
    fn fail_attempt(
        &mut self,
        now: Moment,
        place: usize,
        is_ambiguous: bool,
        is_word: bool,
        chance: &mut Chance,
        ended: &mut Vec<Ended>,
    ) {
        let batch = &mut self.unsettled[place];
        batch.flight = Flight::Waiting;
        batch.is_ambiguous |= is_ambiguous;
        let ordinal = batch.stamp.ordinal;
        if batch.is_stale && batch.is_doubtful() && !self.may_resend_stale() {
            return self.lose_proof(place, Undetermined::StaleTimestamps);
        }
        match &mut self.mode {
            Mode::Renewing(_) => {}
            // The head has its time; this one only waits for it.
            Mode::Recovering { .. } if is_word => {}
            Mode::Probing { after, .. } if is_word => {
                *after = (*after).max(ordinal);
                self.conclude_probing();
            }
            Mode::Streaming | Mode::Recovering { .. } | Mode::Probing { .. } => {
                let attempts = self.unsettled[0].attempts;
                self.mode = Mode::Recovering { not_before: now + self.config.retry.after(attempts, chance) };
            }
        }
        self.finish(ended);
    }

    /// Rule 13: brokers keep only the last batch of each producer over a restart, so one that is there may be answered with
    /// a gap. One behind it that is there, or is taken, proves all before it.
    fn probe(&mut self, place: usize, doubt: Undetermined) {
        if matches!(self.mode, Mode::Renewing(_)) {
            return;
        }
        let asked = self.unsettled[place].stamp.ordinal;
        let (after, doubt) = match self.mode {
            Mode::Probing { after, doubt } => (after.max(asked), doubt),
            _ => (asked, doubt),
        };
        self.mode = Mode::Probing { after, doubt };
        self.conclude_probing();
    }

    /// The next one to be asked alone. A piece that was never sent is none while more than the window is unsettled (rule 5).
    pub(super) fn probe_after(&self, after: u64) -> Option<usize> {
        let is_full = self.unsettled.len() as u64 > self.window();
        let may_ask = |batch: &StampedBatch| !is_full || batch.attempts_of_stamp > 0;
        self.unsettled.iter().position(|batch| batch.stamp.ordinal > after && may_ask(batch))
    }

    fn conclude_probing(&mut self) {
        if let Mode::Probing { after, doubt } = self.mode
            && self.probe_after(after).is_none()
        {
            self.renew(Renewal::of_producer_id(doubt));
        }
    }

    fn operate(&mut self, now: Moment, place: usize, surgery: Surgery) {
        self.unsettled[place].surgery = surgery;
        // What it needs is done at once, so there is nothing to wait for.
        if !matches!(self.mode, Mode::Renewing(_)) {
            self.mode = Mode::Recovering { not_before: now };
        }
    }

    /// The named records end; the others, and what follows, need other sequences (rule 15).
    fn drop_records(&mut self, place: usize, answer: &Answer, ended: &mut Vec<Ended>) {
        let batch = &mut self.unsettled[place];
        let why = NotWritten::Refused(answer.error.into());
        let refused = batch.completion.refuse(batch.records.clone(), &answer.bad_records, why);
        ended.push(Ended::Records(std::sync::Arc::clone(&batch.completion), refused));
        batch.surgery = Surgery::Drop(answer.bad_records.clone());
        self.renew_behind(place, Undetermined::StateLost);
    }

    fn refuse(&mut self, place: usize, code: ErrorCode, ended: &mut Vec<Ended>) {
        self.renew_behind(place, Undetermined::RefusedAfterAmbiguousAttempt(code.into()));
        let batch = self.unsettled.remove(place).expect("the batch was found at this place");
        ended.push(Ended::Stamped(batch, BatchEnd::NotWritten(NotWritten::Refused(code.into()))));
        self.go_on_without_head();
    }

    /// A gap that the partition itself has made is no news: it is on its way to new stamps already.
    fn renew_lost_stamps(&mut self, place: usize) {
        let next = match self.unsettled[place].stamp.sequence {
            // Every epoch starts there: a broker that refuses even this one is asked under another producer id, in due time.
            Sequence::FIRST => Renewal::of_producer_id(Undetermined::StateLost),
            _ => Renewal::of_epoch(Undetermined::StateLost),
        };
        if !matches!(self.mode, Mode::Renewing(_)) {
            self.renew(next);
        }
    }

    /// Its sequence will never be appended, so nothing behind it can be either, as long as the broker knows what is before
    /// it: what was sent behind it is as certain as it is itself.
    fn renew_behind(&mut self, place: usize, doubt: Undetermined) {
        let has_proof = place == 0 && self.is_anchored(&self.unsettled[place]);
        self.renew(Renewal { has_proof, ..Renewal::of_epoch(doubt) });
    }

    /// Refused for good after an attempt that may have been appended. One behind it can still prove that it was.
    fn doubt(&mut self, place: usize, code: ErrorCode, ended: &mut Vec<Ended>) {
        if matches!(self.mode, Mode::Renewing(Renewal { has_proof: true, .. })) {
            // It can never be appended under its old stamp, whatever became of its attempts.
            return;
        }
        let doubt = Undetermined::RefusedAfterAmbiguousAttempt(code.into());
        let ordinal = self.unsettled[place].stamp.ordinal;
        self.unsettled[place].is_ambiguous = true;
        let can_be_proven = self.is_anchored(&self.unsettled[place]) && self.probe_after(ordinal).is_some();
        match self.config.is_idempotent {
            true if can_be_proven => self.probe(place, doubt),
            true => self.renew(Renewal::of_producer_id(doubt)),
            false => {
                let batch = self.unsettled.remove(place).expect("the batch was found at this place");
                ended.push(Ended::Stamped(batch, BatchEnd::Undetermined(doubt)));
                self.go_on_without_head();
            }
        }
    }

    fn lose_proof(&mut self, place: usize, doubt: Undetermined) {
        self.unsettled[place].is_ambiguous = true;
        self.renew(Renewal::of_producer_id(doubt));
    }

    /// Without idempotence nothing is renewed, and the next one is not held up by a head that has ended.
    fn go_on_without_head(&mut self) {
        if matches!(self.mode, Mode::Recovering { .. }) {
            self.mode = Mode::Streaming;
        }
    }

    /// The connection is gone; attempts of which not every byte was handed to the kernel are not executed (rule 12).
    pub(in crate::producer) fn handle_attempt_lost(
        &mut self,
        now: Moment,
        key: AttemptKey,
        was_all_written: bool,
        chance: &mut Chance,
        ended: &mut Vec<Ended>,
    ) -> Effects {
        #[cfg(feature = "plants")]
        let was_all_written = was_all_written && self.config.plant != crate::plant::Plant::CutMeansUnsent;
        match self.place_of(key) {
            Some(place) => self.fail_attempt(now, place, was_all_written, false, chance, ended),
            None => self.hear(now, key, &Word::of_loss(was_all_written), ended),
        }
        self.finish_at(now, ended);
        Effects { refresh_metadata: true, ..Effects::default() }
    }

    /// Every byte of a request with acks=0 was handed over: no word will come.
    pub(in crate::producer) fn handle_handed_over(&mut self, key: AttemptKey, ended: &mut Vec<Ended>) {
        if let Some(place) = self.place_of(key) {
            let batch = self.unsettled.remove(place).expect("the batch was found at this place");
            ended.push(Ended::Stamped(batch, BatchEnd::Undetermined(Undetermined::NoAcknowledgementAsked)));
            self.go_on_without_head();
        }
    }

    /// Whether the partition can leave its connection with attempts unanswered. One that must not be sent again (rule 17), or
    /// of which the end is at hand, waits for its answer; the request's timeout bounds that.
    pub(in crate::producer) fn may_leave_answers(&self) -> bool {
        let is_stale = |batch: &StampedBatch| batch.is_stale && batch.flight == Flight::OnWire;
        let may_leave = match self.mode {
            // A fence at the new leader keeps out what the old one holds.
            Mode::Renewing(renewal) => renewal.doubt.is_open_to_proof() && !renewal.has_proof && self.base.is_some(),
            _ => true,
        };
        may_leave && (self.may_resend_stale() || !self.unsettled.iter().any(is_stale))
    }

    /// A higher leader epoch is known (rule 7): the partition leaves its connection at once. What is on the wire may be
    /// appended; the head goes to the new leader without waiting.
    pub(in crate::producer) fn leave_leader(&mut self, now: Moment, ended: &mut Vec<Ended>) {
        let on_wire = self.unsettled.iter_mut().filter(|batch| batch.flight == Flight::OnWire);
        on_wire.for_each(StampedBatch::leave_behind);
        match self.mode {
            Mode::Renewing(_) => self.finish_at(now, ended),
            _ if !self.unsettled.is_empty() => self.mode = Mode::Recovering { not_before: now },
            _ => {}
        }
    }

    /// What went unanswered did so for no fault of the broker's.
    pub(in crate::producer) fn retry_at_once(&mut self, now: Moment) {
        if let Mode::Recovering { not_before } = &mut self.mode {
            *not_before = now;
        }
    }

    pub(super) fn may_resend_stale(&self) -> bool {
        #[cfg(feature = "plants")]
        if self.config.plant == crate::plant::Plant::HorizonIgnored {
            return true;
        }
        self.config.resends_stale || self.is_log_append_time == Some(true) || !self.config.is_idempotent
    }

    /// As [`Self::finish`]; what is given up by it waits from now on.
    pub(super) fn finish_at(&mut self, now: Moment, ended: &mut Vec<Ended>) {
        self.finish(ended);
        self.doubts.begin_to_wait(now);
    }

    /// What the last step began is carried out as far as it can be.
    pub(super) fn finish(&mut self, ended: &mut Vec<Ended>) {
        self.finish_renewal(ended);
        if self.unsettled.is_empty() && !matches!(self.mode, Mode::Renewing(_)) {
            self.mode = Mode::Streaming;
            self.leave_last_epoch();
        }
    }

    pub(super) fn renew(&mut self, renewal: Renewal) {
        if !self.config.is_idempotent {
            return;
        }
        let renewal = match self.mode {
            Mode::Renewing(begun) => begun.and(renewal),
            _ => renewal,
        };
        self.mode = Mode::Renewing(renewal);
    }
}

fn known(number: i64) -> Option<i64> {
    (number >= 0).then_some(number)
}
