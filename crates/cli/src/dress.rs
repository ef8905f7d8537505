//! What every record gets on its way from the input to the producer.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use milena::Record;

use crate::arguments::Dress;
use crate::checksum::{Checksum, Summing};
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

/// Who is told of a record as it goes out.
pub struct Dressing<'a> {
    pub dress: &'a Dress,
    pub tags: Option<&'a Tags>,
    /// Whether its checksum is wanted, too.
    pub has_checksum: bool,
}

/// Calls `send` with the record as it goes out.
pub fn dressed<R>(
    record: &InputRecord<'_>,
    Dressing { dress, tags, has_checksum }: &Dressing<'_>,
    line: u64,
    send: impl FnOnce(Record<'_>, Option<Checksum>) -> R,
) -> R {
    let wanted = |bytes: &&[u8]| !(dress.empty_is_null && bytes.is_empty());
    let key = dress.key.as_deref().or(record.key.as_deref()).filter(wanted);
    let value = record.value.as_deref().filter(wanted);
    let tag = tags.map(|tags| (tags.header.as_str(), outcomes::tag(&tags.run, line)));
    let mut sent = match &value {
        Some(value) => Record::value(*value),
        None => Record::tombstone(),
    };
    if let Some(key) = key {
        sent = sent.key(key);
    }
    let mut summing = has_checksum.then(|| Summing::new(key, value));
    let given = record.headers.iter().map(|(name, value)| (&**name, value.as_deref()));
    let own = dress.headers.iter().map(|(name, value)| (&**name, value.as_deref()));
    let tag = tag.as_ref().map(|(name, tag)| (*name, Some(tag.as_bytes())));
    for (name, value) in given.chain(own).chain(tag) {
        sent = sent.header(name, value);
        if let Some(summing) = &mut summing {
            summing.header(name.as_bytes(), value);
        }
    }
    if let Some(timestamp) = record.timestamp {
        sent = sent.timestamp(timestamp);
    }
    if let Some(partition) = dress.partition.or(record.partition) {
        sent = sent.partition(partition);
    }
    send(sent, summing.map(Summing::end))
}
