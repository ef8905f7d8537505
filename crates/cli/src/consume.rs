//! `milena consume`: records on stdout, as their values or as they were asked for.
//!
//! Two threads: one asks the brokers, the other prints what came before, at most [`AHEAD`] answers behind. Both ends of a
//! partition are looked up once, before the first line, so the command ends however fast others write.

use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use milena::unstable::{self, Admin, Offsets, ReadBatch};
use tokio::sync::{mpsc, oneshot};

use crate::arguments::{Consume, Position, Shape};
use crate::exit::{Exit, Failure, interrupted, tell};
use crate::format::Printed;
use crate::interrupts::Interrupts;
use crate::json;
use crate::place::{Missing, Place};
use crate::settings::Reach;

pub async fn run(options: &Consume, interrupts: &mut Interrupts) -> Result<Exit, Failure> {
    unstable::check_topic(&options.topic).map_err(Failure::to_start)?;
    let reach = options.settings.reach(&options.place)?;
    let Ok(place) = interrupts.unless_pressed(Place::open(&reach.place, Missing::Refuse)).await else {
        return Ok(interrupted("before a broker was there: nothing was printed"));
    };
    let place = place?;
    let exit = find_and_print(&place, &reach, options, interrupts).await;
    place.leave(interrupts).await;
    exit
}

async fn find_and_print(
    place: &Place,
    reach: &Reach,
    options: &Consume,
    interrupts: &mut Interrupts,
) -> Result<Exit, Failure> {
    let find = async {
        let mut admin = place.admin(&reach.client_id, reach.deadline).await?;
        let ranges = ranges(&mut admin, options).await?;
        Ok((admin, ranges))
    };
    let Ok(found) = interrupts.unless_pressed(find).await else {
        return Ok(interrupted(format_args!("before topic {} was found: nothing was printed", options.topic)));
    };
    let (admin, ranges) = found?;
    print(admin, ranges, options, interrupts).await
}

/// Ctrl-C ends it behind a whole record. Whoever reads stdout may never take it; then a second one does not wait.
async fn print(
    mut admin: Admin,
    ranges: Vec<(i32, Range<i64>)>,
    options: &Consume,
    interrupts: &mut Interrupts,
) -> Result<Exit, Failure> {
    tell_if_nothing(&ranges, options);
    let Printer { batches, mut ended, stop } = Printer::start(options.clone()).map_err(Failure::to_start)?;
    let all = async {
        let read = read(&mut admin, &options.topic, ranges, &batches).await;
        drop(batches);
        let printed =
            (&mut ended).await.unwrap_or_else(|_| Err(Failure::midway("the thread that prints has ended early")));
        read.and(printed).map(|()| Exit::Done)
    };
    if let Ok(end) = interrupts.unless_pressed(all).await {
        return end;
    }
    stop.store(true, Ordering::Relaxed);
    let _whole_or_pressed_again = interrupts.unless_pressed(&mut ended).await;
    Ok(interrupted("before the end: what was printed is not all"))
}

/// Places that were named and have nothing between them are more likely a mistake than a wish.
fn tell_if_nothing(ranges: &[(i32, Range<i64>)], options: &Consume) {
    let Consume { topic, from, to, .. } = options;
    let is_all = (*from, *to) == (Position::Start(0), Position::End(0));
    if !is_all && ranges.iter().all(|(_, range)| range.is_empty()) {
        tell(format_args!("no record of topic {topic} lies between --from {from} and --to {to}; nothing is printed"));
    }
}

/// What is to be printed of each partition.
async fn ranges(admin: &mut Admin, options: &Consume) -> Result<Vec<(i32, Range<i64>)>, Failure> {
    let topic = &options.topic;
    let found = admin.topic(topic).await.map_err(Failure::to_start)?;
    let Some(found) = found else {
        return Err(Failure::to_start(format!("topic {topic} does not exist; check its name and the cluster")));
    };
    let all = 0..found.leaders.len() as i32;
    let chosen = match options.partition {
        None => all,
        Some(one) if all.contains(&one) => one..one + 1,
        Some(one) => {
            return Err(Failure::to_start(format!(
                "topic {topic} has no partition {one}; it has {}, numbered from 0",
                all.end
            )));
        }
    };
    let mut ranges = Vec::with_capacity(chosen.len());
    for partition in chosen {
        let mut reader = admin.reader(topic, partition);
        let offsets = reader.offsets().await.map_err(Failure::to_start)?;
        let mut found = Vec::with_capacity(2);
        for position in [options.from, options.to] {
            found.push(match position {
                // A time after the last record is the end.
                Position::Time(time) => {
                    let since = reader.offset_since(time).await.map_err(Failure::to_start)?;
                    Position::Offset(since.unwrap_or(offsets.latest).max(offsets.earliest))
                }
                position => position,
            });
        }
        ranges.push((partition, range(options, [found[0], found[1]], partition, offsets)?));
    }
    Ok(ranges)
}

