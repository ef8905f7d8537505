//! Batches are noted before they are handed over, and stay here while they cannot be (rule 26).

use super::*;
use crate::ids::PartitionIndex;
use crate::producer::scan::Witness;

#[test]
fn what_a_request_carries_is_noted_before_it_is_there_and_so_is_what_goes_again() {
    let mut rig = Rig::anchored(2);
    rig.notebook.noted.clear();
    rig.append(0, b"a");
    rig.append(1, b"b");
    rig.wait(FRONT.linger);
    assert_eq!(rig.asked.len(), 1);
    let mut noted = rig.notebook.noted[0].clone();
    noted.sort_by_key(|sending| sending.partition);
    assert_eq!(rig.notebook.noted.len(), 1, "once for all partitions of a request");
    for (sending, index) in noted.iter().zip(0..) {
        assert_eq!((&sending.topic, sending.partition), (&topic(TopicIndex(0)), PartitionIndex(index)));
        let stamp = sending.mark.stamp;
        assert_eq!((stamp.identity, stamp.sequence.value(), sending.mark.count), (Some(IDENTITY), 1, 1));
        let base = sending.base.expect("one was acknowledged");
        assert!(matches!(base.witness, Witness::Own(own) if own.stamp.sequence.value() == 0), "{base:?}");
        assert_eq!((base.offset, sending.is_stale, sending.opened_at), (100, false, 1));
    }
    let first = noted[0].batch;
    rig.cut();
    rig.wait(RETRY_MAX);
    rig.connect();
    rig.wait(RETRY_MAX);
    let again = rig.notebook.noted.last().expect("it went again");
    assert!(again.iter().any(|sending| sending.batch == first && sending.mark.stamp.sequence.value() == 1));
}

/// The driver learns that the journal is broken by trying: nothing of that request is handed over, and it goes once the journal
/// can be written.
#[test]
fn a_request_that_cannot_be_noted_is_not_sent_and_leaves_no_doubt() {
    let mut rig = Rig::anchored(1);
    rig.notebook.is_broken = true;
    rig.append(0, b"a");
    rig.wait(FRONT.linger);
    rig.wait(RETRY_MAX);
    assert!(rig.asked.is_empty() && rig.faults.is_empty(), "its connection has nothing to do with it");
    assert_eq!(rig.last_error(0), Some(AttemptError::JournalFailed));
    (rig.notebook.is_broken, rig.notebook.is_known_broken) = (false, false);
    rig.wait(RETRY_MAX);
    assert_eq!(sequences(&rig), [1]);
    rig.acknowledge();
    assert_eq!(rig.ends, [(PartitionId(0), WRITTEN)]);
}

#[test]
fn while_it_is_known_that_nothing_can_be_noted_nothing_is_claimed() {
    let mut rig = Rig::anchored(1);
    rig.notebook.is_known_broken = true;
    let delivery = rig.append_record(0, value(b"a"));
    rig.wait(FRONT.linger);
    assert_eq!((rig.asked.len(), rig.last_error(0)), (0, Some(AttemptError::JournalFailed)));
    rig.wait(FRONT.deadline + Duration::from_secs(1));
    let Some(Outcome::NotWritten(why)) = delivery.try_outcome() else { panic!("it was never claimed") };
    assert_eq!((why.cause.attempts, why.cause.last_error), (0, Some(AttemptError::JournalFailed)));
    rig.ends.clear();
    rig.append(0, b"b");
    rig.wait(FRONT.linger);
    assert!(rig.asked.is_empty());
    rig.notebook.is_known_broken = false;
    rig.turn();
    assert_eq!(sequences(&rig), [1], "whoever was held back is looked at again");
}

#[test]
fn what_was_noted_before_goes_again_while_nothing_new_can_be() {
    let mut rig = Rig::anchored(1);
    rig.append(0, b"a");
    rig.wait(FRONT.linger);
    assert_eq!(sequences(&rig), [1]);
    rig.notebook.is_known_broken = true;
    rig.cut();
    rig.asked.clear();
    rig.wait(RETRY_MAX);
    rig.connect();
    rig.wait(RETRY_MAX);
    assert_eq!(sequences(&rig), [1]);
}
