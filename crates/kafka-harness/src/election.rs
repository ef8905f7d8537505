//! Gives partitions back to their preferred leaders: one ElectLeaders request. The everyday move of a leader, with nobody
//! dead or frozen.

use crate::exchange::{Answer, Door, Request, cut_short};
use std::io;
use std::time::Duration;

/// Any broker will do: it forwards the request to the controller.
pub fn elect_preferred(door: Door, topic: &str, partitions: &[i32], patience: Duration) -> io::Result<()> {
    let answer = request(topic, partitions, patience).exchange(door, patience)?;
    match refusal(&mut Answer(&answer)).ok_or_else(cut_short)? {
        None => Ok(()),
        Some(said) => Err(io::Error::other(format!("an election for topic {topic}: {said}"))),
    }
}

/// ElectLeaders v1, the last one before flexible encodings.
fn request(topic: &str, partitions: &[i32], patience: Duration) -> Request {
    let mut request = Request::new(43, 1);
    request.int8(PREFERRED).count(1).string(topic).count(partitions.len());
    for partition in partitions {
        request.int32(*partition);
    }
    request.int32(i32::try_from(patience.as_millis()).expect("nobody waits for weeks"));
    request
}

/// After the throttle time an error for all, then per topic its name and per partition its number, an error and a
/// sentence.
fn refusal(answer: &mut Answer<'_>) -> Option<Option<String>> {
    answer.int32()?;
    let code = answer.int16()?;
    if code != 0 {
        return Some(Some(format!("error {code}")));
    }
    let said = answer.each(|topic| {
        topic.string()?;
        topic.each(|partition| {
            let (number, code, sentence) = (partition.int32()?, partition.int16()?, partition.string()?);
            let is_well = code == 0 || code == ELECTION_NOT_NEEDED;
            Some((!is_well).then(|| format!("partition {number}: error {code}: {sentence}")))
        })
    })?;
    Some(said.into_iter().flatten().flatten().next())
}

const PREFERRED: i8 = 0;

/// The preferred leader leads already.
const ELECTION_NOT_NEEDED: i16 = 84;
