//! What every record gets on its way from the input to the producer.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use milena::Record;

use crate::arguments::Dress;
use crate::format::InputRecord;
use crate::outcomes;

/// The tags of one run.
#[derive(Clone, Debug)]
pub struct Tags {
    header: String,
    run: String,
}

impl Tags {
    /// Another run has other tags, whenever and wherever it runs.
    pub fn new(header: &str) -> Self {
        let random = || RandomState::new().build_hasher().finish();
        Self { header: header.to_owned(), run: format!("{:016x}", random() ^ u64::from(std::process::id())) }
    }

    pub fn run(&self) -> &str {
        &self.run
    }
}

/// Calls `send` with the record as it goes out.
pub fn dressed<R>(
    record: &InputRecord<'_>,
    dress: &Dress,
    tags: Option<&Tags>,
    line: u64,
    send: impl FnOnce(Record<'_>) -> R,
) -> R {
    let wanted = |bytes: &&[u8]| !(dress.empty_is_null && bytes.is_empty());
    let key = dress.key.as_deref().or(record.key.as_deref()).filter(wanted);
    let value = record.value.as_deref().filter(wanted);
    let tag = tags.map(|tags| (tags.header.as_str(), outcomes::tag(&tags.run, line)));
    let mut sent = match &value {
        Some(value) => Record::value(*value),
        None => Record::tombstone(),
    };
    if let Some(key) = &key {
        sent = sent.key(*key);
    }
    for (name, value) in &record.headers {
        sent = sent.header(name, value.as_deref());
    }
    for (name, value) in &dress.headers {
        sent = sent.header(name, value.as_deref());
    }
    if let Some((name, tag)) = &tag {
        sent = sent.header(name, Some(tag.as_bytes()));
    }
    if let Some(timestamp) = record.timestamp {
        sent = sent.timestamp(timestamp);
    }
    if let Some(partition) = dress.partition.or(record.partition) {
        sent = sent.partition(partition);
    }
    send(sent)
}
