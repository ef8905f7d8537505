//! Records that must not be written late: what their callers learn, when, and what is in the log in the end.

use std::time::{Duration, Instant};

use milena::{
    AfterDeadline, Delivery, Fate, NotWritten, Outcome, Producer, ProducerConfig, Record, SendRefused, Settlement,
    Topic, Undetermined,
};
use milena_broker::{Broker, BrokerOptions, Fault, FaultId, LoggedRecord};
use milena_wire::{ApiKey, ErrorCode};
use punctual::Watchdog;
use steered::Steered;

#[allow(dead_code, reason = "shared with other tests")]
mod punctual;
#[allow(dead_code, reason = "shared with other tests")]
mod steered;

const SOON: Duration = Duration::from_secs(30);
/// What a web request has.
const BUDGET: Duration = Duration::from_secs(1);

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

/// A connection that says nothing is left shortly after the budget, so that the fence follows soon.
fn config(bootstrap: &str) -> ProducerConfig {
    ProducerConfig::new(bootstrap)
        .deadline(BUDGET)
        .after_deadline(AfterDeadline::Withdraw)
        .produce_timeout(BUDGET)
        .request_timeout(BUDGET * 3 / 2)
        .reconnect_backoff(BUDGET / 10, BUDGET / 10)
}

fn ready(config: ProducerConfig) -> (Producer, Topic) {
    let producer = Producer::new(config).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    run(orders.ready(SOON)).expect("is there");
    (producer, orders)
}

/// A deadline of its own: it is to be written, however long the machine takes.
fn write(orders: &Topic, value: &'static str) -> i64 {
    let record = Record::value(value).deadline(SOON);
    match run(orders.try_send(record).expect("there is room")) {
        Outcome::Written(at) => at.offset.expect("told"),
        other => panic!("{other:?}"),
    }
}

/// In doubt at its deadline, and not later.
fn unknown(watchdog: &Watchdog, accepted: Instant, delivery: Delivery) -> Fate {
    let outcome = run(delivery);
    watchdog.assert_on_time(accepted + BUDGET, Instant::now());
    match outcome {
        Outcome::Unknown(fate) => fate,
        other => panic!("{other:?}"),
    }
}

fn settled(fate: Fate) -> Settlement {
    run(async { tokio::time::timeout(SOON, fate).await }).expect("a fate ends")
}

#[track_caller]
fn assert_fenced(settlement: Settlement) {
    let Settlement::NotWritten(why) = settlement else { panic!("{settlement:?}") };
    assert_eq!(why.reason, NotWritten::Fenced);
}

#[track_caller]
fn assert_written(settlement: Settlement, offset: i64) {
    let Settlement::Written(at) = settlement else { panic!("{settlement:?}") };
    assert_eq!((at.partition, at.offset), (0, Some(offset)));
}

#[track_caller]
fn assert_undetermined(settlement: Settlement, reason: Undetermined) {
    let Settlement::Undetermined(why) = settlement else { panic!("{settlement:?}") };
    assert_eq!(why.reason, reason);
}

/// A broker of which faults are asked.
struct Stage {
    watchdog: Watchdog,
    broker: Broker,
    producer: Producer,
    orders: Topic,
}

impl Stage {
    /// Its log has one record.
    fn with(configure: impl FnOnce(ProducerConfig) -> ProducerConfig) -> Self {
        let broker = Broker::start(BrokerOptions::default()).expect("starts");
        broker.create_topic("orders", 1).expect("is made");
        let (producer, orders) = ready(configure(config(broker.bootstrap())));
        assert_eq!(write(&orders, "before"), 0);
        Self { watchdog: Watchdog::start(), broker, producer, orders }
    }

    /// Answers to batches are lost; requests are carried out or not. There is one attempt, because nobody gets a new
    /// connection: a second that is under way when the faults are removed would get its answer after all.
    fn lose(&self, is_executed: bool) -> [FaultId; 2] {
        let fault = if is_executed { Fault::lose_answer() } else { Fault::close_before() };
        [fault.api(ApiKey::PRODUCE), Fault::close_before().api(ApiKey::API_VERSIONS)]
            .map(|fault| self.broker.faults().add(fault))
    }

    /// Until the attempt has come.
    fn await_loss(&self, faults: [FaultId; 2]) {
        assert!(self.broker.faults().wait_for_hits(faults[0], 1, SOON));
    }

    fn lose_no_more(&self, faults: [FaultId; 2]) {
        for fault in faults {
            self.broker.faults().remove(fault);
        }
    }

    /// One that is in doubt; the broker works again.
    fn doubtful(&self, is_executed: bool) -> Fate {
        let faults = self.lose(is_executed);
        let delivery = self.orders.try_send(Record::value("late")).expect("there is room");
        let accepted = Instant::now();
        self.await_loss(faults);
        let fate = unknown(&self.watchdog, accepted, delivery);
        self.lose_no_more(faults);
        fate
    }

