//! Asks a broker what it knows of the cluster, by a Metadata request: who is alive, and who leads a topic's partitions.
//!
//! A broker opens its port before it serves requests, and serves requests before its registration is known everywhere;
//! only its own answer that lists the live brokers shows that it is part of the cluster.

use crate::exchange::{Answer, Door, Request, cut_short};
use std::io;
use std::time::Duration;

/// A partition as one broker knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionState {
    /// The partition's number.
    pub partition: i32,
    /// The node that leads it; `None` while nobody does.
    pub leader: Option<u32>,
    /// Counts the leaders that it had.
    pub leader_epoch: i32,
    /// The nodes that hold it, the preferred leader first.
    pub replicas: Vec<u32>,
    /// Those of them that are in sync.
    pub in_sync: Vec<u32>,
}

/// The ids of the brokers that the one behind `door` holds for alive, in ascending order.
pub fn live_brokers(door: Door, patience: Duration) -> io::Result<Vec<u32>> {
    let answer = metadata_request(&[]).exchange(door, patience)?;
    brokers(&mut Answer(&answer)).ok_or_else(cut_short)
}

/// The partitions of a topic in ascending order; empty when the broker does not know the topic.
pub fn partitions(door: Door, topic: &str, patience: Duration) -> io::Result<Vec<PartitionState>> {
    let answer = metadata_request(&[topic]).exchange(door, patience)?;
    let mut states = topics(&mut Answer(&answer)).ok_or_else(cut_short)?;
    states.sort_by_key(|state| state.partition);
    Ok(states)
}

/// Metadata v7: the first with leader epochs. Creates nothing.
fn metadata_request(topics: &[&str]) -> Request {
    let mut request = Request::new(3, 7);
    request.count(topics.len());
    for topic in topics {
        request.string(topic);
    }
    request.int8(0);
    request
}

/// Throttle time, then per broker id, host, port, rack.
fn brokers(answer: &mut Answer<'_>) -> Option<Vec<u32>> {
    answer.int32()?;
    let mut ids = answer.each(|broker| {
        let id = broker.int32()?;
        let _host_port_rack = (broker.string()?, broker.int32()?, broker.string()?);
        u32::try_from(id).ok()
    })?;
    ids.sort_unstable();
    Some(ids)
}

/// After the brokers: cluster id, controller, then per topic an error, its name, whether it is internal, its partitions.
fn topics(answer: &mut Answer<'_>) -> Option<Vec<PartitionState>> {
    brokers(answer)?;
    let _cluster_and_controller = (answer.string()?, answer.int32()?);
    let topics = answer.each(|topic| {
        let _error_name_internal = (topic.int16()?, topic.string()?, topic.int8()?);
        topic.each(partition)
    })?;
    Some(topics.concat())
}

fn partition(answer: &mut Answer<'_>) -> Option<PartitionState> {
    let node = |answer: &mut Answer<'_>| u32::try_from(answer.int32()?).ok();
    answer.int16()?;
    let state = PartitionState {
        partition: answer.int32()?,
        leader: u32::try_from(answer.int32()?).ok(),
        leader_epoch: answer.int32()?,
        replicas: answer.each(node)?,
        in_sync: answer.each(node)?,
    };
    answer.each(node)?;
    Some(state)
}

/// The controller that leads the others, and through them the cluster: DescribeQuorum v0, which brokers hand on to it.
pub fn active_controller(door: Door, patience: Duration) -> io::Result<u32> {
    let mut request = Request::flexible(55, 0);
    request.compact_count(1).compact_string("__cluster_metadata").compact_count(1).int32(0);
    request.no_tags().no_tags().no_tags();
    let answer = request.exchange(door, patience)?;
    let leader = quorum_leader(&mut Answer(&answer)).ok_or_else(cut_short)?;
    leader.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no controller leads"))
}

/// An error, then per topic its name and per partition its number, an error, the leader, and more.
fn quorum_leader(answer: &mut Answer<'_>) -> Option<Option<u32>> {
    if answer.int16()? != 0 || answer.varint()? != 2 {
        return Some(None);
    }
    answer.compact_string()?;
    if answer.varint()? != 2 {
        return Some(None);
    }
    let (_number, error, leader) = (answer.int32()?, answer.int16()?, answer.int32()?);
    Some(u32::try_from(leader).ok().filter(|_| error == 0))
}

/// The id of a topic, by which later versions of requests name it: Metadata v12.
pub fn topic_id(door: Door, topic: &str, patience: Duration) -> io::Result<[u8; 16]> {
    let mut request = Request::flexible(3, 12);
    request.compact_count(1).bytes(&[0; 16]).compact_string(topic).no_tags();
    request.int8(0).int8(0).no_tags();
    let answer = request.exchange(door, patience)?;
    let (error, id) = first_topic(&mut Answer(&answer)).ok_or_else(cut_short)?;
    if error == 0 { Ok(id) } else { Err(io::Error::other(format!("topic {topic}: error {error}"))) }
}

/// Throttle time, per broker id, host, port and rack; cluster id, controller; then the topics.
fn first_topic(answer: &mut Answer<'_>) -> Option<(i16, [u8; 16])> {
    answer.int32()?;
    answer.compact_each(|broker| {
        let _id_host_port_rack = (broker.int32()?, broker.compact_string()?, broker.int32()?, broker.compact_string()?);
        broker.tags()
    })?;
    let _cluster_and_controller = (answer.compact_string()?, answer.int32()?);
    if answer.varint()? != 2 {
        return None;
    }
    let (error, _name) = (answer.int16()?, answer.compact_string()?);
    Some((error, answer.array()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] = b"\0\0\0\0\0\0\0\x02\
        \0\0\0\x02\0\x09127.0.0.1\0\0\x4b\0\xff\xff\
        \0\0\0\x01\0\x09127.0.0.1\0\0\x4a\0\0\x01r\
        \0\x02id\0\0\0\x01\0\0\0\x01\
        \0\0\0\x01t\0\0\0\0\x02\
        \0\0\0\0\0\0\0\0\0\x02\0\0\0\x05\0\0\0\x02\0\0\0\x01\0\0\0\x02\0\0\0\x01\0\0\0\x02\0\0\0\x01\0\0\0\x01\
        \0\x05\0\0\0\x01\xff\xff\xff\xff\0\0\0\x06\0\0\0\0\0\0\0\0\0\0\0\0";

    #[test]
    fn the_broker_list_is_read_in_order() {
        assert_eq!(brokers(&mut Answer(ANSWER)), Some(vec![1, 2]));
    }

    #[test]
    fn partitions_are_read_with_and_without_a_leader() {
        let led =
            PartitionState { partition: 0, leader: Some(2), leader_epoch: 5, replicas: vec![1, 2], in_sync: vec![2] };
        let orphan = PartitionState { partition: 1, leader: None, leader_epoch: 6, replicas: vec![], in_sync: vec![] };
        assert_eq!(topics(&mut Answer(ANSWER)), Some(vec![led, orphan]));
    }

    #[test]
    fn an_answer_cut_anywhere_is_no_answer() {
        for end in 0..ANSWER.len() {
            assert_eq!(topics(&mut Answer(&ANSWER[..end])), None, "cut at {end}");
        }
    }
}
