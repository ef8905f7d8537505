//! The control machine against brokers and lanes that are played by hand.

use super::*;
use crate::producer::testbed::{Asked, Peer, at};
use milena_wire::messages::metadata::response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};

mod readiness;

const RETRY: Backoff = Backoff { initial: Duration::from_millis(100), max: Duration::from_secs(1) };
const TIMEOUT: Duration = Duration::from_secs(2);
const MAX_AGE: Duration = Duration::from_secs(300);
/// No wait after a failure is longer.
const PAUSE: Duration = Duration::from_millis(1_200);

struct Rig {
    control: Control,
    now: Moment,
    peer: Option<Peer>,
    asked: VecDeque<Asked>,
    dials: Vec<String>,
    hang_ups: u32,
    /// Everything else it said, as text, since the last look.
    told: Vec<String>,
    /// Partitions that it gave away.
    moved: Vec<(LaneId, PartitionBack)>,
}

fn address(name: &str) -> Address {
    Address { host: Arc::from(name), port: 9092 }
}

impl Rig {
    fn new(bootstrap: &[&str]) -> Self {
        let config = ControlConfig {
            bootstrap: bootstrap.iter().map(|name| address(name)).collect(),
            connection: ConnectionConfig::new(Arc::from("me"), TIMEOUT),
            back: BackConfig::new(Duration::from_secs(5), RETRY),
            retry: RETRY,
            metadata_max_age: MAX_AGE,
        };
        Self {
            control: Control::new(config, 9),
            now: at(1_000),
            peer: None,
            asked: VecDeque::new(),
            dials: Vec::new(),
            hang_ups: 0,
            told: Vec::new(),
            moved: Vec::new(),
        }
    }

    /// Connected to its only bootstrap address, wants a topic "t" and knows that it has these leaders.
    fn with_topic(leaders: &[i32]) -> Self {
        let mut rig = Self::new(&["a"]);
        assert_eq!(rig.control.want_topic("t"), TopicIndex(0));
        rig.turn();
        rig.connect();
        rig.answer_metadata(1, leaders);
        rig.told.clear();
        rig
    }

    fn turn(&mut self) {
        for _ in 0..100 {
            if !self.step() {
                let due = self.control.poll_timeout();
                assert!(due.is_none_or(|due| due > self.now), "quiet at {} and yet due at {due:?}", self.now);
                return;
            }
        }
        panic!("the control machine is never quiet");
    }

    fn step(&mut self) -> bool {
        let mut progressed = false;
        if self.control.poll_timeout().is_some_and(|due| due <= self.now) {
            self.control.handle_timeout(self.now);
            progressed = matches!(self.control.link, Link::Down { .. } | Link::Dialing { .. });
        }
        while let Some(frame) = self.control.poll_transmit(self.now) {
            self.control.handle_written(frame.len());
            let read = self.peer.as_mut().expect("the socket is open").read(&frame);
            self.asked.extend(read);
            progressed = true;
        }
        while let Some(event) = self.control.poll_event() {
            self.take_event(event);
            progressed = true;
        }
        progressed
    }

    fn take_event(&mut self, event: ControlEvent) {
        match event {
            ControlEvent::Dial(address) => self.dials.push(address.host.to_string()),
            ControlEvent::HangUp => {
                self.hang_ups += 1;
                self.peer = None;
                self.asked.clear();
            }
            ControlEvent::Order(lane, LaneOrder::Adopt(back)) => {
                self.told.push(format!("move {} to {lane}", back.id()));
                self.moved.push((lane, *back));
            }
            ControlEvent::Reached => self.told.push("reached".to_owned()),
            ControlEvent::PartitionsAppeared(topic, new) => {
                let ids: Vec<_> = new.iter().map(|new| (new.id.0, new.index.0)).collect();
                self.told.push(format!("topic {topic} has {ids:?}"));
            }
            ControlEvent::TopicMissing(topic, code) => self.told.push(format!("topic {topic} misses: {code}")),
            ControlEvent::LaneNeeded(lane, address) => self.told.push(format!("lane {lane} at {}", address.host)),
            ControlEvent::Order(lane, LaneOrder::Recall(id, _)) => self.told.push(format!("recall {id} from {lane}")),
            ControlEvent::Order(lane, LaneOrder::Grant(id, identity)) => {
                self.told.push(format!("grant {} to {id} on {lane}", identity.producer_id));
            }
            ControlEvent::Order(lane, LaneOrder::TopicRecreated(id, _)) => {
                self.told.push(format!("recreated {id} on {lane}"))
            }
            ControlEvent::Order(lane, order) => self.told.push(format!("{order:?} for {lane}")),
            ControlEvent::Ended(id, ended) => {
                self.told.push(format!("ended {id}: {:?}", ended.conclude().completion.end()))
            }
        }
    }

