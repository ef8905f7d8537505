//! Where all partitions of a topic begin or end, with one question to each leader.

use std::collections::BTreeMap;
use std::time::Instant;

use milena_core::metadata::Address;
use milena_wire::ErrorCode;
use milena_wire::messages::list_offsets::request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use milena_wire::messages::list_offsets::response::ListOffsetsResponse;

use super::Admin;
use super::cluster::Cluster;
use super::error::{ClusterError, ReadError, Setback};
use super::reader::{CONSUMER, EARLIEST, LATEST, Offsets};

impl Admin {
    /// Between which offsets each partition has records, by number.
    pub async fn offsets(&mut self, topic: &str, partitions: usize) -> Result<Vec<Offsets>, ReadError> {
        let earliest = self.cluster.ends(topic, partitions, EARLIEST).await?;
        let latest = self.cluster.ends(topic, partitions, LATEST).await?;
        let both = earliest.into_iter().zip(latest);
        Ok(both.map(|(earliest, latest)| Offsets { earliest, latest }).collect())
    }

    /// One past the last committed offset of each partition, by number.
    pub async fn end_offsets(&mut self, topic: &str, partitions: usize) -> Result<Vec<i64>, ReadError> {
        self.cluster.ends(topic, partitions, LATEST).await
    }
}

impl Cluster {
    /// `end` is a timestamp with a meaning of its own. What one leader does not tell is asked again.
    async fn ends(&mut self, topic: &str, partitions: usize, end: i64) -> Result<Vec<i64>, ReadError> {
        let until = self.until();
        let mut told: Vec<Option<i64>> = vec![None; partitions];
        while let Some(why) = self.ask_leaders(topic, end, &mut told, until).await? {
            self.refresh(why, until).await?;
        }
        Ok(told.into_iter().map(|offset| offset.expect("it was asked until all was told")).collect())
    }

    /// Asks for what is not told yet. Gives why something still is not.
    async fn ask_leaders(
        &mut self,
        topic: &str,
        end: i64,
        told: &mut [Option<i64>],
        until: Instant,
    ) -> Result<Option<Setback>, ReadError> {
        let mut by_leader: BTreeMap<Address, Vec<ListOffsetsPartition>> = BTreeMap::new();
        for index in (0..told.len()).filter(|index| told[*index].is_none()) {
            let leader = self.leader(topic, index as i32, until).await?;
            by_leader.entry(leader.address).or_default().push(ListOffsetsPartition {
                partition_index: index as i32,
                current_leader_epoch: leader.epoch,
                timestamp: end,
                ..ListOffsetsPartition::default()
            });
        }
        let mut why = None;
        for (address, partitions) in by_leader {
            let asked = self.ask(&address, i16::MAX, |_| request(topic, partitions), until).await;
            match asked {
                Ok(response) => why = take(&response, topic, told)?.or(why),
                Err(error) if error.is_passing() => why = Some(Setback::Link(error)),
                Err(error) => return Err(ClusterError::Broken { address, error }.into()),
            }
        }
        Ok(why.or_else(|| told.contains(&None).then_some(Setback::NothingNew)))
    }
}

fn request(topic: &str, partitions: Vec<ListOffsetsPartition>) -> ListOffsetsRequest {
    let topic = ListOffsetsTopic { name: topic.into(), partitions, ..ListOffsetsTopic::default() };
    ListOffsetsRequest { replica_id: CONSUMER, topics: vec![topic], ..ListOffsetsRequest::default() }
}

/// Gives what is worth another attempt.
fn take(response: &ListOffsetsResponse, topic: &str, told: &mut [Option<i64>]) -> Result<Option<Setback>, ReadError> {
    let mut why = None;
    for partition in response.topics.iter().flat_map(|topic| &topic.partitions) {
        let place = usize::try_from(partition.partition_index).ok().and_then(|index| told.get_mut(index));
        match ErrorCode(partition.error_code) {
            code if code.is_none() => {
                if let Some(place) = place {
                    *place = (partition.offset >= 0).then_some(partition.offset);
                }
            }
            code if code.is_retriable() => why = Some(Setback::Code(code)),
            code => return Err(ClusterError::Refused { topic: topic.into(), code, message: None }.into()),
        }
    }
    Ok(why)
}
