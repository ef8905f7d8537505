//! Settings by the names that Java's producer and librdkafka give them.
//!
//! Always holds: every property has one answer, in the tables of `properties/settings.rs` and `properties/others.rs`: it
//! sets something, it is what this client does anyway, or it is an error that says what to use. None is read and ignored.
//! All that is wrong is told at once, each with its file and line.
//!
//! Left out: whether the settings fit together; see `check.rs`.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

mod draft;
mod error;
mod file;
mod nearest;
mod others;
#[cfg(feature = "unstable")]
mod reading;
mod settings;
mod value;

#[cfg(all(test, not(milena_model)))]
mod documented;
#[cfg(all(test, not(milena_model)))]
mod tests;

use self::draft::Draft;
pub use self::error::{PropertiesError, PropertyFault, PropertyPlace, PropertyRefused};
use self::others::{ELSEWHERE, Elsewhere, OTHERS, Other};
#[cfg(feature = "unstable")]
pub use self::reading::Access;
use self::settings::{SETTINGS, Setting, Spelling};
use super::ProducerConfig;

/// Properties by name, as Java's clients and librdkafka have them, from a file or from the program.
///
/// A later value of a name replaces an earlier one, so a file can be read first and overruled then. What the names mean is
/// said by [`ProducerConfig::from_properties`].
///
/// ```
/// use milena::{ProducerConfig, Properties};
///
/// let file = Properties::parse("bootstrap.servers = localhost:9092\nlinger.ms = 20\n")?;
/// let config = ProducerConfig::from_properties(file.set("linger.ms", "50"))?;
/// # Ok::<(), milena::PropertiesError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties {
    entries: BTreeMap<String, Entry>,
}

#[derive(Clone, PartialEq, Eq)]
struct Entry {
    value: String,
    /// Absent if the program gave it.
    place: Option<PropertyPlace>,
}

impl Properties {
    /// None.
    ///
    /// ```
    /// let properties = milena::Properties::new().set("bootstrap.servers", "localhost:9092");
    /// assert_eq!(properties.get("bootstrap.servers"), Some("localhost:9092"));
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a file as `java.util.Properties` does: `name = value`, `name: value` or `name value`, comments after `#` or `!`,
    /// lines that go on after a backslash, and the escapes `\t`, `\n`, `\r`, `\f` and `\u00e9`. librdkafka's files are such
    /// files too. The text is UTF-8. At most 1 MiB; errors name the file and the line.
    ///
    /// ```no_run
    /// use milena::{Producer, ProducerConfig, Properties};
    ///
    /// let properties = Properties::from_file("producer.properties")?;
    /// let producer = Producer::new(ProducerConfig::from_properties(properties)?)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, PropertiesError> {
        let path = path.as_ref();
        let file: Arc<str> = path.display().to_string().into();
        let bytes = file::read(path).map_err(|why| PropertiesError::unreadable(&file, &why))?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            PropertiesError::syntax(
                PropertyPlace { file: Some(Arc::clone(&file)), line },
                "not UTF-8: save the file as UTF-8",
            )
        })?;
        Self::of(&text, Some(file))
    }

    /// As [`Self::from_file`], of a text. Errors name the line.
    ///
    /// ```
    /// let properties = milena::Properties::parse("# quick\nacks = 1\n")?;
    /// assert_eq!(properties.get("acks"), Some("1"));
    /// # Ok::<(), milena::PropertiesError>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self, PropertiesError> {
        Self::of(text, None)
    }

    fn of(text: &str, file: Option<Arc<str>>) -> Result<Self, PropertiesError> {
        let mut read = Self::default();
        for pair in file::Pairs::new(text) {
            let place = |line| PropertyPlace { file: file.clone(), line };
            let pair = pair.map_err(|fault| PropertiesError::syntax(place(fault.line), fault.what))?;
            read.entries.insert(pair.name, Entry { value: pair.value, place: Some(place(pair.line)) });
        }
        Ok(read)
    }

    /// Sets one, or replaces it.
    ///
    /// ```
    /// let properties = milena::Properties::new().set("acks", "1").set("acks", "all");
    /// assert_eq!(properties.get("acks"), Some("all"));
    /// ```
    #[must_use]
    pub fn set(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.entries.insert(name.into(), Entry { value: value.into(), place: None });
        self
    }

    /// Takes one out, so that its default holds; nothing if it is not there.
    ///
    /// ```
    /// let properties = milena::Properties::new().set("key.serializer", "com.example.Mine").remove("key.serializer");
    /// assert_eq!(properties.get("key.serializer"), None);
    /// ```
    #[must_use]
    pub fn remove(mut self, name: &str) -> Self {
        self.entries.remove(name);
        self
    }

    /// The value of this name.
    ///
    /// ```
    /// assert_eq!(milena::Properties::new().get("acks"), None);
    /// ```
    pub fn get(&self, name: &str) -> Option<&str> {
        self.entries.get(name).map(|entry| entry.value.as_str())
    }
}

