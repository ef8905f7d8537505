//! What is wrong with properties.

use std::fmt;
use std::sync::Arc;

/// Why properties make no configuration: everything that is wrong with them, not only the first.
///
/// ```
/// use milena::{ProducerConfig, PropertyRefused};
///
/// let error = ProducerConfig::from_properties([("bootstrap.servers", "a:1"), ("acks", "2")]).unwrap_err();
/// assert_eq!(error.to_string(), r#"acks is "2": give all (or -1), 1 or 0"#);
/// assert!(matches!(error.faults()[0].why, PropertyRefused::InvalidValue { .. }));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropertiesError {
    faults: Vec<PropertyFault>,
}

/// One thing that is wrong with properties.
///
/// ```
/// let error = milena::ProducerConfig::from_properties([("bootstrap.servers", "a:1"), ("sasl.password", "x")]).unwrap_err();
/// assert_eq!(error.faults()[0].name, "sasl.password");
/// assert!(error.faults()[0].place.is_none(), "the program gave it, not a file");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PropertyFault {
    /// The property; empty where a file could not be read.
    pub name: String,
    /// Where it was read; absent if the program gave it.
    pub place: Option<PropertyPlace>,
    /// What is wrong.
    pub why: PropertyRefused,
}

/// A line of a file.
///
/// ```
/// let properties = milena::Properties::parse("bootstrap.servers=a:1\n\nacks=2\n")?;
/// let error = milena::ProducerConfig::from_properties(properties).unwrap_err();
/// assert_eq!(error.faults()[0].place.as_ref().map(|place| place.line), Some(3));
/// # Ok::<(), milena::PropertiesError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropertyPlace {
    /// As it was named; absent if a text was parsed.
    pub file: Option<Arc<str>>,
    /// From 1; of one that goes on over several lines the first; 0 if it is about the file as a whole.
    pub line: usize,
}

/// Why a property is refused.
///
/// ```
/// use milena::{ProducerConfig, PropertyRefused};
///
/// let error = ProducerConfig::from_properties([("acks", "all")]).unwrap_err();
/// assert_eq!(error.faults()[0].why, PropertyRefused::Missing);
/// assert_eq!(error.to_string(), "bootstrap.servers is missing: name at least one broker as host:port");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PropertyRefused {
    /// Neither Java's producer nor librdkafka's nor this one has it.
    Unknown {
        /// One that is spelled nearly so.
        nearest: Option<&'static str>,
    },
    /// It means nothing here.
    NotHere {
        /// What to use instead.
        advice: &'static str,
    },
    /// Only some of its values are what this client does.
    NotThisValue {
        /// These.
        allowed: &'static [&'static str],
        /// Why, or what to use instead.
        advice: &'static str,
    },
    /// The value cannot be read.
    InvalidValue {
        /// The value.
        value: String,
        /// What to give.
        wanted: &'static str,
    },
    /// Another name of the same setting is there too, with another value.
    Twice {
        /// The other name.
        other: String,
    },
    /// Clients mean different things by this name.
    Ambiguous {
        /// What to use instead.
        advice: &'static str,
    },
    /// It must be there.
    Missing,
    /// The file, or a line of it, cannot be read.
    Unreadable {
        /// Why.
        why: String,
    },
}

impl PropertiesError {
    pub(super) fn new(faults: Vec<PropertyFault>) -> Self {
        Self { faults }
    }

    pub(super) fn unreadable(file: &Arc<str>, why: &str) -> Self {
        let place = PropertyPlace { file: Some(Arc::clone(file)), line: 0 };
        Self::at(place, why)
    }

    pub(super) fn syntax(place: PropertyPlace, why: &str) -> Self {
        Self::at(place, why)
    }

    fn at(place: PropertyPlace, why: &str) -> Self {
        let why = PropertyRefused::Unreadable { why: why.to_owned() };
        Self { faults: vec![PropertyFault { name: String::new(), place: Some(place), why }] }
    }

    /// All that is wrong; at least one thing.
    ///
    /// ```
    /// use milena::ProducerConfig;
    ///
    /// let error = ProducerConfig::from_properties([("acks", "2"), ("linger.ms", "soon")]).unwrap_err();
    /// assert_eq!(error.faults().len(), 3, "and no servers are named");
    /// ```
    pub fn faults(&self) -> &[PropertyFault] {
        &self.faults
    }
}

/// A line for each fault.
impl fmt::Display for PropertiesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, fault) in self.faults.iter().enumerate() {
            write!(f, "{}{fault}", if place > 0 { "\n" } else { "" })?;
        }
        Ok(())
    }
}

impl std::error::Error for PropertiesError {}

impl fmt::Display for PropertyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        let name = &self.name;
        match &self.why {
            PropertyRefused::Unknown { nearest: Some(nearest) } => {
                write!(f, "{name} is no property of a producer; the nearest is {nearest}")
            }
            PropertyRefused::Unknown { nearest: None } => {
                write!(
                    f,
                    "{name} is no property of a producer: remove it, or look for its name in docs/configuration.md"
                )
            }
            PropertyRefused::NotHere { advice } => write!(f, "{name} means nothing here: {advice}"),
            PropertyRefused::NotThisValue { allowed, advice } => {
                write!(f, "{name} can only be {}: {advice}", Alternatives(allowed))
            }
            PropertyRefused::InvalidValue { value, wanted } => write!(f, "{name} is {value:?}: give {wanted}"),
            PropertyRefused::Twice { other } => {
                write!(f, "{name} and {other} are the same setting with two values: keep one")
            }
            PropertyRefused::Ambiguous { advice } => write!(f, "{name} could mean two things here: {advice}"),
            PropertyRefused::Missing => write!(f, "{name} is missing: name at least one broker as host:port"),
            PropertyRefused::Unreadable { why } => f.write_str(why),
        }
    }
}

impl fmt::Display for PropertyPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line) {
            (Some(file), 0) => f.write_str(file),
            (Some(file), line) => write!(f, "{file}:{line}"),
            (None, line) => write!(f, "line {line}"),
        }
    }
}

/// Values in a sentence.
struct Alternatives(&'static [&'static str]);

impl fmt::Display for Alternatives {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, value) in self.0.iter().enumerate() {
            let before = if place > 0 { " or " } else { "" };
            let value = if value.is_empty() { "empty" } else { value };
            write!(f, "{before}{value}")?;
        }
        Ok(())
    }
}
