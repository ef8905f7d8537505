//! `compression.type`: a topic's batches are compressed in the log as it wants, whatever their producer did.
//!
//! The records stay what they are, byte for byte; header, size and checksum change. A batch may get larger, too.

use bytes::Bytes;
use milena_wire::records::{
    Attributes, BatchHeader, Codec, Compression, Encoding, Packer, UNPACKED_BYTES_MAX, UnpackError, unpack,
};

use crate::batch_check::CheckedBatch;
use crate::topic_config::TopicConfig;

/// Why a batch cannot be compressed anew.
#[derive(Debug)]
pub(crate) enum NotRepacked {
    /// What its codec wrote cannot be read.
    Unreadable,
    /// It has a producer id without an epoch: Kafka's builder of batches fails for that, what is kept as it came is not looked at.
    NoEpoch,
}

impl From<UnpackError> for NotRepacked {
    fn from(_: UnpackError) -> NotRepacked {
        NotRepacked::Unreadable
    }
}

/// The batch as the topic keeps it.
pub(crate) fn recompressed(batch: CheckedBatch, config: &TopicConfig) -> Result<CheckedBatch, NotRepacked> {
    let before = batch.header.attributes.compression();
    let Some(wanted) = config.compression.filter(|wanted| *wanted != before) else {
        return Ok(batch);
    };
    if batch.header.producer_id >= 0 && batch.header.producer_epoch < 0 {
        return Err(NotRepacked::NoEpoch);
    }
    let plain: Bytes = match before {
        Compression::None => batch.records,
        codec => unpack(codec, &batch.records, UNPACKED_BYTES_MAX)?.into(),
    };
    let packed = codec_of(wanted).map(|codec| Packer::new().pack_even_if_larger(encoding(codec, config), &plain));
    let (compression, records) = match packed {
        Some(packed) => (wanted, Bytes::from(packed)),
        None => (Compression::None, plain),
    };
    // Kafka builds the batch anew, and knows nothing of bits without a meaning.
    let before = batch.header.attributes;
    let attributes = Attributes::default()
        .with_compression(compression)
        .with_timestamp_type(before.timestamp_type())
        .with_transactional(before.is_transactional())
        .with_control(before.is_control());
    let header = BatchHeader { attributes, ..batch.header };
    let sealed = header.seal(records.len(), milena_wire::crc32c::checksum(&records));
    let header = BatchHeader::read(&sealed).expect("a sealed header is a header");
    Ok(CheckedBatch { header, records })
}

fn codec_of(compression: Compression) -> Option<Codec> {
    Codec::ALL.into_iter().find(|codec| Compression::from(*codec) == compression)
}

/// At the topic's level, where the codec has it here; otherwise at its own.
fn encoding(codec: Codec, config: &TopicConfig) -> Encoding {
    let level = config.compression_level().and_then(|level| Encoding::with_level(codec, level));
    level.unwrap_or(Encoding::new(codec))
}
