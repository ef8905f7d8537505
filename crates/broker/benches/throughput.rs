//! What the broker takes in a second, and how fast it opens what it has: `cargo bench -p milena-broker --bench throughput -- [WHAT] [GB]`.
//!
//! WHAT is one of: `memory` and `disk`, requests as frames into a cluster on one thread, without sockets; `fsync`, the same with an fsync per
//! batch; `memory-socket` and `disk-socket`, a broker's thread and a client's over loopback; `recovery`, a log of so many gigabytes opened
//! after a clean stop and after a crash; `compaction`, how long a log of so many gigabytes is compacted, and how long the cluster is held up by that; `topics`, how long topics take to be made
//! and opened again, a thousand for each gigabyte, and how many files are open then. Without it all of them run. Each line says how many records of 100 bytes and bytes of values, how much time by the clock and
//! of a processor, and the largest memory so far.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use milena_broker::{
    Broker, BrokerOptions, CleanupPolicy, Cluster, ClusterConfig, Directory, Event, FlushPolicy, Memory, Moment,
    NewTopic, Node, NodeId, PartitionIndex, Storage, TopicConfig,
};
use milena_wire::crc32c;
use milena_wire::frame::{decode_response, encode_request};
use milena_wire::messages::produce::request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use milena_wire::records::{BatchHeader, RecordLayout};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let wanted = arguments.first().map(String::as_str);
    let gigabytes = arguments.get(1).map_or(1.0, |text| text.parse().expect("a number of gigabytes"));
    for (name, run) in WHAT {
        if wanted.is_none_or(|wanted| wanted == *name) {
            run(gigabytes);
        }
    }
    if wanted.is_some_and(|wanted| WHAT.iter().all(|(name, _)| *name != wanted)) {
        eprintln!("unknown: use one of {}", WHAT.map(|(name, _)| name).join(" "));
        std::process::exit(2);
    }
}

type What = (&'static str, fn(f64));

const WHAT: &[What; 8] = &[
    ("memory", |gigabytes| frames("memory", gigabytes, || Box::new(Memory), FlushPolicy::Never)),
    ("disk", |gigabytes| {
        let folder = Folder::new();
        frames("disk", gigabytes, || folder.storage(), FlushPolicy::Never);
    }),
    ("fsync", |gigabytes| {
        let folder = Folder::new();
        frames("fsync", gigabytes / 10.0, || folder.storage(), FlushPolicy::EveryBatch);
    }),
    ("memory-socket", |gigabytes| socket("memory-socket", gigabytes, None)),
    ("disk-socket", |gigabytes| {
        let folder = Folder::new();
        socket("disk-socket", gigabytes, Some(folder.0.clone()));
    }),
    ("recovery", recovery),
    ("compaction", compaction),
    ("topics", topics),
];

/// Frames into a cluster, batch sizes as clients make them: Java's default of 16 kB, milena's of 1 MB.
fn frames(name: &str, gigabytes: f64, storage: impl Fn() -> Box<dyn Storage>, flush: FlushPolicy) {
    for records in [150, 9_000] {
        let frame = frame(0, records);
        let requests = (gigabytes * 1e9 / (100 * records) as f64).ceil() as usize;
        let mut bench = Bench::open(storage(), flush);
        let _there_already = bench
            .cluster
            .create_topic_with(NewTopic::new("bench").partitions(1).replication_factor(1).config(settings()));
        let began = Began::now();
        for _ in 0..requests {
            bench.send(&frame);
        }
        began.report(name, records, requests);
    }
}

/// Old segments go, as they do in a broker that runs for days, so what is measured can go on for ever.
fn settings() -> TopicConfig {
    let mut settings = TopicConfig { segment_bytes: 32 << 20, retention_bytes: 64 << 20, ..TopicConfig::default() };
    settings.set("file.delete.delay.ms", Some("100")).expect("a known setting");
    settings
}

fn socket(name: &str, gigabytes: f64, data_dir: Option<PathBuf>) {
    for records in [150, 9_000] {
        let retention_check = Duration::from_millis(50);
        let options = BrokerOptions { data_dir: data_dir.clone(), retention_check, ..BrokerOptions::default() };
        let broker = Broker::start(options).expect("it starts");
        let _there_already = broker.create_topic("bench", 1);
        broker.alter_topic("bench", settings()).expect("there is room");
        let mut stream = TcpStream::connect(broker.bootstrap()).expect("it listens");
        stream.set_nodelay(true).expect("it is a socket");
        let requests = (gigabytes * 1e9 / (100 * records) as f64).ceil() as usize;
        let mut answered = stream.try_clone().expect("it is a socket");
        let whole = request(0, records);
        let began = Began::now();
        // Five on their way, as an idempotent producer has.
        let (done, may_send) = std::sync::mpsc::sync_channel(5);
        let reader = std::thread::spawn(move || {
            for _ in may_send.iter().take(requests) {
                check(&read_answer(&mut answered));
            }
        });
        for _ in 0..requests {
            done.send(()).expect("the reader reads");
            stream.write_all(&whole).expect("the broker reads");
        }
        reader.join().expect("every answer is good");
        began.report(name, records, requests);
    }
}

fn read_answer(stream: &mut TcpStream) -> Bytes {
    let mut length = [0; 4];
    stream.read_exact(&mut length).expect("the broker answers");
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).expect("the broker answers");
    Bytes::from(answer)
}

