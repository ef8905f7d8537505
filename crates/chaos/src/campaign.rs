//! A campaign: rounds of a steady load by several producers while a schedule's faults strike, each compared with the log.
//!
//! A round has topics and producers of its own, and ends with a cluster that is whole; what comes late is waited for before the
//! log is read, straight from the nodes. In every other round clients may not read, and what is
//! withdrawn in doubt stays so.

use std::fmt::{self, Display};
use std::time::{Duration, Instant};

use kafka_harness::{Access, Kafka, NewTopic, Operation, Options};

use crate::audit::{Audit, audit};
use crate::director::{Director, NODES, Tally, await_late_copies};
use crate::figures::Figures;
use crate::load::{Load, Settings};
use crate::rows::{Error, IMPATIENT, MIXED, SECOND, SPREAD};
use crate::schedule::{ACTS, ActKind, BRIEF_ACTS, Schedule, Shape};
use crate::stalls::Stalls;

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub struct Campaign {
    /// What is drawn is drawn from it.
    pub seed: u64,
    /// When no more rounds begin.
    pub lasts: Lasts,
}

/// How long.
#[derive(Clone, Copy, Debug)]
pub enum Lasts {
    /// So long, and what the last round still takes.
    For(Duration),
    /// So many steps, all in one round.
    Steps(usize),
    /// Every kind of act once but the rolling restart, which is long, in one round; and a few steps more where a fault did not
    /// come about that a campaign cannot do without.
    Brief,
}

impl Lasts {
    /// How much faster than usual one step follows another, where their number is what counts.
    fn pace(self) -> u64 {
        match self {
            Self::For(_) => 1,
            Self::Steps(_) | Self::Brief => 2,
        }
    }

    fn acts(self) -> &'static [ActKind] {
        match self {
            Self::For(_) | Self::Steps(_) => ACTS,
            Self::Brief => BRIEF_ACTS,
        }
    }
}

impl Campaign {
    /// One that CI has the time for.
    pub fn brief(seed: u64) -> Self {
        Self { seed, lasts: Lasts::Brief }
    }
}

/// Starts a Kafka of three nodes, runs the rounds, prints their figures, and gives everything that was found.
pub fn run(campaign: Campaign) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let begun = Instant::now();
    let stalls = Stalls::watch();
    let options = Options { nodes: NODES, access: Access::WriteOnly, disks: 2, ..Options::default() };
    let mut kafka = Kafka::start(options)?;
    for (node, proxy) in (1..).zip(kafka.proxies()) {
        proxy.seed(campaign.seed ^ node);
    }
    println!("measured: seed {}, Kafka started in {:.1} s", campaign.seed, begun.elapsed().as_secs_f64());
    let shape = Shape { nodes: NODES, topics: LOADS.len(), partitions: SPREAD.replicas.len() as i32 };
    let mut rounds = Rounds {
        schedule: Schedule::new(campaign.seed, campaign.lasts.acts(), shape, campaign.lasts.pace()),
        tally: Tally::default(),
        sums: Sums::default(),
        stalls,
        number: 0,
    };
    let started = Instant::now();
    let mut findings = Vec::new();
    loop {
        let is_first = rounds.number == 0;
        let is_over = |steps: usize, round: Duration| match campaign.lasts {
            Lasts::Brief => steps >= if is_first { BRIEF_ACTS.len() } else { STEPS_MORE },
            Lasts::Steps(count) => steps >= count,
            Lasts::For(time) => round >= ROUND.min(time),
        };
        findings.extend(rounds.run_one(&mut kafka, is_over));
        let is_last = match campaign.lasts {
            Lasts::Steps(_) => true,
            Lasts::Brief => rounds.tally.missing().is_empty() || rounds.number > ROUNDS_MORE,
            Lasts::For(time) => started.elapsed() >= time,
        };
        if is_last || findings.len() > FINDINGS_MAX {
            break;
        }
    }
    rounds.sums.took = begun.elapsed();
    println!("{}\n{}", rounds.tally, rounds.sums);
    findings.extend(rounds.tally.missing());
    Ok(findings)
}

/// One producer's, in its own topic.
const LOADS: [Settings; 2] = [
    MIXED,
    // Large batches, which are written in parts, and deadlines and fates that end before the faults do.
    Settings { batch_size: 200_000, linger: Duration::from_millis(50), withdraws: true, ..IMPATIENT },
];

struct Rounds {
    schedule: Schedule,
    tally: Tally,
    sums: Sums,
    stalls: Stalls,
    number: u32,
}

impl Rounds {
    fn run_one(&mut self, kafka: &mut Kafka, is_over: impl Fn(usize, Duration) -> bool) -> Vec<String> {
        self.number += 1;
        let name = format!("round {}", self.number);
        match self.try_one(kafka, &name, is_over) {
            Ok(findings) => findings,
            Err(error) => vec![format!("{name}: {error}")],
        }
    }

