//! Creates topics whose replicas stand where a test wants them: one CreateTopics request.

use crate::exchange::{Answer, Door, Request, cut_short};
use std::io;
use std::time::Duration;

/// A topic to be created.
#[derive(Clone, Copy, Debug)]
pub struct NewTopic<'a> {
    /// Its name.
    pub name: &'a str,
    /// For each partition the nodes that hold it, equally many for all; the first one leads it at the start.
    pub replicas: &'a [&'a [u32]],
    /// Settings by Kafka's names.
    pub config: &'a [(&'a str, &'a str)],
}

impl NewTopic<'_> {
    /// Any broker will do: it forwards the request to the controller.
    pub(crate) fn create(&self, door: Door, patience: Duration) -> io::Result<()> {
        let answer = self.request(patience).exchange(door, patience)?;
        match refusal(&mut Answer(&answer)).ok_or_else(cut_short)? {
            None => Ok(()),
            Some(said) => Err(io::Error::other(format!("topic {}: {said}", self.name))),
        }
    }

    /// CreateTopics v4, the last one before flexible encodings.
    fn request(&self, patience: Duration) -> Request {
        let mut request = Request::new(19, 4);
        request.count(1).string(self.name).int32(-1).int16(-1).count(self.replicas.len());
        for (partition, nodes) in (0..).zip(self.replicas) {
            request.int32(partition).count(nodes.len());
            for node in *nodes {
                request.int32(i32::try_from(*node).expect("a cluster has a handful of nodes"));
            }
        }
        request.count(self.config.len());
        for (key, value) in self.config {
            request.string(key).string(value);
        }
        let timeout = i32::try_from(patience.as_millis()).expect("nobody waits for weeks");
        request.int32(timeout).int8(0);
        request
    }
}

/// DeleteTopics v3, the last one before flexible encodings. Any broker will do.
pub fn delete(door: Door, topic: &str, patience: Duration) -> io::Result<()> {
    let mut request = Request::new(20, 3);
    request.count(1).string(topic).int32(i32::try_from(patience.as_millis()).expect("nobody waits for weeks"));
    let answer = request.exchange(door, patience)?;
    let mut answer = Answer(&answer);
    let _throttle = answer.int32();
    let codes = answer.each(|topic| topic.string().and_then(|_| topic.int16())).ok_or_else(cut_short)?;
    match codes.as_slice() {
        [0] => Ok(()),
        codes => Err(io::Error::other(format!("topic {topic} is not deleted: errors {codes:?}"))),
    }
}

/// What the broker objects to: after the throttle time, per topic its name, an error and a sentence.
fn refusal(answer: &mut Answer<'_>) -> Option<Option<String>> {
    answer.int32()?;
    let said = answer.each(|topic| {
        topic.string()?;
        let (code, sentence) = (topic.int16()?, topic.string()?);
        Some((code != 0).then(|| format!("error {code}: {sentence}")))
    })?;
    Some(said.into_iter().flatten().next())
}
