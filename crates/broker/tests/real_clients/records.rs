//! What every client writes, and whether it is all there. The programs beside this file make the same records.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use milena_broker::{Broker, PartitionIndex};
use milena_wire::records::Compression;

/// The topics, each by the name of its codec.
pub const CODECS: [(&str, Compression); 5] = [
    ("none", Compression::None),
    ("gzip", Compression::Gzip),
    ("snappy", Compression::Snappy),
    ("lz4", Compression::Lz4),
    ("zstd", Compression::Zstd),
];
pub const PARTITIONS: i32 = 3;
/// A burst is written to every partition without a look at answers; the cluster is upset behind each.
pub const BURSTS: usize = 10;
/// Records of a partition in a burst.
pub const BURST: usize = 60;
/// Records of a partition.
pub const RECORDS: usize = BURSTS * BURST;

/// Topic and partition.
pub type Place = (String, i32);
/// Number and offset of a record that was reported as written.
pub type Acked = (usize, Option<i64>);

/// A record as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub offset: i64,
    pub timestamp: i64,
    pub key: String,
    pub header: String,
    pub value: String,
}

/// The timestamp of each partition's first record; each next one is a millisecond later. Young enough for retention.
pub fn base_timestamp() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is after 1970");
    i64::try_from((now - Duration::from_secs(3600)).as_millis()).expect("it is before the year 292 million")
}

/// Some are longer than a block of snappy or lz4.
pub fn value(topic: &str, partition: i32, number: usize) -> String {
    let filler = if number % 100 == 99 { 70_000 } else { number % 200 };
    format!("{topic}:{partition}:{number}:{}", "x".repeat(filler))
}

pub fn places() -> impl Iterator<Item = Place> {
    CODECS.iter().flat_map(|(codec, _)| (0..PARTITIONS).map(|partition| ((*codec).to_owned(), partition)))
}

/// The record with such a number; its offset is its number, because nobody else writes.
pub fn expected(place: &Place, base_timestamp: i64, number: usize) -> Found {
    let offset = number as i64;
    Found {
        offset,
        timestamp: base_timestamp + offset,
        key: format!("k{number}"),
        header: place.0.clone(),
        value: value(&place.0, place.1, number),
    }
}

/// Every record of every partition was answered once, with its offset if it was told. In any order: a client that has not heard of a batch asks again
/// after it has heard of those behind it.
pub fn assert_all_acked(mut acked: BTreeMap<Place, Vec<Acked>>) {
    for place in places() {
        let acked = acked.get_mut(&place).map_or(&mut [][..], Vec::as_mut_slice);
        acked.sort_unstable();
        for (number, &(found, offset)) in acked.iter().enumerate() {
            let told = (found, offset.unwrap_or(number as i64));
            assert_eq!(told, (number, number as i64), "number and offset of acknowledgement {number} of {place:?}");
        }
        assert_eq!(acked.len(), RECORDS, "acknowledgements of {place:?}");
    }
}

/// Every partition was read from its start to its end: nothing is missing, twice or out of order.
pub fn assert_all_read(read: &BTreeMap<Place, Vec<Found>>, base_timestamp: i64) {
    for place in places() {
        let found = read.get(&place).map_or(&[][..], Vec::as_slice);
        for (number, found) in found.iter().enumerate() {
            let expected = expected(&place, base_timestamp, number);
            assert!(*found == expected, "record {number} of {place:?} was read as {:.200}", format!("{found:?}"));
        }
        assert_eq!(found.len(), RECORDS, "records read of {place:?}");
    }
}

/// The log holds so many records, all of them committed, in batches of the topic's codec only.
pub fn assert_log(broker: &Broker, place: &Place, codec: Compression, records: usize) {
    let (topic, partition) = (place.0.clone(), PartitionIndex(place.1));
    let (codecs, end, committed) = broker.look(move |cluster| {
        let log = cluster.log(&topic, partition).expect("the topic was made");
        let batches = log.batches().expect("memory is read");
        let codecs =
            batches.iter().map(|entry| log.read_batch(entry).expect("is sound").header.attributes.compression());
        let high_watermark = cluster.high_watermark(&topic, partition).expect("the topic was made");
        (codecs.collect::<Vec<_>>(), log.next_offset(), high_watermark)
    });
    assert_eq!((end, committed), (records as i64, records as i64), "end and high watermark of {place:?}");
    // A client leaves a batch as it is when compression does not make it smaller.
    let others = codecs.iter().filter(|&&found| found != codec && found != Compression::None).count();
    let packed = codecs.iter().filter(|&&found| found == codec).count();
    assert!(
        others == 0 && packed * 2 > codecs.len(),
        "{place:?}: {packed} of {} batches, {others} by others",
        codecs.len()
    );
}
