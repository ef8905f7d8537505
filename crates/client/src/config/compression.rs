//! How records are compressed: codecs in the order of preference, their levels, and topics of their own.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;

use milena_core::producer::packing::Encodings;
use milena_wire::records::{Codec, Encoding};

use super::ProducerConfig;
use super::check::{ConfigError, check};
use super::misfit::{Relation, Value};

/// A codec. Consumers of every make read all of them.
///
/// Of a megabyte of JSON-like records, on one core: lz4 and snappy take about a millisecond and leave half of it, zstd three
/// milliseconds and a quarter, gzip fifteen and somewhat more than zstd.
///
/// ```
/// use milena::{Compression, ProducerConfig};
/// let config = ProducerConfig::new("localhost:9092").compression(Compression::Lz4);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "lowercase"))]
#[non_exhaustive]
pub enum Compression {
    /// Records go as they are.
    None,
    /// Small and slow. Levels 1 to 9, default 6.
    Gzip,
    /// Fast. Has no levels.
    Snappy,
    /// Fast. Has no levels here; Java's and librdkafka's slower ones are not written.
    Lz4,
    /// The smallest for its time. Levels 1 to 22, default 3, and down to -131072 faster and larger; with the feature `zstd`, which is on by default and C. Without it
    /// there is one level, and it is several times slower. Brokers take it from Kafka 2.1 on (KIP-110).
    Zstd,
}

impl Compression {
    fn codec(self) -> Option<Codec> {
        match self {
            Self::None => None,
            Self::Gzip => Some(Codec::Gzip),
            Self::Snappy => Some(Codec::Snappy),
            Self::Lz4 => Some(Codec::Lz4),
            Self::Zstd => Some(Codec::Zstd),
        }
    }

    /// None without a codec, and where it has no such level.
    fn encoding(self, level: Option<i32>) -> Option<Encoding> {
        let codec = self.codec()?;
        match level {
            Some(level) => Encoding::with_level(codec, level),
            None => Some(Encoding::new(codec)),
        }
    }
}

/// So that one codec can be given where several can.
impl IntoIterator for Compression {
    type Item = Self;
    type IntoIter = std::iter::Once<Self>;

    fn into_iter(self) -> Self::IntoIter {
        std::iter::once(self)
    }
}

impl ProducerConfig {
    /// How batches are compressed: by the first of these codecs that the broker takes; by none where it takes none of them,
    /// and where a batch would not get smaller. Default none.
    ///
    /// Batches are compressed on threads of the producer's own ([`Self::compression_threads`]), several batches at a time and
    /// before they are sent, so callers and connections do not wait for it; a batch that is due
    /// meanwhile ends `NotWritten`. It saves network and disks of the brokers; it costs the time that stands at
    /// [`Compression`], and a batch of its own waits for it. Small batches shrink little: raise [`Self::linger`] with it.
    /// `batch_size` and `max_request_size` count bytes before compression, brokers' `max.message.bytes` those after it.
    /// `compression.type`; librdkafka also `compression.codec`.
    ///
    /// ```
    /// use milena::{Compression, ProducerConfig};
    /// // lz4 for brokers before Kafka 2.1.
    /// let config = ProducerConfig::new("localhost:9092").compression([Compression::Zstd, Compression::Lz4]);
    /// ```
    #[must_use]
    pub fn compression(mut self, preferred: impl IntoIterator<Item = Compression>) -> Self {
        self.compression = preferred.into_iter().collect();
        self
    }

    /// The level of a codec, wherever it is used: 1 to 9 for gzip, -131072 to 22 for zstd. Default 6 and 3. Raising it makes batches
    /// somewhat smaller and takes far more time: zstd at 19 a hundred times that of 3; below 0 zstd leaves more and more as it is, and 0 is its default. `compression.gzip.level` and
    /// `compression.zstd.level`; librdkafka's `compression.level` is that of the codec it uses.
    ///
    /// ```
    /// use milena::{Compression, ProducerConfig};
    ///
    /// // Kept for years, and written at leisure.
    /// let config = ProducerConfig::new("localhost:9092")
    ///     .compression(Compression::Zstd)
    ///     .compression_level(Compression::Zstd, 12);
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn compression_level(mut self, codec: Compression, level: i32) -> Self {
        self.compression_level.insert(codec, level);
        self
    }

    /// How many threads compress batches, 1 to 64. Default as many as the machine runs at a time, and at most four, which
    /// are enough for 2 GB a second by lz4. Raising it lets more batches be compressed at a time, where zstd at a high level
    /// or gzip is slower than the network, and takes those cores from the application; each thread keeps the memory that its
    /// codecs work in, up to some megabytes. Without compression there are none, whatever is set. As a property
    /// `milena.compression.threads`: in other clients compression runs on the thread that sends or that writes the socket.
    ///
    /// ```
    /// use milena::{Compression, ProducerConfig};
    ///
    /// // The machine is there for little else.
    /// let config = ProducerConfig::new("localhost:9092").compression(Compression::Gzip).compression_threads(16);
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn compression_threads(mut self, threads: usize) -> Self {
        self.compression_threads = Some(threads);
        self
    }

    /// As [`Self::compression`], for this topic instead: none for one whose values are compressed already, a slower codec for
    /// one that is kept for long. As a property `milena.topic.compression`, in which topics and their codecs stand as
    /// `photos:none, logs:zstd+lz4`; in librdkafka `compression.codec` of a topic's configuration; Java has a producer for each.
    ///
    /// ```
    /// use milena::{Compression, ProducerConfig};
    /// let config = ProducerConfig::new("localhost:9092")
    ///     .compression(Compression::Lz4)
    ///     .topic_compression("photos", Compression::None);
    /// ```
    #[must_use]
    pub fn topic_compression(
        mut self,
        topic: impl Into<String>,
        preferred: impl IntoIterator<Item = Compression>,
    ) -> Self {
        self.topic_compression.insert(topic.into(), preferred.into_iter().collect());
        self
    }
}

