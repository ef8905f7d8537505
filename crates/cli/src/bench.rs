//! `milena bench produce`: what a record costs and how long it takes, measured as the comparison programs of other
//! clients measure it, with the same flags and the same line of JSON.
//!
//! A thread of its own sends; reports are counted where the library gives them. Warm-up records go first and drain, then the
//! clocks start. Every record names its partition, runs of a batch to one after the other, so that no partitioner decides.

mod load;
mod process;
mod tracker;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use milena::unstable::{AdminError, Limits, NewTopic};
use milena::{Producer, ProducerConfig, Properties, Topic};
use serde::Serialize;
use tokio::sync::oneshot;

use self::load::Load;
use self::process::Usage;
use self::tracker::{Counted, Tracker};
use crate::arguments::BenchProduce;
use crate::exit::{Exit, Failure, interrupted, print, tell};
use crate::interrupts::Interrupts;
use crate::json;
use crate::place::{CLIENT_ID, Missing, Place};
use crate::settings;

pub async fn produce(options: &BenchProduce, interrupts: &mut Interrupts) -> Result<Exit, Failure> {
    milena::unstable::check_topic(&options.topic).map_err(Failure::to_start)?;
    let payload = load::payload(options).map_err(Failure::to_start)?;
    let properties = options.settings.read()?;
    let choice = settings::place(&properties, &options.place);
    let Ok(place) = interrupts.unless_pressed(Place::open(&choice, Missing::Make)).await else {
        return Ok(interrupted("before a broker was there: nothing was sent"));
    };
    let place = place?;
    let tracker = Arc::new(Tracker::new(options));
    let work = async {
        let (config, batch_size) = configure(options, properties, &place.bootstrap())?;
        let handler = {
            let tracker = Arc::clone(&tracker);
            move |report: &milena::DeliveryReport<'_>| tracker.take(report)
        };
        let config = config.on_delivery(handler);
        let producer = Producer::new(config).map_err(settings::refused)?;
        ensure_topic(&place, options).await?;
        let topic = producer.topic(&options.topic).map_err(Failure::to_start)?;
        topic.ready(START_TIME).await.map_err(Failure::to_start)?;
        check_partitions(&topic, options)?;
        let measured = measure(Load::new(options, payload, batch_size), Arc::clone(&tracker), topic).await?;
        producer.close(CLOSE_TIME).await;
        end(options, &measured, place.is_own())
    };
    let ended = interrupts.unless_pressed(work).await;
    // Its thread lets go of the topic, and with it the connections end that an embedded broker waits for.
    tracker.cancel();
    let exit = ended.unwrap_or_else(|_| Ok(interrupted("before the end: nothing is measured")));
    place.leave(interrupts).await;
    exit
}

/// The configuration, and its bytes of a batch.
fn configure(
    options: &BenchProduce,
    properties: Properties,
    bootstrap: &[String],
) -> Result<(ProducerConfig, usize), Failure> {
    let has_buffer = BUFFER_NAMES.iter().any(|name| properties.get(name).is_some());
    let (mut config, Limits { mut batch_size, max_request_size, .. }) =
        settings::producer(properties, bootstrap, &options.chosen)?;
    if let Some(bytes) = options.batch_bytes {
        batch_size = bytes;
        config = config.batch_size(bytes).max_request_size(max_request_size.max(bytes));
    }
    if let Some(bytes) = options.buffer_bytes.or((!has_buffer).then_some(BUFFER_BYTES)) {
        config = config.buffer_memory(bytes);
    }
    if let Some(idempotence) = options.idempotence {
        config = config.idempotence(idempotence);
    }
    Ok((config, batch_size))
}

async fn ensure_topic(place: &Place, options: &BenchProduce) -> Result<(), Failure> {
    // A cluster that nobody reaches is told here, at once; a producer would go on trying.
    let mut admin = place.admin(CLIENT_ID, START_TIME).await?;
    if admin.topic(&options.topic).await.map_err(Failure::to_start)?.is_some() {
        return Ok(());
    }
    if !place.is_embedded() && !options.create {
        let topic = &options.topic;
        return Err(Failure::to_start(format!("topic {topic} does not exist; make it with --create")));
    }
    let new = NewTopic { name: options.topic.clone(), partitions: Some(options.partitions), replication: None };
    match admin.create_topic(&new).await {
        // Somebody else was faster.
        Ok(_) | Err(AdminError::TopicExists { .. }) => Ok(()),
        Err(error) => Err(Failure::to_start(error)),
    }
}

fn check_partitions(topic: &Topic, options: &BenchProduce) -> Result<(), Failure> {
    let there = topic.partition_count();
    match options.partitions as usize <= there {
        true => Ok(()),
        false => Err(Failure::to_start(format!(
            "topic {} has {there} partitions, fewer than --partitions {}; use fewer, or another --topic with --create",
            options.topic, options.partitions
        ))),
    }
}

