//! What goes wrong: the catalogue of faults, how often each strikes in a run, and what struck when and where.
//!
//! A fault is counted when it strikes something: a cut hits an open connection, a delay holds bytes, a lost answer was
//! given by the broker, a refusal answers an attempt, an election changes a leader. What each one touched is kept with
//! its time, so that the checker can ask whether a doubt was forced, and the coverage can ask what was in force when an
//! answer came.
//!
//! Left out: what a fault does to the world (`network.rs`, `brokers.rs`, `steersman.rs`).

mod planted;
mod rates;
mod strikes;

use std::collections::BTreeSet;
use std::fmt;

use milena_core::time::Moment;
use milena_wire::ErrorCode;

use crate::dice::Dice;
use crate::history::Place;

pub(crate) use planted::{Aim, Plan, Planted, Situation, leaves_open};
pub(crate) use rates::{FaultRates, Unit};
pub(crate) use strikes::{Scope, Strike, StrikeId, Strikes};

macro_rules! faults {
    ($($(#[$doc:meta])* $variant:ident = $name:literal per $unit:ident,)*) => {
        /// What can go wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Fault {
            $($(#[$doc])* $variant,)*
        }

        impl Fault {
            /// Every fault.
            pub const ALL: [Self; [$(Self::$variant),*].len()] = [$(Self::$variant),*];

            /// As tables show it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// What its rate counts.
            pub(crate) const fn unit(self) -> Unit {
                match self {
                    $(Self::$variant => Unit::$unit,)*
                }
            }
        }
    };
}

faults! {
    /// A connection dies at any byte, in both directions.
    Cut = "cut" per Request,
    /// A request or an answer is held, for less than the client waits for an answer.
    Delay = "delay" per Request,
    /// A request arrives when the client has given it up, and is executed then.
    RequestLate = "request late" per Request,
    /// The kernel takes no more bytes for a while.
    Stall = "stall" per Request,
    /// The broker executed the request; the connection dies before its answer arrives.
    AnswerLost = "answer lost" per Request,
    /// A broker does not take connections for a while.
    DialRefused = "dials refused" per Second,
    /// An attempt is refused before the append.
    RefusedBefore = "refused before append" per Attempt,
    /// An attempt is answered with an error after the append.
    RefusedAfter = "refused after append" per Attempt,
    /// An answer asks for a pause, and the broker reads nothing meanwhile.
    Throttled = "throttled" per Second,
    /// A broker stands still, with its connections open, and goes on later.
    Frozen = "frozen" per Second,
    /// A broker dies and starts again.
    Killed = "killed" per Second,
    /// A broker shuts down in order and starts again.
    Stopped = "stopped" per Second,
    /// Every broker in turn shuts down in order and starts again.
    Rolling = "rolling restart" per Second,
    /// A partition gets another leader.
    LeaderMoved = "leader moved" per Second,
    /// A follower copies late.
    FollowerSlow = "follower slow" per Second,
    /// A follower copies nothing.
    FollowerFrozen = "follower frozen" per Second,
    /// A partition gets another leader while requests wait for followers.
    ElectionMeanwhile = "election meanwhile" per Second,
    /// A replica out of sync leads: what it lacks is lost.
    Unclean = "unclean election" per Second,
    /// The client is told of leaders that are not any more.
    StaleMetadata = "stale metadata" per Metadata,
    /// The client is told an error instead of a topic or a partition.
    MetadataRefused = "metadata refused" per Metadata,
    /// The client is told to begin again with its bootstrap addresses.
    Rebootstrap = "rebootstrap" per Metadata,
    /// No producer id is given.
    IdentityRefused = "producer id refused" per Identity,
    /// Somebody else uses the client's producer id under a higher epoch.
    IdentityStolen = "producer id stolen" per Second,
    /// A leader forgets the client's producer id.
    StateExpired = "state expired" per Second,
    /// A topic is deleted and created again.
    TopicRecreated = "topic recreated" per Second,
    /// A topic's settings change so that it refuses some batches.
    TopicChanged = "topic changed" per Second,
    /// A broker moves to another address, or brokers come and go.
    BrokersChanged = "brokers changed" per Second,
    /// The wall clock of the client or of the brokers steps.
    ClockStepped = "clock stepped" per Second,
    /// More records come than the buffer has room for.
    BufferFull = "buffer full" per Second,
    /// The producer is closed without waiting for anything.
    Closed = "closed" per Run,
}

impl Fault {
    /// After it another broker may lead.
    pub(crate) fn changes_leaders(self) -> bool {
        matches!(
            self,
            Self::Frozen
                | Self::Killed
                | Self::Stopped
                | Self::Rolling
                | Self::LeaderMoved
                | Self::ElectionMeanwhile
                | Self::Unclean
                | Self::BrokersChanged
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Decides when a fault strikes, and remembers that it did.
#[derive(Debug)]
pub(crate) struct Faults {
    pub(crate) strikes: Strikes,
    /// What attempts were answered by a fault, by partition.
    pub(crate) refused: BTreeSet<(Place, ErrorCode)>,
    /// Producer ids of the client that somebody else used.
    pub(crate) stolen: BTreeSet<i64>,
    /// Where and when committed records were lost.
    pub(crate) losses: Vec<(Place, Moment)>,
    planted: Plan,
    rates: FaultRates,
    end: Moment,
    dice: Dice,
}

impl Faults {
    pub(crate) fn new(rates: FaultRates, planted: Plan, end: Moment, seed: u64) -> Self {
        Self {
            strikes: Strikes::default(),
            refused: BTreeSet::new(),
            stolen: BTreeSet::new(),
            losses: Vec::new(),
            planted,
            rates,
            end,
            dice: Dice::new(seed, 2),
        }
    }

    pub(crate) fn dice(&mut self) -> &mut Dice {
        &mut self.dice
    }

    /// No fault starts after this.
    pub(crate) fn end(&self) -> Moment {
        self.end
    }

    /// Whether this fault strikes now; asked once per unit of its rate.
    pub(crate) fn strikes_now(&mut self, now: Moment, fault: Fault) -> bool {
        self.dice.chance(self.rates.of(fault)) && now < self.end
    }

    /// What the broker answers to an attempt instead of the truth.
    pub(crate) fn refuses(&mut self, now: Moment, attempt: &Situation) -> Option<Planted> {
        if now >= self.end {
            return None;
        }
        self.planted.draw(&self.rates, &mut self.dice, attempt)
    }

    /// When a fault that strikes by itself does so, from the start to the end of the faults.
    pub(crate) fn schedule(&mut self) -> Vec<(Moment, Fault)> {
        let mut schedule = Vec::new();
        for fault in Fault::ALL.into_iter().filter(|fault| fault.unit() == Unit::Second) {
            let rate = self.rates.of(fault);
            if rate <= 0.0 {
                continue;
            }
            let mut at = Moment::START;
            loop {
                // The pauses of a Poisson process.
                let pause = -(1.0 - self.dice.fraction()).ln() / rate;
                at = at + std::time::Duration::from_secs_f64(pause.min(1e6));
                if at >= self.end {
                    break;
                }
                schedule.push((at, fault));
            }
        }
        schedule.sort_unstable();
        schedule
    }
}
