//! The driver: a task per connection, on one thread with a current-thread runtime or on a runtime of the caller's; beside
//! it a thread for deadlines.
//!
//! ```text
//!  callers ──gates──▶ lane task ──socket──▶ broker        thread of the deadlines ──▶ callers
//!     │                  │ ▲                                 │ dead batches, ended ones
//!     │                  │ │                              sweep task
//!  commands           events, partitions                   threads that compress, for every lane
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
mod deadlines;
pub(crate) mod dial;
mod drain;
mod lane_task;
pub(crate) mod packers;
mod runtime;
mod socket;
mod sweep_task;
mod timer;

use std::sync::Arc;
use std::time::Duration;

use milena_core::producer::outcome::NotWritten;
use tokio::sync::{mpsc, watch};

use self::deadlines::{Deadlines, DeadlinesHandle, Leavings};
use self::packers::Packers;
use crate::config::Settings;
use crate::report::Reporter;
use crate::shared::{Command, Shared};
pub(crate) use runtime::check_runtime;

/// What every task needs.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    pub(crate) shared: Arc<Shared>,
    pub(crate) reporter: Reporter,
    pub(crate) packers: Packers,
    /// How long one address may take to open a connection.
    pub(crate) connect_timeout: Duration,
    /// Set once: every task ends what it holds, for this reason, and stops.
    pub(crate) stop: watch::Receiver<Option<NotWritten>>,
}

impl Surroundings {
    /// Why everything ends, when it does.
    fn last_reason(&self) -> NotWritten {
        (*self.stop.borrow()).unwrap_or(NotWritten::DriverLost)
    }
}

/// Turns of tasks between two looks at the clock and the sockets. With tokio's 61 a busy lane holds up the others; a look
/// costs about a microsecond, a turn of a busy lane up to a thousand.
const TURNS_PER_LOOK: u32 = 1;

pub(crate) struct Driver {
    surroundings: Surroundings,
    settings: Settings,
    commands: mpsc::UnboundedReceiver<Command>,
    stop: watch::Sender<Option<NotWritten>>,
    deadlines: DeadlinesHandle,
    leavings: Leavings,
}

impl Driver {
    /// The driver, and the work for the thread of the deadlines.
    pub(crate) fn new(
        shared: Arc<Shared>,
        settings: Settings,
        reporter: Reporter,
        packers: Packers,
        commands: mpsc::UnboundedReceiver<Command>,
    ) -> (Self, Deadlines) {
        let (stop, stopped) = watch::channel(None);
        let connect_timeout = settings.connect_timeout;
        let (work, deadlines, leavings) = Deadlines::new(Arc::clone(&shared), reporter.clone());
        let surroundings = Surroundings { shared, reporter, packers, connect_timeout, stop: stopped };
        (Self { surroundings, settings, commands, stop, deadlines, leavings }, work)
    }

