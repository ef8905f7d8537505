//! How records are compressed: codecs in the order of preference, their levels, and topics of their own.

use std::collections::BTreeMap;
use std::sync::Arc;

use milena_core::producer::packing::Encodings;
use milena_wire::records::{Codec, Encoding};

use super::ProducerConfig;
use super::check::{ConfigError, relation};

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
    /// The smallest for its time. Levels 1 to 22, default 3; with the feature `zstd`, which is on by default and C. Without it
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
    /// Batches are compressed on threads of the producer's own, as many as the machine runs at a time and at most four,
    /// several batches at a time and before they are sent, so callers and connections do not wait for it; a batch that is due
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

    /// The level of a codec, wherever it is used: 1 to 9 for gzip, 1 to 22 for zstd. Default 6 and 3. Raising it makes batches
    /// somewhat smaller and takes far more time: zstd at 19 a hundred times that of 3. `compression.gzip.level` and
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

    /// As [`Self::compression`], for this topic instead: none for one whose values are compressed already, a slower codec for
    /// one that is kept for long. librdkafka's topic configuration; Java has a producer for each.
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
        for (codec, level) in &self.compression_level {
            encoding(*codec, Some(*level))?;
        }
        let of_topics = self.topic_compression.iter().map(|(topic, preferred)| {
            relation(
                crate::producer::check_topic_name(topic).is_ok(),
                "topic_compression names a topic that brokers do not accept: 1 to 249 letters, digits, dots, hyphens and \
                 underscores",
            )?;
            Ok((Arc::from(topic.as_str()), self.encodings(preferred)?))
        });
        Ok(CheckedCompression {
            encodings: self.encodings(&self.compression)?,
            of_topics: of_topics.collect::<Result<_, _>>()?,
        })
    }

    fn encodings(&self, preferred: &[Compression]) -> Result<Encodings, ConfigError> {
        let end = preferred.iter().position(|codec| *codec == Compression::None).unwrap_or(preferred.len());
        relation(
            preferred.len() <= end + 1,
            "compression has something behind Compression::None that is never used: put None last or leave it out",
        )?;
        let encodings =
            preferred[..end].iter().map(|codec| encoding(*codec, self.compression_level.get(codec).copied()));
        let encodings: Vec<Option<Encoding>> = encodings.collect::<Result<_, _>>()?;
        let encodings = Encodings::new(encodings.into_iter().flatten());
        encodings
            .ok_or(ConfigError::Relation("compression names a codec twice: name each once, the preferred one first"))
    }
}

fn encoding(codec: Compression, level: Option<i32>) -> Result<Option<Encoding>, ConfigError> {
    let Some(codec) = codec.codec() else {
        relation(level.is_none(), "compression_level is that of a codec: Compression::None has none")?;
        return Ok(None);
    };
    let Some(level) = level else { return Ok(Some(Encoding::new(codec))) };
    let encoding = Encoding::with_level(codec, level);
    encoding.map(Some).ok_or(ConfigError::Relation(match codec {
        Codec::Gzip => "compression_level of gzip must be 1 to 9",
        Codec::Zstd if codec.levels().is_none() => {
            "compression_level of zstd needs the feature zstd of this crate: enable it, or leave the level out"
        }
        Codec::Zstd => "compression_level of zstd must be 1 to 22",
        Codec::Snappy => "snappy has no levels: leave compression_level out, or use gzip or zstd",
        Codec::Lz4 => "lz4 is written at one level here: leave compression_level out, or use gzip or zstd",
    }))
}

impl CheckedCompression {
    /// Whether nothing is ever compressed.
    pub(super) fn is_none(&self) -> bool {
        self.encodings.is_none() && self.of_topics.values().all(|encodings| encodings.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(config: ProducerConfig) -> String {
        config.check().err().expect("refused").to_string()
    }

    #[test]
    fn what_is_never_used_or_not_there_is_refused_with_the_fix() {
        use Compression::{Gzip, Lz4, None, Snappy, Zstd};
        let config = || ProducerConfig::new("a:1");
        for (config, fix) in [
            (config().compression([Lz4, Lz4]), "name each once"),
            (config().compression([Lz4, None, Gzip]), "put None last"),
            (config().topic_compression("t", [None, Gzip]), "put None last"),
            (config().topic_compression("no topic", Gzip), "topic that brokers do not accept"),
            (config().compression_level(Gzip, 10), "gzip must be 1 to 9"),
            (config().compression(Gzip).compression_level(Gzip, 0), "gzip must be 1 to 9"),
            (config().compression_level(Zstd, 23), "zstd"),
            (config().compression_level(Lz4, 9), "one level"),
            (config().compression_level(Snappy, 1), "no levels"),
            (config().compression_level(None, 1), "that of a codec"),
        ] {
            let text = error(config);
            assert!(text.contains(fix), "{fix}: {text}");
        }
    }

    #[test]
    fn settings_reach_the_partitions() {
        use Compression::{Gzip, Lz4, None, Snappy};
        let settings = |config: ProducerConfig| config.check().expect("fits");
        let plain = settings(ProducerConfig::new("a:1").compression(None).topic_compression("t", []));
        assert!(!plain.compresses && plain.control.back.encodings.is_none());
        let config = ProducerConfig::new("a:1")
            .compression([Gzip, Lz4, None])
            .compression_level(Gzip, 9)
            .topic_compression("photos", None)
            .topic_compression("logs", vec![Snappy]);
        let checked = settings(config);
        assert!(checked.compresses);
        let gzip = Encoding::with_level(Codec::Gzip, 9).expect("there is one");
        assert_eq!(Some(checked.control.back.encodings), Encodings::new([gzip, Encoding::new(Codec::Lz4)]));
        let of = |topic: &str| checked.control.encodings_of.get(topic).copied();
        assert_eq!((of("photos"), of("logs")), (Some(Encodings::NONE), Encodings::new([Encoding::new(Codec::Snappy)])));
        assert!(settings(ProducerConfig::new("a:1").topic_compression("logs", Lz4)).compresses);
    }
}
