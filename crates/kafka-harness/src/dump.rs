//! Records as Java's own consumer sees them: the lines that `java/DumpRecords.java` prints, read back.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// One record of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DumpedRecord {
    /// The partition that holds the record.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Milliseconds since 1970, from the producer or the broker as the topic says.
    pub timestamp: i64,
    /// The key; `None` when null.
    pub key: Option<Vec<u8>>,
    /// The headers in the record's order, duplicates kept.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// The value; `None` when null.
    pub value: Option<Vec<u8>>,
}

impl DumpedRecord {
    /// Reads one line; `None` when it is not such a line.
    pub fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split(' ');
        let record = Self {
            partition: fields.next()?.parse().ok()?,
            offset: fields.next()?.parse().ok()?,
            timestamp: fields.next()?.parse().ok()?,
            key: bytes(fields.next()?)?,
            headers: headers(fields.next()?)?,
            value: bytes(fields.next()?)?,
        };
        fields.next().is_none().then_some(record)
    }
}

/// All that was printed: the topics by name. The error is the line that is neither a topic nor a record.
pub fn parse(printed: &str) -> Result<BTreeMap<String, Vec<DumpedRecord>>, String> {
    let mut topics: BTreeMap<String, Vec<DumpedRecord>> = BTreeMap::new();
    let mut records = None;
    for line in printed.lines() {
        if let Some(topic) = line.strip_prefix("topic ") {
            records = Some(topics.entry(topic.to_owned()).or_default());
            continue;
        }
        let (Some(records), Some(record)) = (&mut records, DumpedRecord::parse(line)) else {
            return Err(line.to_owned());
        };
        records.push(record);
    }
    Ok(topics)
}

/// The single-file Java program that prints the records.
pub fn program() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/java/DumpRecords.java"))
}

/// Name and value.
type Header = (Vec<u8>, Option<Vec<u8>>);

fn headers(field: &str) -> Option<Vec<Header>> {
    if field == "-" {
        return Some(Vec::new());
    }
    field.split(',').map(header).collect()
}

fn header(field: &str) -> Option<Header> {
    let (key, value) = field.split_once('=')?;
    Some((bytes(key)??, bytes(value)?))
}

/// Length-prefixed hex; the outer `None` is a broken field, the inner one a null.
fn bytes(field: &str) -> Option<Option<Vec<u8>>> {
    let (length, digits) = field.split_once(':')?;
    if length == "-1" {
        return digits.is_empty().then_some(None);
    }
    let length: usize = length.parse().ok()?;
    let pairs = digits.as_bytes().chunks(2);
    let bytes: Option<Vec<u8>> = pairs.map(byte).collect();
    let bytes = bytes?;
    (bytes.len() == length).then_some(Some(bytes))
}

fn byte(pair: &[u8]) -> Option<u8> {
    let &[high, low] = pair else { return None };
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_empty_stay_apart() {
        let record = DumpedRecord::parse("2 41 1700000000000 -1: - 0:").unwrap();
        assert_eq!((record.partition, record.offset, record.timestamp), (2, 41, 1_700_000_000_000));
        assert_eq!((record.key, record.headers, record.value), (None, vec![], Some(vec![])));
    }

    #[test]
    fn headers_keep_their_order_and_duplicates() {
        let record = DumpedRecord::parse("0 0 -1 2:6b31 1:61=1:78,1:61=-1:,0:=0: 3:00ff7f").unwrap();
        let a = b"a".to_vec();
        assert_eq!(record.key, Some(b"k1".to_vec()));
        assert_eq!(record.headers, [(a.clone(), Some(b"x".to_vec())), (a, None), (vec![], Some(vec![]))]);
        assert_eq!(record.value, Some(vec![0x00, 0xff, 0x7f]));
    }

    #[test]
    fn topics_stay_apart_and_empty_ones_are_there() {
        let topics = parse("topic a\n0 0 7 -1: - -1:\ntopic b\ntopic c\n1 0 8 -1: - -1:\n").unwrap();
        let timestamps: Vec<Vec<i64>> =
            topics.values().map(|records| records.iter().map(|record| record.timestamp).collect()).collect();
        assert_eq!(timestamps, [vec![7], vec![], vec![8]]);
        assert_eq!(parse("0 0 7 -1: - -1:\n"), Err("0 0 7 -1: - -1:".to_owned()));
    }

    #[test]
    fn a_broken_line_is_no_record() {
        for line in [
            "",
            "0 0 0 -1: -",
            "0 0 0 -1: - 0: more",
            "0 0 0 2:61 - 0:",
            "0 0 0 1:6 - 0:",
            "0 0 0 1:6g - 0:",
            "0 0 0 -1:61 - 0:",
            "0 0 0 -1: -1:=0: 0:",
        ] {
            assert_eq!(DumpedRecord::parse(line), None, "{line}");
        }
    }
}
