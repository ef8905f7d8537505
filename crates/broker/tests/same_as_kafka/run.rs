//! Runs sequences against both brokers at once and compares answer by answer.

use std::collections::BTreeMap;
use std::io;

use milena_wire::ApiKey;

use crate::allowed::Allowed;
use crate::asked::{Answer, Asked};
use crate::compare::{Difference, Seen, differences, fields};
use crate::leaves::Leaf;
use crate::sequence::{Origin, Sequence, Step, Then, TopicNeeded};
use crate::settle;
use crate::side::Side;

/// How often each API was asked in each version, and both said what they had to say.
pub type Counts = BTreeMap<(ApiKey, i16), usize>;

/// A sequence on its way.
#[derive(Debug)]
pub struct Run {
    pub sequence: Sequence,
    pub kafka: Side,
    pub ours: Side,
    /// The next step.
    at: usize,
    /// The topics that are there by now.
    there: Vec<TopicNeeded>,
    pub found: Option<Finding>,
    /// Whether the brokers went different ways, as is allowed.
    is_parted: bool,
}

/// A request that is answered differently.
#[derive(Clone, Debug)]
pub struct Finding {
    pub seed: u64,
    pub step: usize,
    pub asked: Step,
    /// Those that are not allowed.
    pub differences: Vec<Difference>,
    pub kafka: Vec<Leaf>,
    pub ours: Vec<Leaf>,
}

/// What all runs share.
#[derive(Debug)]
pub struct Rules<'a> {
    pub allowed: &'a Allowed,
    /// The keys of the APIs that milena-broker serves.
    pub served: &'a [i16],
    /// The time that records are stamped with, in milliseconds.
    pub base: i64,
}

impl Rules<'_> {
    /// What a sequence whose topics begin with this is written for.
    pub fn origin(&self, prefix: String) -> Origin {
        Origin { prefix, base: self.base, served: self.served.to_vec() }
    }
}

impl Run {
    pub fn new(sequence: Sequence, kafka: Side, ours: Side) -> Run {
        let there = sequence.topics.clone();
        Run { sequence, kafka, ours, at: 0, there, found: None, is_parted: false }
    }

    /// Goes on to the restart, or to the end.
    pub fn go(&mut self, rules: &Rules<'_>, counts: &mut Counts) -> io::Result<()> {
        let end = match self.sequence.restart_at {
            Some(restart) if self.at < restart => restart,
            _ => self.sequence.steps.len(),
        };
        while self.at < end && self.found.is_none() && !self.is_parted {
            let step = self.sequence.steps[self.at].clone();
            self.take(&step, rules, counts)?;
            self.at += 1;
        }
        Ok(())
    }

    pub fn is_over(&self) -> bool {
        self.found.is_some() || self.is_parted || self.at >= self.sequence.steps.len()
    }

    /// Its connections are gone.
    pub fn after_restart(&mut self) {
        self.kafka.disconnect();
        self.ours.disconnect();
    }

    /// The topics that are there by now.
    pub fn there(&self) -> &[TopicNeeded] {
        &self.there
    }

    fn take(&mut self, step: &Step, rules: &Rules<'_>, counts: &mut Counts) -> io::Result<()> {
        let (kafka, ours) = (self.kafka.send(step)?, self.ours.send(step)?);
        let (kafka, ours) = (self.kafka.receive(kafka), self.ours.receive(ours));
        let api = step.asked.api();
        if step.cut.is_none() {
            *counts.entry((api, step.version)).or_default() += 1;
        }
        if kafka == ours && !step.tells_small_ids() {
            if let Err(difference) = self.settle(step, &kafka) {
                self.find(step, vec![difference], Default::default());
            }
            return Ok(());
        }
        let shown =
            |seen: &Seen, side: &mut Side| fields(&step.asked, step.version, seen, &mut side.names, rules.served);
        // Ids that the answer itself brings have their names from it on.
        self.learn(step, &kafka, &ours);
        let (kafka_fields, our_fields) = (shown(&kafka, &mut self.kafka), shown(&ours, &mut self.ours));
        let mut differences = differences(api, step.version, &kafka_fields, &our_fields);
        let parts_ways = differences.iter().any(Difference::parts_ways);
        differences.retain(|difference| !rules.allowed.covers(step.what, difference));
        if !differences.is_empty() {
            self.find(step, differences, (kafka_fields, our_fields));
            return Ok(());
        }
        // One log has a batch that the other has not: there is nothing more to compare.
        self.is_parted |= parts_ways;
        if let Err(difference) = self.settle(step, &kafka) {
            self.find(step, vec![difference], (kafka_fields, our_fields));
        }
        Ok(())
    }

