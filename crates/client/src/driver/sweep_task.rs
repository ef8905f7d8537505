//! Ends batches that nobody wants any more and gives their memory back: work that follows a release and must not stand
//! before the next one.

use milena_core::producer::back::Ended;
use milena_core::producer::completion::BatchEnd;
use milena_core::producer::outcome::NotWritten;

use super::Surroundings;
use super::deadlines::DeadPartitions;

/// Until the thread of the deadlines is gone. Those that a lane has taken, it ends itself.
pub(super) async fn run(surroundings: Surroundings, mut dead: DeadPartitions) {
    while let Some(slot) = dead.recv().await {
        for batch in slot.with_front(|front| front.take_dead()) {
            let ended = Ended::Sealed(batch, BatchEnd::NotWritten(NotWritten::DeadlinePassed));
            surroundings.shared.conclude(&slot, ended, &surroundings.reporter);
        }
        slot.collect_now();
    }
}
