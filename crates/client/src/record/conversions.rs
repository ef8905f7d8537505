//! What can be sent as it is: values, and pairs of key and value.

use bytes::Bytes;

use super::{Payload, Record};

impl<'a> From<&'a [u8]> for Record<'a> {
    fn from(value: &'a [u8]) -> Self {
        Self::with(Payload::Borrowed(value))
    }
}

impl<'a> From<&'a str> for Record<'a> {
    fn from(value: &'a str) -> Self {
        Self::from(value.as_bytes())
    }
}

impl<'a, const BYTES: usize> From<&'a [u8; BYTES]> for Record<'a> {
    fn from(value: &'a [u8; BYTES]) -> Self {
        Self::from(value.as_slice())
    }
}

impl<'a> From<&'a Vec<u8>> for Record<'a> {
    fn from(value: &'a Vec<u8>) -> Self {
        Self::from(value.as_slice())
    }
}

impl<'a> From<&'a String> for Record<'a> {
    fn from(value: &'a String) -> Self {
        Self::from(value.as_str())
    }
}

impl From<Bytes> for Record<'static> {
    fn from(value: Bytes) -> Self {
        Self::shared(value)
    }
}

impl From<Vec<u8>> for Record<'static> {
    fn from(value: Vec<u8>) -> Self {
        Self::shared(Bytes::from(value))
    }
}

impl From<String> for Record<'static> {
    fn from(value: String) -> Self {
        Self::from(value.into_bytes())
    }
}

/// A key and a value, both borrowed.
impl<'a, K: AsRef<[u8]> + ?Sized, V: AsRef<[u8]> + ?Sized> From<(&'a K, &'a V)> for Record<'a> {
    fn from((key, value): (&'a K, &'a V)) -> Self {
        Self::value(value).key(key)
    }
}

/// A key and a value, both given away.
impl From<(Bytes, Bytes)> for Record<'static> {
    fn from((key, value): (Bytes, Bytes)) -> Self {
        Self::shared(value).shared_key(key)
    }
}

impl From<(Vec<u8>, Vec<u8>)> for Record<'static> {
    fn from((key, value): (Vec<u8>, Vec<u8>)) -> Self {
        Self::from((Bytes::from(key), Bytes::from(value)))
    }
}

impl From<(String, String)> for Record<'static> {
    fn from((key, value): (String, String)) -> Self {
        Self::from((key.into_bytes(), value.into_bytes()))
    }
}

/// A copy of a record that is cheap: what is shared is shared again.
impl<'a> From<&Record<'a>> for Record<'a> {
    fn from(record: &Record<'a>) -> Self {
        record.clone()
    }
}

#[cfg(all(test, not(milena_model)))]
mod tests {
    use milena_core::time::Moment;

    use super::*;

    fn parts(record: &Record<'_>) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
        let taken = record.at(Moment::START);
        (taken.key.map(<[u8]>::to_vec), taken.value.as_slice().map(<[u8]>::to_vec))
    }

    #[test]
    fn values_are_records_without_a_key() {
        let (text, bytes) = ("v".to_owned(), b"v".to_vec());
        let records = [
            Record::from("v"),
            Record::from(b"v"),
            Record::from(bytes.as_slice()),
            Record::from(&text),
            Record::from(&bytes),
            Record::from(text.clone()),
            Record::from(bytes.clone()),
            Record::from(Bytes::from("v")),
            Record::from(&Record::value("v")),
        ];
        for record in records {
            assert_eq!(parts(&record), (None, Some(b"v".to_vec())));
        }
    }

    #[test]
    fn pairs_are_keys_and_values() {
        let (key, value) = ("k".to_owned(), b"v".to_vec());
        let records = [
            Record::from(("k", b"v")),
            Record::from((&key, &value)),
            Record::from((Bytes::from("k"), Bytes::from("v"))),
            Record::from((key.clone(), "v".to_owned())),
            Record::from((key.clone().into_bytes(), value.clone())),
        ];
        for record in records {
            assert_eq!(parts(&record), (Some(b"k".to_vec()), Some(b"v".to_vec())));
        }
    }
}
