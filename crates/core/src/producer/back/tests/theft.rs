//! Somebody else uses the producer id (rule 14): what is found in the log is written if the bytes are the client's own, and
//! nothing is proven by absence.

use milena_wire::crc32c;
use milena_wire::records::{BATCH_HEADER_BYTES, BatchHeader, TimestampType};

use super::rig::*;
use super::*;
use crate::producer::testbed::IDENTITY;

const STOLEN: BatchEnd = BatchEnd::Undetermined(Undetermined::ProducerIdUsedElsewhere);
const FOREIGN_EPOCH: ErrorCode = ErrorCode::INVALID_PRODUCER_EPOCH;

/// Two batches went unanswered; sent again, the first one is told that somebody else uses the producer id.
fn stolen(append: impl FnOnce(&mut FakeLog, &[Sent; 2])) -> (Partition, FakeLog) {
    let mut log = FakeLog::default();
    let mut partition = Partition::new();
    partition.add(1);
    let first = partition.send();
    log.append(&first);
    partition.acknowledge(0, 0);
    partition.add(2);
    let sent = [partition.send(), partition.send()];
    append(&mut log, &sent);
    partition.lose_all([1, 2]);
    partition.wait(RETRY_MAX);
    partition.send();
    partition.refuse(1, FOREIGN_EPOCH);
    partition.ends();
    (partition, log)
}

fn look(partition: &mut Partition, log: &FakeLog) -> Vec<BatchEnd> {
    partition.tell_end(log.end);
    while partition.show(log) {}
    partition.ends()
}

/// The same stamp and as many records, by somebody else.
fn by_somebody_else(sent: &Sent) -> Sent {
    remade(sent, |_, body| *body.last_mut().expect("it has records") ^= 1)
}

fn remade(sent: &Sent, change: impl FnOnce(&mut BatchHeader, &mut [u8])) -> Sent {
    let mut header = BatchHeader::read(&sent.bytes).expect("it is a batch");
    let mut body = sent.bytes[BATCH_HEADER_BYTES..].to_vec();
    change(&mut header, &mut body);
    let sealed = header.seal(body.len(), crc32c::checksum(&body));
    Sent { bytes: [&sealed[..], &body].concat(), ..*sent }
}

#[test]
fn what_is_in_the_log_is_written_and_what_is_not_stays_in_doubt() {
    let (mut partition, log) = stolen(|log, [first, _]| _ = log.append(first));
    assert_eq!(look(&mut partition, &log), [written(2), STOLEN]);
    let (mut partition, log) = stolen(|log, both| both.iter().for_each(|sent| _ = log.append(sent)));
    assert_eq!(look(&mut partition, &log), [written(2), written(4)]);
    let (mut partition, log) = stolen(|_, _| ());
    assert_eq!(look(&mut partition, &log), [STOLEN, STOLEN]);
}

/// Two machines of one snapshot stamp alike: a batch that has the stamp need not be the one that was sent.
#[test]
fn a_batch_of_somebody_else_under_the_same_stamp_proves_nothing() {
    let (mut partition, log) = stolen(|log, [first, second]| {
        log.append(&by_somebody_else(first));
        log.append(second);
    });
    assert_eq!(look(&mut partition, &log), [STOLEN, written(4)]);
}

#[test]
fn a_batch_into_which_the_broker_wrote_its_time_is_known_again() {
    let (mut partition, log) = stolen(|log, [first, _]| {
        log.append(&remade(first, |header, _| {
            header.attributes = header.attributes.with_timestamp_type(TimestampType::LogAppendTime);
            header.max_timestamp = 77;
        }));
    });
    let by_broker = BatchEnd::Written { base_offset: Some(2), log_append_time: Some(77) };
    assert_eq!(look(&mut partition, &log), [by_broker, STOLEN]);
}

#[test]
fn who_may_not_ask_or_read_stays_in_doubt() {
    let denied = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
    let (mut partition, _) = stolen(|log, [first, _]| _ = log.append(first));
    let (now, ticket) = (partition.now(), partition.back.ask());
    let answer = OffsetAnswer { error: denied, end_offset: -1, leader_epoch: -1 };
    partition.back.handle_end(now, ticket, &answer, &mut partition.chance, &mut partition.ended);
    assert_eq!(partition.ends(), [STOLEN, STOLEN]);
    let (mut partition, log) = stolen(|log, [first, _]| _ = log.append(first));
    partition.tell_end(log.end);
    partition.tell_log(&LogAnswer { error: denied, records: bytes::Bytes::new() });
    assert_eq!(partition.ends(), [STOLEN, STOLEN]);
    let (mut partition, _) = stolen(|log, [first, _]| _ = log.append(first));
    partition.time_out();
    partition.wait(SETTLE_TIMEOUT.as_millis() as u64);
    partition.time_out();
    assert_eq!(partition.ends(), [STOLEN, STOLEN], "nobody ever told where the log ends");
}

/// What waited for a fence waits for none any more: nobody knows whose epochs come next.
#[test]
fn what_waited_for_a_fence_is_looked_for_without_one() {
    let (mut partition, mut log) = Partition::withdrawing();
    partition.add_withdrawn(1);
    let sent = partition.send();
    log.append(&sent);
    partition.lose(1, true);
    partition.withdraw();
    partition.back.abandon(IDENTITY.producer_id, &mut partition.ended);
    assert_eq!(look(&mut partition, &log), [written(2)]);
}

#[test]
fn records_go_on_under_another_producer_id_while_the_log_is_read() {
    let (mut partition, mut log) = stolen(|log, [first, _]| _ = log.append(first));
    partition.back.grant(FRESH);
    partition.add(1);
    let next = partition.send();
    assert_eq!((next.sequence, partition.back.identity()), (0, Some(FRESH)));
    let end = log.end;
    let offset = log.append(&next);
    partition.acknowledge(next.ordinal, offset);
    partition.tell_end(end);
    assert!(partition.show(&log));
    assert_eq!(partition.ends(), [written(offset), written(2), STOLEN]);
}