/// The names only: values may be passwords.
impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.entries.keys()).finish()
    }
}

impl<N: Into<String>, V: Into<String>> Extend<(N, V)> for Properties {
    fn extend<I: IntoIterator<Item = (N, V)>>(&mut self, pairs: I) {
        for (name, value) in pairs {
            self.entries.insert(name.into(), Entry { value: value.into(), place: None });
        }
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Properties {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut properties = Self::default();
        properties.extend(pairs);
        properties
    }
}

impl<N: Into<String>, V: Into<String>, const COUNT: usize> From<[(N, V); COUNT]> for Properties {
    fn from(pairs: [(N, V); COUNT]) -> Self {
        pairs.into_iter().collect()
    }
}

impl<N: Into<String>, V: Into<String>> From<Vec<(N, V)>> for Properties {
    fn from(pairs: Vec<(N, V)>) -> Self {
        pairs.into_iter().collect()
    }
}

impl<N: Into<String>, V: Into<String>, S> From<HashMap<N, V, S>> for Properties {
    fn from(pairs: HashMap<N, V, S>) -> Self {
        pairs.into_iter().collect()
    }
}

impl<N: Into<String>, V: Into<String>> From<BTreeMap<N, V>> for Properties {
    fn from(pairs: BTreeMap<N, V>) -> Self {
        pairs.into_iter().collect()
    }
}

impl ProducerConfig {
    /// A configuration from properties by the names that Java's producer or librdkafka have for them; what has no such name
    /// begins with `milena.`. The table of all of them is `docs/configuration.md`.
    ///
    /// A property that is not known, or that means nothing here, is an error that says what to use instead; all errors are
    /// told at once. What is not named keeps this client's default, which may be another than theirs. Where clients differ in
    /// what follows from what, theirs holds: `acks` other than `all` turns idempotence off unless `enable.idempotence` is
    /// there too, and `request_timeout` and `produce_timeout` shrink with a shorter `delivery.timeout.ms`.
    ///
    /// ```
    /// use milena::ProducerConfig;
    ///
    /// let config = ProducerConfig::from_properties([
    ///     ("bootstrap.servers", "localhost:9092"),
    ///     ("message.timeout.ms", "5000"),
    /// ])?;
    /// let refused = ProducerConfig::from_properties([("bootstrap.servers", "a:1"), ("linger.msec", "5")]).unwrap_err();
    /// assert_eq!(refused.to_string(), "linger.msec is no property of a producer; the nearest is linger.ms");
    /// # let _ = config;
    /// # Ok::<(), milena::PropertiesError>(())
    /// ```
    pub fn from_properties(properties: impl Into<Properties>) -> Result<Self, PropertiesError> {
        let Properties { entries } = properties.into();
        let mut draft = Draft::new();
        let mut faults = Vec::new();
        for (name, entry) in &entries {
            if let Err(why) = apply(&mut draft, name, &entry.value, &entries) {
                faults.push(PropertyFault { name: name.clone(), place: entry.place.clone(), why });
            }
        }
        if draft.lacks_servers() && !entries.keys().any(|name| SERVERS.contains(&name.as_str())) {
            faults.push(PropertyFault { name: SERVERS[0].to_owned(), place: None, why: PropertyRefused::Missing });
        }
        for (name, other) in draft.contradictions().into_iter().flat_map(|(a, b)| [(a, b), (b, a)]) {
            let place = entries.get(name).and_then(|entry| entry.place.clone());
            let why = PropertyRefused::Twice { other: other.to_owned() };
            faults.push(PropertyFault { name: name.to_owned(), place, why });
        }
        let beside_librdkafka = entries.keys().any(|name| is_librdkafkas_alone(name));
        if faults.is_empty() { Ok(draft.finish(beside_librdkafka)) } else { Err(PropertiesError::new(faults)) }
    }
}

/// The names of the one property that must be there.
const SERVERS: [&str; 2] = ["bootstrap.servers", "metadata.broker.list"];

fn apply(draft: &mut Draft, name: &str, value: &str, all: &BTreeMap<String, Entry>) -> Result<(), PropertyRefused> {
    match answer(name) {
        Some(Answer::Sets(setting, spelling)) => {
            if let Some(other) = other_spelling(setting, name, value, all) {
                return Err(PropertyRefused::Twice { other: other.to_owned() });
            }
            if let Some(advice) = spelling.ambiguous_beside_librdkafka
                && all.keys().any(|name| is_librdkafkas_alone(name))
            {
                return Err(PropertyRefused::Ambiguous { advice });
            }
            let value = value.trim();
            (spelling.apply)(draft, value)
                .map_err(|wanted| PropertyRefused::InvalidValue { value: value.to_owned(), wanted })?;
            draft.note(setting, spelling);
            Ok(())
        }
        Some(Answer::Other(Other { allowed, advice, .. })) if !allowed.is_empty() => {
            let is_allowed = allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(value.trim()));
            if is_allowed { Ok(()) } else { Err(PropertyRefused::NotThisValue { allowed, advice }) }
        }
        Some(Answer::Other(Other { advice, .. })) => Err(PropertyRefused::NotHere { advice }),
        Some(Answer::Elsewhere(Elsewhere { advice, .. })) => Err(PropertyRefused::NotHere { advice }),
        None => Err(PropertyRefused::Unknown { nearest: nearest::nearest(name, all_names()) }),
    }
}

