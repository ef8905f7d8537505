//! Client quotas: how much whoever may do, kept by whom they are for (KIP-546).
//!
//! There is no authentication, so everybody is the user `ANONYMOUS`, and clients differ by what they call themselves. Of several quotas that
//! fit the most particular one counts. What was done is measured in `quota_rates.rs`.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

/// All quotas of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quotas {
    by_entity: BTreeMap<Entity, BTreeMap<QuotaKey, QuotaValue>>,
}

/// Whom a quota is for: a user, a client, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entity {
    pub(crate) user: Option<EntityName>,
    pub(crate) client: Option<EntityName>,
}

/// One, or all that have none of their own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EntityName {
    Named(String),
    Default,
}

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum QuotaKey {
    /// `consumer_byte_rate`: bytes of Fetch answers a second.
    ConsumerBytes,
    /// `producer_byte_rate`: bytes of Produce requests a second.
    ProducerBytes,
    /// `request_percentage`: share of a thread's time, in percent.
    RequestTime,
}

/// More than 0.
#[derive(Clone, Copy, Debug, PartialEq)]
struct QuotaValue(f64);

/// None is NaN.
impl Eq for QuotaValue {}

/// A limit, and who shares it: the user, the client, or both; empty is anybody.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Limit {
    pub(crate) rate: f64,
    pub(crate) user: &'static str,
    pub(crate) client: String,
}

impl QuotaKey {
    pub(crate) const ALL: [QuotaKey; 3] = [QuotaKey::ConsumerBytes, QuotaKey::ProducerBytes, QuotaKey::RequestTime];

    pub(crate) fn name(self) -> &'static str {
        match self {
            QuotaKey::ConsumerBytes => "consumer_byte_rate",
            QuotaKey::ProducerBytes => "producer_byte_rate",
            QuotaKey::RequestTime => "request_percentage",
        }
    }

    pub(crate) fn named(name: &str) -> Option<QuotaKey> {
        QuotaKey::ALL.into_iter().find(|key| key.name() == name)
    }
}

impl Quotas {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Entity, impl Iterator<Item = (QuotaKey, f64)>)> {
        self.by_entity.iter().map(|(entity, values)| (entity, values.iter().map(|(key, value)| (*key, value.0))))
    }

    /// Sets a quota, or with no value removes it.
    pub(crate) fn set(&mut self, entity: &Entity, key: QuotaKey, value: Option<f64>) {
        let values = self.by_entity.entry(entity.clone()).or_default();
        match value {
            Some(value) => values.insert(key, QuotaValue(value)),
            None => values.remove(&key),
        };
        if values.is_empty() {
            self.by_entity.remove(entity);
        }
    }

    /// What counts for a client: the first that is there, in Kafka's order.
    pub(crate) fn limit(&self, client: &str, key: QuotaKey) -> Option<Limit> {
        if self.by_entity.is_empty() {
            return None;
        }
        let user = || Some(EntityName::Named(ANONYMOUS.to_owned()));
        let named = || Some(EntityName::Named(client.to_owned()));
        let default = || Some(EntityName::Default);
        let candidates = [
            (user(), named()),
            (user(), default()),
            (user(), None),
            (default(), named()),
            (default(), default()),
            (default(), None),
            (None, named()),
            (None, default()),
        ];
        candidates.into_iter().find_map(|(user, name)| {
            let (by_user, by_client) = (user.is_some(), name.is_some());
            let rate = self.by_entity.get(&Entity { user, client: name })?.get(&key)?.0;
            Some(Limit {
                rate,
                user: if by_user { ANONYMOUS } else { "" },
                client: if by_client { client.to_owned() } else { String::new() },
            })
        })
    }

    /// Reads one line of `Display`, without its first word.
    pub(crate) fn read_line(&mut self, line: &str) -> Option<()> {
        let mut words = line.split(' ').map(|word| word.split_once('='));
        let (user, client) = (words.next()??, words.next()??);
        let entity = Entity {
            user: read_name(Some(user.1).filter(|_| user.0 == "user")?)?,
            client: read_name(Some(client.1).filter(|_| client.0 == "client-id")?)?,
        };
        for word in words {
            let (key, value) = word?;
            let value: f64 = value.parse().ok().filter(|value| *value > 0.0)?;
            self.set(&entity, QuotaKey::named(key)?, Some(value));
        }
        Some(())
    }
}

