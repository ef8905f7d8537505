//! Fetch sessions of one node (KIP-227): what a consumer wants to read, remembered, so that it sends and gets only what changes.
//!
//! A session belongs to who knows its id, whatever the connection. Its epoch counts its requests: one that comes twice, or out of order, is
//! refused. A partition is in an answer if it has data, an error or other offsets than were told last.
//!
//! There is room for so many sessions and partitions. A new session takes the place of one that nobody used for two minutes, or of one that is
//! older than that and smaller; without a place there is no session, and the client sends everything every time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use milena_wire::messages::fetch::request::{FetchPartition, FetchRequest, FetchTopic};
use milena_wire::messages::fetch::response::{FetchableTopicResponse, PartitionData};
use milena_wire::{ErrorCode, Uuid};

/// The sessions of one node.
#[derive(Debug, Default)]
pub(crate) struct FetchSessions {
    sessions: BTreeMap<i32, Session>,
    /// Of all sessions together.
    partitions: usize,
}

/// What a request is, for the sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionUse {
    /// It wants none.
    None,
    /// It wants a new one.
    New,
    /// It goes on with one, whose epoch is this from now on.
    Next { id: i32, epoch: i32 },
}

#[derive(Debug)]
struct Session {
    /// That of the next request.
    epoch: i32,
    uses_ids: bool,
    created: Duration,
    used: Duration,
    /// In the order in which they are read: one that gave data goes to the end.
    partitions: BTreeMap<u64, Entry>,
    places: BTreeMap<(TopicKey, i32), u64>,
    places_given: u64,
}

/// One partition of a session.
#[derive(Debug)]
struct Entry {
    topic: TopicKey,
    /// Of the topic that the id is or was of. Set when it was first found, and kept when the topic goes.
    name: Option<Box<str>>,
    asked: FetchPartition,
    /// What was told last; −1 where it has to be told again.
    high_watermark: i64,
    log_start_offset: i64,
}

/// A topic as the session's requests call it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum TopicKey {
    Name(Box<str>),
    Id(Uuid),
}

impl FetchSessions {
    /// What a request means, and all that it wants, with what its session remembers. Topics whose name can be told have it, also those that
    /// are wanted by id.
    pub(crate) fn begin(
        &mut self,
        now: Duration,
        uses_ids: bool,
        request: FetchRequest,
        name_of: impl Fn(Uuid) -> Option<Box<str>>,
    ) -> Result<(SessionUse, FetchRequest), ErrorCode> {
        let (id, epoch) = (request.session_id, request.session_epoch);
        if matches!(epoch, INITIAL_EPOCH | FINAL_EPOCH) {
            self.remove(id);
            let used = if epoch == FINAL_EPOCH { SessionUse::None } else { SessionUse::New };
            let mut full = FetchRequest { forgotten_topics_data: Vec::new(), ..request };
            if uses_ids {
                full.topics.iter_mut().for_each(|topic| topic.topic = name_of(topic.topic_id).unwrap_or_default());
            }
            return Ok((used, without_repeats(uses_ids, full)));
        }
        let session = self.sessions.get_mut(&id).ok_or(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)?;
        if session.epoch != epoch {
            return Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        }
        if session.uses_ids != uses_ids {
            return Err(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
        }
        let before = session.partitions.len();
        session.update(&request);
        session.learn_names(name_of);
        let after = session.partitions.len();
        session.used = now;
        session.epoch = next_epoch(epoch);
        let used = SessionUse::Next { id, epoch: session.epoch };
        let wanted = session.wanted();
        self.partitions = self.partitions - before + after;
        if after == 0 {
            // What such a request names besides is read without a session, also what it forgets at the same time.
            self.remove(id);
            let named = FetchRequest { forgotten_topics_data: Vec::new(), ..request };
            return Ok((SessionUse::None, without_repeats(uses_ids, named)));
        }
        let all = FetchRequest { topics: wanted, ..request };
        if self.partitions > PARTITIONS_MAX {
            self.remove(id);
            return Ok((SessionUse::None, all));
        }
        Ok((used, all))
    }

    /// Takes out of an answer what its session need not tell, and says the session's id.
    pub(crate) fn conclude(
        &mut self,
        used: SessionUse,
        responses: Vec<FetchableTopicResponse>,
    ) -> Result<(i32, Vec<FetchableTopicResponse>), ErrorCode> {
        match used {
            SessionUse::None | SessionUse::New => Ok((NO_SESSION, responses)),
            SessionUse::Next { id, epoch } => match self.sessions.get_mut(&id) {
                Some(session) if session.epoch == epoch => Ok((id, session.changed(responses))),
                // Somebody else went on with it while this request waited.
                Some(_) => Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH),
                None => Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND),
            },
        }
    }

    /// Remembers a request and its answer, if there is room. `id` is drawn until it is free.
    pub(crate) fn create(&mut self, new: NewSession<'_>, mut id: impl FnMut() -> i32) -> i32 {
        let size = new.request.topics.iter().map(|topic| topic.partitions.len()).sum();
        if !self.make_room(new.now, new.sessions_max, size) {
            return NO_SESSION;
        }
        let mut session = Session::of(new.now, new.uses_ids, new.request);
        for topic in new.responses {
            for partition in &topic.partitions {
                session.note(topic, partition);
                // The first order is that of the first answer.
                session.move_to_end(topic, partition);
            }
        }
        let id = loop {
            let id = id();
            if id > NO_SESSION && !self.sessions.contains_key(&id) {
                break id;
            }
        };
        self.partitions += session.partitions.len();
        self.sessions.insert(id, session);
        id
    }

    /// What the session that a request goes on with wanted so far, if it does.
    pub(crate) fn wanted_by(&self, request: &FetchRequest) -> Option<Vec<FetchTopic>> {
        if matches!(request.session_epoch, INITIAL_EPOCH | FINAL_EPOCH) {
            return None;
        }
        Some(self.sessions.get(&request.session_id)?.wanted())
    }

    fn remove(&mut self, id: i32) {
        if let Some(session) = self.sessions.remove(&id) {
            self.partitions -= session.partitions.len();
        }
    }

    fn make_room(&mut self, now: Duration, sessions_max: usize, size: usize) -> bool {
        let fits = |sessions: &FetchSessions| {
            sessions.sessions.len() < sessions_max && sessions.partitions + size <= PARTITIONS_MAX
        };
        if fits(self) {
            return true;
        }
        let is_old = |since: Duration| now.saturating_sub(since) > EVICTION_AGE;
        let unused = self.sessions.iter().min_by_key(|(_, session)| session.used).filter(|(_, it)| is_old(it.used));
        let smallest = || {
            let old = self.sessions.iter().filter(|(_, session)| is_old(session.created));
            old.min_by_key(|(_, session)| session.partitions.len()).filter(|(_, it)| it.partitions.len() < size)
        };
        if let Some(id) = unused.or_else(smallest).map(|(id, _)| *id) {
            self.remove(id);
        }
        fits(self)
    }
}