    fn need_identity(&mut self, partition: PartitionId, abandoned: Option<ProducerId>) {
        self.control.handle_report(self.now, LaneReport::NeedsIdentity(partition, abandoned));
    }

    fn give_back(&mut self, back: PartitionBack) {
        self.control.handle_report(self.now, LaneReport::Released(Box::new(back)));
    }

    fn connect(&mut self) {
        self.connect_speaking(&[(ApiKey::METADATA, 12), (ApiKey::INIT_PRODUCER_ID, 4)]);
    }

    fn connect_speaking(&mut self, newest: &[(ApiKey, i16)]) {
        self.peer = Some(Peer::new());
        self.control.handle_connected(self.now);
        self.turn();
        let asked = self.asked.pop_front().expect("the first frame");
        self.receive(&asked.answer_versions(newest));
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.control.read_buffer().expect("the socket is open").extend_from_slice(bytes);
        self.control.handle_read(self.now);
        self.turn();
    }

    fn lose(&mut self, why: &str) {
        self.peer = None;
        self.asked.clear();
        self.control.handle_disconnected(self.now, lost(why));
        self.turn();
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        self.turn();
    }

    fn pop(&mut self, key: ApiKey) -> Asked {
        let place = self.asked.iter().position(|asked| asked.key == key);
        self.asked.remove(place.unwrap_or_else(|| panic!("no {key} was asked"))).expect("found there")
    }

    /// The topic "t" with this id byte and these leaders; negative for none. Brokers 1 to 3 are "b1" to "b3".
    fn answer_metadata(&mut self, id: u8, leaders: &[i32]) {
        let asked = self.pop(ApiKey::METADATA);
        let response = metadata(id, leaders);
        self.receive(&asked.answer(&response));
    }

    /// As [`Self::answer_metadata`], after a lane said that something changed.
    fn refresh(&mut self, id: u8, leaders: &[i32]) {
        self.control.refresh_metadata();
        self.wait(PAUSE);
        self.told.clear();
        self.answer_metadata(id, leaders);
    }

    fn answer_identity(&mut self, error_code: i16, producer_id: i64) {
        let asked = self.pop(ApiKey::INIT_PRODUCER_ID);
        let response =
            InitProducerIdResponse { error_code, producer_id, producer_epoch: 0, ..InitProducerIdResponse::default() };
        self.receive(&asked.answer(&response));
    }

    fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told)
    }
}

fn lost(why: &str) -> ConnectionError {
    ConnectionError::Lost { why: why.into() }
}

fn metadata(id: u8, leaders: &[i32]) -> MetadataResponse {
    let broker = |id| MetadataResponseBroker {
        node_id: id,
        host: format!("b{id}").into(),
        port: 9092,
        ..MetadataResponseBroker::default()
    };
    let partition = |(index, leader): (usize, &i32)| MetadataResponsePartition {
        partition_index: index as i32,
        leader_id: *leader,
        ..MetadataResponsePartition::default()
    };
    MetadataResponse {
        cluster_id: Some("cluster".into()),
        brokers: [1, 2, 3].map(broker).to_vec(),
        topics: vec![MetadataResponseTopic {
            name: Some("t".into()),
            topic_id: Uuid([id; 16]),
            partitions: leaders.iter().enumerate().map(partition).collect(),
            ..MetadataResponseTopic::default()
        }],
        ..MetadataResponse::default()
    }
}

