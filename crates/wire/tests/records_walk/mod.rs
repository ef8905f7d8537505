//! Reads hostile bytes as record batches in every way the crate offers.
//!
//! For tests that make up bytes: `#[path = "records_walk/mod.rs"] mod records_walk;` and call [`walk`].

use bytes::Bytes;
use milena_wire::records::{
    BATCH_HEADER_BYTES, BatchView, RecordHeader, RecordLayout, batches, place_batch, retain, set_log_append_time,
    validate_produced,
};

/// How much of the bytes was accepted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Walked {
    pub batches: usize,
    pub records: usize,
    pub headers: usize,
}

/// Reads `bytes` as far as they can be read, with checksums ignored, and asserts what must hold for any bytes: nothing
/// panics, no batch or record is larger than what it came from, and what was accepted can be written and read again.
pub fn walk(bytes: &[u8]) -> Walked {
    let mut walked = Walked::default();
    let mut all = batches(Bytes::copy_from_slice(bytes)).without_checksums();
    let mut given = 0;
    while let Some(batch) = all.next() {
        let Ok(batch) = batch else { break };
        given += batch.bytes.len();
        assert_eq!(all.consumed(), given);
        walked.batches += 1;
        walk_records(&batch, &mut walked);
        if let Ok(rewritten) = retain(batch.body.chunks(3), |index| index % 3 != 0) {
            assert!(rewritten.bytes.len() <= batch.body.len());
        }
    }
    assert!(given <= bytes.len());
    assert!(all.next().is_none(), "after an error nothing follows");
    let strict: usize = batches(Bytes::copy_from_slice(bytes)).filter_map(Result::ok).count();
    assert!(strict <= walked.batches);
    rewrite(bytes);
    walked
}

fn walk_records(batch: &BatchView, walked: &mut Walked) {
    assert_eq!(batch.bytes.len(), BATCH_HEADER_BYTES + batch.body.len());
    let mut last_offset = -1;
    for record in batch.records() {
        let Ok(record) = record else { return };
        assert!(record.offset > last_offset && record.offset <= batch.header.last_offset());
        last_offset = record.offset;
        walked.records += 1;
        let headers: Vec<_> = record.headers().collect();
        assert_eq!(headers.len(), record.headers().len());
        walked.headers += headers.len();
        let texts: Vec<_> = headers.iter().map(|header| header.key_text()).collect();
        let borrowed: Vec<_> = headers
            .iter()
            .zip(&texts)
            .map(|(header, key)| RecordHeader { key, value: header.value.as_deref() })
            .collect();
        let value = record.value.as_deref();
        let layout = RecordLayout::new(0, 0, record.key.as_deref(), value.map(<[u8]>::len), &borrowed)
            .expect("what fits a body fits a record");
        let mut written = Vec::new();
        layout.write(value, &mut written);
        assert_eq!(written.len(), layout.total_len());
    }
}

/// Whatever a broker accepts it can place, and it stays acceptable to a reader.
fn rewrite(bytes: &[u8]) {
    let mut copy = bytes.to_vec();
    if validate_produced(bytes).is_ok() {
        place_batch(&mut copy, 17, 3).expect("a valid batch has a header");
        set_log_append_time(&mut copy, 1).expect("a valid batch is whole");
        let read: Vec<_> = batches(Bytes::from(copy)).collect();
        assert!(matches!(&read[..], [Ok(_)]), "placing keeps a batch whole");
    } else {
        let _ = place_batch(&mut copy, 17, 3);
        let _ = set_log_append_time(&mut copy, 1);
    }
}
