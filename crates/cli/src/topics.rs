//! `milena topics`: make one, remove one.

use std::time::Duration;

use milena::unstable::{self, Admin, NewTopic};

use crate::arguments::{CreateTopic, DeleteTopic, Where};
use crate::exit::{Exit, Failure, interrupted, tell};
use crate::interrupts::Interrupts;
use crate::place::{Missing, Place};

pub async fn create(options: &CreateTopic, interrupts: &mut Interrupts) -> Result<Exit, Failure> {
    at(&options.place, Missing::Make, &options.topic, interrupts, async |mut admin| {
        let CreateTopic { topic, partitions, replication, .. } = options;
        let new = NewTopic { name: topic.clone(), partitions: *partitions, replication: *replication };
        let made = admin.create_topic(&new).await.map_err(Failure::midway)?;
        tell(format_args!("topic {topic} is made, partitions: {}", made.leaders.len()));
        Ok(Exit::Done)
    })
    .await
}

pub async fn delete(options: &DeleteTopic, interrupts: &mut Interrupts) -> Result<Exit, Failure> {
    at(&options.place, Missing::Refuse, &options.topic, interrupts, async |mut admin| {
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
    work: impl AsyncFnOnce(Admin) -> Result<Exit, Failure>,
) -> Result<Exit, Failure> {
    unstable::check_topic(topic).map_err(Failure::to_start)?;
    let Ok(place) = interrupts.unless_pressed(Place::open(choice, missing)).await else {
        return Ok(interrupted("before a broker was there: nothing was sent"));
    };
    let place = place?;
    let exit = match interrupts.unless_pressed(place.admin(DEADLINE)).await {
        Ok(Ok(admin)) => interrupts.unless_pressed(work(admin)).await.unwrap_or_else(|_| {
            Ok(interrupted(format_args!("before the answer: what became of topic {topic} is unknown")))
        }),
        Ok(Err(failure)) => Err(failure),
        Err(_) => Ok(interrupted("before a broker answered: nothing was sent")),
    };
    place.leave(interrupts).await;
    exit
}

/// Of every question to the cluster.
const DEADLINE: Duration = Duration::from_secs(30);