#[test]
fn the_first_round_through_the_addresses_waits_for_nobody_and_the_next_ones_wait_longer_and_longer() {
    let mut rig = Rig::new(&["a", "b", "c"]);
    rig.turn();
    for why in ["refused", "unreachable", "unknown host"] {
        rig.lose(why);
    }
    assert_eq!(rig.dials, ["a", "b", "c"]);
    assert_eq!(rig.control.poll_timeout().map(|due| due > rig.now), Some(true));
    let told = |rig: &Rig| -> Vec<_> {
        let faults = rig.control.faults().iter();
        faults.map(|(address, fault)| (address.to_string(), fault.attempts, fault.error.clone())).collect()
    };
    let expected = [("a:9092", "refused"), ("b:9092", "unreachable"), ("c:9092", "unknown host")];
    assert_eq!(told(&rig), expected.map(|(address, why)| (address.to_owned(), 1, lost(why))));
    let mut pauses = Vec::new();
    for _ in 0..5 {
        let due = rig.control.poll_timeout().expect("it dials again");
        pauses.push(due.since(rig.now));
        rig.now = due;
        rig.turn();
        rig.lose("refused");
    }
    assert_eq!(rig.dials.concat(), "abcabcab");
    let last = rig.control.faults().iter().map(|(_, fault)| fault.failed_at).max();
    assert_eq!((last, told(&rig)[0].1, told(&rig)[2].1), (Some(rig.now), 3, 2));
    assert!(pauses[0] < pauses[4] && pauses[4] <= PAUSE, "{pauses:?}");
}

#[test]
fn an_answer_clears_the_faults_and_says_that_the_cluster_is_reached() {
    let mut rig = Rig::new(&["a", "b"]);
    rig.turn();
    rig.lose("refused");
    rig.connect();
    assert!(rig.told.is_empty());
    rig.answer_metadata(1, &[]);
    assert_eq!(rig.told(), ["reached"]);
    assert!(rig.control.faults().is_empty());
    assert_eq!(rig.control.cluster_id().map(|id| &**id), Some("cluster"));
    assert_eq!(rig.control.poll_timeout(), Some(rig.now + MAX_AGE));
}

#[test]
fn a_topic_that_is_wanted_twice_has_one_number() {
    let mut rig = Rig::new(&["a"]);
    let numbers = ["t", "u", "t"].map(|name| rig.control.want_topic(name).0);
    assert_eq!(numbers, [0, 1, 0]);
}

#[test]
fn partitions_appear_and_go_to_the_lanes_of_their_leaders() {
    let mut rig = Rig::new(&["a"]);
    rig.control.want_topic("t");
    rig.turn();
    rig.connect();
    rig.answer_metadata(1, &[2, 1, -1]);
    let expected = [
        "reached",
        "topic 0 has [(0, 0), (1, 1), (2, 2)]",
        "lane 2 at b2",
        "move 0 to 2",
        "lane 1 at b1",
        "move 1 to 1",
    ];
    assert_eq!(rig.told(), expected);
    assert_eq!(rig.moved[0].1.topic(), &TopicRef { name: Arc::from("t"), id: Uuid([1; 16]) });
    rig.wait(PAUSE);
    rig.answer_metadata(1, &[2, 1, 1, 2]);
    assert_eq!(rig.told(), ["reached", "topic 0 has [(3, 3)]", "move 2 to 1", "move 3 to 2"]);
}

#[test]
fn a_topic_wanted_later_is_asked_for_at_once() {
    let mut rig = Rig::with_topic(&[1]);
    rig.control.want_topic("later");
    rig.turn();
    let asked: MetadataRequest = rig.pop(ApiKey::METADATA).decode();
    assert_eq!(asked.topics.map(|topics| topics.len()), Some(2));
}

#[test]
fn a_missing_topic_is_told_each_time_and_asked_for_with_pauses() {
    let mut rig = Rig::new(&["a"]);
    rig.control.want_topic("t");
    rig.turn();
    rig.connect();
    for _ in 0..3 {
        let asked = rig.pop(ApiKey::METADATA);
        let mut response = metadata(0, &[]);
        response.topics[0].error_code = 3;
        rig.receive(&asked.answer(&response));
        assert_eq!(rig.told(), ["reached", "topic 0 misses: UNKNOWN_TOPIC_OR_PARTITION (3)"]);
        assert!(rig.asked.is_empty());
        rig.wait(PAUSE);
    }
}

