//! Batches that are compressed: by what, when, and what becomes of them when records leave, answers refuse, partitions move.

use bytes::Bytes;
use milena_wire::messages::produce::response::BatchIndexAndErrorMessage;
use milena_wire::records::{self, BatchHeader, Codec, Compression, Encoding};

use super::*;
use crate::producer::completion::Delivery;
use crate::producer::front::Due;
use crate::producer::packing::Encodings;

fn encodings(codecs: &[Codec]) -> Encodings {
    Encodings::new(codecs.iter().copied().map(Encoding::new)).expect("each once")
}

fn by_lz4(partitions: u32) -> Rig {
    Rig::compressing(partitions, encodings(&[Codec::Lz4]))
}

/// Large enough that a codec makes it smaller.
fn text(name: &str) -> Vec<u8> {
    format!("{name}:{}", "x".repeat(300)).into_bytes()
}

/// What a request has for each of its partitions: the header, and the first part of every value.
fn carried(asked: &crate::producer::testbed::Asked) -> Vec<(BatchHeader, Vec<String>)> {
    let request: ProduceRequest = asked.decode();
    let batches = request.topic_data.iter().flat_map(|topic| &topic.partition_data);
    batches.map(|partition| read(partition.records.clone().expect("not null"))).collect()
}

fn read(bytes: Bytes) -> (BatchHeader, Vec<String>) {
    records::validate_produced(&bytes).expect("a broker accepts it");
    let batch = records::batches(bytes).next().expect("one").expect("whole");
    let name = |record: records::Record| {
        let value = record.value.expect("not null");
        String::from_utf8_lossy(value.split(|byte| *byte == b':').next().unwrap_or_default()).into_owned()
    };
    (batch.header, batch.records().map(|record| name(record.expect("whole"))).collect())
}

fn codec_and_names(rig: &Rig) -> Vec<(Compression, Vec<String>)> {
    let all = rig.asked.iter().flat_map(carried);
    all.map(|(header, names)| (header.attributes.compression(), names)).collect()
}

/// A sealed batch of these records.
fn seal(rig: &mut Rig, id: u32, names: &[&str]) -> Vec<Delivery> {
    let deliveries = names.iter().map(|name| rig.append_record(id, value(&text(name)))).collect();
    rig.fronts.get_mut(&PartitionId(id)).expect("known").seal(SealReason::Flush);
    rig.collect(PartitionId(id));
    rig.turn();
    deliveries
}

fn lz4(names: &[&str]) -> (Compression, Vec<String>) {
    (Compression::Lz4, names.iter().map(|name| (*name).to_owned()).collect())
}

fn raw(names: &[&str]) -> (Compression, Vec<String>) {
    (Compression::None, names.iter().map(|name| (*name).to_owned()).collect())
}

#[test]
fn the_first_codec_that_the_broker_takes_is_used() {
    let both = [Codec::Zstd, Codec::Gzip];
    for (preferred, version, used) in [
        (&both[..], 13, Compression::Zstd),
        (&both, 7, Compression::Zstd),
        (&both, 6, Compression::Gzip),
        (&both[..1], 6, Compression::None),
        (&[Codec::Snappy], 3, Compression::Snappy),
        (&[], 13, Compression::None),
    ] {
        let mut rig = Rig::new();
        rig.produce_version = version;
        rig.begin_compressing(1, encodings(preferred));
        seal(&mut rig, 0, &["a", "b"]);
        let found = codec_and_names(&rig);
        assert_eq!(found[0].0, used, "{preferred:?} at {version}");
        rig.acknowledge();
        assert_eq!(rig.memory.held(), 0);
    }
    assert!(Encodings::new([Encoding::new(Codec::Lz4); 2]).is_none());
}

#[test]
fn what_does_not_get_smaller_goes_as_it_is() {
    let mut rig = by_lz4(1);
    rig.flush(0, b"short");
    assert_eq!(codec_and_names(&rig), [raw(&["short"])]);
    rig.acknowledge();
    seal(&mut rig, 0, &["long"]);
    assert_eq!(codec_and_names(&rig), [lz4(&["long"])]);
}

