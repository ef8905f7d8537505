//! A sequence of requests: a pure function of its seed.
//!
//! Whoever writes it keeps a model of what a broker should hold by now, which is only a guess: it makes requests interesting, most of them good, the
//! others wrong in one point. What is right is said by the brokers alone. Ids that only a broker can give stand there as names (`names.rs`).
//!
//! What is asked is in the files below: `produce.rs` (stamps), `damage.rs` (batches that are no good), `read.rs`, `session.rs`, `admin.rs`,
//! `configs.rs`, `layout.rs`. What milena-broker does not serve is not asked.

mod admin;
mod configs;
mod damage;
mod layout;
mod produce;
mod read;
mod session;

use bytes::Bytes;
use milena_wire::ApiKey;

use crate::asked::Asked;
use crate::chance::Chance;
use crate::names;
use session::SessionModel;

pub use admin::creatable;

/// Requests in a row, on one connection of each broker, and what they need before.
#[derive(Clone, Debug, PartialEq)]
pub struct Sequence {
    pub seed: u64,
    /// Topics that are there before the first request.
    pub topics: Vec<TopicNeeded>,
    pub steps: Vec<Step>,
    /// Before which step both brokers are restarted.
    pub restart_at: Option<usize>,
    /// Whether it asks for what others change.
    pub is_alone: bool,
    /// Whether brokers compress what producers wrote, each in its own way.
    pub is_repacked: bool,
}

/// A topic to be created.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicNeeded {
    /// The number by which requests name its id.
    pub slot: u32,
    pub name: String,
    pub partitions: i32,
    pub configs: Vec<(&'static str, String)>,
}

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What it is for, in a few words.
    pub what: &'static str,
    pub version: i16,
    pub asked: Asked,
    /// What is changed in the frame.
    pub cut: Option<FrameDamage>,
    /// What is learned from the answers.
    pub then: Then,
}

/// A frame that is not what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameDamage {
    /// So many bytes of its end are missing; the length says so.
    Shorter(usize),
    /// So many bytes follow it; the length counts them.
    Longer(usize),
    /// Another API version in the header.
    Version(i16),
    /// Another API key in the header.
    Key(i16),
}

/// What follows an answer without an error.
#[derive(Clone, Debug, PartialEq)]
pub enum Then {
    Nothing,
    /// The producer id in it has this number from now on.
    Producer(u32),
    /// Topics appear; before the next request every part of the broker knows.
    Created(Vec<TopicNeeded>),
    /// A topic has more partitions; before the next request every part of the broker knows.
    Grown(TopicNeeded),
    /// A topic has other settings, if it is one that is there; before the next request every part of the broker knows.
    Altered(String),
    /// Quotas are others.
    Quotas,
    /// The fetch session in it has this number from now on.
    Session(u32),
    /// A topic vanishes; before the next request every part of the broker knows.
    Deleted(String),
}

/// What a sequence is written for, beside its seed.
#[derive(Clone, Debug)]
pub struct Origin {
    /// How the names of its topics begin.
    pub prefix: String,
    /// The time that records are stamped with, in milliseconds; before the start of the brokers.
    pub base: i64,
    /// The keys of the APIs that may be asked.
    pub served: Vec<i16>,
}

impl Sequence {
    pub fn of(seed: u64, origin: &Origin) -> Sequence {
        let mut author = Author::new(seed, origin);
        let length = author.chance.within(30..42) as usize;
        let is_alone = author.is_alone;
        let restart_at =
            (seed.is_multiple_of(RESTARTED_IN) && !is_alone).then(|| author.chance.within(14..24) as usize);
        while author.steps.len() < length || author.steps.len() <= restart_at.unwrap_or(0) {
            if restart_at.is_some_and(|at| author.steps.len() == at) {
                author.remember();
            }
            author.write_one();
        }
        let Author { needed: topics, steps, is_repacked, .. } = author;
        Sequence { seed, topics, steps, restart_at, is_alone, is_repacked }
    }

