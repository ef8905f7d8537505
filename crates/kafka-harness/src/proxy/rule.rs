//! What shall go wrong: rules are values, and what they have met is counted.
//!
//! A rule looks at requests and at the answers to them; the first one that fits and is not used up strikes. What is left to
//! chance is drawn from the proxy's seed.

use super::request::{PRODUCE, Request, TopicRef};
use std::time::Duration;

/// What shall happen to whom, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Whom it is about.
    pub target: Target,
    /// So many of those pass before.
    pub after: u32,
    /// So many are struck; no more afterwards.
    pub times: u32,
    /// Of a hundred that it could strike, so many are struck.
    pub percent: u32,
    /// What happens.
    pub fault: Fault,
}

impl Rule {
    /// Strikes every one.
    pub fn always(target: Target, fault: Fault) -> Self {
        Self { target, after: 0, times: u32::MAX, percent: 100, fault }
    }

    /// Strikes the next one only.
    pub fn once(target: Target, fault: Fault) -> Self {
        Self { times: 1, ..Self::always(target, fault) }
    }
}

/// Requests, or the answers to them. What is `None` may be anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Kafka's number of the API.
    pub api: Option<i16>,
    /// A topic by all its names, of which a Produce request has one. Other requests name none here.
    pub topic: Option<Vec<TopicRef>>,
    /// A partition in a Produce request, of that topic if one is told.
    pub partition: Option<i32>,
}

impl Target {
    /// Everything.
    pub fn anything() -> Self {
        Self::default()
    }

    /// Requests that carry records.
    pub fn produce() -> Self {
        Self { api: Some(PRODUCE), ..Self::default() }
    }

    fn fits(&self, request: &Request) -> bool {
        let is_of_api = self.api.is_none_or(|api| api == request.api);
        let fits_batch = request.batches.iter().any(|batch| {
            self.topic.as_ref().is_none_or(|names| names.contains(&batch.topic))
                && self.partition.is_none_or(|partition| partition == batch.partition)
        });
        is_of_api && (fits_batch || self.topic.is_none() && self.partition.is_none())
    }
}

/// What happens to a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Whether to the request or to its answer.
    pub way: Way,
    /// How much of the frame, its length included, passes before.
    pub passes: Bytes,
    /// What happens there.
    pub then: Then,
}

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// From client to node.
    Request,
    /// From node to client.
    Answer,
}

/// A place in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bytes {
    /// So many, or all that there are.
    First(usize),
    /// Drawn among all places, both ends included.
    Drawn,
}

/// What happens at that place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Both connections are closed; the rest is lost.
    Cut,
    /// The rest waits, and everything behind it. The other direction flows.
    Hold {
        /// For how long.
        pause: Pause,
        /// What the sender meets meanwhile.
        sender: Sender,
        /// What happens afterwards.
        end: End,
    },
}

/// How long something is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// For that long.
    For(Duration),
    /// Until [`Proxy::release`](super::Proxy::release).
    UntilReleased,
}

/// What who sends meets while its bytes are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// More bytes are taken from it, and held.
    Heard,
    /// Nothing more is read than the frame that it is writing: it can write on as long as the kernel's buffers have room.
    Unheard,
    /// Its connection is closed at once. What it wrote is kept, and delivered.
    Dismissed,
}

/// What becomes of what was held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It is delivered, to nobody if nobody is there any more.
    Delivered,
    /// It is lost: both connections are closed.
    Cut,
}

impl Fault {
    /// The request is executed, its answer lost with the connections.
    pub const LOST_ANSWER: Self = Self { way: Way::Answer, passes: Bytes::First(0), then: Then::Cut };

    /// The request is executed, and nothing is heard any more for a while; then the answer is lost with the connections.
    pub fn silent_then_lost(pause: Pause) -> Self {
        Self::held(Way::Answer, Bytes::First(0), pause, Sender::Heard, End::Cut)
    }

    /// The request comes late, with all that was sent behind it; also if the client has given up by then.
    pub fn late(pause: Pause) -> Self {
        Self::held(Way::Request, Bytes::First(0), pause, Sender::Heard, End::Delivered)
    }

    /// The same, and the client loses its connection at once.
    pub fn late_and_dismissed(pause: Pause) -> Self {
        Self::held(Way::Request, Bytes::First(0), pause, Sender::Dismissed, End::Delivered)
    }

    /// The receiver gets a part of the frame.
    pub fn cut(way: Way, passes: Bytes) -> Self {
        Self { way, passes, then: Then::Cut }
    }

    /// The receiver gets a part of the frame, and the rest after a while.
    pub fn frozen(way: Way, passes: Bytes, pause: Pause, sender: Sender) -> Self {
        Self::held(way, passes, pause, sender, End::Delivered)
    }

    /// The frame comes a little later.
    pub fn delayed(way: Way, by: Duration) -> Self {
        Self::held(way, Bytes::First(0), Pause::For(by), Sender::Heard, End::Delivered)
    }

    fn held(way: Way, passes: Bytes, pause: Pause, sender: Sender, end: End) -> Self {
        Self { way, passes, then: Then::Hold { pause, sender, end } }
    }
}

/// The rules of a proxy, by their ids, and how often each was met.
#[derive(Debug, Default)]
pub(super) struct Rules {
    standing: Vec<Standing>,
    next: u32,
    dice: Dice,
}

/// Names a rule of one proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleId(u32);

