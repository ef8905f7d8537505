//! The records of a benchmark, and when they are sent.

use std::fs;
use std::ops::Range;
use std::time::Duration;

use milena::{Record, Topic};

use super::tracker::{SAMPLED, Tracker};
use crate::arguments::BenchProduce;

/// Made before any clock starts: no record pays for its value.
pub struct Load {
    text: Vec<u8>,
    keys: Vec<Vec<u8>>,
    size: usize,
    partitions: u64,
    /// Records that go to one partition before the next has its turn.
    run: u64,
    records: u64,
    warm_up_records: u64,
    rate: Option<u64>,
}

impl Load {
    /// With this text, and so many bytes of a batch.
    pub fn new(options: &BenchProduce, text: Vec<u8>, batch_bytes: usize) -> Self {
        let BenchProduce { size, key_bytes, partitions, records, warmup_records, rate, .. } = *options;
        let keys = if key_bytes == 0 { 0 } else { KEYS };
        let mut chance = Chance(1);
        let keys = (0..keys).map(|_| (0..key_bytes).map(|_| chance.among(b"0123456789abcdef")).collect()).collect();
        let run = (batch_bytes / (size + key_bytes + RECORD_AROUND)).max(1) as u64;
        Self { text, keys, size, partitions: partitions as u64, run, records, warm_up_records: warmup_records, rate }
    }

    /// As fast as they are taken, and until they are acknowledged.
    pub fn warm_up(&self, topic: &Topic, tracker: &Tracker) -> Result<(), String> {
        self.send(topic, tracker, 0..self.warm_up_records);
        tracker.wait_for_warm_up()
    }

    /// The measured records, at the rate or as fast as they are taken.
    pub fn run(&self, topic: &Topic, tracker: &Tracker) {
        let mut next = 0;
        while next < self.records && !tracker.is_cancelled() {
            let until = match self.rate {
                None => {
                    // One look at the clock for all of these.
                    tracker.sending_run();
                    next + SAMPLED
                }
                Some(rate) => {
                    let micros = tracker.elapsed().as_micros();
                    let until = (micros * u128::from(rate) / 1_000_000) as u64 + 1;
                    if until <= next {
                        std::thread::sleep(TICK);
                        continue;
                    }
                    until
                }
            };
            let until = until.min(self.records);
            self.send(topic, tracker, self.warm_up_records + next..self.warm_up_records + until);
            next = until;
        }
    }

    fn send(&self, topic: &Topic, tracker: &Tracker, numbers: Range<u64>) {
        for number in numbers {
            if tracker.is_cancelled() {
                return;
            }
            let mut record =
                Record::value(self.value(number)).partition((number / self.run % self.partitions) as i32).tag(number);
            if let Some(key) = self.key(number) {
                record = record.key(key);
            }
            let posted = match topic.post(record) {
                Err(error) if error.is_retriable() => topic.blocking_post(error.into_record()),
                posted => posted,
            };
            if let Err(error) = posted {
                tracker.refuse(&error);
            }
        }
    }

    fn value(&self, number: u64) -> &[u8] {
        let pieces = (self.text.len() / self.size) as u64;
        let at = (number % pieces) as usize * self.size;
        &self.text[at..at + self.size]
    }

    fn key(&self, number: u64) -> Option<&[u8]> {
        let count = self.keys.len() as u64;
        (count > 0).then(|| self.keys[(number % count) as usize].as_slice())
    }
}

/// What values are pieces of: the file that was named, or text of our own.
pub fn payload(options: &BenchProduce) -> Result<Vec<u8>, String> {
    let size = options.size;
    let text = match &options.payload {
        Some(path) => {
            fs::read(path).map_err(|error| format!("--payload {} cannot be read: {error}", path.display()))?
        }
        None => text_like_json(TEXT_BYTES.max(size)),
    };
    match text.len() < size {
        true => Err(format!("the payload has {} bytes, fewer than --size {size}; use a larger file", text.len())),
        false => Ok(text),
    }
}

/// Random bytes would make every codec look free, and one byte over and over too.
fn text_like_json(bytes: usize) -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "order", "table", "invoice", "shipment", "berlin", "lisbon", "coffee", "tea", "pending", "paid", "refund",
        "basket", "customer", "courier", "express", "return",
    ];
    let mut chance = Chance(7);
    let mut text = Vec::with_capacity(bytes + 200);
    while text.len() < bytes {
        let (one, other) = (WORDS[chance.below(16)], WORDS[chance.below(16)]);
        let line = format!(
            "{{\"id\":{},\"kind\":\"{one}\",\"state\":\"{other}\",\"amount\":{}.{:02},\"trace\":\"{:016x}\"}}\n",
            chance.below(10_000_000),
            chance.below(5000),
            chance.below(100),
            chance.next(),
        );
        text.extend_from_slice(line.as_bytes());
    }
    text.truncate(bytes);
    text
}

/// The same numbers each time, so that runs are alike.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0
    }

    /// The upper bits are the random ones.
    fn below(&mut self, count: usize) -> usize {
        ((self.next() >> 33) as usize) % count
    }

    fn among(&mut self, bytes: &[u8]) -> u8 {
        bytes[self.below(bytes.len())]
    }
}

/// Larger than any processor's nearest caches.
const TEXT_BYTES: usize = 16 << 20;
const KEYS: usize = 65_536;
/// About what stands around a record in a batch, as the comparison's other programs count it.
const RECORD_AROUND: usize = 16;
/// How often it is looked what is due.
const TICK: Duration = Duration::from_millis(1);