/// A request that wants a session, and its answer.
pub(crate) struct NewSession<'a> {
    pub(crate) now: Duration,
    pub(crate) sessions_max: usize,
    pub(crate) uses_ids: bool,
    pub(crate) request: &'a FetchRequest,
    pub(crate) responses: &'a [FetchableTopicResponse],
}

impl Session {
    fn of(now: Duration, uses_ids: bool, request: &FetchRequest) -> Session {
        let mut session = Session {
            epoch: next_epoch(INITIAL_EPOCH),
            uses_ids,
            created: now,
            used: now,
            partitions: BTreeMap::new(),
            places: BTreeMap::new(),
            places_given: 0,
        };
        session.update(request);
        session
    }

    /// Takes over what is new and what is asked otherwise, and forgets what is not wanted any more.
    fn update(&mut self, request: &FetchRequest) {
        for topic in &request.topics {
            for partition in &topic.partitions {
                let name = (!topic.topic.is_empty()).then(|| topic.topic.clone());
                self.want(key(self.uses_ids, &topic.topic, topic.topic_id), name, partition);
            }
        }
        for topic in &request.forgotten_topics_data {
            let topic_key = key(self.uses_ids, &topic.topic, topic.topic_id);
            for partition in &topic.partitions {
                if let Some(place) = self.places.remove(&(topic_key.clone(), *partition)) {
                    self.partitions.remove(&place);
                }
            }
        }
    }

    fn learn_names(&mut self, name_of: impl Fn(Uuid) -> Option<Box<str>>) {
        for entry in self.partitions.values_mut() {
            if let (TopicKey::Id(id), None) = (&entry.topic, &entry.name) {
                entry.name = name_of(*id);
            }
        }
    }

    fn want(&mut self, topic: TopicKey, name: Option<Box<str>>, asked: &FetchPartition) {
        let known = self.places.get(&(topic.clone(), asked.partition)).and_then(|place| self.partitions.get_mut(place));
        match known {
            Some(entry) => entry.asked.clone_from(asked),
            None => self.append(Entry { topic, name, asked: asked.clone(), high_watermark: -1, log_start_offset: -1 }),
        }
    }