/// A partition moves only with nothing of it unanswered; the lane decides when that is.
#[test]
fn a_new_leader_recalls_a_partition_once_and_gets_it_when_the_old_lane_gives_it_back() {
    let mut rig = Rig::with_topic(&[1]);
    rig.refresh(1, &[2]);
    assert_eq!(rig.told(), ["reached", "lane 2 at b2", "recall 0 from 1"]);
    rig.refresh(1, &[2]);
    assert_eq!(rig.told(), ["reached"]);
    let (_, back) = rig.moved.pop().expect("it was led by 1");
    rig.give_back(back);
    rig.turn();
    assert_eq!(rig.told(), ["move 0 to 2"]);
}

#[test]
fn a_partition_whose_leader_came_back_while_it_was_recalled_goes_back_too() {
    let mut rig = Rig::with_topic(&[1]);
    rig.refresh(1, &[2]);
    rig.refresh(1, &[1]);
    assert_eq!(rig.told(), ["reached"]);
    let (_, back) = rig.moved.pop().expect("it was led by 1");
    rig.give_back(back);
    rig.turn();
    assert_eq!(rig.told(), ["move 0 to 1"]);
}

#[test]
fn a_partition_without_a_leader_stays_where_it_is() {
    let mut rig = Rig::with_topic(&[1]);
    rig.refresh(1, &[-1]);
    assert_eq!(rig.told(), ["reached"]);
}

/// It stayed with the control machine, which knows no timers: what was sent was never given up and its memory never freed.
#[test]
fn a_partition_that_lost_its_next_leader_on_the_way_goes_back_to_the_lane_it_came_from() {
    let mut rig = Rig::with_topic(&[1]);
    rig.refresh(1, &[2]);
    rig.refresh(1, &[-1]);
    rig.told.clear();
    let (_, back) = rig.moved.pop().expect("it was led by 1");
    rig.give_back(back);
    rig.turn();
    assert_eq!(rig.told(), ["move 0 to 1"]);
    rig.refresh(1, &[3]);
    assert_eq!(rig.told(), ["reached", "lane 3 at b3", "recall 0 from 1"]);
}

#[test]
fn a_broker_that_moved_gets_its_new_address_told() {
    let mut rig = Rig::with_topic(&[1]);
    rig.control.refresh_metadata();
    rig.wait(PAUSE);
    let asked = rig.pop(ApiKey::METADATA);
    let mut response = metadata(1, &[1]);
    response.brokers[0].host = "elsewhere".into();
    rig.receive(&asked.answer(&response));
    assert_eq!(rig.told(), ["reached", "lane 1 at elsewhere"]);
}

#[test]
fn a_recreated_topic_is_told_to_the_lane_that_leads_the_partition() {
    let mut rig = Rig::with_topic(&[1, 2]);
    rig.refresh(7, &[1, 2]);
    assert_eq!(rig.told(), ["reached", "recreated 0 on 1", "recreated 1 on 2"]);
    rig.refresh(7, &[1, 2]);
    assert_eq!(rig.told(), ["reached"]);
}

/// The lane that was told had given the partition up already; it kept the old id for ever and nothing could be written.
#[test]
fn a_partition_on_its_way_between_lanes_learns_that_its_topic_was_recreated() {
    let mut rig = Rig::with_topic(&[1]);
    rig.refresh(1, &[2]);
    let (_, back) = rig.moved.pop().expect("it was led by 1");
    rig.refresh(7, &[2]);
    rig.give_back(back);
    rig.turn();
    let (lane, back) = rig.moved.pop().expect("it moved on");
    assert_eq!((lane, back.topic().id), (LaneId::fast(NodeId(2)), Uuid([7; 16])));
}

#[test]
fn partitions_share_one_producer_id() {
    let mut rig = Rig::with_topic(&[1, 2]);
    rig.need_identity(PartitionId(0), None);
    rig.need_identity(PartitionId(1), None);
    rig.turn();
    let request: InitProducerIdRequest = rig.asked[0].decode();
    assert_eq!((rig.asked.len(), request.transactional_id), (1, None));
    rig.answer_identity(0, 40);
    assert_eq!(rig.told(), ["grant 40 to 0 on 1", "grant 40 to 1 on 2"]);
    rig.need_identity(PartitionId(1), None);
    rig.turn();
    assert_eq!(rig.told(), ["grant 40 to 1 on 2"], "it is known now");
    assert!(rig.asked.is_empty());
}