/// A line for each entity. What could be taken for something else in a name is written as its number.
impl fmt::Display for Quotas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (entity, values) in &self.by_entity {
            f.write_str("quota user=")?;
            write_name(f, entity.user.as_ref())?;
            f.write_str(" client-id=")?;
            write_name(f, entity.client.as_ref())?;
            for (key, value) in values {
                write!(f, " {}={}", key.name(), value.0)?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

fn write_name(f: &mut fmt::Formatter<'_>, name: Option<&EntityName>) -> fmt::Result {
    match name {
        None => Ok(()),
        Some(EntityName::Default) => f.write_str(DEFAULT),
        Some(EntityName::Named(name)) => name.bytes().try_for_each(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => f.write_char(char::from(byte)),
            other => write!(f, "%{other:02x}"),
        }),
    }
}

fn read_name(text: &str) -> Option<Option<EntityName>> {
    match text {
        "" => return Some(None),
        DEFAULT => return Some(Some(EntityName::Default)),
        _ => {}
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                (digit(rest.next()?)? * 16 + digit(rest.next()?)?) as u8
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok().map(|name| Some(EntityName::Named(name)))
}

/// Who has not said who he is.
pub(crate) const ANONYMOUS: &str = "ANONYMOUS";
const DEFAULT: &str = "<default>";

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(user: Option<&str>, client: Option<&str>) -> Entity {
        let name = |name: &str| match name {
            DEFAULT => EntityName::Default,
            name => EntityName::Named(name.to_owned()),
        };
        Entity { user: user.map(name), client: client.map(name) }
    }

    #[test]
    fn most_particular_quota_counts() {
        let mut quotas = Quotas::default();
        let entities = [
            (None, Some(DEFAULT)),
            (None, Some("me")),
            (Some(DEFAULT), None),
            (Some(DEFAULT), Some(DEFAULT)),
            (Some(DEFAULT), Some("me")),
            (Some(ANONYMOUS), None),
            (Some(ANONYMOUS), Some(DEFAULT)),
            (Some(ANONYMOUS), Some("me")),
        ];
        assert_eq!(quotas.limit("me", QuotaKey::ProducerBytes), None);
        for (rate, (user, client)) in (1..).zip(entities) {
            quotas.set(&entity(user, client), QuotaKey::ProducerBytes, Some(f64::from(rate)));
            quotas.set(&entity(Some("somebody"), client), QuotaKey::ProducerBytes, Some(99.0));
            let limit = quotas.limit("me", QuotaKey::ProducerBytes).expect("it fits");
            let shared_by = (if user.is_some() { ANONYMOUS } else { "" }, if client.is_some() { "me" } else { "" });
            assert_eq!((limit.rate, (limit.user, limit.client.as_str())), (f64::from(rate), shared_by));
            assert_eq!(quotas.limit("me", QuotaKey::ConsumerBytes), None);
        }
    }

    #[test]
    fn lines_read_back_as_they_were_written() {
        let mut quotas = Quotas::default();
        for name in ["plain", "with space", "a=b", "<default>x", "größe", "%20", "\n"] {
            quotas.set(&entity(Some(name), Some(DEFAULT)), QuotaKey::RequestTime, Some(12.5));
            quotas.set(&entity(None, Some(name)), QuotaKey::ConsumerBytes, Some(1e18));
            quotas.set(&entity(None, Some(name)), QuotaKey::ProducerBytes, Some(1.0));
        }
        let mut read = Quotas::default();
        for line in quotas.to_string().lines() {
            let line = line.strip_prefix("quota ").expect("each begins so");
            read.read_line(line).expect("it was written");
        }
        assert_eq!(read, quotas);
        for bad in
            ["", "user=a", "user=a client-id=b x=1", "user=a client-id=b producer_byte_rate=NaN", "user=%g client-id="]
        {
            assert_eq!(Quotas::default().read_line(bad), None, "{bad}");
        }
    }

    #[test]
    fn removed_quotas_leave_nothing_behind() {
        let mut quotas = Quotas::default();
        let me = entity(None, Some("me"));
        quotas.set(&me, QuotaKey::RequestTime, Some(1.0));
        quotas.set(&me, QuotaKey::RequestTime, None);
        quotas.set(&me, QuotaKey::ConsumerBytes, None);
        assert_eq!(quotas, Quotas::default());
    }
}
