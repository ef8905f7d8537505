//! One direction of a connection: bytes arrive in order, in pieces, late, or up to the byte at which it was cut.

use std::time::Duration;

use bytes::Bytes;
use milena_core::time::Moment;

use super::{LinkId, Way};
use crate::stage::{Event, Stage};

#[derive(Debug, Default)]
pub(super) struct Pipe {
    pub(super) sent: u64,
    pub(super) arrived: u64,
    pub(super) last_arrival: Moment,
    pub(super) held_until: Moment,
    /// The cut: nothing from this byte on arrives.
    pub(super) limit: Option<u64>,
}

impl Pipe {
    /// Bytes travel in up to five pieces, each with a delay of its own but never before the one ahead of it.
    pub(super) fn send(&mut self, stage: &mut Stage, (id, way): (LinkId, Way), bytes: &Bytes, latency: Duration) {
        self.sent += bytes.len() as u64;
        let mut rest = bytes.clone();
        let mut arrival = (stage.now + latency).max(self.last_arrival).max(self.held_until);
        let pieces = stage.dice.below(5);
        for _ in 0..pieces {
            if rest.len() < 2 {
                break;
            }
            let piece = rest.split_to(stage.dice.between(1, rest.len() as u64 - 1) as usize);
            stage.at(arrival, Event::Arrive(id, way, piece));
            arrival = arrival + stage.dice.duration(Duration::ZERO, Duration::from_micros(300));
        }
        if !rest.is_empty() {
            stage.at(arrival, Event::Arrive(id, way, rest));
        }
        self.last_arrival = arrival;
    }

    /// What of these bytes arrives.
    pub(super) fn receive(&mut self, bytes: &Bytes) -> Bytes {
        let limit = self.limit.unwrap_or(u64::MAX).saturating_sub(self.arrived);
        self.arrived += bytes.len() as u64;
        bytes.slice(..bytes.len().min(usize::try_from(limit).unwrap_or(usize::MAX)))
    }

    /// Of what is on its way, a part arrives.
    pub(super) fn cut(&mut self, stage: &mut Stage) {
        let limit = stage.faults.dice().between(self.arrived, self.sent.max(self.arrived));
        self.limit_to(limit);
    }

    /// Of what is on its way, nothing arrives.
    pub(super) fn cut_here(&mut self) {
        self.limit_to(self.arrived);
    }

    pub(super) fn limit_to(&mut self, limit: u64) {
        self.limit = Some(self.limit.map_or(limit, |earlier| earlier.min(limit)));
    }
}
