//! A configuration in a file of the application's own, whatever its format: the feature `serde`.
//!
//! Always holds: what is written is read back as the same configuration; a field that is not known is an error.
//!
//! Left out: the runtime, the handler of reports, the record that serves as a fence and a partitioner that is a function, which no file can hold.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use milena_core::backoff::Backoff;
use milena_core::producer::front::AfterDeadline;
use milena_core::producer::verdict::Acks;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Compression, ProducerConfig, split_servers};
use crate::partitioner::{CustomPartitioner, Partitioner};

/// Fields have the names of the setters. Times are strings with a unit (`us`, `ms`, `s`, `m`, `h`, `d`), sizes are bytes.
impl<'de> Deserialize<'de> for ProducerConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Form::deserialize(deserializer).map(Form::into_config)
    }
}

impl Serialize for ProducerConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Form::of(self).serialize(serializer)
    }
}

macro_rules! form {
    ($($field:ident: $form:ty,)*) => {
        /// A configuration as it is written: what is absent has its default.
        #[derive(Serialize, Deserialize)]
        #[serde(deny_unknown_fields, rename = "ProducerConfig")]
        struct Form {
            bootstrap_servers: Servers,
            $(#[serde(default, skip_serializing_if = "Option::is_none")] $field: Option<$form>,)*
            #[serde(default, skip_serializing_if = "Option::is_none")]
            linger: Option<Time>,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            max_in_flight: Option<u32>,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            compression_threads: Option<usize>,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            fate_journal: Option<PathBuf>,
        }

        impl Form {
            fn of(config: &ProducerConfig) -> Self {
                Self {
                    bootstrap_servers: Servers::Line(config.bootstrap_servers.join(",")),
                    $($field: Some(config.$field.clone().into()),)*
                    linger: config.linger.map(Time),
                    max_in_flight: config.max_in_flight,
                    compression_threads: config.compression_threads,
                    fate_journal: config.fate_journal.clone(),
                }
            }

            fn into_config(self) -> ProducerConfig {
                let mut config = ProducerConfig::new("");
                config.bootstrap_servers = self.bootstrap_servers.split();
                $(if let Some(value) = self.$field {
                    config.$field = value.into();
                })*
                config.linger = self.linger.map(|Time(time)| time);
                config.max_in_flight = self.max_in_flight;
                config.compression_threads = self.compression_threads;
                config.fate_journal = self.fate_journal;
                config
            }
        }
    };
}

form! {
    client_id: String,
    batch_size: usize,
    buffer_memory: usize,
    partition_memory_share: f64,
    max_request_size: usize,
    partitioner: PartitionerForm,
    compression: Codecs,
    compression_level: BTreeMap<Compression, i32>,
    topic_compression: TopicCodecs,
    acks: AcksForm,
    idempotence: bool,
    deadline: Time,
    delivery_timeout: Time,
    after_deadline: AfterDeadlineForm,
    settle_timeout: Time,
    request_timeout: Time,
    produce_timeout: Time,
    retry_backoff: BackoffForm,
    reconnect_backoff: BackoffForm,
    connect_timeout: Time,
    metadata_max_age: Time,
    rebootstrap_after: Time,
    allow_auto_create_topics: bool,
    producer_id_expiration: Time,
    resend_stale: bool,
}

/// `"a:9092,b:9092"` or `["a:9092", "b:9092"]`.
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "brokers as host:port, in one string with commas or in a list")]
enum Servers {
    Line(String),
    List(Vec<String>),
}

impl Servers {
    fn split(self) -> Vec<String> {
        match self {
            Self::Line(line) => split_servers(&line),
            Self::List(list) => list.iter().flat_map(|server| split_servers(server)).collect(),
        }
    }
}

/// By the names of librdkafka, where it has them. A function is in no file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PartitionerForm {
    Murmur2Random,
    Murmur2,
    ConsistentRandom,
    Consistent,
    Fnv1aRandom,
    Fnv1a,
    RoundRobin,
    Sticky,
    #[serde(skip)]
    Custom(CustomPartitioner),
}

macro_rules! partitioners {
    ($($name:ident,)*) => {
        impl From<Partitioner> for PartitionerForm {
            fn from(partitioner: Partitioner) -> Self {
                match partitioner {
                    $(Partitioner::$name => Self::$name,)*
                    Partitioner::Custom(custom) => Self::Custom(custom),
                }
            }
        }

        impl From<PartitionerForm> for Partitioner {
            fn from(form: PartitionerForm) -> Self {
                match form {
                    $(PartitionerForm::$name => Self::$name,)*
                    PartitionerForm::Custom(custom) => Self::Custom(custom),
                }
            }
        }
    };
}

partitioners!(Murmur2Random, Murmur2, ConsistentRandom, Consistent, Fnv1aRandom, Fnv1a, RoundRobin, Sticky,);

/// `"lz4"` or `["zstd", "lz4"]`.
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "none, gzip, snappy, lz4 or zstd, or a list of these")]
enum Codecs {
    One(Compression),
    Preferred(Vec<Compression>),
}