/// By which codecs batches go, checked.
#[derive(Clone, Debug)]
pub(super) struct CheckedCompression {
    pub(super) encodings: Encodings,
    pub(super) of_topics: BTreeMap<Arc<str>, Encodings>,
}

impl ProducerConfig {
    pub(super) fn check_compression(&self) -> Result<CheckedCompression, ConfigError> {
        check(self.compression_level.iter().map(|(codec, level)| self.relation_of_level(*codec, *level)))?;
        let of_topics = self.topic_compression.iter().map(|(topic, preferred)| {
            check([Relation {
                holds: crate::producer::check_topic_name(topic).is_ok(),
                misfit: self.given.misfit(
                    [("topic_compression", Value::Text(format!("that of {topic:?}")))],
                    "no topic can have this name",
                    "use 1 to 249 of a-z A-Z 0-9 . _ -, and neither . nor ..",
                ),
            }])?;
            Ok((Arc::from(topic.as_str()), self.encodings("topic_compression", preferred)?))
        });
        Ok(CheckedCompression {
            encodings: self.encodings("compression", &self.compression)?,
            of_topics: of_topics.collect::<Result<_, _>>()?,
        })
    }

    fn encodings(&self, row: &'static str, preferred: &[Compression]) -> Result<Encodings, ConfigError> {
        let end = preferred.iter().position(|codec| *codec == Compression::None).unwrap_or(preferred.len());
        let used = &preferred[..end];
        let encodings = used.iter().map(|codec| codec.encoding(self.compression_level.get(codec).copied()));
        let encodings = Encodings::new(encodings.flatten());
        let value = || Value::Text(format!("{preferred:?}"));
        check([
            Relation {
                holds: preferred.len() <= end + 1,
                misfit: self.given.misfit(
                    [(row, value())],
                    "what stands behind None is never used",
                    "put None last or leave it out",
                ),
            },
            Relation {
                holds: encodings.is_some(),
                misfit: self.given.misfit(
                    [(row, value())],
                    "a codec is named twice",
                    "name each once, the preferred one first",
                ),
            },
        ])?;
        Ok(encodings.expect("it was just checked"))
    }

    fn relation_of_level(&self, codec: Compression, level: i32) -> Relation {
        let row = level_of(codec);
        let (limit, fix) = match codec.codec() {
            None => ("without a codec there is no level", "leave it out, or choose gzip or zstd"),
            Some(Codec::Gzip) => ("it must be 1 to 9", "give another level, or leave it out for 6"),
            Some(Codec::Zstd) if Codec::Zstd.levels().is_none() => {
                ("levels of zstd need the feature zstd of this crate", "enable it, or leave the level out")
            }
            Some(Codec::Zstd) => ("it must be -131072 to 22", "give another level, or leave it out for 3"),
            Some(Codec::Snappy) => ("snappy has no levels", "leave it out, or use gzip or zstd"),
            Some(Codec::Lz4) => ("lz4 is written at one level here", "leave it out, or use gzip or zstd"),
        };
        Relation {
            holds: codec.encoding(Some(level)).is_some(),
            misfit: self.given.misfit([(row, Value::Number(level.into()))], limit, fix),
        }
    }

    /// As many as run at a time, but not more than are of use.
    pub(super) fn packers(&self) -> usize {
        let by_the_machine = || thread::available_parallelism().map_or(1, NonZeroUsize::get).min(THREADS_MAX);
        self.compression_threads.unwrap_or_else(by_the_machine)
    }
}

/// The rows of the table of properties; some have no property of their own.
pub(super) fn level_of(codec: Compression) -> &'static str {
    match codec {
        Compression::None => "compression_level of none",
        Compression::Gzip => "compression_level of gzip",
        Compression::Snappy => "compression_level of snappy",
        Compression::Lz4 => "compression_level of lz4",
        Compression::Zstd => "compression_level of zstd",
    }
}

/// More than these are seldom needed: four compress 2 GB a second by lz4.
const THREADS_MAX: usize = 4;

/// More than any machine has a use for is a mistake.
pub(super) const COMPRESSION_THREADS_MAX: usize = 64;

impl CheckedCompression {
    /// Whether nothing is ever compressed.
    pub(super) fn is_none(&self) -> bool {
        self.encodings.is_none() && self.of_topics.values().all(|encodings| encodings.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_reach_the_partitions() {
        use Compression::{Gzip, Lz4, None, Snappy};
        let settings = |config: ProducerConfig| config.check().expect("fits");
        let plain = settings(ProducerConfig::new("a:1").compression(None).topic_compression("t", []));
        assert!(plain.packers == 0 && plain.control.back.encodings.is_none());
        let config = ProducerConfig::new("a:1")
            .compression([Gzip, Lz4, None])
            .compression_level(Gzip, 9)
            .topic_compression("photos", None)
            .topic_compression("logs", vec![Snappy]);
        let checked = settings(config);
        assert!(checked.packers > 0);
        let gzip = Encoding::with_level(Codec::Gzip, 9).expect("there is one");
        assert_eq!(Some(checked.control.back.encodings), Encodings::new([gzip, Encoding::new(Codec::Lz4)]));
        let of = |topic: &str| checked.control.encodings_of.get(topic).copied();
        assert_eq!((of("photos"), of("logs")), (Some(Encodings::NONE), Encodings::new([Encoding::new(Codec::Snappy)])));
        assert!(settings(ProducerConfig::new("a:1").topic_compression("logs", Lz4)).packers > 0);
    }
}
