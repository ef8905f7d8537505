//! Settings that cannot be as they are, in the words of whoever wrote them: setters, or properties.
//!
//! Always holds: each is told with its name, its value, the limit and what to change.
//!
//! Left out: which settings those are; see `check.rs` and `compression.rs`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

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
    pub(super) fix: String,
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
    Text(String),
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::Number(number as i128)
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
    spellings: Option<BTreeMap<&'static str, &'static str>>,
}

impl Given {
    pub(super) fn by_properties(spellings: BTreeMap<&'static str, &'static str>) -> Self {
        Self { spellings: Some(spellings) }
    }

    /// In the middle of a sentence.
    pub(super) fn name(&self, row: &'static str) -> &'static str {
        let spelled = self.spellings.as_ref().and_then(|spellings| spellings.get(row).copied().or(first_spelling(row)));
        spelled.unwrap_or(row)
    }

    /// Where it is named first.
    pub(super) fn heading(&self, row: &'static str) -> String {
        match first_spelling(row) {
            Some(property) if self.spellings.is_none() => format!("{row} ({property})"),
            _ => self.name(row).to_owned(),
        }
    }

    pub(super) fn value(&self, value: impl Into<Value>) -> String {
        match value.into() {
            Value::Time(time) if self.spellings.is_some() => (time.as_micros() as f64 / 1000.0).to_string(),
            Value::Time(time) => format!("{time:?}"),
            Value::Number(number) => number.to_string(),
            Value::Share(share) => share.to_string(),
            Value::Flag(flag) => flag.to_string(),
            Value::Acks(acks) if self.spellings.is_none() => format!("Acks::{acks:?}"),
            Value::Acks(Acks::All) => "all".to_owned(),
            Value::Acks(Acks::Leader) => "1".to_owned(),
            Value::Acks(Acks::None) => "0".to_owned(),
            Value::Text(text) => text,
        }
    }

    /// "lower linger to 20s".
    pub(super) fn change(&self, verb: &str, row: &'static str, to: impl Into<Value>) -> String {
        format!("{verb} {} to {}", self.name(row), self.value(to))
    }

    pub(super) fn misfit<const COUNT: usize>(
        &self,
        settings: [(&'static str, Value); COUNT],
        limit: impl Into<String>,
        fix: impl Into<String>,
    ) -> Misfit {
        let settings = settings.into_iter().map(|(row, value)| (self.heading(row), self.value(value)));
        Misfit { settings: settings.collect(), limit: limit.into(), fix: fix.into() }
    }
}
