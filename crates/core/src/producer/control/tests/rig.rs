//! The control machine with its socket and its lanes, played by hand: the driver's turn in virtual time.
//!
//! Always holds: a turn ends, and then nothing is due. What the machine says is kept until a test looks at it.

use super::*;
use crate::producer::testbed::{Asked, Peer, at};
use milena_wire::messages::metadata::response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};

pub(super) const RETRY: Backoff = Backoff { initial: Duration::from_millis(100), max: Duration::from_secs(1) };
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
pub(super) const MAX_AGE: Duration = Duration::from_secs(300);
/// No wait after a failure is longer.
pub(super) const PAUSE: Duration = Duration::from_millis(1_200);

pub(super) struct Rig {
    pub(super) control: Control,
    pub(super) now: Moment,
    pub(super) peer: Option<Peer>,
    pub(super) asked: VecDeque<Asked>,
    pub(super) dials: Vec<String>,
    pub(super) hang_ups: u32,
    /// Everything else it said, as text, since the last look.
    pub(super) told: Vec<String>,
    /// Partitions that it gave away.
    pub(super) moved: Vec<(LaneId, PartitionBack)>,
    /// Of the partitions that appeared.
    pub(super) troubles: Vec<Arc<Trouble>>,
    /// As told last.
    pub(super) standing: Option<Standing>,
    pub(super) topics: BTreeMap<TopicIndex, TopicStanding>,
}

pub(super) fn lost(why: &str) -> ConnectionError {
    ConnectionError::Lost { why: why.into() }
}

pub(super) fn address(name: &str) -> Address {
    Address { host: Arc::from(name), port: 9092 }
}

pub(super) fn fast(node: i32) -> LaneId {
    LaneId::fast(NodeId(node))
}

impl Rig {
    pub(super) fn new(bootstrap: &[&str]) -> Self {
        let config = ControlConfig {
            bootstrap: bootstrap.iter().map(|name| address(name)).collect(),
            connection: ConnectionConfig::new(Arc::from("me"), TIMEOUT),
            back: BackConfig::new(Duration::from_secs(5), RETRY),
            encodings_of: BTreeMap::new(),
            retry: RETRY,
            metadata_max_age: MAX_AGE,
            rebootstrap_after: Duration::from_secs(300),
            allow_auto_create_topics: false,
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
            troubles: Vec::new(),
            standing: None,
            topics: BTreeMap::new(),
        }
    }

    /// Connected to its only bootstrap address, wants a topic "t" and knows that it has these leaders, without epochs.
    pub(super) fn with_topic(leaders: &[i32]) -> Self {
        Self::with_topic_at(&leaders.iter().map(|leader| (*leader, -1)).collect::<Vec<_>>())
    }

    /// As [`Self::with_topic`], with leader epochs.
    pub(super) fn with_topic_at(leaders: &[(i32, i32)]) -> Self {
        let mut rig = Self::new(&["a"]);
        assert_eq!(rig.control.want_topic("t"), TopicIndex(0));
        rig.turn();
        rig.connect();
        rig.answer(&metadata_at(1, leaders));
        rig.told.clear();
        rig
    }

    pub(super) fn turn(&mut self) {
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
        // A connection that was given up is closed before another byte goes out.
        progressed |= self.take_events();
        while let Some(frame) = self.control.poll_transmit(self.now) {
            self.control.handle_written(frame.len());
            let read = self.peer.as_mut().expect("the socket is open").read(&frame);
            self.asked.extend(read);
            progressed = true;
        }
        progressed | self.take_events()
    }

    fn take_events(&mut self) -> bool {
        let mut progressed = false;
        while let Some(event) = self.control.poll_event() {
            self.take_event(event);
            progressed = true;
        }
        progressed
    }

    pub(super) fn take_event(&mut self, event: ControlEvent) {
        let told = match event {
            ControlEvent::Dial(address) => return self.dials.push(address.host.to_string()),
            ControlEvent::HangUp => {
                self.hang_ups += 1;
                self.peer = None;
                return self.asked.clear();
            }
            ControlEvent::Reached => "reached".to_owned(),
            ControlEvent::PartitionsAppeared { topic, partitions, are_last } => {
                self.troubles.extend(partitions.iter().map(|new| Arc::clone(&new.trouble)));
                let ids: Vec<_> = partitions.iter().map(|new| (new.id.0, new.index.0)).collect();
                format!("topic {topic} has {ids:?}{}", if are_last { "" } else { " and more" })
            }
            ControlEvent::TopicShrunk { topic, count } => format!("topic {topic} has the first {count} only"),
            ControlEvent::PartitionGone(id) => format!("{id} is gone"),
            ControlEvent::TopicMissing(topic, code) => format!("topic {topic} misses: {code}"),
            ControlEvent::LaneNeeded(lane, address) => format!("lane {lane} at {}", address.host),
            ControlEvent::LaneLost(lane) => format!("lane {lane} lost"),
            ControlEvent::LaneEnded(lane) => format!("lane {lane} ended"),
            ControlEvent::Order(lane, order) => self.take_order(lane, order),
            ControlEvent::Ended(id, ended) => format!("ended {id}: {:?}", ended.conclude().completion.end()),
        };
        self.told.push(told);
    }

