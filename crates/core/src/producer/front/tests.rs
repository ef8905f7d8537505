//! What a front accepts, where it puts it, and what it tells the driver.

use super::*;
use crate::producer::body::{CHUNK_BYTES_MAX, Chunk};
use crate::producer::completion::RecordState;
use crate::producer::outcome::NotWritten;
use crate::producer::testbed::{
    CountedMemory, FRONT, append, at, front, front_with, now, read, released, stamp, value,
};
use bytes::Bytes;
use milena_wire::records::{Record, RecordHeader};

fn memory() -> CountedMemory {
    CountedMemory::new(usize::MAX)
}

fn config(batch_size: usize) -> FrontConfig {
    FrontConfig { batch_size, ..FRONT }
}

/// Everything the front holds, as a broker reads it, batch by batch.
fn drained(front: &mut PartitionFront) -> Vec<Vec<Record>> {
    front.drain().map(|batch| read(&batch.claimed(false, stamp(0))).1).collect()
}

fn bytes_of(batch: &SealedBatch) -> Vec<(&'static str, usize)> {
    let piece = |chunk: &Chunk| match chunk {
        Chunk::Pooled(bytes) => ("pooled", bytes.capacity()),
        Chunk::Large(bytes) => ("large", bytes.capacity()),
        Chunk::Linked(bytes) => ("linked", bytes.len()),
    };
    batch.body.chunks().iter().map(piece).collect()
}

#[test]
fn records_come_out_as_they_went_in() {
    let memory = memory();
    let mut front = front();
    let headers = [
        RecordHeader { key: "trace", value: Some(b"1") },
        RecordHeader { key: "trace", value: None },
        RecordHeader { key: "", value: Some(b"") },
    ];
    let records = [
        RecordRef {
            key: Some(b"k"),
            value: Value::Borrowed(b"v"),
            headers: &headers,
            timestamp: None,
            due: Due::Configured,
            after_deadline: None,
        },
        RecordRef {
            key: None,
            value: Value::Null,
            headers: &[],
            timestamp: Some(5_000_000),
            due: Due::Configured,
            after_deadline: None,
        },
        RecordRef {
            key: Some(b""),
            value: Value::Borrowed(b""),
            headers: &[],
            timestamp: Some(3),
            due: Due::Configured,
            after_deadline: None,
        },
        RecordRef {
            key: None,
            value: Value::Shared(&Bytes::from_static(b"small")),
            headers: &[],
            timestamp: Some(-1),
            due: Due::Configured,
            after_deadline: None,
        },
    ];
    records.iter().for_each(|record| drop(append(&mut front, &memory, 20, *record)));
    let back = drained(&mut front).concat();
    let timestamps: Vec<_> = back.iter().map(|record| record.timestamp).collect();
    assert_eq!(timestamps, [1_000_020, 5_000_000, 3, -1], "the deltas may be negative");
    for (record, read) in records.iter().zip(&back) {
        assert_eq!(read.key.as_deref(), record.key);
        assert_eq!(read.value.as_deref(), record.value.as_slice());
    }
    let told: Vec<_> = back[0].headers().map(|header| (header.key_text().into_owned(), header.value)).collect();
    assert_eq!(told.len(), 3);
    for (header, (key, value)) in headers.iter().zip(&told) {
        assert_eq!((header.key, header.value), (key.as_str(), value.as_deref()));
    }
}

#[test]
fn the_smallest_and_the_largest_timestamp_may_share_a_batch() {
    let memory = memory();
    let mut front = front();
    let mut record = value(b"x");
    for timestamp in [i64::MIN, i64::MAX, 0] {
        record.timestamp = Some(timestamp);
        drop(append(&mut front, &memory, 0, record));
    }
    let batch = front.drain().next().expect("one batch").claimed(false, stamp(0));
    let (header, records) = read(&batch);
    assert_eq!((header.base_timestamp, header.max_timestamp), (i64::MIN, i64::MAX));
    assert_eq!(records.iter().map(|record| record.timestamp).collect::<Vec<_>>(), [i64::MIN, i64::MAX, 0]);
}

#[test]
fn chunks_grow_with_the_batch() {
    let memory = memory();
    let mut front = front_with(config(200_000));
    (0..300).for_each(|_| drop(append(&mut front, &memory, 0, value(&[7; 500]))));
    front.seal(SealReason::Flush);
    let batch = front.take_sealed().next().expect("one batch");
    let classes: Vec<_> = bytes_of(&batch).into_iter().map(|(kind, bytes)| (kind, bytes / 1024)).collect();
    assert_eq!(classes, [("pooled", 1), ("pooled", 4), ("pooled", 16), ("pooled", 64), ("pooled", 64), ("pooled", 64)]);
    assert_eq!(memory.held(), (1 + 4 + 16 + 3 * 64) * 1024);
    assert_eq!(read(&batch.claimed(false, stamp(0))).1.len(), 300);
}

