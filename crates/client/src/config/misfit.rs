//! Settings that cannot be as they are, in the words of whoever wrote them: setters, or properties.
//!
//! Always holds: each is told with its name, its value, the limit and what to change, in the unit of its property; what is
//! advised is a value that the property takes, and with it the relation holds.
//!
//! Left out: which settings those are; see `check.rs` and `compression.rs`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use milena_core::producer::front::AfterDeadline;
use milena_core::producer::verdict::Acks;

use super::properties::first_spelling;

/// Settings of a [`crate::ProducerConfig`] that cannot be as they are; the text says how to change them.
///
/// ```
/// use milena::{ConfigError, Producer, ProducerConfig};
///
/// let config = ProducerConfig::new("localhost:9092").batch_size(0);
/// let Err(ConfigError::Relation(misfit)) = Producer::new(config) else { unreachable!("no batch is that small") };
/// assert_eq!(misfit.settings().collect::<Vec<_>>(), [("batch_size (batch.size)", "0")]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// Names and values.
    pub(super) settings: Vec<(String, String)>,
    pub(super) limit: String,
    pub(super) fix: Fix,
}

impl Misfit {
    /// The names and values of those that are concerned: of the setters, with the property behind it in brackets; of the
    /// properties alone where the configuration was made of properties.
    ///
    /// ```
    /// use milena::{ConfigError, Producer, ProducerConfig};
    ///
    /// let pairs = [("bootstrap.servers", "localhost:9092"), ("acks", "1"), ("enable.idempotence", "true")];
    /// let Err(ConfigError::Relation(misfit)) = Producer::new(ProducerConfig::from_properties(pairs)?) else {
    ///     unreachable!("it needs all")
    /// };
    /// assert_eq!(misfit.settings().collect::<Vec<_>>(), [("enable.idempotence", "true"), ("acks", "1")]);
    /// # Ok::<(), milena::PropertiesError>(())
    /// ```
    pub fn settings(&self) -> impl Iterator<Item = (&str, &str)> {
        self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (name, value)) in self.settings().enumerate() {
            write!(f, "{}{name} is {value}", if place > 0 { " and " } else { "" })?;
        }
        write!(f, ": {}: {}", self.limit, self.fix)
    }
}

/// Something that must hold between settings, or of one.
#[derive(Debug)]
pub(super) struct Relation {
    pub(super) holds: bool,
    /// Shown if it does not.
    pub(super) misfit: Misfit,
}

/// A value as a setter or a property takes it.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Time(Duration),
    Number(i128),
    Share(f64),
    Flag(bool),
    Acks(Acks),
    AfterDeadline(AfterDeadline),
    Text(String),
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::Number(number as i128)
    }
}

impl From<AfterDeadline> for Value {
    fn from(policy: AfterDeadline) -> Self {
        Self::AfterDeadline(policy)
    }
}

impl From<Duration> for Value {
    fn from(time: Duration) -> Self {
        Self::Time(time)
    }
}

/// By which names settings were given. Settings go by their rows in `properties/settings.rs`.
#[derive(Clone, Debug, Default)]
pub(super) struct Given {
    /// Absent where setters were used.
    properties: Option<Spelled>,
}

/// Properties that were given.
#[derive(Clone, Debug)]
struct Spelled {
    names: BTreeMap<&'static str, &'static str>,
    /// Some names mean something else beside librdkafka's.
    beside_librdkafka: bool,
}

impl Given {
    pub(super) fn by_properties(names: BTreeMap<&'static str, &'static str>, beside_librdkafka: bool) -> Self {
        Self { properties: Some(Spelled { names, beside_librdkafka }) }
    }

    /// Whether properties were given, and none of them is this: it may follow from others then.
    pub(super) fn lacks(&self, row: &'static str) -> bool {
        self.properties.as_ref().is_some_and(|spelled| !spelled.names.contains_key(row))
    }