    fn records(&self) -> Vec<LoggedRecord> {
        self.broker.log("orders", 0).expect("is there").records
    }

    /// With the epoch of each.
    fn log(&self) -> Vec<(String, i16)> {
        let told = |record: LoggedRecord| {
            let value = String::from_utf8(record.value.expect("no tombstone").to_vec()).expect("is text");
            (value, record.stamp.expect("is idempotent").epoch.0)
        };
        self.records().into_iter().map(told).collect()
    }
}

fn log(records: &[(&str, i16)]) -> Vec<(String, i16)> {
    records.iter().map(|(value, epoch)| ((*value).to_owned(), *epoch)).collect()
}

/// The broker had carried it out: the next batch is the fence, and the log tells.
#[test]
fn an_answer_that_was_lost_is_found_in_the_log() {
    let stage = Stage::with(|config| config);
    let fate = stage.doubtful(true);
    assert_eq!(fate.try_settlement(), None, "nothing can be known before the fence");
    assert_eq!(write(&stage.orders, "next"), 2);
    assert_written(settled(fate), 1);
    assert_eq!(stage.log(), log(&[("before", 0), ("late", 0), ("next", 1)]));
}

/// The request never got through, and later it must not; a copy that the network held comes when the fence stands.
#[test]
fn a_late_copy_is_refused_once_its_record_was_told_not_to_be_written() {
    let broker = Steered::start(1, 1);
    let (_producer, orders) = ready(config(&broker.bootstrap));
    let watchdog = Watchdog::start();
    assert_eq!(write(&orders, "before"), 0);
    broker.hold("late");
    let delivery = orders.try_send(Record::value("late")).expect("there is room");
    let accepted = Instant::now();
    broker.wait_until_held(1);
    let fate = unknown(&watchdog, accepted, delivery);
    assert_eq!(write(&orders, "next"), 1);
    assert_fenced(settled(fate));
    broker.let_arrive();
    assert_eq!(broker.records(0), 2, "the late copy is not in the log");
    assert_eq!(write(&orders, "after"), 2);
}

/// Without a fence the same copy is appended: what the test above shows is the fence's work.
#[test]
fn a_late_copy_is_appended_where_nothing_keeps_it_out() {
    let broker = Steered::start(1, 1);
    let (_producer, orders) = ready(config(&broker.bootstrap).settle_timeout(Duration::from_millis(100)));
    let watchdog = Watchdog::start();
    assert_eq!(write(&orders, "before"), 0);
    broker.hold("late");
    let delivery = orders.try_send(Record::value("late")).expect("there is room");
    let accepted = Instant::now();
    broker.wait_until_held(1);
    assert_undetermined(settled(unknown(&watchdog, accepted, delivery)), Undetermined::NoFence);
    broker.let_arrive();
    assert_eq!(broker.records(0), 2, "which is why it was not told to be not written");
}

/// Rule 18: a batch is withdrawn only if each of its records is.
#[test]
fn a_batch_with_a_record_that_is_still_wanted_is_completed() {
    let stage = Stage::with(|config| config.linger(Duration::from_millis(100)));
    let faults = stage.lose(false);
    let withdrawn = stage.orders.try_send(Record::value("withdraw")).expect("there is room");
    let wanted = Record::value("complete").after_deadline(AfterDeadline::Complete);
    let wanted = stage.orders.try_send(wanted).expect("there is room");
    let accepted = Instant::now();
    stage.await_loss(faults);
    let fates = [withdrawn, wanted].map(|delivery| unknown(&stage.watchdog, accepted, delivery));
    stage.lose_no_more(faults);
    for (fate, offset) in fates.into_iter().zip([1, 2]) {
        assert_written(settled(fate), offset);
    }
    assert_eq!(stage.log(), log(&[("before", 0), ("withdraw", 0), ("complete", 0)]), "no epoch was spent");
}

/// A record's own policy on a producer that completes; its partition had an acknowledgement, so there is a base.
#[test]
fn a_record_withdraws_on_a_producer_that_completes() {
    let stage = Stage::with(|config| config.after_deadline(AfterDeadline::Complete));
    let faults = stage.lose(true);
    let record = Record::value("late").after_deadline(AfterDeadline::Withdraw);
    let delivery = stage.orders.try_send(record).expect("there is room");
    let accepted = Instant::now();
    stage.await_loss(faults);
    let fate = unknown(&stage.watchdog, accepted, delivery);
    stage.lose_no_more(faults);
    assert_eq!(write(&stage.orders, "next"), 2);
    assert_written(settled(fate), 1);
    assert_eq!(stage.log(), log(&[("before", 0), ("late", 0), ("next", 1)]));
}

