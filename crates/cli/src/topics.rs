//! `milena topics`: make one, remove one.

use std::time::Duration;

use milena::unstable::{self, NewTopic};

use crate::arguments::{CreateTopic, DeleteTopic, Where};
use crate::exit::{Exit, Failure, tell};
use crate::interrupts::Interrupts;
use crate::place::{Missing, Place};

pub async fn create(options: &CreateTopic, interrupts: &mut Interrupts) -> Result<Exit, Failure> {
    at(&options.place, Missing::Make, &options.topic, interrupts, async |place| {
        let mut admin = place.admin(DEADLINE).await?;
        let CreateTopic { topic, partitions, replication, .. } = options;
        let new = NewTopic { name: topic.clone(), partitions: *partitions, replication: *replication };
        let made = admin.create_topic(&new).await.map_err(Failure::midway)?;
        tell(format_args!("topic {topic} is made, partitions: {}", made.leaders.len()));
        Ok(Exit::Done)
    })
    .await
}

pub async fn delete(options: &DeleteTopic, interrupts: &mut Interrupts) -> Result<Exit, Failure> {
    at(&options.place, Missing::Refuse, &options.topic, interrupts, async |place| {
        let mut admin = place.admin(DEADLINE).await?;
        admin.delete_topic(&options.topic).await.map_err(Failure::midway)?;
        tell(format_args!("topic {} is deleted", options.topic));
        Ok(Exit::Done)
    })
    .await
}

/// Does the work where it belongs; after it an owner serves those that are attached.
async fn at(
    choice: &Where,
    missing: Missing,
    topic: &str,
    interrupts: &mut Interrupts,
    work: impl AsyncFnOnce(&Place) -> Result<Exit, Failure>,
) -> Result<Exit, Failure> {
    unstable::check_topic(topic).map_err(Failure::to_start)?;
    let Ok(place) = interrupts.unless_pressed(Place::open(choice, missing)).await else {
        return Ok(Exit::Interrupted);
    };
    let place = place?;
    let exit = interrupts.unless_pressed(work(&place)).await.unwrap_or(Ok(Exit::Interrupted));
    place.leave(interrupts).await;
    exit
}

/// Of every question to the cluster.
const DEADLINE: Duration = Duration::from_secs(30);
