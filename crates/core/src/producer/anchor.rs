//! What the last acknowledgement proves about the batches around it.
//!
//! Always holds: it belongs to one topic id, producer id and epoch; it never goes back to an older batch; a sign of lost
//! broker state takes it away, until something is acknowledged anew.

use crate::time::Moment;

/// The last acknowledged batch of an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Anchor {
    /// Its place among the stamps.
    pub(super) ordinal: u64,
    /// When it was acknowledged.
    pub(super) at: Moment,
    /// The offset after its last record, if the broker told.
    pub(super) end_offset: Option<i64>,
}

/// An acknowledgement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acknowledged {
    pub(super) ordinal: u64,
    pub(super) at: Moment,
    pub(super) base_offset: Option<i64>,
    /// Records of the identity that stand before it if it is where it should be, and behind every anchor.
    pub(super) records_before: u64,
    pub(super) records: u32,
    pub(super) log_start_offset: Option<i64>,
}

impl Anchor {
    /// The anchor after an acknowledgement.
    pub(super) fn after(old: Option<Self>, acknowledged: &Acknowledged) -> Self {
        let end_offset = acknowledged.base_offset.and_then(|base| base.checked_add(i64::from(acknowledged.records)));
        let new = Self { ordinal: acknowledged.ordinal, at: acknowledged.at, end_offset };
        match old {
            Some(old) if old.ordinal > new.ordinal => Self { at: new.at, ..old },
            _ => new,
        }
    }

    /// Whether an acknowledgement of a later batch shows that the broker lost what it had acknowledged: between this one and
    /// that one there is no room for what was sent between them, or the log starts behind it.
    pub(super) fn is_refuted_by(&self, acknowledged: &Acknowledged) -> bool {
        let Some(end) = self.end_offset.filter(|_| acknowledged.ordinal > self.ordinal) else { return false };
        let room = acknowledged.base_offset.and_then(|base| base.checked_sub(end));
        let has_room = |room| u64::try_from(room).is_ok_and(|room| room >= acknowledged.records_before);
        let stands_before = acknowledged.base_offset.is_some() && !room.is_some_and(has_room);
        stands_before || acknowledged.log_start_offset.is_some_and(|start| start >= end)
    }

    /// Where the batches between this one and the acknowledged one stand, if it can only be so: the distance is that of
    /// their records (rule 9).
    pub(super) fn offset_after(&self, acknowledged: &Acknowledged) -> Option<i64> {
        let (end, base) = (self.end_offset?, acknowledged.base_offset?);
        (i64::try_from(acknowledged.records_before) == Ok(base.checked_sub(end)?)).then_some(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANCHOR: Anchor = Anchor { ordinal: 4, at: Moment::START, end_offset: Some(10) };

    fn acknowledged(ordinal: u64, base_offset: i64) -> Acknowledged {
        Acknowledged {
            ordinal,
            at: Moment::from_micros(5),
            base_offset: Some(base_offset),
            records_before: 0,
            records: 2,
            log_start_offset: Some(0),
        }
    }

    #[test]
    fn it_moves_on_to_later_batches_and_never_back() {
        let later = Anchor::after(Some(ANCHOR), &acknowledged(5, 12));
        assert_eq!((later.ordinal, later.end_offset), (5, Some(14)));
        let earlier = Anchor::after(Some(ANCHOR), &acknowledged(3, 2));
        assert_eq!((earlier.ordinal, earlier.end_offset, earlier.at), (4, Some(10), Moment::from_micros(5)));
    }

    #[test]
    fn a_later_batch_before_its_end_or_a_log_that_starts_behind_it_refutes_it() {
        assert!(!ANCHOR.is_refuted_by(&acknowledged(5, 10)));
        assert!(ANCHOR.is_refuted_by(&acknowledged(5, 9)));
        let third = |base_offset| Acknowledged { records_before: 4, ..acknowledged(7, base_offset) };
        assert!(ANCHOR.is_refuted_by(&third(13)), "there is no room for the two between them");
        assert!(!ANCHOR.is_refuted_by(&third(14)));
        assert!(!ANCHOR.is_refuted_by(&acknowledged(3, 4)), "an older batch stands before it");
        assert!(ANCHOR.is_refuted_by(&Acknowledged { log_start_offset: Some(10), ..acknowledged(5, 12) }));
        let untold = Anchor { end_offset: None, ..ANCHOR };
        assert!(!untold.is_refuted_by(&acknowledged(5, 0)));
    }

    #[test]
    fn offsets_between_follow_where_the_distance_is_that_of_the_records() {
        let after_three = |base_offset| Acknowledged { records_before: 3, ..acknowledged(6, base_offset) };
        assert_eq!(ANCHOR.offset_after(&after_three(13)), Some(10));
        assert_eq!(ANCHOR.offset_after(&after_three(14)), None, "somebody else wrote too");
        assert_eq!(Anchor { end_offset: None, ..ANCHOR }.offset_after(&after_three(13)), None);
    }
}