#[test]
fn a_shared_value_is_linked_when_it_is_large_and_copied_when_it_is_small() {
    let memory = memory();
    let mut front = front_with(config(500_000));
    let (small, large) = (Bytes::from(vec![1; LINK_BYTES_MIN - 1]), Bytes::from(vec![2; LINK_BYTES_MIN]));
    let record = |shared| RecordRef {
        key: Some(b"key"),
        value: Value::Shared(shared),
        headers: &[],
        timestamp: None,
        due: Due::Configured,
        after_deadline: None,
    };
    drop(append(&mut front, &memory, 0, record(&large)));
    drop(append(&mut front, &memory, 0, record(&small)));
    drop(append(&mut front, &memory, 0, value(b"after")));
    front.seal(SealReason::Flush);
    let batch = front.take_sealed().next().expect("one batch");
    let kinds: Vec<_> = bytes_of(&batch).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["pooled", "linked", "pooled", "pooled"]);
    assert!(batch.body.chunks().iter().any(|chunk| chunk.as_slice().as_ptr() == large.as_ptr()), "not copied");
    let records = read(&batch.claimed(false, stamp(0))).1;
    assert_eq!(records[0].value.as_ref(), Some(&large));
    assert_eq!(records[1].value.as_ref(), Some(&small));
    assert_eq!(records[2].value.as_deref(), Some(&b"after"[..]));
}

#[test]
fn a_record_larger_than_any_chunk_has_memory_of_its_own_and_the_next_one_follows_it() {
    let memory = memory();
    let mut front = front_with(config(500_000));
    let large = vec![3; CHUNK_BYTES_MAX + 1];
    for bytes in [&b"before"[..], &large, b"after"] {
        drop(append(&mut front, &memory, 0, value(bytes)));
    }
    front.seal(SealReason::Flush);
    let batch = front.take_sealed().next().expect("one batch");
    let kinds: Vec<_> = bytes_of(&batch).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["pooled", "large", "pooled"]);
    let body = batch.body_len();
    let records = read(&batch.claimed(false, stamp(0))).1;
    assert_eq!(
        records.iter().map(|record| record.value.as_ref().map_or(0, Bytes::len)).sum::<usize>(),
        11 + large.len()
    );
    assert!(body > large.len());
}

#[test]
fn a_batch_seals_before_it_grows_past_its_size_and_records_keep_their_order() {
    let memory = memory();
    let mut front = front_with(config(1_000));
    let values: Vec<[u8; 1]> = (0..200).map(|number| [number]).collect();
    for number in &values {
        drop(append(&mut front, &memory, 0, value(&[number[0]; 100])));
    }
    front.seal(SealReason::Flush);
    let sealed: Vec<_> = front.take_sealed().collect();
    assert!(sealed.iter().all(|batch| BATCH_HEADER_BYTES + batch.body_len() <= 1_000), "sizes are kept");
    assert_eq!(sealed.first().map(|batch| batch.reason), Some(SealReason::Size));
    let read: Vec<u8> = sealed
        .into_iter()
        .flat_map(|batch| read(&batch.claimed(false, stamp(0))).1)
        .map(|record| record.value.expect("not null")[0])
        .collect();
    assert_eq!(read, values.concat());
}

#[test]
fn the_driver_is_told_when_a_linger_starts_and_when_a_batch_seals() {
    let memory = memory();
    let mut front = front_with(config(300));
    let mut told = |millis| {
        let appended = front.append(now(millis), &memory, value(&[0; 100]), Reply::Handle, WhenFull::OpenNext);
        let appended = appended.expect("there is room");
        (appended.index, appended.notice, appended.must_watch)
    };
    assert_eq!(told(10), (0, Notice::LingerStarts(at(15)), true));
    assert_eq!(told(11), (1, Notice::Nothing, false));
    assert_eq!(told(12), (0, Notice::Sealed, true));
    assert_eq!(front.linger_ends(), Some(at(17)));
    assert!(front.has_open() && !front.is_empty());
}

