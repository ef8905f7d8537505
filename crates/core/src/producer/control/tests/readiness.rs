//! Whether a record could be sent now.

use super::*;
use crate::producer::testbed::Peer;
use rig::{fast, lost};

impl Rig {
    fn question(&mut self, topic: Option<TopicIndex>) -> Question {
        let asked_at = self.now;
        self.control.begin_readiness(self.now);
        self.turn();
        Question { topic, asked_at }
    }

    /// What whoever asked is told when the time is over.
    fn verdict(&mut self, question: Question) -> Result<(), Unready> {
        self.judge(question, true)
    }

    /// Asked, and answered at once.
    fn readiness(&mut self, topic: Option<TopicIndex>) -> Result<(), Unready> {
        let question = self.question(topic);
        self.judge(question, false)
    }

    /// From what the machine tells, as those do who wait.
    fn judge(&mut self, question: Question, is_over: bool) -> Result<(), Unready> {
        self.standing = self.control.poll_standing().or(self.standing.take());
        while let Some((topic, standing)) = self.control.poll_topic_standing() {
            self.topics.insert(topic, standing);
        }
        let topic = question.topic.map(|topic| self.topics.get(&topic).cloned().unwrap_or_default());
        let asked = ReadyQuestion { asked_at: question.asked_at, is_over };
        self.standing.as_ref().expect("it was told once").readiness(self.now, asked, topic.as_ref())
    }
}

#[derive(Clone, Copy)]
struct Question {
    topic: Option<TopicIndex>,
    asked_at: Moment,
}

const T: Option<TopicIndex> = Some(TopicIndex(0));

