//! The freeze: a million records with a deadline of a second each, into a cluster of which all nodes are frozen in the middle.
//!
//! Everything that the attack notes itself has its memory before the first record, so that what grows meanwhile is the producer's.
//! What is in the log must be what was told, and memory must stay within `buffer_memory` and a little; times are told and not judged.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kafka_harness::{Kafka, NewTopic, Options};
use milena::{DeliveryReport, Fate, Outcome, Producer, ProducerConfig, Record, Settlement, Topic};

use crate::audit::{Audit, Stall, audit};
use crate::campaign::load_average;
use crate::content::{Content, Id};
use crate::figures::Spread;
use crate::ledger::{Call, Entry, Offer, Word};
use crate::load::{refusal, run, spawn};
use crate::rows::Error;

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub struct Freeze {
    /// How many records are offered.
    pub records: u64,
    /// So many a second.
    pub rate: u64,
    /// For how long nobody answers, in the middle.
    pub frozen: Duration,
}

impl Freeze {
    /// A million records, 20 s without an answer.
    pub const WHOLE: Self = Self { records: 1_000_000, rate: 20_000, frozen: Duration::from_secs(20) };

    /// As much as a test has time for.
    pub const BRIEF: Self = Self { records: 120_000, rate: 6_000, frozen: Duration::from_secs(8) };
}

/// Does it on a Kafka of three nodes, prints figures, and gives everything that was found.
pub fn attack(freeze: Freeze) -> Result<Vec<String>, Error> {
    let load_before = load_average();
    let mut kafka = Kafka::start(Options { nodes: 3, ..Options::default() })?;
    kafka.create_topic(&NewTopic { name: TOPIC, replicas: REPLICAS, config: &[("min.insync.replicas", "2")] })?;
    let notes = Arc::new(Notes::with_room(freeze.records));
    let producer = Producer::new(config(&kafka.bootstrap_servers(), &notes))?;
    let topic = producer.topic(TOPIC)?;
    run(topic.ready(PATIENCE))?;
    let baseline = Memory::reset()?;
    let caller = {
        let notes = Arc::clone(&notes);
        spawn("caller", move || call(freeze, &topic, &notes))?
    };
    let frozen_from = freeze.records / 2 - freeze.rate * freeze.frozen.as_secs() / 2;
    notes.await_offered(frozen_from);
    let frozen = Instant::now();
    (1..=3).try_for_each(|node| kafka.node(node).freeze())?;
    notes.await_offered(frozen_from + freeze.rate * freeze.frozen.as_secs());
    let thawed = Instant::now();
    (1..=3).try_for_each(|node| kafka.node(node).thaw())?;
    caller.join().map_err(|_| "the caller panicked")?;
    notes.await_told()?;
    let peak = Memory::now()?.peak;
    let fates = run(notes.settle());
    run(producer.close(PATIENCE));
    kafka.make_whole()?;
    kafka.await_in_sync(TOPIC)?;

    let log = kafka.dump_records(TOPIC)?;
    let entries = notes.entries(&fates);
    // Nobody watched who was kept from running.
    let any = |_, _| Stall { excused: PATIENCE, ran: Duration::ZERO };
    let audit = audit(&entries, std::slice::from_ref(&log), any);
    let figures = Figures {
        freeze,
        audit: &audit,
        frozen_for: thawed - frozen,
        rates: Rates::of(&entries, frozen, thawed),
        grown: peak.saturating_sub(baseline.now),
        load: (load_before, load_average()),
    };
    println!("{figures}");
    let mut findings: Vec<String> = audit.findings.iter().take(FINDINGS_MAX).cloned().collect();
    findings.extend(audit.emptiness(REPLICAS.len(), true));
    if figures.grown > BUFFER_MEMORY as u64 + MEMORY_BESIDE {
        findings.push(format!("memory grew by {} bytes, with buffer_memory of {BUFFER_MEMORY}", figures.grown));
    }
    Ok(findings)
}

fn config(servers: &str, notes: &Arc<Notes>) -> ProducerConfig {
    let notes = Arc::clone(notes);
    ProducerConfig::new(servers)
        .buffer_memory(BUFFER_MEMORY)
        .deadline(DEADLINE)
        .on_delivery(move |report| notes.hear(report))
}

/// Some records at the beginning of every slot of time, by a clock that does not wait: what was missed is made up for.
fn call(freeze: Freeze, topic: &Topic, notes: &Notes) {
    let begun = Instant::now();
    for id in 0..freeze.records {
        if id.is_multiple_of(freeze.rate / SLOTS_PER_SECOND) {
            let slot = begun + Duration::from_micros(id * 1_000_000 / freeze.rate);
            std::thread::sleep(slot.saturating_duration_since(Instant::now()));
        }
        let content = Content::of(id);
        let mut record = Record::value(&content.value).tag(id);
        if let Some(key) = &content.key {
            record = record.key(key);
        }
        notes.note_call(id);
        if let Err(error) = topic.post(record) {
            notes.refused(id, refusal(&error));
        }
    }
}

