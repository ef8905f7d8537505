//! What was offered to the producer and what it told of each record: one side of the comparison.

use std::collections::BTreeMap;
use std::fmt::{Debug, Display};
use std::time::{Duration, Instant};

use milena::{Because, Outcome, Settlement, Written};

use crate::content::Id;

/// How the record was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    TrySend,
    Send,
    Post,
}

/// One call.
#[derive(Clone, Debug)]
pub struct Offer {
    pub id: Id,
    /// Its place among the row's topics.
    pub topic: usize,
    pub call: Call,
    pub deadline: Duration,
    /// Just before the call.
    pub began: Instant,
    /// Just after it, or, for a call that waits, after the wait.
    pub returned: Instant,
    /// Why the record was not accepted.
    pub refused: Option<String>,
}

/// What the producer said of an accepted record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    Written {
        partition: i32,
        offset: Option<i64>,
    },
    NotWritten(Reason),
    /// Only ever a fate.
    Undetermined(Reason),
    /// Only ever an outcome.
    Unknown,
}

/// A reason's name, how often the record's batch was handed to a connection, and the whole as a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    pub name: String,
    pub attempts: u32,
    pub whole: String,
}

impl<R> From<&Because<R>> for Reason
where
    R: Debug,
    Because<R>: Display,
{
    fn from(why: &Because<R>) -> Self {
        Self { name: format!("{:?}", why.reason), attempts: why.cause.attempts, whole: why.to_string() }
    }
}

impl Word {
    pub fn of_outcome(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Written(at) => Self::written(*at),
            Outcome::NotWritten(why) => Self::NotWritten(why.into()),
            Outcome::Unknown(_) => Self::Unknown,
        }
    }

    pub fn of_settlement(settlement: &Settlement) -> Self {
        match settlement {
            Settlement::Written(at) => Self::written(*at),
            Settlement::NotWritten(why) => Self::NotWritten(why.into()),
            Settlement::Undetermined(why) => Self::Undetermined(why.into()),
        }
    }

    /// With a reason's name alone.
    pub fn not_written(name: &str) -> Self {
        Self::NotWritten(Reason { name: name.to_owned(), attempts: 0, whole: name.to_owned() })
    }

    fn written(at: Written) -> Self {
        Self::Written { partition: at.partition, offset: at.offset }
    }
}

/// A call and all that was told about it.
#[derive(Clone, Debug)]
pub struct Entry {
    pub offer: Offer,
    /// Outcomes, with the moment at which the caller had them; one, if all is well.
    pub outcomes: Vec<(Word, Instant)>,
    /// Set once an unknown outcome is settled.
    pub fate: Option<Word>,
    /// Whether its caller cancelled it.
    pub was_cancelled: bool,
}

impl Entry {
    pub fn due(&self) -> Instant {
        self.offer.began + self.offer.deadline
    }

    /// The last word: the fate where the outcome is unknown.
    pub fn last_word(&self) -> Option<&Word> {
        match self.outcomes.first() {
            Some((Word::Unknown, _)) => self.fate.as_ref(),
            Some((word, _)) => Some(word),
            None => None,
        }
    }
}

/// What is noted while the load runs, in the order in which the threads say it.
#[derive(Debug, Default)]
pub struct Notes {
    pub offers: Vec<Offer>,
    pub outcomes: Vec<(Id, Word, Instant)>,
    pub fates: Vec<(Id, Word)>,
    pub cancelled: Vec<Id>,
}

impl Notes {
    /// One entry a call, by number. An outcome of a record that was never offered is an error.
    pub fn entries(self) -> Result<BTreeMap<Id, Entry>, String> {
        let entry = |offer: Offer| Entry { offer, outcomes: Vec::new(), fate: None, was_cancelled: false };
        let mut entries: BTreeMap<Id, Entry> = self.offers.into_iter().map(|offer| (offer.id, entry(offer))).collect();
        let stranger = |id: Id| format!("something was told of record {id:x}, which was never offered");
        for (id, word, at) in self.outcomes {
            entries.get_mut(&id).ok_or_else(|| stranger(id))?.outcomes.push((word, at));
        }
        for (id, word) in self.fates {
            entries.get_mut(&id).ok_or_else(|| stranger(id))?.fate = Some(word);
        }
        for id in self.cancelled {
            entries.get_mut(&id).ok_or_else(|| stranger(id))?.was_cancelled = true;
        }
        Ok(entries)
    }
}