/// Nobody sends anything more.
#[test]
fn where_nothing_is_sent_the_configured_record_is_the_fence() {
    for (is_executed, log_after) in
        [(true, &[("before", 0), ("late", 0), ("fence", 1)][..]), (false, &[("before", 0), ("fence", 1)])]
    {
        let stage = Stage::with(|config| config.fence_with("fence"));
        let settlement = settled(stage.doubtful(is_executed));
        if is_executed {
            assert_written(settlement, 1);
        } else {
            assert_fenced(settlement);
        }
        assert_eq!(stage.log(), log(log_after));
        assert_eq!(write(&stage.orders, "after"), log_after.len() as i64);
    }
}

/// A program that ends after its last record learns what became of it too.
#[test]
fn a_producer_that_is_closed_fences_what_is_in_doubt() {
    let stage = Stage::with(|config| config.fence_with("fence"));
    let fate = stage.doubtful(true);
    let tally = run(stage.producer.close(SOON));
    assert_eq!((tally.written, tally.not_written, tally.unknown), (0, 0, 1), "its caller was told before");
    assert_written(fate.try_settlement().expect("it was waited for"), 1);
    assert_eq!(stage.log().last(), Some(&("fence".to_owned(), 1)));
}

#[test]
fn without_traffic_and_without_a_fence_it_stays_in_doubt() {
    let stage = Stage::with(|config| config.settle_timeout(Duration::from_millis(300)));
    let fate = stage.doubtful(true);
    assert_undetermined(settled(fate), Undetermined::NoFence);
    assert_eq!(stage.log(), log(&[("before", 0), ("late", 0)]));
}

/// WRITE alone lets nobody look.
#[test]
fn a_client_that_may_not_read_cannot_look() {
    let stage = Stage::with(|config| config);
    let refused = Fault::refuse(ErrorCode::TOPIC_AUTHORIZATION_FAILED).api(ApiKey::FETCH);
    let refused = stage.broker.faults().add(refused);
    let fate = stage.doubtful(true);
    assert_eq!(write(&stage.orders, "next"), 2);
    assert_undetermined(settled(fate), Undetermined::NotPermittedToRead);
    assert_eq!(stage.broker.faults().hits(refused), 1);
}

/// Had it been appended, nothing else could stand in its place. Somebody else's record keeps the offsets from saying so.
#[test]
fn a_client_that_may_not_read_takes_the_place_of_what_was_given_up() {
    let stage = Stage::with(|config| config);
    let refused = Fault::refuse(ErrorCode::TOPIC_AUTHORIZATION_FAILED).api(ApiKey::FETCH);
    let refused = stage.broker.faults().add(refused);
    let fate = stage.doubtful(true);
    assert_eq!(write(&stage.orders, "next"), 2);
    assert_undetermined(settled(fate), Undetermined::NotPermittedToRead);
    let fate = stage.doubtful(false);
    let (_other, others) = ready(ProducerConfig::new(stage.broker.bootstrap()));
    assert_eq!(write(&others, "other"), 3);
    let record = |value: &'static str| Record::value(value).deadline(SOON);
    let two = stage.orders.try_send_batch([record("one"), record("two")]).expect("there is room");
    assert!(two.into_iter().all(|delivery| matches!(run(delivery), Outcome::Written(_))));
    assert_fenced(settled(fate));
    assert_eq!(stage.broker.faults().hits(refused), 1, "who was refused once does not ask again");
    let log_after = [("before", 0), ("late", 0), ("next", 1), ("other", 0), ("one", 1), ("two", 1)];
    assert_eq!(stage.log(), log(&log_after));
    assert_eq!(write(&stage.orders, "after"), 6);
    assert_eq!(stage.log().last(), Some(&("after".to_owned(), 2)));
}

#[test]
fn a_client_that_may_not_read_goes_by_the_offsets() {
    let stage = Stage::with(|config| config);
    stage.broker.faults().add(Fault::refuse(ErrorCode::TOPIC_AUTHORIZATION_FAILED).api(ApiKey::FETCH));
    let fate = stage.doubtful(false);
    assert_eq!(write(&stage.orders, "next"), 1, "there is no room before it");
    assert_fenced(settled(fate));
}

#[test]
fn a_record_is_not_withdrawn_without_stamps() {
    let broker = Steered::start(1, 1);
    let (_producer, orders) = ready(ProducerConfig::new(&broker.bootstrap).idempotence(false));
    let record = || Record::value("late").after_deadline(AfterDeadline::Withdraw);
    for refused in [
        orders.try_send(record()).expect_err("nothing keeps it out"),
        run(orders.send(record())).expect_err("nothing keeps it out"),
    ] {
        assert_eq!(refused.reason(), &SendRefused::WithdrawNeedsIdempotence);
        assert!(!refused.is_retriable());
        assert_eq!(
            refused.to_string(),
            "record for topic orders is to be withdrawn after its deadline, which needs idempotence: configure the \
             producer with it, or let the record be completed"
        );
    }
    assert_eq!(write(&orders, "next"), 0);
}
