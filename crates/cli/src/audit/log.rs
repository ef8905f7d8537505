//! Reads the topics that outcomes are about, for the checker: one task asks the brokers, one thread compares.
//!
//! A partition is read from the first offset that may concern an outcome to its high watermark at the begin. What
//! retention removes meanwhile is noted and left out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use milena::unstable::{Admin, Offsets, ReadBatch, ReadError, Uuid};
use tokio::sync::{mpsc, oneshot};

use super::checker::{Checker, Cleaning, Logged, TopicFacts};
use super::ledger::{Ledger, Place};
use super::verdicts::Conclusion;
use crate::checksum::Checksum;
use crate::exit::Failure;

/// What the thread is given, in this order for each partition.
enum Piece {
    Begin {
        place: Place,
        log_start: i64,
    },
    Batches(Vec<ReadBatch>),
    /// Retention was faster.
    LogStartsAt(i64),
    End {
        log_end: i64,
    },
}

/// What is known of the topics before their records are read.
#[derive(Debug)]
pub struct Topics {
    facts: Vec<TopicFacts>,
    /// By topic and partition.
    offsets: Vec<Vec<Offsets>>,
}

impl Topics {
    /// A topic that is not there is more likely a mistake than one that was deleted.
    pub async fn look_up(admin: &mut Admin, ledger: &Ledger) -> Result<Self, Failure> {
        let mut topics = Self { facts: Vec::new(), offsets: Vec::new() };
        for name in &ledger.topics {
            let found = admin.topic(name).await.map_err(Failure::to_start)?;
            let Some(found) = found else {
                return Err(Failure::to_start(format!(
                    "topic {name} does not exist; check the cluster, or nothing of it can be proved any more"
                )));
            };
            let offsets = admin.offsets(name, found.leaders.len()).await.map_err(Failure::to_start)?;
            topics.facts.push(TopicFacts {
                id: (found.id != Uuid::ZERO).then(|| found.id.to_string()),
                cleaning: cleaning(admin, name).await,
                log_starts: offsets.iter().map(|offsets| offsets.earliest).collect(),
            });
            topics.offsets.push(offsets);
        }
        Ok(topics)
    }
}

/// Whoever may read need not be allowed to see settings.
async fn cleaning(admin: &mut Admin, topic: &str) -> Cleaning {
    let Ok(Some(configs)) = admin.configs(topic).await else { return Cleaning::Untold };
    let policy = configs.into_iter().find(|config| config.name == "cleanup.policy").and_then(|config| config.value);
    match policy {
        Some(policy) if policy.split(',').any(|part| part.trim() == "compact") => Cleaning::Compacts,
        Some(_) => Cleaning::Deletes,
        None => Cleaning::Untold,
    }
}

/// Reads and compares everything. `records` counts those that were read.
pub async fn compare(
    admin: &mut Admin,
    ledger: Ledger,
    topics: Topics,
    checks_order: bool,
    records: Arc<AtomicU64>,
) -> Result<Conclusion, Failure> {
    let Topics { facts, offsets } = topics;
    let names = ledger.topics.clone();
    let (pieces, queue) = mpsc::channel(AHEAD);
    let (tell_ready, ready) = oneshot::channel();
    let (tell_end, ended) = oneshot::channel();
    let thread = std::thread::Builder::new().name("milena-audit".to_owned());
    let work = move || {
        // Sorting takes seconds where there are many.
        let checker = Checker::new(ledger, facts, checks_order);
        let starts = offsets.iter().zip(0..).map(|(partitions, topic)| {
            let places = (0..partitions.len() as i32).map(|partition| Place { topic, partition });
            places.map(|place| checker.first_offset(place)).collect()
        });
        let _nobody_waits = tell_ready.send((starts.collect::<Vec<Vec<i64>>>(), offsets));
        let _nobody_waits = tell_end.send(take_all(checker, queue, &records));
    };
    thread.spawn(work).map_err(|error| Failure::to_start(format!("a thread cannot be started: {error}")))?;
    let early = |_| Failure::midway("the thread that compares has ended early");
    let (starts, offsets) = ready.await.map_err(early)?;
    for ((name, topic), (starts, offsets)) in names.iter().zip(0..).zip(starts.iter().zip(&offsets)) {
        for ((start, offsets), partition) in starts.iter().zip(offsets).zip(0..) {
            let place = Place { topic, partition };
            if !read(admin, name, place, *start, *offsets, &pieces).await? {
                // The thread says why it ended.
                break;
            }
        }
    }
    drop(pieces);
    ended.await.map_err(early)?
}

/// False: nobody takes more.
async fn read(
    admin: &mut Admin,
    name: &str,
    place: Place,
    start: i64,
    Offsets { earliest, latest }: Offsets,
    pieces: &mpsc::Sender<Piece>,
) -> Result<bool, Failure> {
    if pieces.send(Piece::Begin { place, log_start: earliest }).await.is_err() {
        return Ok(false);
    }
    let mut reader = admin.reader(name, place.partition);
    reader.seek(start.max(earliest));
    while reader.position() < latest {
        let piece = match reader.read(latest).await {
            Ok(batches) => Piece::Batches(batches),
            Err(error @ ReadError::OffsetOutOfRange { .. }) => {
                let now = reader.offsets().await.map_err(Failure::midway)?;
                if now.earliest <= reader.position() {
                    return Err(Failure::midway(error));
                }
                reader.seek(now.earliest);
                Piece::LogStartsAt(now.earliest)
            }
            Err(error) => return Err(Failure::midway(error)),
        };
        if pieces.send(piece).await.is_err() {
            return Ok(false);
        }
    }
    Ok(pieces.send(Piece::End { log_end: latest }).await.is_ok())
}

fn take_all(
    mut checker: Checker,
    mut queue: mpsc::Receiver<Piece>,
    records: &AtomicU64,
) -> Result<Conclusion, Failure> {
    while let Some(piece) = queue.blocking_recv() {
        match piece {
            Piece::Begin { place, log_start } => checker.begin(place, log_start),
            Piece::LogStartsAt(offset) => checker.log_starts_at(offset),
            Piece::End { log_end } => checker.end(log_end),
            Piece::Batches(batches) => {
                for batch in &batches {
                    let header = batch.header();
                    let (producer_id, producer_epoch) = (header.producer_id, header.producer_epoch);
                    let mut count = 0;
                    for record in batch.records() {
                        let record = record.map_err(Failure::midway)?;
                        let (offset, checksum) = (record.offset, Checksum::of(&record));
                        checker.take(Logged { offset, checksum, producer_id, producer_epoch });
                        count += 1;
                    }
                    records.fetch_add(count, Ordering::Relaxed);
                }
            }
        }
    }
    Ok(checker.conclude())
}

/// Answers that wait to be compared: the next is fetched while one is.
const AHEAD: usize = 2;