    /// Runs until the producer is closed or its last handle is gone. Whenever it is dropped, everything ends.
    pub(crate) fn run(self) -> impl Future<Output = ()> + Send + 'static {
        // Made here, because a runtime that was shut down drops its tasks unpolled.
        let guard = Guard { surroundings: self.surroundings.clone() };
        async move {
            let _guard = guard;
            control_task::run(self).await;
        }
    }

    /// As [`Self::run`], on this thread.
    pub(crate) fn run_here(self) {
        let work = self.run();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .event_interval(TURNS_PER_LOOK)
            .build();
        // Without a runtime the guard ends everything.
        let Ok(runtime) = runtime else { return };
        runtime.block_on(work);
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
#[allow(dead_code, reason = "shared with the tests of the public API")]
#[path = "../../tests/punctual/mod.rs"]
mod punctual;

#[cfg(all(test, not(milena_model)))]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::Ordering;
    use std::sync::mpsc;
    use std::task::{Context, Waker};
    use std::time::{Duration, Instant};

    use super::punctual::{self, Watchdog};
    use super::tight_lipped::TightLipped;
    use crate::shared::{Command, Shared};
    use crate::slot::Watch;
    use crate::{
        NotWritten, Outcome, Producer, ProducerConfig, ReadyError, Record, SendRefused, Settlement, Undetermined,
    };

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
    }

    /// One batch is sent and not answered, one waits in its lane, one fills, and a caller waits for a topic; then something
    /// panics.
    fn everybody_is_told_when(panics: impl FnOnce(&Shared)) {
        let broker = TightLipped::start();
        let (sender, reports) = mpsc::channel();
        let config = ProducerConfig::new(&broker.address).on_delivery(move |report| {
            let is_unknown = matches!(report.outcome(), Outcome::Unknown(_));
            sender.send((report.tag(), is_unknown)).expect("the test listens");
        });
        let producer = Producer::new(config).expect("is built");
        let orders = producer.topic("orders").expect("a name");
        run(async {
            orders.ready(Duration::from_secs(10)).await.expect("is there");
            let accept = |tag| {
                orders.post(Record::value("posted").tag(tag)).expect("accepted");
                orders.try_send(Record::value("sent")).expect("accepted")
            };
            broker.keeps_back.store(true, Ordering::SeqCst);
            let sent = accept(1);
            while broker.records() == 0 {
                std::thread::yield_now();
            }
            let sealed = accept(2);
            producer.flush(Duration::ZERO).await;
            let filling = accept(3);
            let unknown = producer.topic("unknown").expect("a name");
            let mut waiting = pin!(unknown.send(Record::value("nowhere")));
            assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            panics(producer.handle.shared());
            assert_eq!(waiting.await.expect_err("nobody takes it").reason(), &SendRefused::DriverLost);
            for delivery in [sealed, filling] {
                let Outcome::NotWritten(why) = delivery.await else { panic!("it was not sent") };
                assert_eq!((why.reason, why.cause.attempts), (NotWritten::DriverLost, 0));
            }
            let Outcome::Unknown(fate) = sent.await else { panic!("it was sent and not answered") };
            let Settlement::Undetermined(why) = fate.await else { panic!("nobody answered") };
            assert_eq!((why.reason, why.cause.attempts), (Undetermined::DriverLost, 1));
            let refused = orders.try_send(Record::value("late")).expect_err("nobody delivers it");
            assert_eq!(refused.reason(), &SendRefused::DriverLost);
            let closed = tokio::time::timeout(Duration::from_secs(10), producer.close(Duration::from_secs(1)));
            closed.await.expect("a producer that is lost can be closed");
        });
        drop((producer, orders));
        let mut reported: Vec<_> = reports.into_iter().collect();
        reported.sort_unstable();
        assert_eq!(reported, [(1, true), (2, false), (3, false)], "each once");
    }

    #[test]
    fn a_lost_driver_leaves_no_record_without_an_outcome() {
        everybody_is_told_when(|shared| shared.commands.send(Command::Panic).expect("the driver runs"));
    }

    /// The driver waited for the word of a lane that had spoken its last, and every call to it waited for ever.
    #[test]
    fn a_lost_lane_leaves_no_record_without_an_outcome() {
        everybody_is_told_when(|shared| shared.commands.send(Command::PanicInLanes).expect("the driver runs"));
    }

    #[test]
    fn a_lost_thread_of_deadlines_leaves_no_record_without_an_outcome() {
        everybody_is_told_when(|shared| shared.watch.push_now(Watch::Panic));
    }

    /// The driver answered those who wait until the producer is ready, and was late when it was busy.
    #[test]
    fn a_busy_driver_stands_between_no_one_who_asks_for_readiness_and_its_answer() {
        let watchdog = Watchdog::start();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let producer = Producer::new(ProducerConfig::new(&address)).expect("is built");
        let orders = producer.topic("orders").expect("a name");
        run(async {
            // Until its connection is open, which nobody will answer.
            let accepted = listener.accept().expect("it dials");
            let (unblock, until) = mpsc::channel();
            producer.handle.shared().commands.send(Command::Block(until)).expect("the driver runs");
            for within in [0, 7, 50, 200].map(Duration::from_millis) {
                for topic in [false, true] {
                    let called = Instant::now();
                    let (answer, begun) = match topic {
                        false => punctual::begun(producer.ready(within)).await,
                        true => punctual::begun(async { orders.ready(within).await.map(drop) }).await,
                    };
                    watchdog.assert_on_time(begun + within, Instant::now());
                    assert!(called.elapsed() >= within, "told early");
                    let Err(ReadyError::Unreachable { faults, .. }) = answer else { panic!("{answer:?}") };
                    assert_eq!(faults[0].address, address);
                }
            }
            drop((unblock, accepted));
        });
    }

    /// A driver that ends many large batches is busy for tens of milliseconds; this one is busy for ever.
    #[test]
    fn a_busy_driver_stands_between_no_deadline_and_its_caller() {
        let watchdog = Watchdog::start();
        let broker = TightLipped::start();
        let deadline = Duration::from_millis(200);
        let (sender, reports) = mpsc::channel();
        let config = ProducerConfig::new(&broker.address)
            .deadline(deadline)
            .linger(deadline / 2)
            .on_delivery(move |report| sender.send((report.tag(), Instant::now())).expect("the test listens"));
        let producer = Producer::new(config).expect("is built");
        let orders = producer.topic("orders").expect("a name");
        run(async {
            orders.ready(Duration::from_secs(10)).await.expect("is there");
            let (unblock, until) = mpsc::channel();
            producer.handle.shared().commands.send(Command::Block(until)).expect("the driver runs");
            let unknown = producer.topic("unknown").expect("a name");
            let delivery = orders.try_send(Record::value("held")).expect("accepted");
            orders.post(Record::value("posted").tag(7)).expect("accepted");
            let (answer, begun) = punctual::begun(unknown.send(Record::value("waiting"))).await;
            watchdog.assert_on_time(begun + deadline, Instant::now());
            let waiting = answer.expect_err("nobody tells its partitions");
            assert_eq!(waiting.reason(), &SendRefused::MetadataPending);
            let Outcome::NotWritten(why) = delivery.await else { panic!("it was not sent") };
            assert_eq!(why.reason, NotWritten::DeadlinePassed);
            watchdog.assert_on_time(begun + deadline, Instant::now());
            let (tag, reported) = reports.recv().expect("is reported");
            assert_eq!(tag, 7);
            watchdog.assert_on_time(begun + deadline, reported);
            drop(unblock);
        });
    }
}