/// An end that lies beyond the log means the end of the log: nothing is waited for.
fn range(
    options: &Consume,
    between: [Position; 2],
    partition: i32,
    Offsets { earliest, latest }: Offsets,
) -> Result<Range<i64>, Failure> {
    let [from, to] = between.map(|position| match position {
        Position::Start(after) => earliest.saturating_add(after).min(latest),
        Position::End(before) => latest.saturating_sub(before).max(earliest),
        Position::Offset(offset) => offset.min(latest),
        Position::Time(_) => unreachable!("times were looked up"),
    });
    if from < earliest {
        return Err(Failure::to_start(format!(
            "offset {from} of partition {partition} of topic {} is gone; the first one left is {earliest}, use --from start",
            options.topic
        )));
    }
    Ok(from..to)
}

async fn read(
    admin: &mut Admin,
    topic: &str,
    ranges: Vec<(i32, Range<i64>)>,
    batches: &mpsc::Sender<(i32, Vec<ReadBatch>)>,
) -> Result<(), Failure> {
    for (partition, range) in ranges {
        let mut reader = admin.reader(topic, partition);
        reader.seek(range.start);
        while reader.position() < range.end {
            let read = reader.read(range.end).await.map_err(Failure::midway)?;
            if batches.send((partition, read)).await.is_err() {
                // The printer says why it ended.
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The thread that writes to stdout, until it has printed everything or is told to stop.
struct Printer {
    batches: mpsc::Sender<(i32, Vec<ReadBatch>)>,
    ended: oneshot::Receiver<Result<(), Failure>>,
    stop: Arc<AtomicBool>,
}

impl Printer {
    fn start(options: Consume) -> io::Result<Self> {
        let (batches, mut queue) = mpsc::channel(AHEAD);
        let (tell_end, ended) = oneshot::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let is_stopped = Arc::clone(&stop);
        std::thread::Builder::new().name("milena-printer".to_owned()).spawn(move || {
            let _nobody_waits = tell_end.send(print_all(&options, &mut queue, &is_stopped));
        })?;
        Ok(Self { batches, ended, stop })
    }
}

fn print_all(
    options: &Consume,
    queue: &mut mpsc::Receiver<(i32, Vec<ReadBatch>)>,
    stop: &AtomicBool,
) -> Result<(), Failure> {
    let mut out = BufWriter::with_capacity(WRITE_BYTES, io::stdout().lock());
    let (mut count, mut text) = (0, Vec::new());
    while let Some((partition, batches)) = queue.blocking_recv() {
        for (batch, record) in batches.iter().flat_map(|batch| batch.records().map(move |record| (batch, record))) {
            let record = record.map_err(Failure::midway)?;
            count += 1;
            let printed =
                Printed { topic: &options.topic, partition, batch, record: &record, count, null: options.null };
            text.clear();
            match &options.shape {
                Shape::Format(format) => format.print(&printed, &mut text).map_err(Failure::midway)?,
                Shape::Json => json::print(&printed, &mut text),
            }
            if let Err(error) = out.write_all(&text) {
                return no_reader(error);
            }
            if options.count == Some(count) || stop.load(Ordering::Relaxed) {
                return out.flush().or_else(no_reader);
            }
        }
        // Whoever reads along sees every answer at once, not only every full buffer.
        if queue.is_empty()
            && let Err(error) = out.flush()
        {
            return no_reader(error);
        }
    }
    out.flush().or_else(no_reader)
}

/// Whoever reads stdout may have seen enough, as `head` does.
fn no_reader(error: io::Error) -> Result<(), Failure> {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(Failure::midway(format!("stdout cannot be written: {error}"))),
    }
}

/// Answers that wait to be printed: the next is fetched while one is printed.
const AHEAD: usize = 1;
const WRITE_BYTES: usize = 256 * 1024;