/// A log of segments of 128 MB, and one of a single segment, which is all read after a crash.
fn recovery(gigabytes: f64) {
    for segment_bytes in [128 << 20, 1 << 30] {
        let folder = Folder::new();
        let mut bench = Bench::open(folder.storage(), FlushPolicy::Never);
        let settings = TopicConfig { segment_bytes, ..TopicConfig::default() };
        bench
            .cluster
            .create_topic_with(NewTopic::new("bench").partitions(1).replication_factor(1).config(settings))
            .expect("the topic is new");
        let frame = frame(0, 150);
        for _ in 0..(gigabytes * 1e9 / (150.0 * 110.0)).ceil() as usize {
            bench.send(&frame);
        }
        let size = bench.cluster.log("bench", PartitionIndex(0)).expect("it was made").bytes();
        // The fsyncs of the finished segments are noted at the next look.
        std::thread::sleep(Duration::from_secs(2));
        bench.cluster.retain_now(bench.now());
        drop(bench);
        let crashed = folder.timed_opening();
        let mut bench = Bench::open(folder.storage(), FlushPolicy::Never);
        bench.cluster.close_logs().expect("there is room");
        drop(bench);
        let clean = folder.timed_opening();
        println!(
            "recovery of {:.2} GB in segments of {} MB: {crashed} after a crash, {clean} after a clean stop",
            size as f64 / 1e9,
            segment_bytes >> 20
        );
    }
}

/// A thousand keys, written again and again. What a chore takes is another thread's in a broker; the rest is its own.
fn compaction(gigabytes: f64) {
    let folder = Folder::new();
    let mut bench = Bench::open(folder.storage(), FlushPolicy::Never);
    let settings = TopicConfig { segment_bytes: 32 << 20, cleanup: CleanupPolicy::Compact, ..TopicConfig::default() };
    bench
        .cluster
        .create_topic_with(NewTopic::new("bench").partitions(1).replication_factor(1).config(settings))
        .expect("the topic is new");
    let frame = keyed_frame(1_000);
    for _ in 0..(gigabytes * 1e9 / (1_000.0 * 117.0)).ceil() as usize {
        bench.send(&frame);
    }
    let log = |bench: &Bench| bench.cluster.log("bench", PartitionIndex(0)).expect("it was made").bytes();
    let before = log(&bench);
    let due = bench.cluster.poll_timeout().expect("a look is due").max(Duration::from_secs(16));
    let now = Moment { elapsed: bench.now().elapsed + due, ..bench.now() };
    let mut own = Vec::new();
    let mut beside = Duration::ZERO;
    let timed = |act: &mut dyn FnMut()| {
        let started = Instant::now();
        act();
        started.elapsed()
    };
    own.push(timed(&mut || bench.cluster.handle_timeout(now)));
    while let Some(chore) = bench.cluster.poll_chore() {
        let mut finished = None;
        let mut chore = Some(chore);
        beside += timed(&mut || finished = chore.take().map(milena_broker::Chore::run));
        own.push(timed(&mut || bench.cluster.handle_chore(now, finished.take().expect("it was run"))));
    }
    println!(
        "compaction of {:.2} GB to {:.2} GB in {} chores: {:.3} s beside the cluster, {:.4} s of its own, {:.4} s at once",
        before as f64 / 1e9,
        log(&bench) as f64 / 1e9,
        own.len() - 1,
        beside.as_secs_f64(),
        own.iter().sum::<Duration>().as_secs_f64(),
        own.iter().max().expect("there is one").as_secs_f64(),
    );
}