/// What was found out.
struct Measured {
    counted: Counted,
    base_rss_kb: Option<u64>,
    peak_rss_kb: Option<u64>,
    before: Option<Usage>,
    after: Option<Usage>,
    begun: SystemTime,
    wall: Duration,
}

/// The thread that sends must not wait for this one, nor this one for it.
async fn measure(load: Load, tracker: Arc<Tracker>, topic: Topic) -> Result<Measured, Failure> {
    let (tell_end, ended) = oneshot::channel();
    let work = move || {
        let base_rss_kb = process::resident_kb("VmRSS");
        let warm_up = load.warm_up(&topic, &tracker);
        let measured = warm_up.map(|()| {
            // Whatever warmed up comes to rest.
            std::thread::sleep(REST);
            let (before, begun) = (Usage::now(), SystemTime::now());
            tracker.begin();
            load.run(&topic, &tracker);
            let wall = tracker.wait_for_all();
            let (after, peak_rss_kb) = (Usage::now(), process::resident_kb("VmHWM"));
            Measured { counted: tracker.counted(), base_rss_kb, peak_rss_kb, before, after, begun, wall }
        });
        let _nobody_waits = tell_end.send(measured);
    };
    std::thread::Builder::new().name("milena-load".to_owned()).spawn(work).map_err(Failure::to_start)?;
    let measured = ended.await.map_err(|_| Failure::midway("the thread that sends has ended early"))?;
    measured.map_err(Failure::midway)
}

fn end(options: &BenchProduce, measured: &Measured, is_own: bool) -> Result<Exit, Failure> {
    let Counted { acked, not_written, unknown, refusal, latency } = &measured.counted;
    let wall = measured.wall.as_secs_f64();
    let cpu = measured.before.zip(measured.after).map(|(before, after)| after.since(before));
    let t_start = measured.begun.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let place = if is_own { ", embedded broker in the same process" } else { "" };
    let line = Line {
        client: "milena",
        version: env!("CARGO_PKG_VERSION"),
        records: options.records,
        acked: *acked,
        failed: not_written + unknown,
        wall_s: rounded(wall, 4),
        cpu_user_s: cpu.map(|cpu| rounded(cpu.user.as_secs_f64(), 4)),
        cpu_sys_s: cpu.map(|cpu| rounded(cpu.system.as_secs_f64(), 4)),
        rec_per_s: rounded(*acked as f64 / wall, 0),
        cpu_us_per_rec: cpu
            .filter(|_| *acked > 0)
            .map(|cpu| rounded((cpu.user + cpu.system).as_secs_f64() * 1e6 / *acked as f64, 4)),
        peak_rss_kb: measured.peak_rss_kb,
        base_rss_kb: measured.base_rss_kb,
        t_start: rounded(t_start, 3),
        t_end: rounded(t_start + wall, 3),
        lat_us: Latencies {
            p50: latency.value_at_quantile(0.5),
            p90: latency.value_at_quantile(0.9),
            p99: latency.value_at_quantile(0.99),
            p999: latency.value_at_quantile(0.999),
            max: latency.max(),
        },
        runtime: format!("rust, producer on a thread of its own{place}"),
    };
    let mut out = Vec::new();
    json::line(&line, &mut out);
    print(&out)?;
    if let Some(refusal) = refusal {
        tell(format_args!("not all records are acknowledged; the first: {refusal}"));
    }
    Ok(match (unknown, not_written) {
        (1.., _) => Exit::Unknown,
        (0, 1..) => Exit::Failed,
        (0, 0) => Exit::Done,
    })
}

fn rounded(number: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (number * scale).round() / scale
}

/// In this order, which the comparison's other programs have.
#[derive(Serialize)]
struct Line {
    client: &'static str,
    version: &'static str,
    records: u64,
    acked: u64,
    failed: u64,
    wall_s: f64,
    cpu_user_s: Option<f64>,
    cpu_sys_s: Option<f64>,
    rec_per_s: f64,
    cpu_us_per_rec: Option<f64>,
    peak_rss_kb: Option<u64>,
    base_rss_kb: Option<u64>,
    t_start: f64,
    t_end: f64,
    lat_us: Latencies,
    runtime: String,
}

#[derive(Serialize)]
struct Latencies {
    p50: u64,
    p90: u64,
    p99: u64,
    p999: u64,
    max: u64,
}

/// What the comparison's other programs have.
const BUFFER_BYTES: usize = 64 << 20;
const BUFFER_NAMES: [&str; 2] = ["buffer.memory", "queue.buffering.max.kbytes"];

const START_TIME: Duration = Duration::from_secs(30);
const CLOSE_TIME: Duration = Duration::from_secs(5);
const REST: Duration = Duration::from_millis(500);
