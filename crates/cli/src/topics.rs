//! `milena topics`: list them, look at one, make one, remove one.

use std::time::Duration;

use milena::unstable::{self, Admin, NewTopic, Offsets, PartitionLayout, TopicLayout, Uuid};
use serde::Serialize;

use crate::arguments::{CreateTopic, DeleteTopic, DescribeTopic, ListTopics, Where};
use crate::exit::{Exit, Failure, interrupted, print, tell};
use crate::interrupts::Interrupts;
use crate::json;
use crate::place::{Missing, Place};

pub async fn create(options: &CreateTopic, interrupts: &mut Interrupts) -> Result<Exit, Failure> {
    let CreateTopic { place, topic, partitions, replication, configs } = options;
    check(topic)?;
    at(place, Missing::Make, &changed(topic), interrupts, async |mut admin| {
        let new = NewTopic { name: topic.clone(), partitions: *partitions, replication: *replication };
        let made = admin.create_topic_with(&new, configs).await.map_err(Failure::midway)?;
        tell(format_args!("topic {topic} is made, partitions: {}", made.leaders.len()));
        Ok(Exit::Done)
    })
    .await
}

pub async fn delete(options: &DeleteTopic, interrupts: &mut Interrupts) -> Result<Exit, Failure> {
    let DeleteTopic { place, topic } = options;
    check(topic)?;
    at(place, Missing::Refuse, &changed(topic), interrupts, async |mut admin| {
        admin.delete_topic(topic).await.map_err(Failure::midway)?;
        tell(format_args!("topic {topic} is deleted"));
        Ok(Exit::Done)
    })
    .await
}

pub async fn list(options: &ListTopics, interrupts: &mut Interrupts) -> Result<Exit, Failure> {
    at(&options.place, Missing::Refuse, LOOKED, interrupts, async |mut admin| {
        let mut topics = admin.topics().await.map_err(Failure::midway)?;
        topics.retain(|topic| options.with_internal || !topic.is_internal);
        let mut out = Vec::new();
        for topic in &topics {
            let listed = Listed {
                topic: &topic.name,
                id: shown_id(topic.id),
                internal: topic.is_internal,
                partitions: topic.partitions.len(),
                replication_factor: topic
                    .partitions
                    .iter()
                    .map(|partition| partition.replicas.len())
                    .max()
                    .unwrap_or(0),
            };
            match options.is_json {
                true => json::line(&listed, &mut out),
                false => out.extend_from_slice(
                    format!("{}\t{}\t{}\n", listed.topic, listed.partitions, listed.replication_factor).as_bytes(),
                ),
            }
        }
        print(&out)
    })
    .await
}

pub async fn describe(options: &DescribeTopic, interrupts: &mut Interrupts) -> Result<Exit, Failure> {
    let topic = &options.topic;
    check(topic)?;
    at(&options.place, Missing::Refuse, LOOKED, interrupts, async |mut admin| {
        let layout = admin.layout(topic).await.map_err(Failure::midway)?;
        let layout = layout.ok_or_else(|| {
            Failure::midway(format!("topic {topic} does not exist; milena topics list has those that do"))
        })?;
        let mut offsets = Vec::with_capacity(layout.partitions.len());
        for partition in &layout.partitions {
            // Without a leader nobody knows, and to wait for one would keep the rest from being seen.
            offsets.push(match partition.leader {
                Some(_) => Some(admin.reader(topic, partition.index).offsets().await.map_err(Failure::midway)?),
                None => None,
            });
        }
        let mut out = Vec::new();
        match options.is_json {
            true => json::line(&Described::new(&layout, &offsets), &mut out),
            false => out.extend_from_slice(text(&layout, &offsets).as_bytes()),
        }
        print(&out)
    })
    .await
}

