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

mod callers;
mod control_task;
pub(crate) mod dial;
mod drain;
mod lane_task;
mod ready;
mod socket;
mod timer;
mod watch_task;

use std::sync::Arc;
use std::time::Duration;

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
    /// How long one address may take to open a connection.
    pub(crate) connect_timeout: Duration,
    /// Set once: every task ends what it holds, for this reason, and stops.
    pub(crate) stop: watch::Receiver<Option<NotWritten>>,
}

/// Turns of tasks between two looks at the clock and the sockets. With tokio's 61 a busy lane stands between a deadline
/// and its caller; a look costs about a microsecond, a turn of a busy lane up to a thousand.
const TURNS_PER_LOOK: u32 = 1;

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
        let connect_timeout = settings.connect_timeout;
        let surroundings = Surroundings { shared, reporter, connect_timeout, stop: stopped };
        Self { surroundings, settings, commands, stop }
    }

    /// Runs until the producer is closed or its last handle is gone.
    pub(crate) fn run(self) {
        let _guard = Guard { surroundings: self.surroundings.clone() };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .event_interval(TURNS_PER_LOOK)
            .build();
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

#[cfg(all(test, not(milena_model)))]
#[path = "../../tests/tight_lipped/mod.rs"]
mod tight_lipped;

#[cfg(all(test, not(milena_model)))]
mod tests {
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use super::tight_lipped::TightLipped;
    use crate::shared::Command;
    use crate::{
        Because, NotWritten, Outcome, Producer, ProducerConfig, Record, SendRefused, Settlement, Undetermined,
    };

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
    }

    /// The driver panics while one record is sent and not answered, one waits in its lane and one still fills a batch.
    #[test]
    fn a_lost_driver_settles_every_record() {
        let broker = TightLipped::start();
        let producer = Producer::new(ProducerConfig::new(&broker.address)).expect("is built");
        let orders = producer.topic("orders").expect("a name");
        run(async {
            orders.ready(Duration::from_secs(10)).await.expect("is there");
            broker.keeps_back.store(true, Ordering::SeqCst);
            let sent = orders.try_send(Record::value("sent")).expect("accepted");
            while broker.records() == 0 {
                std::thread::yield_now();
            }
            let sealed = orders.try_send(Record::value("sealed")).expect("accepted");
            producer.flush(Duration::ZERO).await;
            let filling = orders.try_send(Record::value("filling")).expect("accepted");
            producer.handle.shared().commands.send(Command::Panic).expect("the driver runs");
            assert!(matches!(sealed.await, Outcome::NotWritten(Because { reason: NotWritten::DriverLost, .. })));
            assert!(matches!(filling.await, Outcome::NotWritten(Because { reason: NotWritten::DriverLost, .. })));
            let Outcome::Unknown(fate) = sent.await else { panic!("it was sent and not answered") };
            let Settlement::Undetermined(why) = fate.await else { panic!("nobody answered") };
            assert_eq!(why.reason, Undetermined::DriverLost);
            let refused = orders.try_send(Record::value("late")).expect_err("nobody delivers it");
            assert_eq!(refused.reason(), &SendRefused::DriverLost);
        });
    }

    /// The driver waited for the word of a lane that had spoken its last, and every call to it waited for ever.
    #[test]
    fn a_lost_lane_ends_the_producer_and_nobody_waits_for_it() {
        let broker = TightLipped::start();
        let producer = Producer::new(ProducerConfig::new(&broker.address)).expect("is built");
        let orders = producer.topic("orders").expect("a name");
        run(async {
            orders.ready(Duration::from_secs(10)).await.expect("is there");
            broker.keeps_back.store(true, Ordering::SeqCst);
            let sent = orders.try_send(Record::value("sent")).expect("accepted");
            while broker.records() == 0 {
                std::thread::yield_now();
            }
            producer.handle.shared().commands.send(Command::PanicInLanes).expect("the driver runs");
            let Outcome::Unknown(fate) = sent.await else { panic!("it was sent and not answered") };
            let Settlement::Undetermined(why) = fate.await else { panic!("nobody answered") };
            assert_eq!(why.reason, Undetermined::DriverLost);
            let closed = tokio::time::timeout(Duration::from_secs(10), producer.close(Duration::from_secs(1)));
            closed.await.expect("a producer that has lost a lane can be closed");
        });
    }
}