    /// Only these of its requests.
    pub fn only(&self, kept: &[usize]) -> Sequence {
        let steps = kept.iter().map(|at| self.steps[*at].clone()).collect();
        let restart_at = self.restart_at.map(|restart| kept.iter().filter(|at| **at < restart).count());
        Sequence { steps, restart_at, ..self.clone() }
    }
}

/// Whoever writes a sequence, and what it knows so far.
struct Author<'a> {
    chance: Chance,
    origin: &'a Origin,
    needed: Vec<TopicNeeded>,
    topics: Vec<TopicModel>,
    producers: Vec<u32>,
    slots: u32,
    steps: Vec<Step>,
    is_alone: bool,
    /// Whether a topic wants batches compressed in its own way; how many bytes they have is then the broker's own.
    is_repacked: bool,
    session: Option<SessionModel>,
    sessions: u32,
}

/// What a topic should be by now.
#[derive(Clone, Debug)]
struct TopicModel {
    name: String,
    slot: u32,
    /// Numbers of topics that had its name before.
    gone: Vec<u32>,
    exists: bool,
    /// Whether it was given settings, by any who asked.
    has_settings: bool,
    partitions: Vec<PartitionModel>,
}

/// What a partition should hold by now.
#[derive(Clone, Debug, Default)]
struct PartitionModel {
    end: i64,
    writers: Vec<WriterModel>,
}

/// What a producer has written to a partition.
#[derive(Clone, Debug)]
struct WriterModel {
    producer: i64,
    epoch: i16,
    /// The sequence that is due.
    next: i32,
    /// Batches that were taken, as they were sent; the newest last.
    sent: Vec<(i32, i32, Bytes)>,
}

/// What a request is about.
#[derive(Clone, Copy, Debug)]
enum Theme {
    Produce,
    BadBatch,
    BadProduce,
    Fetch,
    ListOffsets,
    Epochs,
    Producers,
    Metadata,
    Cluster,
    NewProducer,
    ApiVersions,
    Coordinator,
    CreateTopic,
    DeleteTopic,
    BadFrame,
    Session,
    Configs,
    Quotas,
    MorePartitions,
    Pages,
    Elections,
    Moves,
    LogDirs,
    DeleteRecords,
}

impl Theme {
    /// What must be served for it, beside what always is.
    fn api(self) -> Option<ApiKey> {
        Some(match self {
            Theme::Configs => ApiKey::ALTER_CONFIGS,
            Theme::Quotas => ApiKey::ALTER_CLIENT_QUOTAS,
            Theme::MorePartitions => ApiKey::CREATE_PARTITIONS,
            Theme::Pages => ApiKey::DESCRIBE_TOPIC_PARTITIONS,
            Theme::Elections => ApiKey::ELECT_LEADERS,
            Theme::Moves => ApiKey::ALTER_PARTITION_REASSIGNMENTS,
            Theme::LogDirs => ApiKey::DESCRIBE_LOG_DIRS,
            Theme::DeleteRecords => ApiKey::DELETE_RECORDS,
            _ => return None,
        })
    }
}