/// What to call a setting that nobody has named: beside librdkafka's names by one that is not taken for another one there.
pub(super) fn first_spelling(ours: &str, beside_librdkafka: bool) -> Option<&'static str> {
    let setting = SETTINGS.iter().find(|setting| setting.ours == ours)?;
    let is_clear = |spelling: &&Spelling| !beside_librdkafka || spelling.ambiguous_beside_librdkafka.is_none();
    setting.spellings.iter().find(is_clear).map(|first| first.name)
}

/// What a name is answered with.
enum Answer {
    Sets(&'static Setting, &'static Spelling),
    Other(&'static Other),
    Elsewhere(&'static Elsewhere),
}

fn answer(name: &str) -> Option<Answer> {
    let spelled = |setting: &'static Setting| {
        setting.spellings.iter().find(|spelling| spelling.name == name).map(|spelling| Answer::Sets(setting, spelling))
    };
    let other = || OTHERS.iter().find(|other| other.name == name).map(Answer::Other);
    let elsewhere = || ELSEWHERE.iter().find(|elsewhere| elsewhere.covers(name)).map(Answer::Elsewhere);
    SETTINGS.iter().find_map(spelled).or_else(other).or_else(elsewhere)
}

/// Another name of the same setting that is given as well, with another value.
fn other_spelling<'a>(setting: &Setting, name: &str, value: &str, all: &'a BTreeMap<String, Entry>) -> Option<&'a str> {
    let others = setting.spellings.iter().filter(|spelling| spelling.name != name);
    others
        .filter_map(|spelling| all.get_key_value(spelling.name))
        .find(|(_, entry)| entry.value.trim() != value.trim())
        .map(|(name, _)| name.as_str())
}

fn is_librdkafkas_alone(name: &str) -> bool {
    match answer(name) {
        Some(Answer::Sets(_, spelling)) => spelling.of == Client::Librdkafka,
        Some(Answer::Other(other)) => other.of == Client::Librdkafka,
        _ => false,
    }
}

/// Those worth proposing to somebody who has misspelled one.
fn all_names() -> impl Iterator<Item = &'static str> {
    let settings = SETTINGS.iter().flat_map(|setting| setting.spellings).map(|spelling| spelling.name);
    settings.chain(OTHERS.iter().map(|other| other.name))
}

/// Whose property it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    Java,
    Librdkafka,
    Both,
    /// Nobody else has it.
    Milena,
}