    fn append(&mut self, entry: Entry) {
        self.places_given += 1;
        self.places.insert((entry.topic.clone(), entry.asked.partition), self.places_given);
        self.partitions.insert(self.places_given, entry);
    }

    /// Everything, in order, as a request of its own would ask for it; with names beside ids where they are known.
    fn wanted(&self) -> Vec<FetchTopic> {
        let mut topics: Vec<FetchTopic> = Vec::new();
        let mut last = None;
        for entry in self.partitions.values() {
            if last != Some(&entry.topic) {
                let (topic, topic_id) = match &entry.topic {
                    TopicKey::Name(name) => (name.clone(), Uuid::ZERO),
                    TopicKey::Id(id) => (entry.name.clone().unwrap_or_default(), *id),
                };
                topics.push(FetchTopic { topic, topic_id, ..Default::default() });
                last = Some(&entry.topic);
            }
            if let Some(topic) = topics.last_mut() {
                topic.partitions.push(entry.asked.clone());
            }
        }
        topics
    }

    /// What of an answer has to be told.
    fn changed(&mut self, responses: Vec<FetchableTopicResponse>) -> Vec<FetchableTopicResponse> {
        let mut told: Vec<FetchableTopicResponse> = Vec::with_capacity(responses.len());
        for mut topic in responses {
            let partitions = std::mem::take(&mut topic.partitions);
            let changed = partitions.into_iter().filter(|partition| {
                let is_told = self.note(&topic, partition);
                if partition.records.as_ref().is_some_and(|records| !records.is_empty()) {
                    self.move_to_end(&topic, partition);
                }
                is_told
            });
            let changed: Vec<PartitionData> = changed.collect();
            // What lay between two partitions of a topic need not be told.
            match told.last_mut().filter(|last| last.topic == topic.topic && last.topic_id == topic.topic_id) {
                Some(last) => last.partitions.extend(changed),
                None if changed.is_empty() => {}
                None => told.push(FetchableTopicResponse { partitions: changed, ..topic }),
            }
        }
        told
    }

    fn move_to_end(&mut self, topic: &FetchableTopicResponse, data: &PartitionData) {
        let place = self.places.get(&(key(self.uses_ids, &topic.topic, topic.topic_id), data.partition_index));
        if let Some(entry) = place.copied().and_then(|place| self.partitions.remove(&place)) {
            self.append(entry);
        }
    }

    /// Remembers what is told about a partition; says whether it is new.
    fn note(&mut self, topic: &FetchableTopicResponse, data: &PartitionData) -> bool {
        let topic_key = key(self.uses_ids, &topic.topic, topic.topic_id);
        let Some(place) = self.places.get(&(topic_key, data.partition_index)).copied() else { return true };
        let Some(entry) = self.partitions.get_mut(&place) else { return true };
        let has_records = data.records.as_ref().is_some_and(|records| !records.is_empty());
        let is_moved = (entry.high_watermark, entry.log_start_offset) != (data.high_watermark, data.log_start_offset);
        let is_odd = data.error_code != 0 || data.diverging_epoch.epoch >= 0;
        // What comes after something odd is told whatever it is.
        entry.high_watermark = if is_odd { -1 } else { data.high_watermark };
        entry.log_start_offset = data.log_start_offset;
        has_records || is_moved || is_odd || data.preferred_read_replica >= 0
    }
}

/// A full request that names a partition twice means the last time, as Kafka reads it.
fn without_repeats(uses_ids: bool, request: FetchRequest) -> FetchRequest {
    let mut seen = BTreeSet::new();
    let mut named = request.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(move |partition| (topic_id(uses_ids, topic), partition.partition))
    });
    if named.all(|partition| seen.insert(partition)) {
        return request;
    }
    let topics = Session::of(Duration::ZERO, uses_ids, &request).wanted();
    FetchRequest { topics, ..request }
}

fn topic_id(uses_ids: bool, topic: &FetchTopic) -> (&str, Uuid) {
    if uses_ids { ("", topic.topic_id) } else { (&topic.topic, Uuid::ZERO) }
}

fn key(uses_ids: bool, name: &str, id: Uuid) -> TopicKey {
    if uses_ids { TopicKey::Id(id) } else { TopicKey::Name(name.into()) }
}

fn next_epoch(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

const NO_SESSION: i32 = 0;
const INITIAL_EPOCH: i32 = 0;
const FINAL_EPOCH: i32 = -1;
/// Kafka's own.
const EVICTION_AGE: Duration = Duration::from_secs(120);
/// A partition takes some hundred bytes, so the sessions of a node stay below half a gigabyte whatever clients ask for.
const PARTITIONS_MAX: usize = 1_000_000;
