//! A configuration while properties are read into it, and what follows from what was set where other clients let it follow.

use std::collections::BTreeMap;
use std::time::Duration;

use milena_core::producer::verdict::Acks;

use super::settings::{Setting, Spelling};
use super::value::{self, Parsed};
use crate::config::compression::level_of;
use crate::config::misfit::Given;
use crate::config::{Compression, ProducerConfig};
use crate::partitioner::Partitioner;

/// What Java and librdkafka say of one thing by three names.
#[derive(Default)]
pub(super) struct Partitioners {
    /// librdkafka's.
    pub(super) named: Option<Partitioner>,
    /// Java's; none where the class is empty, which says nothing.
    pub(super) class: Option<Partitioner>,
    /// Java's; without effect beside a class, as it says.
    pub(super) ignores_keys: Option<bool>,
}

impl Partitioners {
    fn contradiction(&self) -> Option<(&'static str, &'static str)> {
        let Self { named, class, ignores_keys } = self;
        let named = named.as_ref()?;
        if class.is_some() {
            // No class that is known here has a name of librdkafka's.
            return Some(("partitioner", "partitioner.class"));
        }
        let differs = ignores_keys.is_some_and(|ignores| ignores != matches!(named, Partitioner::Sticky));
        differs.then_some(("partitioner", "partitioner.ignore.keys"))
    }

    fn chosen(self) -> Partitioner {
        let Self { named, class, ignores_keys } = self;
        let by_keys = || if ignores_keys == Some(true) { Partitioner::Sticky } else { Partitioner::default() };
        class.or(named).unwrap_or_else(by_keys)
    }
}

/// A configuration while properties are read into it.
pub(super) struct Draft {
    pub(super) config: ProducerConfig,
    pub(super) deadline: Option<Duration>,
    pub(super) delivery_timeout: Option<Duration>,
    /// Of whichever codec is used.
    pub(super) level_of_all: Option<i32>,
    pub(super) partitioner: Partitioners,
    /// Those that are set, by the names that they were set by.
    set: BTreeMap<&'static str, &'static str>,
}

impl Draft {
    pub(super) fn new() -> Self {
        Self {
            config: ProducerConfig::new(""),
            deadline: None,
            delivery_timeout: None,
            level_of_all: None,
            partitioner: Partitioners::default(),
            set: BTreeMap::new(),
        }
    }

    /// A value of this setting was read.
    pub(super) fn note(&mut self, setting: &Setting, spelling: &Spelling) {
        self.set.insert(setting.ours, spelling.name);
    }

    pub(super) fn level(&mut self, codec: Compression, value: &str) -> Parsed<()> {
        if let Some(level) = value::level(value)? {
            self.config.compression_level.insert(codec, level);
        }
        Ok(())
    }

    /// Names of different rows that set the same thing, to different values.
    pub(super) fn contradictions(&self) -> Vec<(&'static str, &'static str)> {
        let level = self.level_of_all.and_then(|level| {
            let codec = self.config.compression.first()?;
            let differs = self.config.compression_level.get(codec).is_some_and(|own| *own != level);
            let (all, own) = (self.set.get("compression_level")?, self.set.get(level_of(*codec))?);
            differs.then_some((*all, *own))
        });
        self.partitioner.contradiction().into_iter().chain(level).collect()
    }

    pub(super) fn lacks_servers(&self) -> bool {
        self.config.bootstrap_servers.is_empty()
    }

    /// What follows from what was set, where other clients let it follow.
    pub(super) fn finish(self, beside_librdkafka: bool) -> ProducerConfig {
        let Self { mut config, deadline, delivery_timeout, level_of_all, partitioner, mut set } = self;
        config.partitioner = partitioner.chosen();
        if let Some(level) = level_of_all {
            let codec = config.compression.first().copied().unwrap_or(Compression::None);
            config.compression_level.insert(codec, level);
            set.extend(set.get("compression_level").map(|name| (level_of(codec), *name)));
        }
        // One name for both.
        if let Some(name) = set.get("deadline, delivery_timeout").copied() {
            set.entry("deadline").or_insert(name);
            set.entry("delivery_timeout").or_insert(name);
        }
        let is_set = |ours: &str| set.contains_key(ours);
        config.deadline = deadline.unwrap_or(config.deadline);
        config.delivery_timeout = delivery_timeout.unwrap_or(config.delivery_timeout);
        // Java's producer gives idempotence up for other acks, unless it was asked for by name.
        if config.acks != Acks::All && !is_set("idempotence") {
            config.idempotence = false;
        }
        if !is_set("request_timeout") {
            config.request_timeout = config.request_timeout.min(config.delivery_timeout);
        }
        if !is_set("produce_timeout") {
            config.produce_timeout = config.produce_timeout.min(config.request_timeout / 2);
        }
        for (backoff, initial, max) in [
            (&mut config.retry_backoff, "retry_backoff, initial", "retry_backoff, max"),
            (&mut config.reconnect_backoff, "reconnect_backoff, initial", "reconnect_backoff, max"),
        ] {
            match (is_set(initial), is_set(max)) {
                (true, false) => backoff.max = backoff.max.max(backoff.initial),
                (false, true) => backoff.initial = backoff.initial.min(backoff.max),
                _ => {}
            }
        }
        config.given = Given::by_properties(set, beside_librdkafka);
        config
    }
}