#[test]
fn a_partition_that_abandoned_the_producer_id_gets_a_fresh_one_and_the_others_keep_theirs() {
    let mut rig = Rig::with_topic(&[1, 2, 1]);
    rig.need_identity(PartitionId(0), None);
    rig.turn();
    rig.answer_identity(0, 40);
    rig.told.clear();
    rig.need_identity(PartitionId(0), Some(ProducerId(40)));
    rig.turn();
    assert!(rig.told().is_empty());
    rig.answer_identity(0, 41);
    assert_eq!(rig.told(), ["grant 41 to 0 on 1"]);
    rig.need_identity(PartitionId(2), Some(ProducerId(40)));
    rig.turn();
    assert_eq!(rig.told(), ["grant 41 to 2 on 1"], "the fresh one serves the next who abandons the first");
}

#[test]
fn a_refused_or_senseless_producer_id_is_asked_for_again_with_pauses() {
    let mut rig = Rig::with_topic(&[1]);
    rig.need_identity(PartitionId(0), None);
    rig.turn();
    for (code, producer_id) in [(14, -1), (31, -1), (0, -1)] {
        rig.answer_identity(code, producer_id);
        assert!(rig.asked.is_empty() && rig.told().is_empty(), "a batch with the id −1 would not be idempotent");
        rig.wait(PAUSE);
    }
    rig.answer_identity(0, 5);
    assert_eq!(rig.told(), ["grant 5 to 0 on 1"]);
}

/// Rule 25: a producer id belongs to its cluster.
#[test]
fn another_cluster_behind_the_same_address_gets_a_producer_id_of_its_own() {
    let mut rig = Rig::with_topic(&[1]);
    rig.need_identity(PartitionId(0), None);
    rig.turn();
    rig.answer_identity(0, 40);
    rig.control.refresh_metadata();
    rig.wait(PAUSE);
    let asked = rig.pop(ApiKey::METADATA);
    let mut response = metadata(1, &[1, 1]);
    response.cluster_id = Some("another".into());
    rig.receive(&asked.answer(&response));
    rig.told.clear();
    rig.need_identity(PartitionId(1), None);
    rig.turn();
    rig.answer_identity(0, 2);
    assert_eq!(rig.told(), ["grant 2 to 1 on 1"]);
}

#[test]
fn requests_that_a_lost_connection_leaves_unanswered_are_asked_again() {
    let mut rig = Rig::with_topic(&[1]);
    rig.need_identity(PartitionId(0), None);
    rig.control.refresh_metadata();
    rig.wait(PAUSE);
    assert_eq!(rig.asked.len(), 2);
    rig.lose("cut");
    assert_eq!(rig.dials.last().map(String::as_str), Some("b2"), "known brokers come before bootstrap addresses");
    rig.connect();
    rig.wait(PAUSE);
    assert_eq!(rig.asked.len(), 2);
    rig.answer_metadata(1, &[1]);
    rig.answer_identity(0, 1);
    assert!(rig.told().contains(&"grant 1 to 0 on 1".to_owned()));
}

#[test]
fn a_broker_that_does_not_answer_is_hung_up_on_and_the_next_one_is_asked() {
    let mut rig = Rig::new(&["a", "b"]);
    rig.turn();
    rig.connect();
    rig.wait(TIMEOUT);
    assert_eq!((rig.hang_ups, rig.dials.concat()), (1, "ab".to_owned()));
    let (_, fault) = rig.control.faults().iter().next().expect("the first address failed");
    assert_eq!(fault.error, ConnectionError::TimedOut { api: "Metadata", after: TIMEOUT });
}

/// Both answers came in one read and the first was garbage: the second was forgotten, and nobody ever asked again.
#[test]
fn garbage_ends_the_connection_and_everything_is_asked_again() {
    let mut rig = Rig::with_topic(&[1]);
    rig.need_identity(PartitionId(0), None);
    rig.control.refresh_metadata();
    rig.wait(PAUSE);
    let answers: Vec<_> = rig
        .asked
        .drain(..)
        .map(|asked| {
            let mut garbage = match asked.key {
                ApiKey::METADATA => asked.answer(&metadata(1, &[1])),
                _ => asked.answer(&InitProducerIdResponse::default()),
            };
            garbage[8..].fill(0xff);
            garbage
        })
        .collect();
    rig.receive(&answers.concat());
    assert_eq!(rig.hang_ups, 1);
    rig.connect();
    rig.wait(PAUSE);
    let mut keys: Vec<_> = rig.asked.iter().map(|asked| asked.key).collect();
    keys.sort();
    assert_eq!(keys, [ApiKey::METADATA, ApiKey::INIT_PRODUCER_ID]);
}

