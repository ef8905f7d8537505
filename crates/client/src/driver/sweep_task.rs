//! Ends batches that nobody wants any more and gives their memory back, and that of those that have ended: work that follows a release and must not stand
//! before the next one.

use milena_core::producer::back::Ended;
use milena_core::producer::completion::BatchEnd;
use milena_core::producer::outcome::NotWritten;

use super::Surroundings;
use super::deadlines::{Leaving, Leavings};

/// Until the thread of the deadlines is gone. Those that a lane has taken, it ends itself.
pub(super) async fn run(surroundings: Surroundings, mut leavings: Leavings) {
    while let Some(leaving) = leavings.recv().await {
        let slot = match leaving {
            Leaving::Dead(slot) => slot,
            Leaving::Ended(batches) => {
                drop(batches);
                continue;
            }
        };
        for batch in slot.with_front(|front| front.take_dead()) {
            let ended = Ended::Sealed(batch, BatchEnd::NotWritten(NotWritten::DeadlinePassed));
            surroundings.shared.conclude(&slot, ended, &surroundings.reporter);
        }
        slot.collect_now();
    }
}
