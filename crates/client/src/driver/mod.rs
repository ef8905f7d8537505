//! The driver: one thread with a current-thread runtime, one task per connection, one for the clock.
//!
//! ```text
//!  callers ──gates──▶ lane task ──socket──▶ broker        watch task: deadlines of records and waiting callers
//!     │                  │ ▲
//!  commands           events, partitions
//!     ▼                  ▼ │
//!  control task ──socket──▶ any broker
//! ```
//!
//! Always holds: if any task ends for whatever reason, every batch is settled: its guard ends what it holds, and the
//! others are told to stop.
//!
//! Left out: every decision; those are `milena-core`'s.

mod control_task;
mod drain;
mod lane_task;
mod socket;
mod timer;
mod watch_task;

use std::sync::Arc;

use milena_core::producer::outcome::NotWritten;
use tokio::sync::{mpsc, watch};

use crate::config::Settings;
use crate::report::Reporter;
use crate::shared::{Command, Shared};

/// What every task needs.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    pub(crate) shared: Arc<Shared>,
    pub(crate) reporter: Reporter,
    /// Set once: every task ends what it holds, for this reason, and stops.
    pub(crate) stop: watch::Receiver<Option<NotWritten>>,
}

pub(crate) struct Driver {
    surroundings: Surroundings,
    settings: Settings,
    commands: mpsc::UnboundedReceiver<Command>,
    stop: watch::Sender<Option<NotWritten>>,
}

impl Driver {
    pub(crate) fn new(
        shared: Arc<Shared>,
        settings: Settings,
        reporter: Reporter,
        commands: mpsc::UnboundedReceiver<Command>,
    ) -> Self {
        let (stop, stopped) = watch::channel(None);
        Self { surroundings: Surroundings { shared, reporter, stop: stopped }, settings, commands, stop }
    }

    /// Runs until the producer is closed or its last handle is gone.
    pub(crate) fn run(self) {
        let _guard = Guard { surroundings: self.surroundings.clone() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
        // Without a runtime the guard ends everything.
        let Ok(runtime) = runtime else { return };
        runtime.block_on(control_task::run(self.surroundings, self.settings, self.commands, self.stop));
    }
}

/// Ends what waits in the fronts when the driver ends, for whatever reason. What the lanes hold, their own guards end.
struct Guard {
    surroundings: Surroundings,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Surroundings { shared, reporter, .. } = &self.surroundings;
        // An orderly end has set its own reason before.
        shared.stop_accepting(NotWritten::DriverLost);
        shared.end_fronts(shared.closed().unwrap_or(NotWritten::DriverLost), reporter);
    }
}
