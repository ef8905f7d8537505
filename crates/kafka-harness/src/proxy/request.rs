//! What a request says of itself: its header and, of a Produce request, the batches that it carries.
//!
//! Read by hand, in every version that brokers serve, because the harness shares no code with the client that it tests. A
//! request that is not understood has no batches; nothing that is read can fail or allocate beyond the frame.

/// Produce, by Kafka's number.
pub const PRODUCE: i16 = 0;
/// Metadata, by Kafka's number.
pub const METADATA: i16 = 3;
/// InitProducerId, by Kafka's number.
pub const INIT_PRODUCER_ID: i16 = 22;

/// A request that went by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Kafka's number of the API.
    pub api: i16,
    /// Its version.
    pub version: i16,
    /// By which its answer is known.
    pub correlation_id: i32,
    /// Of a Produce request.
    pub batches: Vec<Batch>,
    /// Whether there will be an answer: always, but for a Produce request with acks=0.
    pub is_answered: bool,
}

/// A record batch of a Produce request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Where it goes.
    pub topic: TopicRef,
    /// The partition's number.
    pub partition: i32,
    /// Of the idempotent producer; −1 without one.
    pub producer_id: i64,
    /// Of the producer id; −1 without one.
    pub producer_epoch: i16,
    /// The sequence number of the first record; −1 without a producer id.
    pub base_sequence: i32,
    /// How many records it has.
    pub records: i32,
}

/// How a request names a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TopicRef {
    /// Until version 12.
    Name(String),
    /// From version 13 on.
    Id([u8; 16]),
}

impl Request {
    /// Reads a frame without its length; `None` if there is not even a header.
    pub(super) fn read(frame: &[u8]) -> Option<Self> {
        let mut rest = Rest(frame);
        let (api, version, correlation_id) = (rest.int16()?, rest.int16()?, rest.int32()?);
        let mut request = Self { api, version, correlation_id, batches: Vec::new(), is_answered: true };
        if api == PRODUCE
            && let Some((acks, batches)) = rest.produce(version)
        {
            request.is_answered = acks != 0;
            request.batches = batches;
        }
        Some(request)
    }
}

/// What is left of a frame; `None` where it ends early.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    /// Acks and batches, from the client's id on.
    fn produce(&mut self, version: i16) -> Option<(i16, Vec<Batch>)> {
        let form = Form::of(version)?;
        self.nullable_bytes()?;
        self.tags(form)?;
        // The transactional id.
        self.bytes(form)?;
        let acks = self.int16()?;
        let _timeout = self.int32()?;
        let mut batches = Vec::new();
        for _ in 0..self.count(form)? {
            let topic = match form {
                Form::CompactWithIds => TopicRef::Id(self.array()?),
                _ => TopicRef::Name(String::from_utf8_lossy(self.string(form)?).into_owned()),
            };
            for _ in 0..self.count(form)? {
                let partition = self.int32()?;
                let records = self.records(form)?;
                batches.extend(Rest(records).batch(&topic, partition));
                self.tags(form)?;
            }
            self.tags(form)?;
        }
        Some((acks, batches))
    }

    /// The header of a batch of magic 2.
    fn batch(&mut self, topic: &TopicRef, partition: i32) -> Option<Batch> {
        const BEFORE_MAGIC: usize = 16;
        const FROM_MAGIC_TO_PRODUCER: usize = 4 + 2 + 4 + 8 + 8;
        self.take(BEFORE_MAGIC)?;
        let [magic] = self.array::<1>()?;
        self.take(FROM_MAGIC_TO_PRODUCER)?;
        let producer_id = i64::from_be_bytes(self.array()?);
        let (producer_epoch, base_sequence, records) = (self.int16()?, self.int32()?, self.int32()?);
        let topic = topic.clone();
        (magic == 2).then_some(Batch { topic, partition, producer_id, producer_epoch, base_sequence, records })
    }

    fn int16(&mut self) -> Option<i16> {
        self.array().map(i16::from_be_bytes)
    }

    fn int32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }

    /// The elements of an array, each of which takes at least a byte.
    fn count(&mut self, form: Form) -> Option<usize> {
        let count = match form {
            Form::Plain => usize::try_from(self.int32()?).ok()?,
            _ => (self.varint()? as usize).checked_sub(1)?,
        };
        (count <= self.0.len()).then_some(count)
    }

    /// A string or null, which is empty here.
    fn bytes(&mut self, form: Form) -> Option<&'a [u8]> {
        match form {
            Form::Plain => self.nullable_bytes(),
            _ => self.compact(),
        }
    }

    fn string(&mut self, form: Form) -> Option<&'a [u8]> {
        self.bytes(form)
    }

    fn records(&mut self, form: Form) -> Option<&'a [u8]> {
        match form {
            Form::Plain => {
                let length = self.int32()?;
                self.take(usize::try_from(length).unwrap_or(0))
            }
            _ => self.compact(),
        }
    }

    fn nullable_bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.int16()?;
        self.take(usize::try_from(length).unwrap_or(0))
    }

    fn compact(&mut self) -> Option<&'a [u8]> {
        let length = self.varint()? as usize;
        self.take(length.saturating_sub(1))
    }

    fn tags(&mut self, form: Form) -> Option<()> {
        if form == Form::Plain {
            return Some(());
        }
        for _ in 0..self.varint()? {
            let (_tag, length) = (self.varint()?, self.varint()? as usize);
            self.take(length)?;
        }
        Some(())
    }

    fn varint(&mut self) -> Option<u32> {
        let mut value = 0;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array::<1>()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }
}

