//! All sequences: in rounds, with a restart of both brokers between them.
//!
//! A sequence that sees a restart begins in one round and ends in the next. In a round, some sequences at a time get their topics, run one
//! after the other, and leave; several such chunks are at work at once, so that one runs while another one waits for its topics.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Mutex;
use std::time::Instant;

use crate::pair::{End, Pair};
use crate::report;
use crate::run::{Counts, Finding, Rules, Run};
use crate::sequence::Sequence;

/// Some sequences that are at the same point.
enum Chunk {
    /// Whose topics are not there yet.
    New(Vec<Sequence>),
    /// That have seen a restart.
    Begun(Vec<Run>),
}

/// What came of a round.
#[derive(Default)]
struct Round {
    findings: Vec<Finding>,
    /// Those that are to see a restart.
    waiting: Vec<Run>,
    counts: Counts,
}

/// Runs a sequence for each seed.
pub fn run_all(pair: &mut Pair, seeds: Range<u64>, rules: &Rules<'_>, counts: &mut Counts) -> Vec<Finding> {
    let sequences = seeds.map(|seed| Sequence::of(seed, &rules.origin(format!("s{seed}"))));
    let (alone, together): (Vec<Sequence>, Vec<Sequence>) = sequences.partition(|sequence| sequence.is_alone);
    let mut findings = Vec::new();
    let mut waiting = Vec::new();
    let mut go = |pair: &Pair, chunks, threads| {
        let round = run_round(pair, chunks, threads, rules);
        findings.extend(round.findings);
        round.counts.into_iter().for_each(|(key, count)| *counts.entry(key).or_default() += count);
        round.waiting
    };
    go(pair, chunks(alone, Chunk::New), 1);
    pair.warm_up();
    for (at, sequences) in in_rounds(together).into_iter().enumerate() {
        let started = Instant::now();
        let new = sequences.len();
        let mut work = chunks(waiting, Chunk::Begun);
        work.extend(chunks(sequences, Chunk::New));
        waiting = go(pair, work, THREADS);
        println!("measured: a round of {new} new sequences in {:.1} s", started.elapsed().as_secs_f64());
        if !waiting.is_empty() {
            restart(pair, &mut waiting, ENDS[at]);
        }
    }
    findings.sort_by_key(|finding| finding.seed);
    findings
}

/// Those that see a restart begin in any round but the last one, the others in all.
fn in_rounds(sequences: Vec<Sequence>) -> Vec<Vec<Sequence>> {
    let mut rounds = vec![Vec::new(); ENDS.len() + 1];
    let (restarted, others): (Vec<_>, Vec<_>) = sequences.into_iter().partition(|it| it.restart_at.is_some());
    restarted.into_iter().enumerate().for_each(|(at, sequence)| rounds[at % ENDS.len()].push(sequence));
    others.into_iter().enumerate().for_each(|(at, sequence)| rounds[at % (ENDS.len() + 1)].push(sequence));
    rounds
}

fn chunks<T>(all: Vec<T>, chunk: impl Fn(Vec<T>) -> Chunk) -> VecDeque<Chunk> {
    let mut all = all.into_iter().peekable();
    let mut chunks = VecDeque::new();
    while all.peek().is_some() {
        chunks.push_back(chunk(all.by_ref().take(CHUNK).collect()));
    }
    chunks
}

fn restart(pair: &mut Pair, waiting: &mut [Run], end: End) {
    let started = Instant::now();
    pair.restart(end);
    let restarted = started.elapsed();
    pair.await_topics(waiting).expect("their topics are there again");
    waiting.iter_mut().for_each(Run::after_restart);
    println!(
        "measured: both restarted ({end:?}) in {:.1} s, and had their topics after {:.1} s",
        restarted.as_secs_f64(),
        started.elapsed().as_secs_f64()
    );
}

/// Each sequence as far as it comes without a restart.
fn run_round(pair: &Pair, work: VecDeque<Chunk>, threads: usize, rules: &Rules<'_>) -> Round {
    let work = Mutex::new(work);
    let all = Mutex::new(Round::default());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let chunk = work.lock().expect("taking one cannot fail").pop_front();
                    let Some(chunk) = chunk else { return };
                    let done = run_chunk(pair, chunk, rules);
                    all.lock().expect("adding cannot fail").add(done);
                }
            });
        }
    });
    all.into_inner().expect("adding cannot fail")
}

fn run_chunk(pair: &Pair, chunk: Chunk, rules: &Rules<'_>) -> Round {
    let mut counts = Counts::new();
    let mut runs = match chunk {
        Chunk::Begun(runs) => runs,
        Chunk::New(sequences) => {
            let sides = pair.prepare(&sequences).expect("the topics are made");
            sequences.into_iter().zip(sides).map(|(sequence, (kafka, ours))| Run::new(sequence, kafka, ours)).collect()
        }
    };
    for run in &mut runs {
        let seed = run.sequence.seed;
        run.go(rules, &mut counts).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        if let Some(finding) = &run.found {
            println!("seed {seed}: {}", report::kind(finding));
        }
    }
    let (over, waiting): (Vec<Run>, Vec<Run>) = runs.into_iter().partition(Run::is_over);
    pair.remove_topics(&over).expect("topics are deleted");
    Round { findings: over.into_iter().filter_map(|run| run.found).collect(), waiting, counts }
}

impl Round {
    fn add(&mut self, other: Round) {
        self.findings.extend(other.findings);
        self.waiting.extend(other.waiting);
        other.counts.into_iter().for_each(|(key, count)| *self.counts.entry(key).or_default() += count);
    }
}

/// How both brokers are ended between the rounds.
const ENDS: [End; 2] = [End::InOrder, End::Kill];
/// Kafka answers most requests in less than a millisecond; more would only wait for its processor.
const THREADS: usize = 8;
/// A call that makes topics takes a few milliseconds, however many they are.
const CHUNK: usize = 12;