    fn try_one(
        &mut self,
        kafka: &mut Kafka,
        name: &str,
        is_over: impl Fn(usize, Duration) -> bool,
    ) -> Result<Vec<String>, Error> {
        let begun = Instant::now();
        self.stalls.begin_anew();
        // The cluster begins without.
        let change = if self.number.is_multiple_of(2) { Kafka::revoke } else { Kafka::grant };
        change(kafka, &[Operation::Read])?;
        let topics: Vec<String> = (1..=LOADS.len()).map(|load| format!("chaos-{}-{load}", self.number)).collect();
        let mut names = Vec::new();
        for topic in &topics {
            let config = [("min.insync.replicas", "2")];
            kafka.create_topic(&NewTopic { name: topic, replicas: SPREAD.replicas, config: &config })?;
            names.push(kafka.names_of(topic)?);
        }
        let mut loads = Vec::new();
        for ((settings, topic), place) in LOADS.iter().zip(&topics).zip(0..) {
            let number = self.number * LOADS.len() as u32 + place;
            loads.push(Load::start(&kafka.proxied_servers(), std::slice::from_ref(topic), number, *settings)?);
        }
        let struck = self.strike(kafka, (&loads, &topics, names), begun, is_over);
        // Whatever went wrong, what was told is compared; what is still held goes on, and the nodes come back.
        kafka.proxies().for_each(|proxy| proxy.clear());
        kafka.make_whole()?;
        let mut entries = Vec::new();
        for load in loads {
            entries.push(load.finish()?);
        }
        await_late_copies(kafka)?;
        self.tally.count(kafka);
        let topic_names: Vec<&str> = topics.iter().map(String::as_str).collect();
        let mut logs = kafka.dump_topics(&topic_names)?;
        let mut findings: Vec<String> = struck.err().into_iter().map(|error| format!("{name}: {error}")).collect();
        for (entries, topic) in entries.iter().zip(&topics) {
            let log = logs.remove(topic).ok_or("Java told of every topic")?;
            let audit = audit(entries, std::slice::from_ref(&log), |from, to| self.stalls.between(from, to));
            let name = format!("{name}, {topic}");
            println!("{}", Figures { row: &name, took: begun.elapsed(), audit: &audit });
            let found = audit.findings.iter().take(FINDINGS_MAX).cloned();
            findings.extend(
                found.chain(audit.emptiness(SPREAD.replicas.len(), false)).map(|what| format!("{name}: {what}")),
            );
            self.sums.add(&audit);
        }
        topics.iter().try_for_each(|topic| kafka.delete_topic(topic))?;
        Ok(findings)
    }

    /// Steps until the round is over, and the cluster whole again.
    fn strike(
        &mut self,
        kafka: &mut Kafka,
        (loads, topics, names): (&[Load], &[String], Vec<Vec<kafka_harness::proxy::TopicRef>>),
        begun: Instant,
        is_over: impl Fn(usize, Duration) -> bool,
    ) -> Result<(), Error> {
        loads.iter().try_for_each(|load| load.await_written(SECOND / 2))?;
        let mut director = Director { kafka, loads, topics, names, tally: &mut self.tally };
        for steps in 1.. {
            let step = self.schedule.step();
            let at = begun.elapsed().as_secs_f64();
            println!("{at:6.1} s: {step}");
            director.take(&step).map_err(|error| format!("after {at:.1} s, in {step:?}: {error}"))?;
            if is_over(steps, begun.elapsed()) {
                break;
            }
        }
        director.settle()
    }
}

/// Over all rounds.
#[derive(Debug, Default)]
struct Sums {
    took: Duration,
    audits: usize,
    offered: usize,
    compared: usize,
    found: usize,
    unknown: usize,
    undetermined: usize,
    findings: usize,
    lateness: Vec<Duration>,
}

impl Sums {
    fn add(&mut self, audit: &Audit) {
        self.audits += 1;
        self.offered += audit.counts.offered;
        self.compared += audit.counts.compared();
        self.found += audit.counts.found;
        self.unknown += audit.counts.unknown;
        self.undetermined += audit.counts.undetermined.values().sum::<usize>();
        self.findings += audit.findings.len();
        self.lateness.extend(&audit.lateness);
        self.lateness.sort_unstable();
    }
}

impl Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |part: usize| 100.0 * part as f64 / self.offered.max(1) as f64;
        writeln!(
            f,
            "measured: {:.0} s, {} comparisons: {} records offered, {} compared with {} in the log",
            self.took.as_secs_f64(),
            self.audits,
            self.offered,
            self.compared,
            self.found,
        )?;
        writeln!(
            f,
            "measured: {} unknown at their deadline ({:.2} %), {} of them undetermined in the end ({:.2} %)",
            self.unknown,
            share(self.unknown),
            self.undetermined,
            share(self.undetermined),
        )?;
        writeln!(f, "measured: told after their deadline by: {}", crate::figures::Spread(&self.lateness))?;
        write!(f, "measured: {} findings; load {}", self.findings, load_average())
    }
}

impl Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "measured: {} steps", self.steps)?;
        for (act, count) in &self.acts {
            writeln!(f, "measured:   {count:4} x {act}")?;
        }
        for (fault, (count, batches)) in &self.faults {
            writeln!(f, "measured:   {count:4} x {fault}, {batches} batches in them")?;
        }
        write!(
            f,
            "measured:   with records in them: {} requests came after their clients had left, {} answers never came, {} requests came in part; \
             {} lines of disk errors",
            self.late_after_client, self.answers_lost, self.requests_torn, self.disk_errors,
        )
    }
}

/// What the machine had to do beside, as Linux tells it.
pub fn load_average() -> String {
    std::fs::read_to_string("/proc/loadavg")
        .map_or("unknown".to_owned(), |text| text.split_whitespace().take(3).collect::<Vec<_>>().join(" "))
}

/// What a round's load takes of memory, and its log of disk, is limited by its time.
const ROUND: Duration = Duration::from_secs(90);

/// Of a brief campaign, where chance left a fault out.
const ROUNDS_MORE: u32 = 3;
const STEPS_MORE: usize = 3;

/// More of them say nothing more.
const FINDINGS_MAX: usize = 20;