#[derive(Debug)]
struct Standing {
    id: RuleId,
    rule: Rule,
    met: u32,
    struck: u32,
}

/// What a rule does to one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Blow {
    pub rule: RuleId,
    /// Of the frame, its length included.
    pub passes: usize,
    pub then: Then,
}

impl Rules {
    pub fn seed(&mut self, seed: u64) {
        self.dice = Dice(seed);
    }

    pub fn add(&mut self, rule: Rule) -> RuleId {
        let id = RuleId(self.next);
        self.next += 1;
        self.standing.push(Standing { id, rule, met: 0, struck: 0 });
        id
    }

    pub fn remove(&mut self, id: RuleId) {
        self.standing.retain(|standing| standing.id != id);
    }

    pub fn clear(&mut self) {
        self.standing.clear();
    }

    /// Those that hold until they are released.
    pub fn remove_unreleased(&mut self) {
        let is_unreleased = |rule: &Rule| matches!(rule.fault.then, Then::Hold { pause: Pause::UntilReleased, .. });
        self.standing.retain(|standing| !is_unreleased(&standing.rule));
    }

    /// What happens to a frame of so many bytes.
    pub fn strike(&mut self, way: Way, request: &Request, length: usize) -> Option<Blow> {
        let dice = &mut self.dice;
        let standing = self.standing.iter_mut().find_map(|standing| {
            let is_about = standing.rule.fault.way == way && standing.rule.target.fits(request);
            (is_about && standing.is_due(dice)).then_some(standing)
        })?;
        standing.struck += 1;
        let Fault { passes, then, .. } = standing.rule.fault;
        let passes = match passes {
            Bytes::First(count) => count.min(length),
            Bytes::Drawn => self.dice.below(length as u64 + 1) as usize,
        };
        Some(Blow { rule: standing.id, passes, then })
    }
}

impl Standing {
    /// Whether this one of those that it is about is struck.
    fn is_due(&mut self, dice: &mut Dice) -> bool {
        self.met += 1;
        self.met > self.rule.after
            && self.struck < self.rule.times
            && (self.rule.percent >= 100 || dice.below(100) < u64::from(self.rule.percent))
    }
}

/// SplitMix64.
#[derive(Debug, Default)]
struct Dice(u64);

impl Dice {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.bits() % end
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::tests::produce;
    use super::*;

    fn request(partitions: &[i32]) -> Request {
        Request::read(&produce(9, -1, &TopicRef::Name("t".to_owned()), partitions)).unwrap()
    }

    fn passed(rules: &mut Rules, request: &Request, length: usize) -> Option<usize> {
        rules.strike(Way::Answer, request, length).map(|blow| blow.passes)
    }

    #[test]
    fn a_rule_strikes_after_so_many_and_so_often() {
        let mut rules = Rules::default();
        rules.add(Rule { after: 1, times: 2, ..Rule::always(Target::produce(), Fault::LOST_ANSWER) });
        let struck: Vec<_> = (0..5).map(|_| passed(&mut rules, &request(&[0]), 10).is_some()).collect();
        assert_eq!(struck, [false, true, true, false, false]);
    }

    #[test]
    fn api_topic_and_partition_choose() {
        let names = |name: &str| Some(vec![TopicRef::Name(name.to_owned())]);
        let fits = |target: Target, partitions| target.fits(&request(partitions));
        assert!(fits(Target::anything(), &[0]) && fits(Target::produce(), &[0]));
        assert!(!fits(Target { api: Some(3), ..Target::default() }, &[0]));
        assert!(fits(Target { topic: names("t"), partition: Some(2), ..Target::default() }, &[1, 2]));
        assert!(!fits(Target { topic: names("t"), partition: Some(2), ..Target::default() }, &[1]));
        assert!(!fits(Target { topic: names("u"), ..Target::default() }, &[1]));
        let metadata = Request { api: 3, batches: vec![], ..request(&[]) };
        assert!(Target::anything().fits(&metadata));
        assert!(!Target { topic: names("t"), ..Target::default() }.fits(&metadata));
    }

    #[test]
    fn the_first_rule_that_fits_strikes_and_the_other_way_is_left_alone() {
        let mut rules = Rules::default();
        let first = rules.add(Rule::once(Target::anything(), Fault::LOST_ANSWER));
        rules.add(Rule::always(Target::anything(), Fault::cut(Way::Answer, Bytes::First(7))));
        assert!(rules.strike(Way::Request, &request(&[0]), 10).is_none());
        assert_eq!(rules.strike(Way::Answer, &request(&[0]), 10).map(|blow| blow.rule), Some(first));
        assert_eq!(passed(&mut rules, &request(&[0]), 10), Some(7));
        assert_eq!(passed(&mut rules, &request(&[0]), 5), Some(5), "no more than there is");
    }

    #[test]
    fn chance_follows_the_seed_and_reaches_both_ends() {
        let draw = |seed| {
            let mut rules = Rules::default();
            rules.seed(seed);
            rules.add(Rule { percent: 50, ..Rule::always(Target::anything(), Fault::cut(Way::Answer, Bytes::Drawn)) });
            (0..200).map(|_| passed(&mut rules, &request(&[0]), 4)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        let drawn = draw(1);
        assert!([None, Some(0), Some(4)].iter().all(|passed| drawn.contains(passed)), "{drawn:?}");
    }
}