fn unreachable(verdict: Result<(), Unready>) -> Vec<(String, ConnectionError)> {
    match verdict {
        Err(Unready::Unreachable(faults)) => {
            faults.into_iter().map(|(address, fault)| (address.to_string(), fault.error)).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn before_anything_was_tried_every_address_is_told() {
    let addresses = ["a", "b"].map(rig::address);
    let asked = ReadyQuestion { asked_at: Moment::START, is_over: true };
    let told = unreachable(Standing::untried(&addresses).readiness(Moment::START, asked, None));
    assert_eq!(told, ["a:9092", "b:9092"].map(|address| (address.to_owned(), ConnectionError::NotTried)));
    let mut rig = Rig::new(&["a", "b"]);
    assert_eq!(
        unreachable(rig.judge(Question { topic: None, asked_at: rig.now }, true)),
        told,
        "the machine tells the same"
    );
    assert_eq!(rig.control.poll_standing(), None, "once");
}

#[test]
fn without_an_answer_every_address_is_told_with_its_reason_the_current_one_too() {
    let mut rig = Rig::new(&["a", "b"]);
    rig.turn();
    let question = rig.question(None);
    let millis = Duration::from_millis;
    rig.wait(millis(300));
    let dialing = ConnectionError::NotYet { after: millis(300) };
    let untried = ("b:9092".to_owned(), ConnectionError::NotTried);
    assert_eq!(unreachable(rig.verdict(question)), [("a:9092".to_owned(), dialing), untried]);
    rig.lose("refused");
    rig.peer = Some(Peer::new());
    rig.control.handle_connected(rig.now);
    rig.turn();
    rig.wait(millis(200));
    let silent = ConnectionError::TimedOut { api: "ApiVersions", after: millis(200) };
    let expected = [("a:9092".to_owned(), lost("refused")), ("b:9092".to_owned(), silent)];
    assert_eq!(unreachable(rig.verdict(question)), expected);
}

/// `ready` stayed Ok for ever once a broker had answered.
#[test]
fn readiness_is_about_now() {
    let mut rig = Rig::new(&["a"]);
    rig.turn();
    rig.connect();
    rig.answer(&metadata(1, &[]));
    assert_eq!(rig.readiness(None), Ok(()));
    rig.wait(MAX_AGE / 2);
    assert_eq!((rig.asked.len(), rig.readiness(None).is_ok()), (0, false), "it is asked again");
    rig.answer(&metadata(1, &[]));
    assert_eq!(rig.readiness(None), Ok(()));
    rig.lose("reset");
    assert_eq!(unreachable(rig.readiness(None))[0], ("a:9092".to_owned(), lost("reset")));
    rig.wait(PAUSE);
    rig.connect();
    rig.wait(PAUSE);
    let question = rig.question(None);
    assert!(rig.judge(question, false).is_err(), "it was reached, and has said nothing yet");
    rig.answer(&metadata(1, &[]));
    assert_eq!(rig.judge(question, false), Ok(()));
}

#[test]
fn a_cluster_that_had_no_time_to_answer_is_ready_unless_it_keeps_something_waiting() {
    let mut rig = Rig::new(&["a"]);
    rig.turn();
    rig.connect();
    rig.answer(&metadata(1, &[]));
    rig.wait(MAX_AGE / 2);
    let question = rig.question(None);
    assert_eq!(rig.verdict(question), Ok(()), "no time was given");
    rig.wait(Duration::from_millis(40));
    assert_eq!(rig.verdict(question), Ok(()), "the way may be long");
    rig.wait(Duration::from_millis(60));
    let silent = ConnectionError::TimedOut { api: "Metadata", after: Duration::from_millis(100) };
    assert_eq!(unreachable(rig.verdict(question)), [("a:9092".to_owned(), silent)]);
    let question = rig.question(None);
    assert!(rig.verdict(question).is_err(), "it waits already");
}

#[test]
fn a_topic_needs_a_leader_that_is_reached_and_a_producer_id() {
    let mut rig = Rig::new(&["a"]);
    rig.turn();
    rig.connect();
    rig.answer(&metadata(1, &[]));
    rig.control.want_topic("t");
    assert_eq!(rig.readiness(T), Err(Unready::TopicPending));
    rig.turn();
    rig.answer(&metadata(1, &[-1]));
    assert_eq!(rig.readiness(T), Err(Unready::NoLeader));
    rig.refresh(&metadata(1, &[1, 2]));
    let question = rig.question(T);
    let second = Duration::from_secs(1);
    rig.now = rig.now + second / 2;
    rig.control.handle_lane_disconnected(rig.now, fast(1), lost("refused"));
    rig.control.handle_lane_disconnected(rig.now, fast(1), lost("refused again"));
    let Err(Unready::LeadersUnreachable(faults)) = rig.verdict(question) else { panic!("no leader is reached") };
    let told: Vec<_> = faults.iter().map(|(address, fault)| (&*address.host, fault.attempts, &fault.error)).collect();
    let pending = ConnectionError::NotYet { after: second / 2 };
    assert_eq!(told, [("b1", 2, &lost("refused again")), ("b2", 1, &pending)]);
    rig.control.handle_lane_connected(fast(2));
    assert_eq!(rig.verdict(question), Err(Unready::NoProducerId(None)));
    rig.need_identity(0, None);
    rig.answer_identity(31, -1);
    let refused = Some(ErrorCode::CLUSTER_AUTHORIZATION_FAILED);
    assert_eq!(rig.readiness(T), Err(Unready::NoProducerId(refused)));
    rig.wait(Duration::from_secs(7));
    rig.answer_identity(0, 7);
    let question = rig.question(T);
    assert_eq!(rig.verdict(question), Ok(()));
    rig.control.handle_lane_disconnected(rig.now, fast(2), lost("reset"));
    assert!(matches!(rig.verdict(question), Err(Unready::LeadersUnreachable(_))));
}

#[test]
fn a_topic_that_is_refused_says_with_which_code_and_comes_when_it_is_there() {
    let mut rig = Rig::new(&["a"]);
    rig.control.want_topic("t");
    rig.turn();
    rig.connect();
    for code in [ErrorCode::TOPIC_AUTHORIZATION_FAILED, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION] {
        let mut refused = metadata(0, &[]);
        refused.topics[0].error_code = code.0;
        rig.answer(&refused);
        assert_eq!(rig.readiness(T), Err(Unready::TopicRefused(code)));
        rig.wait(PAUSE);
    }
    rig.answer(&metadata(1, &[1]));
    assert!(matches!(rig.readiness(T), Err(Unready::LeadersUnreachable(_))));
}