/// A head, then a line for each partition.
fn text(layout: &TopicLayout, offsets: &[Option<Offsets>]) -> String {
    let id = shown_id(layout.id).map_or(String::new(), |id| format!(", id {id}"));
    let internal = if layout.is_internal { ", internal" } else { "" };
    let mut text = format!("topic {}{id}{internal}, partitions: {}\n", layout.name, layout.partitions.len());
    text += "partition\tleader\tepoch\treplicas\tisr\toffline\tfirst offset\tend offset\n";
    for (partition, offsets) in layout.partitions.iter().zip(offsets) {
        let or_dash = |number: Option<i64>| number.map_or("-".to_owned(), |number| number.to_string());
        let nodes = |nodes: &[i32]| match nodes {
            [] => "-".to_owned(),
            nodes => nodes.iter().map(i32::to_string).collect::<Vec<_>>().join(","),
        };
        text += &format!(
            "{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\n",
            partition.index,
            or_dash(partition.leader.map(i64::from)),
            or_dash(partition.leader_epoch.map(i64::from)),
            nodes(&partition.replicas),
            nodes(&partition.isr),
            nodes(&partition.offline),
            or_dash(offsets.map(|offsets| offsets.earliest)),
            or_dash(offsets.map(|offsets| offsets.latest)),
        );
    }
    text
}

#[derive(Serialize)]
struct Listed<'a> {
    topic: &'a str,
    id: Option<String>,
    internal: bool,
    partitions: usize,
    replication_factor: usize,
}

#[derive(Serialize)]
struct Described<'a> {
    topic: &'a str,
    id: Option<String>,
    internal: bool,
    partitions: Vec<DescribedPartition<'a>>,
}

#[derive(Serialize)]
struct DescribedPartition<'a> {
    partition: i32,
    leader: Option<i32>,
    leader_epoch: Option<i32>,
    replicas: &'a [i32],
    isr: &'a [i32],
    offline: &'a [i32],
    first_offset: Option<i64>,
    end_offset: Option<i64>,
}

impl<'a> Described<'a> {
    fn new(layout: &'a TopicLayout, offsets: &[Option<Offsets>]) -> Self {
        let described = |(partition, offsets): (&'a PartitionLayout, &Option<Offsets>)| DescribedPartition {
            partition: partition.index,
            leader: partition.leader,
            leader_epoch: partition.leader_epoch,
            replicas: &partition.replicas,
            isr: &partition.isr,
            offline: &partition.offline,
            first_offset: offsets.map(|offsets| offsets.earliest),
            end_offset: offsets.map(|offsets| offsets.latest),
        };
        Self {
            topic: &layout.name,
            id: shown_id(layout.id),
            internal: layout.is_internal,
            partitions: layout.partitions.iter().zip(offsets).map(described).collect(),
        }
    }
}

/// Topics of before Kafka 2.8 have none.
fn shown_id(id: Uuid) -> Option<String> {
    (id != Uuid::ZERO).then(|| id.to_string())
}

fn check(topic: &str) -> Result<(), Failure> {
    unstable::check_topic(topic).map_err(Failure::to_start)
}

fn changed(topic: &str) -> String {
    format!("before the answer: what became of topic {topic} is unknown")
}

/// Does the work where it belongs; after it an owner serves those that are attached.
async fn at(
    choice: &Where,
    missing: Missing,
    if_interrupted: &str,
    interrupts: &mut Interrupts,
    work: impl AsyncFnOnce(Admin) -> Result<Exit, Failure>,
) -> Result<Exit, Failure> {
    let Ok(place) = interrupts.unless_pressed(Place::open(choice, missing)).await else {
        return Ok(interrupted("before a broker was there: nothing was sent"));
    };
    let place = place?;
    let exit = match interrupts.unless_pressed(place.admin(DEADLINE)).await {
        Ok(Ok(admin)) => {
            interrupts.unless_pressed(work(admin)).await.unwrap_or_else(|_| Ok(interrupted(if_interrupted)))
        }
        Ok(Err(failure)) => Err(failure),
        Err(_) => Ok(interrupted("before a broker answered: nothing was sent")),
    };
    place.leave(interrupts).await;
    exit
}

const LOOKED: &str = "before the answer: nothing was printed";

/// Of every question to the cluster.
const DEADLINE: Duration = Duration::from_secs(30);