/// Topics of one partition with a record each.
fn topics(thousands: f64) {
    let folder = Folder::new();
    let mut bench = Bench::open(folder.storage(), FlushPolicy::Never);
    let count = (thousands * 1_000.0) as usize;
    let mut took = Vec::new();
    for number in 0..count {
        let started = Instant::now();
        bench.cluster.create_topic(&format!("topic-{number}"), 1).expect("the topic is new");
        took.push(started.elapsed());
        bench.send(&frame_to(&format!("topic-{number}"), 1));
    }
    let mean = |some: &[Duration]| some.iter().sum::<Duration>().as_secs_f64() / some.len() as f64 * 1e3;
    let some = count.min(100);
    let (first, last) = (mean(&took[..some]), mean(&took[count - some..]));
    println!(
        "topics: the first {some} took {first:.2} ms each, the last of {count} {last:.2} ms, all {:.2} ms",
        mean(&took)
    );
    let files = || std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    println!("topics: {} files are open, {} MB at most", files(), peak_megabytes());
    drop(bench);
    let crashed = folder.timed_opening();
    let mut bench = Bench::open(folder.storage(), FlushPolicy::Never);
    let closing = Instant::now();
    bench.cluster.close_logs().expect("there is room");
    let closed = closing.elapsed().as_secs_f64();
    drop(bench);
    let clean = folder.timed_opening();
    println!(
        "topics: {count} opened in {crashed} after a crash, closed in {closed:.3} s, opened in {clean} after a clean stop"
    );
}

struct Bench {
    cluster: Cluster,
    connection: milena_broker::ConnectionId,
    started: Instant,
}

impl Bench {
    fn open(storage: Box<dyn Storage>, flush: FlushPolicy) -> Bench {
        let node = Node { id: NodeId(1), host: "bench".to_owned(), port: 9092 };
        let retention_check = Duration::from_millis(50);
        let config = ClusterConfig { flush, retention_check, ..ClusterConfig::with_node(node) };
        let mut cluster = Cluster::open(config, storage, now_since(Instant::now())).expect("the storage opens");
        let connection = cluster.connect(NodeId(1)).expect("there is a node 1");
        Bench { cluster, connection, started: Instant::now() }
    }

    fn now(&self) -> Moment {
        now_since(self.started)
    }

    fn send(&mut self, frame: &Bytes) {
        let now = self.now();
        self.cluster.handle_frame(now, self.connection, frame.clone());
        match self.cluster.poll_event(now) {
            Some(Event::Response { frame, .. }) => check(&frame.slice(4..)),
            other => panic!("{other:?}"),
        }
        self.cluster.handle_timeout(now);
        self.cluster.do_chores(now);
    }
}

fn now_since(started: Instant) -> Moment {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is later than 1970");
    Moment { elapsed: started.elapsed(), wall }
}

fn check(answer: &Bytes) {
    let answer = decode_response::<ProduceRequest>(answer.clone(), VERSION).expect("the answer reads").1;
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
}