impl<'a> Author<'a> {
    fn new(seed: u64, origin: &'a Origin) -> Author<'a> {
        let chance = Chance::new(seed);
        let (needed, topics, producers, steps) = Default::default();
        let is_alone = seed % ALONE_IN == 1;
        let mut author = Author {
            chance,
            origin,
            needed,
            topics,
            producers,
            slots: 0,
            steps,
            is_alone,
            is_repacked: false,
            session: None,
            sessions: 0,
        };
        let plain = author.topic("a", 2, Vec::new());
        author.add(plain);
        if author.chance.one_in(2) {
            let configs = author.odd_configs();
            let odd = author.topic("b", 1, configs);
            author.add(odd);
        }
        author.new_producer();
        author
    }

    fn add(&mut self, topic: TopicNeeded) {
        self.topics.push(TopicModel::of(&topic));
        self.needed.push(topic);
    }

    fn topic(&mut self, name: &str, partitions: i32, configs: Vec<(&'static str, String)>) -> TopicNeeded {
        let slot = self.slots;
        self.slots += 1;
        TopicNeeded { slot, name: format!("{}-{name}", self.origin.prefix), partitions, configs }
    }

    /// A setting that changes which batches are taken, or how.
    fn odd_configs(&mut self) -> Vec<(&'static str, String)> {
        let hours = |hours: i64| (hours * 3_600_000).to_string();
        match self.chance.below(11) {
            0 | 1 => vec![("message.timestamp.type", "LogAppendTime".to_owned())],
            2 => vec![("max.message.bytes", "300".to_owned())],
            3 => vec![("message.timestamp.before.max.ms", hours(2))],
            4 => vec![("message.timestamp.after.max.ms", hours(5)), ("max.message.bytes", "2000".to_owned())],
            // Nothing is compacted: that is done when the broker likes to.
            5 | 6 => vec![("cleanup.policy", "compact".to_owned()), ("min.compaction.lag.ms", hours(10_000))],
            // Records whose times lie apart are in segments of their own.
            7..=9 => vec![("segment.ms", hours(1)), ("message.timestamp.after.max.ms", hours(5))],
            _ => {
                self.is_repacked = true;
                let codec = self.chance.pick(&["gzip", "snappy", "lz4", "zstd", "uncompressed"]);
                vec![("compression.type", codec.to_owned())]
            }
        }
    }

    fn write_one(&mut self) {
        let theme = self.chance.weighted(&THEMES);
        if theme.api().is_some_and(|api| !self.origin.served.contains(&api.0)) {
            return self.metadata();
        }
        match theme {
            Theme::Produce => self.produce(),
            Theme::BadBatch => self.produce_damaged(),
            Theme::BadProduce => self.produce_oddly(),
            Theme::Fetch => self.fetch(),
            Theme::ListOffsets => self.list_offsets(),
            Theme::Epochs => self.offset_for_leader_epoch(),
            Theme::Producers => self.describe_producers(),
            Theme::Metadata => self.metadata(),
            Theme::Cluster => self.describe_cluster(),
            Theme::NewProducer => self.new_producer(),
            Theme::ApiVersions => self.api_versions(),
            // Kafka makes a topic of its own for that.
            Theme::Coordinator if self.is_alone => self.all_metadata(),
            Theme::Coordinator => self.find_coordinator(),
            Theme::CreateTopic => self.create_topics(),
            Theme::DeleteTopic => self.delete_topics(),
            Theme::BadFrame => self.bad_frame(),
            Theme::Session => self.fetch_in_session(),
            Theme::Configs => self.configs(),
            Theme::Quotas => self.quotas(),
            Theme::MorePartitions => self.create_partitions(),
            Theme::Pages => self.describe_partitions(),
            Theme::Elections => self.elect_leaders(),
            Theme::Moves => self.reassign(),
            Theme::LogDirs if self.is_repacked => self.metadata(),
            Theme::LogDirs => self.describe_log_dirs(),
            Theme::DeleteRecords => self.delete_records(),
        }
    }

    /// After a restart: is what was written before still known, and how does it go on?
    fn remember(&mut self) {
        let places = |topics: &[TopicModel]| -> Vec<(usize, usize)> {
            let partitions =
                |(at, topic): (usize, &TopicModel)| (0..topic.partitions.len()).map(move |index| (at, index));
            topics.iter().enumerate().flat_map(partitions).collect()
        };
        self.describe_producers();
        for (topic, partition) in places(&self.topics) {
            self.repeat_all(topic, partition);
        }
        for (topic, partition) in places(&self.topics) {
            self.go_on(topic, partition);
        }
        self.describe_producers();
        self.fetch_all();
        self.offset_for_leader_epoch();
    }

    fn ask(&mut self, what: &'static str, version: i16, asked: impl Into<Asked>) -> &mut Step {
        let asked = asked.into();
        self.steps.push(Step { what, version, asked, cut: None, then: Then::Nothing });
        self.steps.last_mut().expect("it was just pushed")
    }

    /// Any version that Kafka 4.3 serves.
    fn version(&mut self, api: ApiKey) -> i16 {
        let versions = api.stable_versions().expect("it is an API");
        self.chance.within(i64::from(*versions.start())..i64::from(*versions.end()) + 1) as i16
    }

    /// A frame that is too short, too long, or for a version or an API that nobody serves.
    fn bad_frame(&mut self) {
        let before = self.steps.len();
        match self.chance.below(4) {
            0 => self.metadata(),
            1 => self.list_offsets(),
            2 => self.fetch(),
            _ => self.describe_cluster(),
        }
        let Some(step) = self.steps.get(before) else { return };
        let newest = *step.asked.api().stable_versions().expect("it is an API").end();
        let cut = match self.chance.below(8) {
            0 | 1 => FrameDamage::Shorter(1 + self.chance.below(6)),
            2 | 3 => FrameDamage::Longer(1 + self.chance.below(6)),
            4 => FrameDamage::Version(newest + 1 + self.chance.below(3) as i16),
            5 => FrameDamage::Version(-1),
            6 => FrameDamage::Version(99),
            _ => FrameDamage::Key(self.chance.pick(&[-1, 4, 5, 6, 7, 52, 1000])),
        };
        let step = &mut self.steps[before];
        step.cut = Some(cut);
        step.then = Then::Nothing;
        step.what = "a frame that is not what it says";
    }

    /// A topic that should be there, and a partition of it.
    fn place(&mut self) -> Option<(usize, usize)> {
        let there: Vec<usize> = (0..self.topics.len()).filter(|at| self.topics[*at].exists).collect();
        if there.is_empty() {
            return None;
        }
        let topic = self.chance.pick(&there);
        let partition = self.chance.below(self.topics[topic].partitions.len());
        Some((topic, partition))
    }

    /// Its name is not used again: after a restart, Kafka 4.3.1 gives a topic the settings that one of its name had before.
    fn gives_settings(&mut self, name: &str) {
        self.topics.iter_mut().filter(|topic| topic.name == name).for_each(|topic| topic.has_settings = true);
    }

    fn missing_name(&mut self) -> String {
        let gone: Vec<&TopicModel> = self.topics.iter().filter(|topic| !topic.exists).collect();
        if !gone.is_empty() && self.chance.one_in(2) {
            return self.chance.pick(&gone).name.clone();
        }
        let long = "x".repeat(250);
        self.chance.pick(&["no-such-topic".to_owned(), String::new(), "a b".to_owned(), "..".to_owned(), long])
    }
}

impl TopicModel {
    fn of(topic: &TopicNeeded) -> TopicModel {
        TopicModel {
            name: topic.name.clone(),
            slot: topic.slot,
            gone: Vec::new(),
            exists: true,
            has_settings: !topic.configs.is_empty(),
            partitions: vec![PartitionModel::default(); usize::try_from(topic.partitions).unwrap_or(0)],
        }
    }

    fn id(&self) -> milena_wire::Uuid {
        names::topic_id(self.slot)
    }
}

/// An id that no broker gives.
const STRANGE_ID: milena_wire::Uuid = milena_wire::Uuid(*b"nobody gave this");

/// One sequence in so many is run while no other one is.
const ALONE_IN: u64 = 60;
/// One sequence in so many sees a restart.
pub const RESTARTED_IN: u64 = 4;

const THEMES: [(usize, Theme); 24] = [
    (34, Theme::Produce),
    (10, Theme::BadBatch),
    (4, Theme::BadProduce),
    (16, Theme::Fetch),
    (9, Theme::ListOffsets),
    (3, Theme::Epochs),
    (3, Theme::Producers),
    (7, Theme::Metadata),
    (2, Theme::Cluster),
    (4, Theme::NewProducer),
    (2, Theme::ApiVersions),
    (2, Theme::Coordinator),
    (2, Theme::CreateTopic),
    (2, Theme::DeleteTopic),
    (2, Theme::BadFrame),
    (5, Theme::Session),
    (5, Theme::Configs),
    (1, Theme::Quotas),
    (1, Theme::MorePartitions),
    (2, Theme::Pages),
    (1, Theme::Elections),
    (2, Theme::Moves),
    (1, Theme::LogDirs),
    (2, Theme::DeleteRecords),
];
