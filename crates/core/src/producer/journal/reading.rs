//! A journal as it was found: what is in doubt, what was settled before, and what cannot be read.
//!
//! Always holds: a line that cannot be read costs no other one; a last line without an end was being written when the process
//! ended, and its batches were not handed over.

use std::collections::{BTreeMap, BTreeSet};

use super::line::{self, Bad, Found, Line, NAME, NUMBER_MAX, Sent, VERSION};

/// What a journal says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// How often the file was replaced.
    pub generation: u64,
    /// Above every number that was given.
    pub next_number: u64,
    /// Batches that were sent and are not struck out, in the order of their lines.
    pub sent: Vec<Sent>,
    /// What a process that settled the journal before has found out.
    pub found: BTreeMap<u64, Found>,
    /// Lines that cannot be used.
    pub damages: Vec<Damage>,
    /// Bytes up to the end of the last whole line.
    pub whole_bytes: usize,
}

/// A line that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// From 1.
    pub line: usize,
    /// What is wrong with it.
    pub kind: DamageKind,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DamageKind {
    /// It is not what was written.
    Checksum,
    /// It was written so, and says nothing that this version knows.
    Form,
    /// Another line has its number.
    Number,
}

/// Why nothing of a journal can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unreadable {
    /// It does not begin as journals do.
    NotAJournal,
    /// It was written by another version.
    Version(String),
}

impl Reading {
    /// Batches of which nothing is known for sure.
    pub fn in_doubt(&self) -> impl Iterator<Item = &Sent> {
        self.sent.iter().filter(|sent| !self.found.contains_key(&sent.number))
    }
}

/// Reads a journal. One that is empty, or whose first line was being written, is a new one.
pub fn read(bytes: &[u8]) -> Result<Reading, Unreadable> {
    let mut reading = Reading::default();
    let (mut sent, mut done, mut numbers) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
    for (place, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let Some(whole) = line.strip_suffix(b"\n") else {
            match place {
                0 if !is_begun(line) => return Err(Unreadable::NotAJournal),
                _ => break,
            }
        };
        if place == 0 {
            reading.generation = generation(whole)?;
            reading.whole_bytes = line.len();
            continue;
        }
        reading.whole_bytes += line.len();
        let kind = match line::parse(whole) {
            Ok(Line::Sent(batch)) if numbers.insert(batch.number) => {
                reading.next_number = reading.next_number.max(batch.number.saturating_add(1));
                sent.insert(batch.number, *batch);
                continue;
            }
            Ok(Line::Sent(_)) => DamageKind::Number,
            Ok(Line::Done(numbers)) => {
                done.extend(numbers);
                continue;
            }
            Ok(Line::Found(number, found)) => {
                reading.found.insert(number, found);
                continue;
            }
            Err(Bad::Checksum) => DamageKind::Checksum,
            Err(Bad::Form) => DamageKind::Form,
        };
        reading.damages.push(Damage { line: place + 1, kind });
    }
    reading.sent = sent.into_values().filter(|batch| !done.contains(&batch.number)).collect();
    Ok(reading)
}

/// Whether this is how a first line begins.
fn is_begun(bytes: &[u8]) -> bool {
    let begin = format!("{NAME} {VERSION} ");
    let shorter = bytes.len().min(begin.len());
    bytes[..shorter] == begin.as_bytes()[..shorter] && bytes[shorter..].iter().all(u8::is_ascii_digit)
}

fn generation(line: &[u8]) -> Result<u64, Unreadable> {
    let text = std::str::from_utf8(line).map_err(|_| Unreadable::NotAJournal)?;
    let mut words = text.split(' ');
    match (words.next(), words.next(), words.next().map(str::parse), words.next()) {
        (Some(NAME), Some(VERSION), Some(Ok(generation)), None) if generation < NUMBER_MAX => Ok(generation),
        (Some(NAME), Some(version), ..) if version != VERSION => {
            Err(Unreadable::Version(version.chars().take(VERSION_CHARS_MAX).collect()))
        }
        _ => Err(Unreadable::NotAJournal),
    }
}

/// Of another version that is told.
const VERSION_CHARS_MAX: usize = 20;