#[test]
fn a_full_batch_can_be_refused_so_that_the_caller_goes_elsewhere() {
    let memory = memory();
    let mut front = front_with(config(300));
    let mut refuse = || {
        let appended = front.append(now(0), &memory, value(&[0; 100]), Reply::Handle, WhenFull::Refuse);
        appended.map(|appended| (appended.index, appended.must_watch))
    };
    assert_eq!((refuse(), refuse()), (Ok((0, true)), Ok((1, false))));
    assert_eq!(refuse(), Err(AppendError::BatchFull(Notice::Sealed)));
    assert_eq!(refuse(), Ok((0, true)), "the full one is sealed, so the next record has room");
    assert_eq!(drained(&mut front).iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn a_record_without_memory_leaves_no_trace_but_the_sealed_batch_it_speaks_of() {
    let memory = CountedMemory::new(1024);
    let mut front = front_with(config(300));
    let full = |notice| Some(AppendError::BufferFull(notice));
    let mut refused = |bytes: usize| {
        front.append(now(0), &memory, value(&vec![0; bytes]), Reply::Report(9), WhenFull::OpenNext).err()
    };
    assert_eq!(refused(2_000), full(Notice::Nothing));
    assert_eq!(memory.held(), 0);
    assert_eq!(refused(200), None);
    assert_eq!(refused(200), full(Notice::Sealed), "the lane must be woken, or nobody ever makes room");
    assert_eq!(refused(200), full(Notice::Nothing));
    assert!(!front.has_open());
    let batches = drained(&mut front);
    assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [1]);
}

#[test]
fn a_linked_value_without_memory_for_its_neighbours_gives_everything_back() {
    for limit in [8_000, LINK_BYTES_MIN + 100, LINK_BYTES_MIN + 1024] {
        let memory = CountedMemory::new(limit);
        let mut front = front();
        let shared = Bytes::from(vec![0; LINK_BYTES_MIN]);
        let record = RecordRef {
            key: None,
            value: Value::Shared(&shared),
            headers: &[],
            timestamp: None,
            due: Due::Configured,
            after_deadline: None,
        };
        let refused = front.append(now(0), &memory, record, Reply::Handle, WhenFull::OpenNext);
        assert_eq!(refused.err(), Some(AppendError::BufferFull(Notice::Nothing)));
        assert_eq!((memory.held(), front.is_empty()), (0, true), "limit {limit}");
    }
}

#[test]
fn a_record_above_max_request_size_is_refused_with_both_numbers() {
    let memory = memory();
    let mut front = front_with(FrontConfig { max_request_size: 200, ..FRONT });
    let refused = front.append(now(0), &memory, value(&[0; 150]), Reply::Handle, WhenFull::OpenNext);
    let Err(AppendError::TooLarge { size, limit }) = refused else { panic!("{refused:?}") };
    assert_eq!((size, limit), (61 + 2 + 4 + 2 + 150 + 1, 200));
    assert!(front.is_empty() && memory.held() == 0);
}

/// It took new memory for each record once it was larger than one record may be, however much was left in its chunk.
#[test]
fn a_batch_larger_than_max_request_size_goes_on_in_its_chunk() {
    let memory = memory();
    let mut front = front_with(FrontConfig { batch_size: 1000, max_request_size: 200, ..FRONT });
    for index in 0..5 {
        let appended = front.append(now(0), &memory, value(&[0; 100]), Reply::Handle, WhenFull::OpenNext);
        assert_eq!(appended.expect("accepted").index, index);
    }
    assert_eq!(memory.held(), 1024);
}

/// Its length is told all the same. Its headers share what they hold, so that the test needs no such memory.
#[test]
fn a_record_that_no_batch_can_hold_is_refused_with_its_size() {
    let memory = memory();
    let mut front = front_with(FrontConfig { max_request_size: i32::MAX as usize, ..FRONT });
    let bytes = vec![0; 1 << 20];
    let headers = vec![RecordHeader { key: "h", value: Some(&bytes) }; 2200];
    let record = RecordRef { headers: &headers, ..value(b"x") };
    let refused = front.append(now(0), &memory, record, Reply::Handle, WhenFull::OpenNext);
    let Err(error @ AppendError::TooLarge { size, .. }) = refused else { panic!("{refused:?}") };
    assert!((2200 << 20..(2200 << 20) + 100_000).contains(&size), "{size}");
    let told = format!("record of {size} bytes is more than the 2147483598 that Kafka's format can hold");
    assert_eq!(error.to_string(), told);
    assert!(front.is_empty() && memory.held() == 0);
}

/// A record that just fits alone needs a byte or two more behind others, where its deltas are larger; it was refused then.
#[test]
fn whether_a_record_is_too_large_does_not_depend_on_the_batch_that_fills() {
    let memory = memory();
    let size = 10_000;
    let alone = BATCH_HEADER_BYTES + RecordLayout::new(0, 0, None, Some(size), &[]).expect("small").total_len();
    let mut front = front_with(FrontConfig { max_request_size: alone, batch_size: alone, ..FRONT });
    (0..100).for_each(|_| drop(append(&mut front, &memory, 0, value(b"x"))));
    let mut record = value(&[]);
    let bytes = vec![0; size];
    record.value = Value::Borrowed(&bytes);
    record.timestamp = Some(2_000_000);
    drop(append(&mut front, &memory, 0, record));
    assert_eq!(drained(&mut front).iter().map(Vec::len).collect::<Vec<_>>(), [100, 1]);
}

#[test]
fn each_tick_with_records_makes_one_run_and_its_records_are_released_together() {
    let memory = memory();
    let mut front = front();
    let deliveries: Vec<_> = [1, 2, 15].map(|millis| append(&mut front, &memory, millis, value(b"x"))).into();
    front.seal(SealReason::Flush);
    let batch = front.take_sealed().next().expect("one batch");
    assert_eq!(batch.completion.next_due(), Some(Tick::not_before(at(1_001))));
    assert_eq!(batch.completion.release_due(released(1_001)).next_due, Some(Tick::not_before(at(1_015))));
    let released: Vec<_> = deliveries.iter().map(|delivery| delivery.try_outcome().is_some()).collect();
    assert_eq!(released, [true, true, false]);
}

/// Clocks are read before the lock, and a call may have waited: a record may come with an earlier deadline than the one
/// before it. It was released with that one, too late.
#[test]
fn a_record_that_comes_late_is_released_at_its_own_time_all_the_same() {
    let memory = memory();
    let mut front = front();
    let deliveries = [25, 15, 40].map(|millis| append(&mut front, &memory, millis, value(b"x")));
    front.seal(SealReason::Flush);
    let batch = front.take_sealed().next().expect("one batch");
    assert_eq!(batch.completion.next_due(), Some(Tick::not_before(at(1_015))));
    assert_eq!(batch.completion.release_due(released(1_015)).next_due, Some(Tick::not_before(at(1_025))));
    assert_eq!(deliveries.each_ref().map(|delivery| delivery.try_outcome().is_some()), [false, true, false]);
    assert_eq!(batch.completion.release_due(released(1_025)).next_due, Some(Tick::not_before(at(1_040))));
}

#[test]
fn records_of_one_batch_have_deadlines_from_nothing_to_days() {
    let memory = memory();
    let mut front = front();
    let day = 86_400_000;
    let mut due = |own: Option<u64>| {
        let mut record = value(b"x");
        record.due = own.map_or(Due::Configured, |millis| Due::Own(at(millis)));
        append(&mut front, &memory, 0, record)
    };
    let deliveries = [due(Some(3 * day)), due(None), due(Some(0)), due(Some(500)), due(None)];
    let left = || deliveries.each_ref().map(|delivery| delivery.try_outcome().is_some());
    front.seal(SealReason::Flush);
    let batch = front.take_sealed().next().expect("one batch");
    assert_eq!(batch.last_due.moment(), released(3 * day));
    let release = |millis| batch.completion.release_due(released(millis)).next_due.map(Tick::moment);
    assert_eq!((release(0), left()), (Some(released(500)), [false, false, true, false, false]));
    assert_eq!((release(500), left()), (Some(released(1_000)), [false, false, true, true, false]));
    assert_eq!((release(1_000), left()), (Some(released(3 * day)), [false, true, true, true, true]));
    assert_eq!((release(3 * day), left()), (None, [true; 5]));
}

#[test]
fn the_batch_of_a_completion_is_sealed_only_while_it_fills() {
    let memory = memory();
    let mut front = front();
    drop(append(&mut front, &memory, 0, value(b"one")));
    let first = Arc::clone(front.completions().next().expect("a batch fills"));
    assert!(front.seal_batch(&first, SealReason::Deadline));
    drop(append(&mut front, &memory, 0, value(b"two")));
    assert!(!front.seal_batch(&first, SealReason::Deadline), "that one is sealed, and the next one fills on");
    assert!(front.has_open());
}

#[test]
fn batches_that_nobody_wants_leave_from_the_front_and_one_that_is_wanted_keeps_those_behind_it() {
    let memory = memory();
    let mut front = front();
    for millis in [0, 500, 1] {
        drop(append(&mut front, &memory, millis, value(b"x")));
        front.seal(SealReason::Flush);
    }
    let batches: Vec<_> = front.completions().cloned().collect();
    batches.iter().for_each(|batch| drop(batch.release_due(at(1_100))));
    assert_eq!(front.take_dead().len(), 1);
    assert_eq!(batches[0].state(0), RecordState::NotWritten(NotWritten::DeadlinePassed));
    assert_eq!(front.completions().count(), 2);
}

#[test]
fn a_closed_front_accepts_nothing_and_keeps_what_it_has() {
    let memory = memory();
    let mut front = front();
    drop(append(&mut front, &memory, 0, value(b"kept")));
    front.close();
    let refused = front.append(now(0), &memory, value(b"late"), Reply::Handle, WhenFull::OpenNext);
    assert_eq!(refused.err(), Some(AppendError::Closed));
    assert_eq!(drained(&mut front).iter().map(Vec::len).collect::<Vec<_>>(), [1]);
}

/// It told the bytes of the records, of which a batch that just opened has next to none in a chunk of a kilobyte; a
/// caller who waited for room did not see that the batches that fill hold it.
#[test]
fn the_batch_that_fills_tells_the_memory_that_it_holds() {
    let memory = memory();
    let mut front = front();
    assert_eq!(front.open_bytes(), 0);
    drop(append(&mut front, &memory, 0, value(b"x")));
    assert_eq!(front.open_bytes(), memory.held());
    drop(append(&mut front, &memory, 0, value(&[0; 3_000])));
    assert_eq!(front.open_bytes(), memory.held());
}

/// Without a trace, as every refusal.
#[test]
fn what_cannot_be_withdrawn_is_refused() {
    let memory = memory();
    let mut front = front_with(FrontConfig { may_withdraw: false, ..FRONT });
    let record = RecordRef { after_deadline: Some(AfterDeadline::Withdraw), ..value(b"x") };
    let refused = front.append(now(0), &memory, record, Reply::Handle, WhenFull::OpenNext);
    assert_eq!(refused.err(), Some(AppendError::WithdrawNeedsIdempotence));
    assert!(front.is_empty() && memory.held() == 0);
    let record = RecordRef { after_deadline: Some(AfterDeadline::Complete), ..value(b"x") };
    drop(append(&mut front, &memory, 0, record));
}

#[test]
fn a_batch_is_withdrawn_only_if_each_of_its_records_is() {
    let memory = memory();
    let withdraw = RecordRef { after_deadline: Some(AfterDeadline::Withdraw), ..value(b"x") };
    for (configured, records, withdraws) in [
        (AfterDeadline::Complete, vec![withdraw, withdraw], true),
        (AfterDeadline::Complete, vec![withdraw, value(b"x")], false),
        (AfterDeadline::Withdraw, vec![withdraw, value(b"x")], true),
        (
            AfterDeadline::Withdraw,
            vec![withdraw, RecordRef { after_deadline: Some(AfterDeadline::Complete), ..withdraw }],
            false,
        ),
    ] {
        let mut front = front_with(FrontConfig { after_deadline: configured, ..FRONT });
        records.into_iter().for_each(|record| drop(append(&mut front, &memory, 0, record)));
        front.seal(SealReason::Flush);
        assert_eq!(front.take_sealed().next().map(|batch| batch.withdraws), Some(withdraws));
    }
}

/// Also when the producer is being closed: that is when what is in doubt has no other records to come.
#[test]
fn a_fence_goes_alone_at_once_and_into_a_closed_front() {
    let memory = memory();
    let mut front = front();
    front.close();
    assert!(front.append_fence(now(0), &memory, value(b"fence")).is_some());
    assert!(!front.has_open(), "it waits for no linger");
    assert_eq!(drained(&mut front).len(), 1);
    let refused = front.append(now(0), &memory, value(b"x"), Reply::Handle, WhenFull::OpenNext);
    assert_eq!(refused.err(), Some(AppendError::Closed));
}

#[test]
fn what_waits_in_a_front_is_the_fence_instead() {
    let memory = memory();
    let mut front = front();
    drop(append(&mut front, &memory, 0, value(b"x")));
    assert!(front.append_fence(now(0), &memory, value(b"fence")).is_none());
    let records = drained(&mut front);
    assert_eq!(
        records.iter().flatten().map(|record| record.value.clone()).collect::<Vec<_>>(),
        [Some(Bytes::from_static(b"x"))]
    );
    let full = CountedMemory::new(0);
    assert!(front.append_fence(now(0), &full, value(b"fence")).is_none(), "there is no room");
    assert!(front.is_empty());
}