impl From<Vec<Compression>> for Codecs {
    fn from(preferred: Vec<Compression>) -> Self {
        Self::Preferred(preferred)
    }
}

impl From<Codecs> for Vec<Compression> {
    fn from(form: Codecs) -> Self {
        match form {
            Codecs::One(codec) => vec![codec],
            Codecs::Preferred(preferred) => preferred,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct TopicCodecs(BTreeMap<String, Codecs>);

impl From<BTreeMap<String, Vec<Compression>>> for TopicCodecs {
    fn from(of_topics: BTreeMap<String, Vec<Compression>>) -> Self {
        Self(of_topics.into_iter().map(|(topic, preferred)| (topic, preferred.into())).collect())
    }
}

impl From<TopicCodecs> for BTreeMap<String, Vec<Compression>> {
    fn from(form: TopicCodecs) -> Self {
        form.0.into_iter().map(|(topic, preferred)| (topic, preferred.into())).collect()
    }
}

#[derive(Serialize, Deserialize)]
enum AcksForm {
    #[serde(rename = "all", alias = "-1")]
    All,
    #[serde(rename = "1", alias = "leader")]
    Leader,
    #[serde(rename = "0", alias = "none")]
    None,
}

impl From<Acks> for AcksForm {
    fn from(acks: Acks) -> Self {
        match acks {
            Acks::All => Self::All,
            Acks::Leader => Self::Leader,
            Acks::None => Self::None,
        }
    }
}

impl From<AcksForm> for Acks {
    fn from(form: AcksForm) -> Self {
        match form {
            AcksForm::All => Self::All,
            AcksForm::Leader => Self::Leader,
            AcksForm::None => Self::None,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum AfterDeadlineForm {
    Complete,
    Withdraw,
}

impl From<AfterDeadline> for AfterDeadlineForm {
    fn from(policy: AfterDeadline) -> Self {
        match policy {
            AfterDeadline::Complete => Self::Complete,
            AfterDeadline::Withdraw => Self::Withdraw,
        }
    }
}

impl From<AfterDeadlineForm> for AfterDeadline {
    fn from(form: AfterDeadlineForm) -> Self {
        match form {
            AfterDeadlineForm::Complete => Self::Complete,
            AfterDeadlineForm::Withdraw => Self::Withdraw,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename = "backoff")]
struct BackoffForm {
    initial: Time,
    max: Time,
}

impl From<Backoff> for BackoffForm {
    fn from(backoff: Backoff) -> Self {
        Self { initial: backoff.initial.into(), max: backoff.max.into() }
    }
}

impl From<BackoffForm> for Backoff {
    fn from(form: BackoffForm) -> Self {
        Self { initial: form.initial.into(), max: form.max.into() }
    }
}

struct Time(Duration);

impl From<Duration> for Time {
    fn from(time: Duration) -> Self {
        Self(time)
    }
}

impl From<Time> for Duration {
    fn from(time: Time) -> Self {
        time.0
    }
}

/// Units in microseconds, the largest first.
const UNITS: [(&str, u64); 6] =
    [("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1000), ("us", 1)];

impl Time {
    fn parse(text: &str) -> Option<Self> {
        let digits = text.find(|character: char| !character.is_ascii_digit())?;
        let (count, unit) = text.split_at(digits);
        let (_, micros) = UNITS.iter().find(|(name, _)| *name == unit.trim_start())?;
        Some(Self(Duration::from_micros(count.parse::<u64>().ok()?.checked_mul(*micros)?)))
    }
}

/// In the largest unit that loses nothing.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = u64::try_from(self.0.as_micros()).unwrap_or(u64::MAX);
        let fits = |(_, unit): &&(&str, u64)| micros > 0 && micros.is_multiple_of(*unit);
        let (name, unit) = UNITS.iter().find(fits).unwrap_or(&("ms", 1000));
        write!(f, "{}{name}", micros / unit)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TimeVisitor)
    }
}

struct TimeVisitor;

impl Visitor<'_> for TimeVisitor {
    type Value = Time;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time with its unit (us, ms, s, m, h or d), as in \"250ms\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Time, E> {
        Time::parse(text).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }
}

#[cfg(all(test, not(milena_model)))]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: serde_json::Value) -> Result<ProducerConfig, String> {
        serde_json::from_value(value).map_err(|error: serde_json::Error| error.to_string())
    }

    fn shown(config: &ProducerConfig) -> String {
        format!("{config:#?}")
    }

    #[test]
    fn what_is_absent_has_its_default() {
        let config = read(json!({ "bootstrap_servers": "a:1, b:2" })).expect("is read");
        assert_eq!(shown(&config), shown(&ProducerConfig::new("a:1,b:2")));
        let listed = read(json!({ "bootstrap_servers": ["a:1", "b:2"] })).expect("is read");
        assert_eq!(shown(&listed), shown(&config));
        let one = read(json!({ "bootstrap_servers": "a:1", "compression": "lz4" })).expect("is read");
        assert_eq!(shown(&one), shown(&ProducerConfig::new("a:1").compression(Compression::Lz4)));
    }

    #[test]
    fn the_example_of_the_documentation_is_read() {
        let page = include_str!("../../../../docs/configuration.md");
        let (_, rest) = page.split_once("```json\n").expect("there is an example");
        let (example, _) = rest.split_once("```").expect("it ends");
        let config: ProducerConfig = serde_json::from_str(example).expect("is read");
        let expected = ProducerConfig::new("kafka-1:9092,kafka-2:9092")
            .linger(Duration::from_millis(20))
            .deadline(Duration::from_secs(1))
            .retry_backoff(Duration::from_millis(100), Duration::from_secs(2));
        assert_eq!(shown(&config), shown(&expected));
        assert!(config.check().is_ok());
    }

    #[test]
    fn what_is_written_is_read_back() {
        let millis = Duration::from_millis;
        let config = ProducerConfig::new("a:1,b:2")
            .client_id("shop")
            .linger(Duration::from_micros(1500))
            .batch_size(2)
            .buffer_memory(3)
            .partition_memory_share(0.25)
            .max_request_size(4)
            .partitioner(Partitioner::Fnv1aRandom)
            .compression([Compression::Zstd, Compression::Lz4])
            .compression_level(Compression::Zstd, 7)
            .topic_compression("photos", Compression::None)
            .compression_threads(3)
            .acks(Acks::Leader)
            .idempotence(false)
            .max_in_flight(5)
            .deadline(Duration::ZERO)
            .delivery_timeout(millis(6000))
            .after_deadline(AfterDeadline::Withdraw)
            .settle_timeout(millis(14))
            .fate_journal("orders.fates")
            .request_timeout(millis(7000))
            .produce_timeout(millis(8))
            .retry_backoff(millis(9), millis(10))
            .reconnect_backoff(millis(11), millis(12))
            .connect_timeout(millis(13))
            .metadata_max_age(Duration::from_secs(120))
            .rebootstrap_after(Duration::from_secs(7200))
            .allow_auto_create_topics(true)
            .producer_id_expiration(Duration::from_secs(172_800))
            .resend_stale(true);
        let written = serde_json::to_value(&config).expect("is written");
        assert_eq!(written["linger"], "1500us");
        assert_eq!((&written["deadline"], &written["delivery_timeout"]), (&json!("0ms"), &json!("6s")));
        assert_eq!(written["retry_backoff"], json!({ "initial": "9ms", "max": "10ms" }));
        assert_eq!((&written["rebootstrap_after"], &written["producer_id_expiration"]), (&json!("2h"), &json!("2d")));
        assert_eq!(written["metadata_max_age"], "2m");
        assert_eq!((&written["after_deadline"], &written["settle_timeout"]), (&json!("withdraw"), &json!("14ms")));
        assert_eq!(
            (&written["compression"], &written["compression_level"]),
            (&json!(["zstd", "lz4"]), &json!({ "zstd": 7 }))
        );
        assert_eq!(written["partitioner"], "fnv1a_random");
        let custom = ProducerConfig::new("a:1").partitioner(Partitioner::custom(|_| None));
        assert!(serde_json::to_value(&custom).is_err(), "a function is in no file");
        assert_eq!(written["topic_compression"], json!({ "photos": ["none"] }));
        let fields = written.as_object().expect("an object").len();
        // Of all that Debug shows, only the fence, the runtime and the handler are in no file.
        let shown_fields = shown(&config)
            .lines()
            .filter(|line| line.starts_with("    ") && !line.starts_with("     ") && line.contains(": "))
            .count();
        assert_eq!(fields + 3, shown_fields);
        assert_eq!(shown(&read(written).expect("is read")), shown(&config));
    }

    #[test]
    fn what_cannot_be_read_says_what_to_give() {
        let with = |field: &str, value: serde_json::Value| {
            let mut all = json!({ "bootstrap_servers": "a:1" });
            all[field] = value;
            read(all).expect_err("is refused")
        };
        let unit = "a time with its unit (us, ms, s, m, h or d), as in \"250ms\"";
        assert_eq!(with("linger", json!("5")), format!("invalid value: string \"5\", expected {unit}"));
        assert_eq!(with("linger", json!(5)), format!("invalid type: integer `5`, expected {unit}"));
        assert!(with("linger", json!("99999999999999999999d")).contains(unit));
        assert!(with("lingr", json!("5ms")).starts_with("unknown field `lingr`, expected one of"));
        assert!(with("acks", json!("2")).starts_with("unknown variant `2`, expected"));
        assert!(with("after_deadline", json!("retry")).contains("`complete` or `withdraw`"));
        assert!(with("compression", json!("lzma")).contains("none, gzip, snappy, lz4 or zstd, or a list of these"));
        assert!(with("bootstrap_servers", json!(5)).contains("brokers as host:port"));
        assert!(read(json!({})).expect_err("is refused").contains("missing field `bootstrap_servers`"));
    }
}
