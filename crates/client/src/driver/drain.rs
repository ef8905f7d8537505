//! Ending what a part of the driver holds when it stops.

use std::sync::Arc;

use milena_core::producer::back::PartitionBack;
use milena_core::producer::outcome::{NotWritten, Undetermined};

use crate::report::Reporter;
use crate::shared::Shared;

/// What a batch that was sent ends with when an unsent one ends so.
pub(super) fn doubt_for(unclaimed: NotWritten) -> Undetermined {
    match unclaimed {
        NotWritten::DriverLost => Undetermined::DriverLost,
        _ => Undetermined::ClosedBeforeProof,
    }
}

/// Ends a partition that is on its way between two tasks.
pub(super) fn end_back(mut back: PartitionBack, unclaimed: NotWritten, shared: &Arc<Shared>, reporter: &Reporter) {
    let slot = shared.slot(back.id());
    let mut ended = Vec::new();
    back.end_all(unclaimed, doubt_for(unclaimed), &mut ended);
    ended.into_iter().for_each(|ended| shared.conclude(&slot, ended, reporter));
}