#[test]
fn a_batch_waits_for_its_bytes_and_none_overtakes_it() {
    let mut rig = by_lz4(2);
    rig.packs_later = true;
    let before = rig.memory.held();
    for name in ["first", "second"] {
        seal(&mut rig, 0, &[name]);
    }
    seal(&mut rig, 1, &["other"]);
    assert!(rig.asked.is_empty() && rig.packs.len() == 3, "several are packed at a time");
    let held = rig.memory.held();
    // The newest first.
    let jobs = std::mem::take(&mut rig.packs);
    let [first, second, other] = Vec::from(jobs).try_into().expect("three");
    rig.packs.extend([second, other]);
    rig.pack_all();
    assert_eq!(codec_and_names(&rig), [lz4(&["other"])]);
    assert!(rig.memory.held() < held, "less is held once it is packed");
    rig.packs.push_back(first);
    rig.pack_all();
    rig.acknowledge();
    rig.acknowledge();
    assert_eq!(codec_and_names(&rig), [lz4(&["second"])]);
    rig.acknowledge();
    assert_eq!((rig.memory.held(), before), (0, 0));
}

/// While a batch is packed the next one fills: linger is a ceiling.
#[test]
fn a_front_fills_while_its_batch_is_packed() {
    let mut rig = by_lz4(1);
    rig.packs_later = true;
    seal(&mut rig, 0, &["packed"]);
    rig.append(0, &text("fills"));
    rig.wait(FRONT.linger * 3);
    assert!(rig.fronts[&PartitionId(0)].has_open());
    rig.append(0, &text("too"));
    rig.packs_later = false;
    rig.pack_all();
    rig.wait(MILLI);
    rig.acknowledge();
    rig.wait(FRONT.linger);
    assert_eq!(codec_and_names(&rig), [lz4(&["fills", "too"])]);
}

#[test]
fn a_deadline_ends_a_batch_that_is_being_packed_as_not_written() {
    let mut rig = by_lz4(1);
    rig.packs_later = true;
    let delivery = seal(&mut rig, 0, &["late"]).remove(0);
    rig.wait(FRONT.deadline + 20 * MILLI);
    let Some(Outcome::NotWritten(why)) = delivery.try_outcome() else { panic!("it was not sent") };
    assert_eq!(why.reason, NotWritten::DeadlinePassed);
    assert_eq!(rig.ends, [(PartitionId(0), BatchEnd::NotWritten(NotWritten::DeadlinePassed))]);
    assert!(rig.memory.held() > 0, "somebody works on it");
    rig.pack_all();
    assert_eq!(rig.memory.held(), 0);
    assert!(rig.asked.is_empty());
}

#[test]
fn records_that_withdraw_are_not_sent_whenever_they_do() {
    let mut rig = by_lz4(1);
    rig.packs_later = true;
    let deliveries = seal(&mut rig, 0, &["a", "b", "c", "d", "e", "f"]);
    let job = rig.packs.pop_front().expect("it is to be packed");
    // Too late for this work: the batch goes through once more.
    deliveries[1].cancel();
    rig.packs.push_back(job);
    rig.pack_all();
    assert!(rig.asked.is_empty() && rig.packs.len() == 1);
    // Too late for this one too: now they are sent as they are.
    deliveries[3].cancel();
    rig.pack_all();
    assert_eq!(codec_and_names(&rig), [raw(&["a", "c", "e", "f"])]);
    let header = carried(&rig.asked[0])[0].0;
    assert_eq!((header.record_count, header.last_offset_delta), (4, 3));
    rig.acknowledge();
    let offsets: Vec<_> = deliveries.iter().map(Delivery::try_outcome).collect();
    let expected = [Some(100), None, Some(101), None, Some(102), Some(103)];
    for (outcome, offset) in offsets.into_iter().zip(expected) {
        match (outcome.expect("it ended"), offset) {
            (Outcome::Written(at), Some(_)) => assert_eq!(at.offset, offset),
            (Outcome::NotWritten(why), None) => assert_eq!(why.reason, NotWritten::Cancelled),
            (other, _) => panic!("{other:?} instead of {offset:?}"),
        }
    }
    assert_eq!(rig.memory.held(), 0);
}