    fn take_order(&mut self, lane: LaneId, order: LaneOrder) -> String {
        match order {
            LaneOrder::Adopt(back) => {
                let told = format!("move {} to {lane}", back.id());
                self.moved.push((lane, *back));
                told
            }
            LaneOrder::Recall(id, Recall::WhenIdle) => format!("recall {id} from {lane}"),
            LaneOrder::Recall(id, Recall::AtOnce) => format!("recall {id} from {lane} at once"),
            LaneOrder::Grant(id, identity) => format!("grant {} to {id} on {lane}", identity.producer_id),
            LaneOrder::TopicRecreated(id, _) => format!("recreated {id} on {lane}"),
            LaneOrder::ClusterChanged(id) => format!("another cluster for {id} on {lane}"),
            LaneOrder::Abandon(id, producer_id) => format!("abandon {producer_id} of {id} on {lane}"),
            LaneOrder::Stray(id, _) => format!("stray for {id} to {lane}"),
        }
    }

    pub(super) fn connect(&mut self) {
        self.connect_speaking(&[(ApiKey::METADATA, 13), (ApiKey::INIT_PRODUCER_ID, 4)]);
    }

    pub(super) fn connect_speaking(&mut self, newest: &[(ApiKey, i16)]) {
        self.peer = Some(Peer::new());
        self.control.handle_connected(self.now);
        self.turn();
        let asked = self.asked.pop_front().expect("the first frame");
        self.receive(&asked.answer_versions(newest));
    }

    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.control.read_buffer().expect("the socket is open").extend_from_slice(bytes);
        self.control.handle_read(self.now);
        self.turn();
    }

    pub(super) fn lose(&mut self, why: &str) {
        self.peer = None;
        self.asked.clear();
        self.control.handle_disconnected(self.now, lost(why));
        self.turn();
    }

    pub(super) fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        self.turn();
    }

    /// Goes to the next thing that is due, and says how long that took.
    pub(super) fn wait_for_due(&mut self) -> Duration {
        let due = self.control.poll_timeout().expect("something will be due");
        let pause = due.since(self.now);
        self.wait(pause);
        pause
    }

    pub(super) fn pop(&mut self, key: ApiKey) -> Asked {
        let place = self.asked.iter().position(|asked| asked.key == key);
        self.asked.remove(place.unwrap_or_else(|| panic!("no {key} was asked"))).expect("found there")
    }

    /// Answers the open question about metadata.
    pub(super) fn answer(&mut self, response: &MetadataResponse) {
        let asked = self.pop(ApiKey::METADATA);
        self.receive(&asked.answer(response));
    }

    /// As [`Self::answer`], after a lane said that something changed; the fast lane of node 1 has partitions.
    pub(super) fn refresh(&mut self, response: &MetadataResponse) {
        self.report(fast(1), LaneReport::NeedsMetadata(Some(PartitionId(0))));
        self.wait(PAUSE);
        self.told.clear();
        self.answer(response);
    }

    pub(super) fn report(&mut self, lane: LaneId, report: LaneReport) {
        self.control.handle_report(self.now, lane, report);
        self.turn();
    }

    /// The lane that has the partition gives it back.
    pub(super) fn release(&mut self, id: u32) {
        let place = self.moved.iter().position(|(_, back)| back.id().0 == id).expect("a lane has it");
        let (lane, back) = self.moved.swap_remove(place);
        self.report(lane, LaneReport::Released(Box::new(back)));
    }

    pub(super) fn need_identity(&mut self, id: u32, abandoned: Option<i64>) {
        self.report(fast(1), LaneReport::NeedsIdentity(PartitionId(id), abandoned.map(ProducerId)));
    }

    pub(super) fn answer_identity(&mut self, error_code: i16, producer_id: i64) {
        let asked = self.pop(ApiKey::INIT_PRODUCER_ID);
        let response =
            InitProducerIdResponse { error_code, producer_id, producer_epoch: 0, ..InitProducerIdResponse::default() };
        self.receive(&asked.answer(&response));
    }

    pub(super) fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told)
    }

    /// What a record of this partition would be told that it waits for.
    pub(super) fn trouble(&self, id: usize) -> Option<AttemptError> {
        self.troubles[id].last().1
    }
}

/// The topic "t" with this id byte and these leaders, without epochs; negative for none. Brokers 1 to 3 are "b1" to "b3".
pub(super) fn metadata(id: u8, leaders: &[i32]) -> MetadataResponse {
    metadata_at(id, &leaders.iter().map(|leader| (*leader, -1)).collect::<Vec<_>>())
}

/// As [`metadata`], with leader epochs.
pub(super) fn metadata_at(id: u8, leaders: &[(i32, i32)]) -> MetadataResponse {
    let broker = |id| MetadataResponseBroker {
        node_id: id,
        host: format!("b{id}").into(),
        port: 9092,
        ..MetadataResponseBroker::default()
    };
    let partition = |(index, (leader_id, leader_epoch)): (usize, &(i32, i32))| MetadataResponsePartition {
        partition_index: index as i32,
        leader_id: *leader_id,
        leader_epoch: *leader_epoch,
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