/// One slot for each record.
struct Notes {
    begun: Instant,
    /// Nanoseconds after the beginning, and one; none yet if 0.
    offered: Vec<AtomicU64>,
    told: Vec<AtomicU64>,
    /// What was told.
    ends: Mutex<Vec<Told>>,
    offered_count: AtomicU64,
    told_count: AtomicU64,
}

/// Of a record, in little space.
#[derive(Clone)]
enum Told {
    Nothing,
    Refused,
    Written(i32, Option<i64>),
    NotWritten(Box<Word>),
    /// Most of those that were not written.
    DeadlinePassed,
    Unknown(Fate),
    Twice,
}

impl Notes {
    /// Touches all of it, so that it is counted before.
    fn with_room(records: u64) -> Self {
        // Zeroed pages are not taken before they are written.
        let slots = |_| (0..records).map(|_| AtomicU64::new(1)).collect::<Vec<_>>();
        let (offered, told) = (slots(()), slots(()));
        offered.iter().chain(&told).for_each(|slot| slot.store(0, Ordering::Relaxed));
        let ends = Mutex::new(vec![Told::Nothing; records as usize]);
        let (offered_count, told_count) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { begun: Instant::now(), offered, told, ends, offered_count, told_count }
    }

    fn now(&self) -> u64 {
        self.begun.elapsed().as_nanos() as u64 + 1
    }

    fn at(&self, nanos: u64) -> Instant {
        self.begun + Duration::from_nanos(nanos - 1)
    }

    fn note_call(&self, id: Id) {
        self.offered[id as usize].store(self.now(), Ordering::Relaxed);
        self.offered_count.store(id + 1, Ordering::Release);
    }

    fn refused(&self, id: Id, _reason: String) {
        self.note(id, Told::Refused);
    }

    fn hear(&self, report: &DeliveryReport<'_>) {
        let told = match report.outcome() {
            Outcome::Written(at) => Told::Written(at.partition, at.offset),
            Outcome::Unknown(fate) => Told::Unknown(fate.clone()),
            outcome @ Outcome::NotWritten(why) => match format!("{:?}", why.reason).as_str() {
                "DeadlinePassed" => Told::DeadlinePassed,
                _ => Told::NotWritten(Box::new(Word::of_outcome(outcome))),
            },
        };
        self.note(report.tag(), told);
    }

    fn note(&self, id: Id, told: Told) {
        self.told[id as usize].store(self.now(), Ordering::Relaxed);
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let end = &mut ends[id as usize];
        *end = if matches!(end, Told::Nothing) { told } else { Told::Twice };
        drop(ends);
        self.told_count.fetch_add(1, Ordering::Release);
    }

    /// By looking, so that callers have nobody to wake.
    fn await_offered(&self, count: u64) {
        while self.offered_count.load(Ordering::Acquire) < count {
            std::thread::sleep(LOOK);
        }
    }