#[test]
fn records_that_withdrew_before_the_work_or_once_after_it_leave_a_compressed_batch() {
    let mut rig = by_lz4(1);
    rig.packs_later = true;
    let first = seal(&mut rig, 0, &["sent"]);
    rig.pack_all();
    assert_eq!(rig.asked.len(), 1, "the first batch flies alone");
    let before = [rig.append_record(0, value(&text("a"))), rig.append_record(0, value(&text("b")))];
    before[0].cancel();
    let deliveries = seal(&mut rig, 0, &["c", "d"]);
    rig.pack_all();
    deliveries[0].cancel();
    rig.acknowledge();
    assert!(rig.asked.is_empty() && rig.packs.len() == 1, "it lost a record after it was packed");
    rig.pack_all();
    assert_eq!(codec_and_names(&rig), [lz4(&["b", "d"])]);
    rig.acknowledge();
    assert_eq!(rig.memory.held(), 0);
    drop(first);
}

#[test]
fn a_batch_of_which_everything_withdrew_is_not_sent_and_holds_up_nobody() {
    for is_in_work in [true, false] {
        let mut rig = by_lz4(1);
        rig.packs_later = true;
        let deliveries = if is_in_work {
            let deliveries = seal(&mut rig, 0, &["a", "b"]);
            deliveries.iter().for_each(Delivery::cancel);
            deliveries
        } else {
            let gone = [rig.append_record(0, value(&text("a"))), rig.append_record(0, value(&text("b")))];
            gone.iter().for_each(Delivery::cancel);
            seal(&mut rig, 0, &[])
        };
        seal(&mut rig, 0, &["behind"]);
        rig.pack_all();
        rig.pack_all();
        assert_eq!((codec_and_names(&rig), rig.ends.len()), (vec![lz4(&["behind"])], 1));
        rig.acknowledge();
        assert_eq!(rig.memory.held(), 0);
        drop(deliveries);
    }
}

#[test]
fn a_retry_sends_the_same_bytes() {
    let mut rig = by_lz4(1);
    seal(&mut rig, 0, &["a", "b"]);
    let first: ProduceRequest = rig.asked[0].decode();
    rig.cut();
    rig.wait(RETRY_MAX);
    rig.connect();
    let again: ProduceRequest = rig.asked[0].decode();
    assert_eq!(again.topic_data, first.topic_data);
}

/// Rule 15: the halves have the sequences of the whole, and each is compressed.
#[test]
fn a_compressed_batch_that_is_too_large_is_split_off_the_write_path() {
    let mut rig = by_lz4(1);
    rig.flush(0, b"first");
    rig.acknowledge();
    rig.packs_later = true;
    let deliveries = seal(&mut rig, 0, &["a", "b", "c", "d", "e"]);
    rig.pack_all();
    rig.refuse(ErrorCode::MESSAGE_TOO_LARGE);
    assert!(rig.asked.is_empty() && rig.packs.len() == 1);
    rig.pack_all();
    assert_eq!((codec_and_names(&rig), sequences(&rig)), (vec![lz4(&["a", "b"])], vec![1]));
    rig.answer_with(|_| (ErrorCode::NONE, 200));
    assert_eq!((codec_and_names(&rig), sequences(&rig)), (vec![lz4(&["c", "d", "e"])], vec![3]));
    rig.answer_with(|_| (ErrorCode::NONE, 300));
    let offset = |delivery: &Delivery| match delivery.try_outcome() {
        Some(Outcome::Written(at)) => at.offset,
        other => panic!("{other:?}"),
    };
    let offsets: Vec<_> = deliveries.iter().map(offset).collect();
    assert_eq!(offsets, [200, 201, 300, 301, 302].map(Some));
    assert_eq!(rig.memory.held(), 0);
}