    /// In the middle of a sentence.
    pub(super) fn name(&self, row: &'static str) -> &'static str {
        let name = |spelled: &Spelled| {
            spelled.names.get(row).copied().or_else(|| first_spelling(row, spelled.beside_librdkafka))
        };
        self.properties.as_ref().and_then(name).unwrap_or(row)
    }

    /// Where it is named first.
    pub(super) fn heading(&self, row: &'static str) -> String {
        match first_spelling(row, false) {
            Some(property) if self.properties.is_none() => format!("{row} ({property})"),
            _ => self.name(row).to_owned(),
        }
    }

    /// As whoever wrote the setting writes it.
    pub(super) fn value(&self, row: &'static str, value: impl Into<Value>) -> String {
        let unit = self.unit(row);
        match value.into() {
            Value::Time(time) if unit.is_some() => decimal(time.as_nanos(), MILLI_NANOS),
            Value::Time(time) => format!("{time:?}"),
            Value::Number(number) => match (unit, u128::try_from(number)) {
                (Some(Unit::Kibibytes), Ok(bytes)) => decimal(bytes, 1024),
                _ => number.to_string(),
            },
            Value::Share(share) => share.to_string(),
            Value::Flag(flag) => flag.to_string(),
            Value::Acks(acks) if unit.is_none() => format!("Acks::{acks:?}"),
            Value::Acks(Acks::All) => "all".to_owned(),
            Value::Acks(Acks::Leader) => "1".to_owned(),
            Value::Acks(Acks::None) => "0".to_owned(),
            Value::AfterDeadline(policy) if unit.is_none() => format!("AfterDeadline::{policy:?}"),
            Value::AfterDeadline(AfterDeadline::Complete) => "complete".to_owned(),
            Value::AfterDeadline(AfterDeadline::Withdraw) => "withdraw".to_owned(),
            Value::Text(text) => text,
        }
    }

    /// To another value. What a property takes may be coarser: a limit is not passed by rounding. None if no value of the
    /// property reaches it.
    pub(super) fn change(&self, verb: Verb, row: &'static str, to: impl Into<Value>) -> Option<Change> {
        let value = match (self.unit(row), to.into()) {
            (Some(unit), Value::Time(time)) => {
                let nanos = verb.to_a_multiple_of(unit.step(time), time.as_nanos())?;
                let is_taken = nanos / MILLI_NANOS <= u64::MAX.into();
                is_taken.then(|| decimal(nanos, MILLI_NANOS))?
            }
            (Some(unit @ Unit::Kibibytes), Value::Number(number)) => {
                let bytes = verb.to_a_multiple_of(unit.step(Duration::ZERO), number.try_into().ok()?)?;
                (bytes / 1024).to_string()
            }
            (_, value) => self.value(row, value),
        };
        Some(Change { verb, name: self.name(row), value })
    }

    pub(super) fn misfit<const COUNT: usize>(
        &self,
        settings: [(&'static str, Value); COUNT],
        limit: impl Into<String>,
        fix: impl Into<Fix>,
    ) -> Misfit {
        let settings = settings.into_iter().map(|(row, value)| (self.heading(row), self.value(row, value)));
        Misfit { settings: settings.collect(), limit: limit.into(), fix: fix.into() }
    }

    /// None for a setter, which takes values as they are.
    fn unit(&self, row: &'static str) -> Option<Unit> {
        self.properties.is_some().then(|| Unit::of(self.name(row)))
    }
}

/// What a property counts. Their names end in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Millis,
    /// With parts of a millisecond.
    FineMillis,
    Kibibytes,
    /// Bytes, or what has no unit.
    One,
}

impl Unit {
    fn of(property: &str) -> Self {
        match property {
            "linger.ms" | "queue.buffering.max.ms" => Self::FineMillis,
            _ if property.ends_with(".ms") => Self::Millis,
            _ if property.ends_with(".kbytes") => Self::Kibibytes,
            _ => Self::One,
        }
    }

    /// In nanoseconds or bytes. Parts of a millisecond are of no use above a second.
    fn step(self, time: Duration) -> u128 {
        match self {
            Self::FineMillis if time < Duration::from_secs(1) => 1_000,
            Self::Millis | Self::FineMillis => MILLI_NANOS,
            Self::Kibibytes => 1024,
            Self::One => 1,
        }
    }
}

const MILLI_NANOS: u128 = 1_000_000;

/// "1500.5" for 1,500,500,000 of a million each. Ten digits are enough for all parts of a millisecond and of a KiB.
fn decimal(count: u128, of: u128) -> String {
    let parts = format!("{:010}", count % of * 10_000_000_000 / of);
    let parts = parts.trim_end_matches('0');
    format!("{}{}{parts}", count / of, if parts.is_empty() { "" } else { "." })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Lower,
    Raise,
    Set,
    /// To the default.
    Give,
}

impl Verb {
    fn to_a_multiple_of(self, step: u128, number: u128) -> Option<u128> {
        match self {
            Self::Raise => number.checked_next_multiple_of(step),
            Self::Lower | Self::Set | Self::Give => Some(number - number % step),
        }
    }
}

/// What to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    verb: Verb,
    pub(super) name: &'static str,
    pub(super) value: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verb, name, value } = self;
        match verb {
            Verb::Lower => write!(f, "lower {name} to {value}"),
            Verb::Raise => write!(f, "raise {name} to {value}"),
            Verb::Set => write!(f, "set {name} to {value}"),
            Verb::Give => write!(f, "give {name} another value; its default is {value}"),
        }
    }
}

/// How to mend it: each of the changes does alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fix {
    pub(super) changes: Vec<Change>,
    /// Behind them, or instead.
    text: String,
}

impl Fix {
    /// Any of these; the rest belongs to the last.
    pub(super) fn any(changes: impl IntoIterator<Item = Option<Change>>, rest: &str) -> Self {
        Self { changes: changes.into_iter().flatten().collect(), text: rest.to_owned() }
    }
}

impl From<&str> for Fix {
    fn from(text: &str) -> Self {
        Self { changes: Vec::new(), text: text.to_owned() }
    }
}

impl From<Option<Change>> for Fix {
    fn from(change: Option<Change>) -> Self {
        Self::any([change], "")
    }
}

impl fmt::Display for Fix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, change) in self.changes.iter().enumerate() {
            write!(f, "{}{change}", if place > 0 { " or " } else { "" })?;
        }
        f.write_str(&self.text)
    }
}