    fn await_told(&self) -> Result<(), Error> {
        let deadline = Instant::now() + PATIENCE;
        while self.told_count.load(Ordering::Acquire) < self.offered.len() as u64 {
            if Instant::now() >= deadline {
                return Err(format!("{} records were told of", self.told_count.load(Ordering::Acquire)).into());
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// What became of those whose outcome was unknown.
    async fn settle(&self) -> BTreeMap<Id, Settlement> {
        let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut fates = BTreeMap::new();
        for (id, told) in (0..).zip(ends) {
            if let Told::Unknown(fate) = told {
                fates.insert(id, fate.await);
            }
        }
        fates
    }

    /// For the comparison.
    fn entries(&self, fates: &BTreeMap<Id, Settlement>) -> BTreeMap<Id, Entry> {
        let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = |(id, told): (Id, &Told)| {
            let at = |slots: &[AtomicU64]| self.at(slots[id as usize].load(Ordering::Relaxed));
            let (began, heard) = (at(&self.offered), at(&self.told));
            let mut refused = None;
            let outcomes = match told {
                Told::Nothing => vec![],
                Told::Refused => {
                    refused = Some("refused".to_owned());
                    vec![]
                }
                Told::Written(partition, offset) => {
                    vec![(Word::Written { partition: *partition, offset: *offset }, heard)]
                }
                Told::DeadlinePassed => vec![(Word::not_written("DeadlinePassed"), heard)],
                Told::NotWritten(word) => vec![((**word).clone(), heard)],
                Told::Unknown(_) => vec![(Word::Unknown, heard)],
                Told::Twice => vec![(Word::Unknown, heard); 2],
            };
            // One thread calls, and a call ends before the next one begins.
            let offer = Offer { id, topic: 0, call: Call::Post, deadline: DEADLINE, began, returned: began, refused };
            let fate = fates.get(&id).map(Word::of_settlement);
            (id, Entry { offer, outcomes, fate, was_cancelled: false })
        };
        (0..).zip(ends.iter()).map(entry).collect()
    }
}

/// Of this process, in bytes.
struct Memory {
    now: u64,
    peak: u64,
}

impl Memory {
    /// Forgets the peak so far.
    fn reset() -> Result<Self, Error> {
        fs::write("/proc/self/clear_refs", "5")?;
        Self::now()
    }

    fn now() -> Result<Self, Error> {
        let status = fs::read_to_string("/proc/self/status")?;
        let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next());
        let bytes = |name: &str| line(name).and_then(|kilobytes| kilobytes.parse::<u64>().ok()).map(|kilo| kilo << 10);
        Ok(Self { now: bytes("VmRSS:").ok_or("no VmRSS")?, peak: bytes("VmHWM:").ok_or("no VmHWM")? })
    }
}

/// How many records became `Written`, in windows of a tenth of a second.
struct Rates {
    before: f64,
    /// In the first, second, ... second after the thaw.
    after: Vec<f64>,
    /// After the thaw, until a whole second has nine tenths of what was before, from its beginning.
    recovered: Option<Duration>,
}

impl Rates {
    fn of(entries: &BTreeMap<Id, Entry>, frozen: Instant, thawed: Instant) -> Self {
        let written = |entry: &Entry| match entry.outcomes.as_slice() {
            [(Word::Written { .. }, at)] => Some(*at),
            _ => None,
        };
        let mut times: Vec<Instant> = entries.values().filter_map(written).collect();
        times.sort_unstable();
        let between = |from: Instant, to: Instant| {
            times.partition_point(|at| *at < to).saturating_sub(times.partition_point(|at| *at < from))
        };
        let second = Duration::from_secs(1);
        let before = between(frozen - 2 * second, frozen) as f64 / 2.0;
        let rate = |from: Instant| between(from, from + second) as f64;
        let after = (0..RATES_SHOWN).map(|number| rate(thawed + number * second)).collect();
        let windows = (0..600).map(|tenth| Duration::from_millis(100 * tenth));
        let recovered = windows.into_iter().find(|after| rate(thawed + *after) >= 0.9 * before);
        Self { before, after, recovered }
    }
}

struct Figures<'a> {
    freeze: Freeze,
    audit: &'a Audit,
    frozen_for: Duration,
    rates: Rates,
    /// Bytes of memory, at most.
    grown: u64,
    load: (String, String),
}

impl Display for Figures<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = &self.audit.counts;
        writeln!(
            f,
            "measured: freeze: {} records of {} a second, all nodes frozen for {:.1} s; load of the machine {} before, {} after",
            counts.offered,
            self.freeze.rate,
            self.frozen_for.as_secs_f64(),
            self.load.0,
            self.load.1,
        )?;
        writeln!(
            f,
            "measured:   {} written, {} not written, {} unknown, {} refused; fates: {} written, {} not written, {} undetermined",
            counts.written,
            counts.not_written.values().sum::<usize>(),
            counts.unknown,
            counts.refused.values().sum::<usize>(),
            counts.fate_written,
            counts.fate_not_written.values().sum::<usize>(),
            counts.undetermined.values().sum::<usize>(),
        )?;
        writeln!(f, "measured:   told after their deadline by: {}", Spread(&self.audit.lateness))?;
        let Rates { before, after, recovered } = &self.rates;
        let after: Vec<String> = after.iter().map(|rate| format!("{rate:.0}")).collect();
        let recovered = recovered.map_or("never".to_owned(), |after| format!("{:.1} s", after.as_secs_f64()));
        writeln!(
            f,
            "measured:   {before:.0} written a second before, {} in the seconds after the thaw; nine tenths from {recovered} on",
            after.join(", "),
        )?;
        write!(
            f,
            "measured:   memory grew by {:.1} MB at most, buffer_memory is {:.1} MB; {} findings",
            self.grown as f64 / 1e6,
            BUFFER_MEMORY as f64 / 1e6,
            self.audit.findings.len(),
        )
    }
}

const TOPIC: &str = "frozen";
const REPLICAS: &[&[u32]] = &[
    &[1, 2, 3],
    &[2, 3, 1],
    &[3, 1, 2],
    &[1, 3, 2],
    &[2, 1, 3],
    &[3, 2, 1],
    &[1, 2, 3],
    &[2, 3, 1],
    &[3, 1, 2],
    &[1, 3, 2],
    &[2, 1, 3],
    &[3, 2, 1],
];

const DEADLINE: Duration = Duration::from_secs(1);
const BUFFER_MEMORY: usize = 32 << 20;

/// What the producer may take beside its buffer: tables, sockets, threads, what the allocator keeps.
const MEMORY_BESIDE: u64 = 20_000_000;

const SLOTS_PER_SECOND: u64 = 200;
const LOOK: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(180);
const FINDINGS_MAX: usize = 20;
const RATES_SHOWN: u32 = 8;