/// The answers to what was sent behind it did not find their batches, because these had got other numbers meanwhile.
#[test]
fn a_split_waits_for_the_answers_to_what_was_sent_behind() {
    let mut rig = by_lz4(1);
    rig.flush(0, b"first");
    rig.acknowledge();
    for names in [&["a", "b"][..], &["c", "d"]] {
        seal(&mut rig, 0, names);
    }
    rig.packs_later = true;
    rig.refuse(ErrorCode::MESSAGE_TOO_LARGE);
    assert!(rig.packs.is_empty());
    rig.refuse(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    rig.packs_later = false;
    rig.pack_all();
    let mut found = Vec::new();
    while let Some(asked) = rig.asked.front() {
        found.extend(carried(asked).into_iter().flat_map(|(_, names)| names));
        rig.acknowledge();
    }
    assert_eq!(found, ["a", "b", "c", "d"]);
}

#[test]
fn refused_records_leave_a_compressed_batch_off_the_write_path() {
    let mut rig = by_lz4(1);
    rig.flush(0, b"first");
    rig.acknowledge();
    seal(&mut rig, 0, &["good", "bad", "also good"]);
    let asked = rig.asked.pop_front().expect("it was sent");
    let mut response = response_to(&asked, |_| (ErrorCode::INVALID_RECORD, -1));
    let told = &mut response.responses[0].partition_responses[0];
    told.record_errors = vec![BatchIndexAndErrorMessage { batch_index: 1, ..Default::default() }];
    rig.packs_later = true;
    rig.receive(&asked.answer(&response));
    assert!(rig.asked.is_empty() && rig.packs.len() == 1);
    rig.pack_all();
    assert_eq!(codec_and_names(&rig), [lz4(&["good", "also good"])]);
    let header = carried(&rig.asked[0])[0].0;
    assert_eq!((header.producer_epoch, header.base_sequence), (1, 0));
    rig.acknowledge();
    assert_eq!(rig.memory.held(), 0);
}

/// A frozen leader must not hold the partition, and neither must whoever packs for it.
#[test]
fn a_partition_leaves_with_work_under_way_and_is_packed_anew_where_it_goes() {
    let mut rig = by_lz4(1);
    rig.packs_later = true;
    seal(&mut rig, 0, &["moves"]);
    rig.recall(0, Recall::AtOnce);
    rig.turn();
    let back = rig.released.pop().expect("it left");
    rig.adopt(back);
    rig.grant(0, IDENTITY);
    rig.turn();
    assert_eq!(rig.packs.len(), 2);
    let late = rig.packs.pop_front().expect("the old work");
    rig.pack_all();
    assert_eq!(codec_and_names(&rig), [lz4(&["moves"])]);
    rig.acknowledge();
    assert!(rig.memory.held() > 0, "the old work holds the old bytes");
    rig.packs.push_back(late);
    rig.pack_all();
    assert_eq!(rig.memory.held(), 0);
}

#[test]
fn what_an_older_broker_does_not_take_is_packed_anew() {
    let mut rig = Rig::compressing(1, encodings(&[Codec::Zstd, Codec::Gzip]));
    rig.is_writable = false;
    seal(&mut rig, 0, &["a", "b"]);
    rig.produce_version = 6;
    rig.cut();
    rig.is_writable = true;
    rig.wait(RETRY_MAX);
    rig.connect();
    assert_eq!(codec_and_names(&rig)[0].0, Compression::Gzip);
    rig.acknowledge();
    assert_eq!(rig.memory.held(), 0);
}

#[test]
fn work_is_handed_out_in_turn_and_never_more_than_a_few_pieces_of_it() {
    let mut rig = by_lz4(2);
    rig.packs_later = true;
    let names: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    names.iter().for_each(|name| drop(seal(&mut rig, 0, &[name])));
    let out = rig.packs.len();
    assert!((2..50).contains(&out), "{out}");
    seal(&mut rig, 1, &["neighbour"]);
    // One piece is done, and the next one is the neighbour's.
    let first = rig.packs.pop_front().expect("there is some");
    let others = std::mem::take(&mut rig.packs);
    rig.packs.push_back(first);
    rig.pack_all();
    let [next] = Vec::from(std::mem::take(&mut rig.packs)).try_into().expect("one more");
    rig.packs.push_back(next);
    rig.pack_all();
    let found = codec_and_names(&rig);
    assert!(found.contains(&lz4(&["neighbour"])), "{found:?}");
    rig.packs.extend(others);
    rig.packs_later = false;
    rig.pack_all();
    let mut written = 0;
    while !rig.asked.is_empty() {
        written += rig.partitions_asked().len();
        rig.acknowledge();
    }
    assert_eq!((written, rig.memory.held()), (101, 0));
}

#[test]
fn deadlines_of_their_own_in_a_backlog_are_kept_while_it_is_packed() {
    let mut rig = by_lz4(1);
    rig.packs_later = true;
    let due = rig.now + 50 * MILLI;
    let text = text("short");
    let short = crate::producer::front::RecordRef { due: Due::Own(due), ..value(&text) };
    let short = rig.append_record(0, short);
    let long = seal(&mut rig, 0, &["long"]).remove(0);
    rig.wait(70 * MILLI);
    assert!(matches!(short.try_outcome(), Some(Outcome::NotWritten(_))) && long.try_outcome().is_none());
    rig.packs_later = false;
    rig.pack_all();
    assert_eq!(codec_and_names(&rig), [lz4(&["long"])]);
}
