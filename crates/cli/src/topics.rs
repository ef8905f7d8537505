//! `milena topics`: list them, look at one, make one, remove one.

use std::collections::BTreeMap;

use milena::unstable::{
    self, Admin, AdminError, ClusterError, NewTopic, Offsets, PartitionLayout, TopicConfig, TopicLayout, Uuid,
};
use serde::Serialize;

use crate::arguments::{Access, CreateTopic, DeleteTopic, DescribeTopic, ListTopics};
use crate::exit::{Exit, Failure, interrupted, print, tell};
use crate::interrupts::Interrupts;
use crate::json;
use crate::place::{Missing, Place};

pub async fn create(options: &CreateTopic, interrupts: &mut Interrupts) -> Result<Exit, Failure> {
    let CreateTopic { access, topic, partitions, replication, configs, is_json } = options;
    check(topic)?;
    at(access, Missing::Make, &changed(topic), interrupts, async |mut admin| {
        let new = NewTopic { name: topic.clone(), partitions: *partitions, replication: *replication };
        let made = admin.create_topic_with(&new, configs).await.map_err(Failure::midway)?;
        tell(format_args!("topic {topic} is made, partitions: {}", made.leaders.len()));
        let made = Changed { topic, id: shown_id(made.id), partitions: Some(made.leaders.len()) };
        made.print(*is_json)
    })
    .await
}

pub async fn delete(options: &DeleteTopic, interrupts: &mut Interrupts) -> Result<Exit, Failure> {
    let DeleteTopic { access, topic, is_json } = options;
    check(topic)?;
    at(access, Missing::Refuse, &changed(topic), interrupts, async |mut admin| {
        admin.delete_topic(topic).await.map_err(|error| match error {
            AdminError::Cluster(ClusterError::TopicMissing { .. }) => missing(topic),
            error => Failure::midway(error),
        })?;
        tell(format_args!("topic {topic} is deleted"));
        Changed { topic, id: None, partitions: None }.print(*is_json)
    })
    .await
}

pub async fn list(options: &ListTopics, interrupts: &mut Interrupts) -> Result<Exit, Failure> {
    at(&options.access, Missing::Refuse, LOOKED, interrupts, async |mut admin| {
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
    at(&options.access, Missing::Refuse, LOOKED, interrupts, async |mut admin| {
        let layout = admin.layout(topic).await.map_err(Failure::midway)?;
        let layout = layout.ok_or_else(|| missing(topic))?;
        let mut offsets = Vec::with_capacity(layout.partitions.len());
        for partition in &layout.partitions {
            // Without a leader nobody knows, and to wait for one would keep the rest from being seen.
            offsets.push(match partition.leader {
                Some(_) => Some(admin.reader(topic, partition.index).offsets().await.map_err(Failure::midway)?),
                None => None,
            });
        }
        let configs = configs(&mut admin, topic).await?;
        let mut out = Vec::new();
        match options.is_json {
            true => json::line(&Described::new(&layout, &offsets, configs.as_deref()), &mut out),
            false => out.extend_from_slice((text(&layout, &offsets) + &own(configs.as_deref())).as_bytes()),
        }
        print(&out)
    })
    .await
}

/// The topic's settings; none, and why, where brokers do not tell them.
async fn configs(admin: &mut Admin, topic: &str) -> Result<Option<Vec<TopicConfig>>, Failure> {
    match admin.configs(topic).await {
        Ok(Some(configs)) => Ok(Some(configs)),
        Ok(None) => {
            tell("the brokers serve no DescribeConfigs, so settings are not shown");
            Ok(None)
        }
        // Who may look at a topic may not always look at its settings.
        Err(error @ ClusterError::Refused { .. }) => {
            tell(format_args!("settings are not shown: {error}"));
            Ok(None)
        }
        Err(error) => Err(Failure::midway(error)),
    }
}

/// A line for each setting that is the topic's own.
fn own(configs: Option<&[TopicConfig]>) -> String {
    let own = configs.unwrap_or_default().iter().filter(|config| config.is_own);
    own.map(|config| format!("config\t{}\t{}\n", config.name, config.value.as_deref().unwrap_or("-"))).collect()
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
struct Changed<'a> {
    topic: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partitions: Option<usize>,
}

impl Changed<'_> {
    /// What was done is told on stderr anyway.
    fn print(&self, is_json: bool) -> Result<Exit, Failure> {
        let mut out = Vec::new();
        if is_json {
            json::line(self, &mut out);
        }
        print(&out)
    }
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
    /// Null: brokers do not tell.
    configs: Option<BTreeMap<&'a str, DescribedConfig<'a>>>,
}

#[derive(Serialize)]
struct DescribedConfig<'a> {
    value: Option<&'a str>,
    /// False: a default of the broker or the cluster.
    own: bool,
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
    fn new(layout: &'a TopicLayout, offsets: &[Option<Offsets>], configs: Option<&'a [TopicConfig]>) -> Self {
        let config = |config: &'a TopicConfig| {
            (config.name.as_str(), DescribedConfig { value: config.value.as_deref(), own: config.is_own })
        };
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
            configs: configs.map(|configs| configs.iter().map(config).collect()),
        }
    }
}

/// Topics of before Kafka 2.8 have none.
fn shown_id(id: Uuid) -> Option<String> {
    (id != Uuid::ZERO).then(|| id.to_string())
}

fn missing(topic: &str) -> Failure {
    Failure::to_start(format!("topic {topic} does not exist; milena topics list has those that do"))
}

fn check(topic: &str) -> Result<(), Failure> {
    unstable::check_topic(topic).map_err(Failure::to_start)
}

fn changed(topic: &str) -> String {
    format!("before the answer: what became of topic {topic} is unknown")
}

/// Does the work where it belongs; after it an owner serves those that are attached.
async fn at(
    access: &Access,
    missing: Missing,
    if_interrupted: &str,
    interrupts: &mut Interrupts,
    work: impl AsyncFnOnce(Admin) -> Result<Exit, Failure>,
) -> Result<Exit, Failure> {
    let reach = access.settings.reach(&access.place)?;
    let Ok(place) = interrupts.unless_pressed(Place::open(&reach.place, missing)).await else {
        return Ok(interrupted("before a broker was there: nothing was sent"));
    };
    let place = place?;
    let exit = match interrupts.unless_pressed(place.admin(&reach.client_id, reach.deadline)).await {
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