/// A request without its length.
fn frame(partition: i32, records: usize) -> Bytes {
    request(partition, records).slice(4..)
}

fn request(partition: i32, records: usize) -> Bytes {
    request_with("bench", (partition, records), |_| None)
}

fn frame_to(topic: &str, records: usize) -> Bytes {
    request_with(topic, (0, records), |_| None).slice(4..)
}

/// Each record with a key of its own.
fn keyed_frame(records: usize) -> Bytes {
    request_with("bench", (0, records), |index| Some(format!("{index:0>10}"))).slice(4..)
}

fn request_with(topic: &str, (partition, records): (i32, usize), key: impl Fn(usize) -> Option<String>) -> Bytes {
    let timestamp = now_since(Instant::now()).timestamp();
    let mut body = Vec::new();
    for index in 0..records {
        let (key, value) = (key(index), [index as u8; 100]);
        let key = key.as_ref().map(String::as_bytes);
        let layout = RecordLayout::new(0, index as i32, key, Some(value.len()), &[]).expect("it is small");
        layout.write(Some(&value), &mut body);
    }
    let header = BatchHeader {
        last_offset_delta: records as i32 - 1,
        base_timestamp: timestamp,
        max_timestamp: timestamp,
        record_count: records as i32,
        ..BatchHeader::default()
    };
    let mut batch = header.seal(body.len(), crc32c::checksum(&body)).to_vec();
    batch.extend_from_slice(&body);
    let data = PartitionProduceData { index: partition, records: Some(batch.into()), ..Default::default() };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 2_000,
        topic_data: vec![TopicProduceData { name: topic.into(), partition_data: vec![data], ..Default::default() }],
        ..Default::default()
    };
    Bytes::from(encode_request("bench", 1, VERSION, &request).expect("the request fits the version"))
}

/// When something began, by the clock and by what the processor has done.
struct Began(Instant, Duration);

impl Began {
    fn now() -> Began {
        Began(Instant::now(), processor_time())
    }

    fn report(&self, name: &str, records: usize, requests: usize) {
        let (took, worked) = (self.0.elapsed().as_secs_f64(), (processor_time() - self.1).as_secs_f64());
        let total = (records * requests) as f64;
        println!(
            "{name}, {records} records a batch: {:.2} M records/s, {:.0} MB/s of values, {took:.2} s ({worked:.2} s of processor), \
             {} MB at most",
            total / took / 1e6,
            total * 100.0 / took / 1e6,
            peak_megabytes()
        );
    }
}

/// What this process has had of processors; 0 where the system does not tell.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is a name in brackets, which may hold anything; of the rest the 12th and 13th are ticks.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = rest.split_whitespace().skip(11).take(2).filter_map(|text| text.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * TICK_MILLIS)
}

/// The largest resident memory so far; 0 where the system does not tell.
fn peak_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) / 1024
}

struct Folder(PathBuf);

impl Folder {
    /// Under the folder that `MILENA_BENCH_DIR` names, or the system's for temporary files.
    fn new() -> Folder {
        let under = std::env::var_os("MILENA_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
        Folder(under.join(format!("milena-broker-bench-{}", std::process::id())))
    }

    fn path(&self) -> &Path {
        &self.0
    }

    fn storage(&self) -> Box<dyn Storage> {
        Box::new(Directory::open(self.path()).expect("nobody else has it"))
    }

    fn timed_opening(&self) -> String {
        let storage = self.storage();
        let (started, worked) = (Instant::now(), processor_time());
        let bench = Bench::open(storage, FlushPolicy::Never);
        let (took, worked) = (started.elapsed(), processor_time() - worked);
        assert!(bench.cluster.torn_tails().is_empty());
        format!("{:.3} s ({:.2} s of processor)", took.as_secs_f64(), worked.as_secs_f64())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _never_made = std::fs::remove_dir_all(&self.0);
    }
}

/// Linux counts a hundred ticks a second wherever programs can see.
const TICK_MILLIS: u64 = 10;
/// By topic name, and as good as the newest.
const VERSION: i16 = 12;