/// How a version writes lengths and names topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Plain,
    Compact,
    CompactWithIds,
}

impl Form {
    fn of(version: i16) -> Option<Self> {
        match version {
            3..=8 => Some(Self::Plain),
            9..=12 => Some(Self::Compact),
            13 => Some(Self::CompactWithIds),
            _ => None,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A Produce frame, without its length, of one batch per partition.
    pub fn produce(version: i16, acks: i16, topic: &TopicRef, partitions: &[i32]) -> Vec<u8> {
        let is_plain = version < 9;
        let short = |text: &[u8]| {
            if is_plain {
                [&(text.len() as i16).to_be_bytes(), text].concat()
            } else {
                [&[text.len() as u8 + 1], text].concat()
            }
        };
        let count = |count: usize| if is_plain { (count as i32).to_be_bytes().to_vec() } else { vec![count as u8 + 1] };
        let tags: &[u8] = if is_plain { &[] } else { &[0] };
        let mut frame = [0_i16.to_be_bytes(), version.to_be_bytes()].concat();
        frame.extend(77_i32.to_be_bytes());
        frame.extend([&3_i16.to_be_bytes(), b"cli".as_slice(), tags].concat());
        frame.extend(if is_plain { vec![0xff, 0xff] } else { vec![0] });
        frame.extend(acks.to_be_bytes());
        frame.extend(2_000_i32.to_be_bytes());
        frame.extend(count(1));
        match topic {
            TopicRef::Name(name) => frame.extend(short(name.as_bytes())),
            TopicRef::Id(id) => frame.extend(id),
        }
        frame.extend(count(partitions.len()));
        for partition in partitions {
            frame.extend(partition.to_be_bytes());
            let batch = batch();
            frame.extend(if is_plain {
                (batch.len() as i32).to_be_bytes().to_vec()
            } else {
                vec![batch.len() as u8 + 1]
            });
            frame.extend([&batch, tags].concat());
        }
        frame.extend([tags, tags].concat());
        frame
    }

    /// Producer 5, epoch 2, sequences from 9, three records, and some bytes that stand for them.
    fn batch() -> Vec<u8> {
        let mut batch = vec![0; 16];
        batch.push(2);
        batch.extend([0; 26]);
        batch.extend(5_i64.to_be_bytes());
        batch.extend(2_i16.to_be_bytes());
        batch.extend(9_i32.to_be_bytes());
        batch.extend(3_i32.to_be_bytes());
        batch.extend(b"records");
        batch
    }

    #[test]
    fn the_batches_of_every_version_are_read() {
        for version in 3..=13 {
            let topic = if version < 13 { TopicRef::Name("orders".to_owned()) } else { TopicRef::Id([7; 16]) };
            let request = Request::read(&produce(version, -1, &topic, &[4, 1])).unwrap();
            assert_eq!((request.api, request.version, request.correlation_id), (PRODUCE, version, 77));
            assert!(request.is_answered);
            let batch = |partition| {
                let topic = topic.clone();
                Batch { topic, partition, producer_id: 5, producer_epoch: 2, base_sequence: 9, records: 3 }
            };
            assert_eq!(request.batches, [batch(4), batch(1)], "version {version}");
        }
    }

    #[test]
    fn only_acks_0_has_no_answer() {
        let topic = TopicRef::Name("t".to_owned());
        assert!(!Request::read(&produce(9, 0, &topic, &[0])).unwrap().is_answered);
        assert!(Request::read(&produce(9, 1, &topic, &[0])).unwrap().is_answered);
    }

    #[test]
    fn what_is_cut_short_or_made_up_has_no_batches() {
        let topic = TopicRef::Name("t".to_owned());
        for version in [3, 9, 13] {
            let whole = produce(version, -1, &topic, &[0]);
            for end in 0..whole.len() - 1 {
                let read = Request::read(&whole[..end]);
                assert_eq!(read.is_some(), end >= 8, "version {version} cut at {end}");
            }
            for at in 8..whole.len() {
                let mut damaged = whole.clone();
                damaged[at] = 0xff;
                let _ = Request::read(&damaged);
            }
        }
        assert_eq!(Request::read(&produce(99, -1, &topic, &[0])).unwrap().batches, []);
    }
}