    fn find(&mut self, step: &Step, differences: Vec<Difference>, (kafka, ours): (Vec<Leaf>, Vec<Leaf>)) {
        let (seed, asked) = (self.sequence.seed, step.clone());
        self.found = Some(Finding { seed, step: self.at, asked, differences, kafka, ours });
    }

    fn learn(&mut self, step: &Step, kafka: &Seen, ours: &Seen) {
        for (seen, side) in [(kafka, &mut self.kafka), (ours, &mut self.ours)] {
            match (&step.then, answer(step, seen)) {
                (Then::Producer(slot), Some(Answer::InitProducerId(answer))) if answer.error_code == 0 => {
                    side.names.learn_producer(*slot, answer.producer_id);
                }
                (Then::Session(slot), Some(Answer::Fetch(answer))) if answer.session_id != 0 => {
                    side.names.learn_session(*slot, answer.session_id);
                }
                _ => {}
            }
        }
    }

    /// What a broker does after its answer is compared as well: both have to come to the same.
    fn settle(&mut self, step: &Step, seen: &Seen) -> Result<(), Difference> {
        self.await_both(step, seen).map_err(|error| Difference {
            api: step.asked.api(),
            version: step.version,
            path: "what follows the answer".to_owned(),
            kafka: error.to_string(),
            ours: String::new(),
        })
    }

    /// Both answered alike; if it was a yes, both have to be done.
    fn await_both(&mut self, step: &Step, kafka: &Seen) -> io::Result<()> {
        let answer = answer(step, kafka);
        match (&step.then, answer) {
            (Then::Created(topics), Some(Answer::CreateTopics(answer))) => {
                let is_created =
                    |name: &str| answer.topics.iter().any(|topic| &*topic.name == name && topic.error_code == 0);
                let created: Vec<_> = topics.iter().filter(|topic| is_created(&topic.name)).collect();
                if created.is_empty() {
                    return Ok(());
                }
                self.there.extend(created.iter().map(|topic| (*topic).clone()));
                for side in [&mut self.kafka, &mut self.ours] {
                    let ids = settle::await_created(side, &created)?;
                    for (topic, id) in created.iter().zip(ids) {
                        side.names.learn_topic(topic.slot, id);
                    }
                }
            }
            (Then::Deleted(name), Some(Answer::DeleteTopics(answer)))
                if answer.responses.iter().all(|topic| topic.error_code == 0) =>
            {
                let named = self.there.iter().filter(|topic| topic.name == *name);
                let partitions = named.map(|topic| topic.partitions).max().unwrap_or(1);
                self.there.retain(|topic| topic.name != *name);
                settle::await_deleted(&mut self.kafka, name, partitions)?;
                settle::await_deleted(&mut self.ours, name, partitions)?;
            }
            (Then::Grown(topic), Some(Answer::CreatePartitions(answer)))
                if answer.results.iter().all(|topic| topic.error_code == 0) =>
            {
                let named = self.there.iter_mut().filter(|known| known.name == topic.name);
                named.for_each(|known| known.clone_from(topic));
                settle::await_created(&mut self.kafka, &[topic])?;
                settle::await_created(&mut self.ours, &[topic])?;
            }
            (Then::Altered(name), Some(_)) if self.there.iter().any(|topic| topic.name == *name) => {
                settle::await_same_settings(&mut self.kafka, &mut self.ours, name)?;
            }
            (Then::Quotas, Some(Answer::AlterClientQuotas(answer))) => {
                if let Some(entry) = answer.entries.iter().find(|entry| entry.error_code == 0) {
                    settle::await_same_quotas(&mut self.kafka, &mut self.ours, entry)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Step {
    /// A request without more to it.
    pub fn plain(version: i16, asked: Asked) -> Step {
        Step { what: "", version, asked, cut: None, then: Then::Nothing }
    }

    /// Whether the answer may tell an id of the broker's own that another broker gave to something else.
    fn tells_small_ids(&self) -> bool {
        matches!(self.asked, Asked::Fetch(_) | Asked::InitProducerId(_) | Asked::DescribeProducers(_))
    }

    /// Whether no answer is due.
    pub fn is_silent(&self) -> bool {
        matches!(&self.asked, Asked::Produce(request) if request.acks == 0)
    }
}

fn answer(step: &Step, seen: &Seen) -> Option<Answer> {
    let Seen::Answer(frame) = seen else { return None };
    step.asked.read_answer(frame.clone(), step.version).ok()
}