/// Versions before 4 would create the topics that they are asked for.
#[test]
fn a_broker_that_would_create_topics_when_asked_is_not_asked() {
    let mut rig = Rig::new(&["a"]);
    rig.control.want_topic("t");
    rig.turn();
    rig.connect_speaking(&[(ApiKey::METADATA, 3)]);
    assert_eq!((rig.hang_ups, rig.asked.len()), (1, 0));
    let (_, fault) = rig.control.faults().iter().next().expect("the only address failed");
    assert_eq!(fault.error, ConnectionError::BrokerTooOld { api: "Metadata", ours: 4..=13, theirs: 0..=3 });
}

#[test]
fn a_disconnect_that_is_told_twice_counts_once() {
    let mut rig = Rig::new(&["a"]);
    rig.turn();
    rig.lose("refused");
    let due = rig.control.poll_timeout();
    rig.now = rig.now + Duration::from_millis(10);
    rig.control.handle_disconnected(rig.now, lost("again"));
    assert_eq!(rig.control.poll_timeout(), due);
}

#[test]
fn what_was_never_led_ends_with_the_producer() {
    let mut rig = Rig::with_topic(&[-1, 1]);
    rig.control.end_all(NotWritten::Closed, Undetermined::ClosedBeforeProof);
    rig.turn();
    assert!(rig.told().is_empty(), "it has no batches; they are in the front");
}

/// Whatever order things come in, the machine comes to rest, and no partition is in two places.
#[test]
fn random_events_leave_it_quiet_and_every_partition_in_one_place() {
    for seed in 0..300 {
        let mut chance = Chance::new(seed);
        let mut rig = Rig::new(&["a", "b"]);
        rig.control.want_topic("t");
        let mut below = |limit: u64| chance.bits() % limit;
        for _ in 0..200 {
            match below(12) {
                0 => rig.wait(Duration::from_millis(below(700))),
                1 if below(4) == 0 => rig.lose("cut"),
                2 => rig.control.refresh_metadata(),
                3 if !rig.moved.is_empty() => {
                    let place = below(rig.moved.len() as u64) as usize;
                    let (_, back) = rig.moved.swap_remove(place);
                    rig.give_back(back);
                }
                4 if !rig.control.partitions.is_empty() => {
                    let id = PartitionId(below(rig.control.partitions.len() as u64) as u32);
                    rig.need_identity(id, (below(2) == 0).then_some(ProducerId(below(3) as i64)));
                }
                5..8 if matches!(rig.control.link, Link::Dialing { .. }) => rig.connect(),
                _ => match rig.asked.pop_front() {
                    Some(asked) if asked.key == ApiKey::METADATA => {
                        let leaders: Vec<_> = (0..below(5)).map(|_| below(5) as i32 - 1).collect();
                        let response = metadata(below(3) as u8, &leaders);
                        rig.receive(&asked.answer(&response));
                    }
                    Some(asked) if asked.key == ApiKey::INIT_PRODUCER_ID => {
                        let (error_code, producer_id) = (below(2) as i16 * 14, below(5) as i64);
                        let response = InitProducerIdResponse {
                            error_code,
                            producer_id,
                            producer_epoch: 0,
                            ..InitProducerIdResponse::default()
                        };
                        rig.receive(&asked.answer(&response));
                    }
                    _ => {}
                },
            }
            rig.turn();
            let led: Vec<_> = rig.moved.iter().map(|(_, back)| back.id()).collect();
            for (number, partition) in rig.control.partitions.iter().enumerate() {
                let id = PartitionId(number as u32);
                let is_here = matches!(partition.place, Place::Here(_));
                assert_eq!(led.iter().filter(|led| **led == id).count(), usize::from(!is_here), "{id}");
            }
        }
    }
}
