//! What goes wrong on a connection: cuts at any byte, bytes that are held, kernels that take none, answers that are lost.

use std::time::Duration;

use milena_core::ids::NodeId;

use super::{LinkId, Network, Way};
use crate::faults::{Fault, Scope};
use crate::stage::{Event, Stage};

impl Network {
    /// What befalls a request that is about to be written.
    pub(super) fn trip(&mut self, stage: &mut Stage, id: LinkId) {
        let now = stage.now;
        if stage.faults.strikes_now(now, Fault::Cut) {
            let wait = 2 * (stage.scenario.latency.1 + stage.scenario.service.1);
            let after = stage.faults.dice().duration(Duration::ZERO, wait);
            stage.after(after, Event::Cut(id));
        }
        let patience = stage.scenario.request_timeout;
        let held = match () {
            () if stage.faults.strikes_now(now, Fault::RequestLate) => {
                Some((Fault::RequestLate, stage.faults.dice().spread(patience.mul_f64(1.05), patience * 3)))
            }
            () if stage.faults.strikes_now(now, Fault::Delay) => Some((Fault::Delay, short_hold(stage))),
            () if stage.faults.strikes_now(now, Fault::Stall) => {
                Some((Fault::Stall, stage.faults.dice().spread(patience / 20, patience * 2)))
            }
            () => None,
        };
        let (Some((fault, held)), Some(link)) = (held, self.links.get_mut(&id)) else { return };
        let until = now + held;
        if fault == Fault::Stall {
            link.stalled_until = until;
        } else {
            link.up.held_until = until;
        }
        stage.faults.strikes.add(fault, Scope::Link(id), now, until);
        stage.note(format_args!("{id:?} {fault} for {held:?}"));
    }

    /// What befalls an answer that is about to be given.
    pub(super) fn trip_answer(&mut self, stage: &mut Stage, id: LinkId) {
        let is_whole = self.links.get(&id).is_some_and(|link| link.is_open() && link.down.limit.is_none());
        if is_whole && stage.faults.strikes_now(stage.now, Fault::AnswerLost) {
            self.lose_answers(stage, id);
        } else if stage.faults.strikes_now(stage.now, Fault::Delay) {
            let held = short_hold(stage);
            let Some(link) = self.links.get_mut(&id) else { return };
            link.down.held_until = stage.now + held;
            stage.faults.strikes.add(Fault::Delay, Scope::Link(id), stage.now, stage.now + held);
            stage.note(format_args!("{id:?} answer held for {held:?}"));
        }
    }

    /// Nothing more comes back on this connection; the client learns it soon, or by its own timeout.
    fn lose_answers(&mut self, stage: &mut Stage, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.down.limit_to(link.down.sent);
        let is_silent = stage.faults.dice().chance(0.3);
        let told = if is_silent { stage.scenario.request_timeout } else { told_after(stage) };
        if !is_silent {
            let when = link.down.last_arrival.max(stage.now + told);
            stage.at(when, Event::End(id, Way::ToClient));
        }
        stage.faults.strikes.add(Fault::AnswerLost, Scope::Link(id), stage.now, stage.now + told);
        stage.note(format_args!("{id:?} answer lost"));
    }

    /// The connection is cut: of what is on its way, a part arrives.
    pub(crate) fn cut(&mut self, stage: &mut Stage, id: LinkId) {
        if let Some(told) = self.cut_one(stage, id) {
            stage.faults.strikes.add(Fault::Cut, Scope::Link(id), stage.now, stage.now + told);
        }
    }

    fn cut_one(&mut self, stage: &mut Stage, id: LinkId) -> Option<Duration> {
        let link = self.links.get_mut(&id).filter(|link| link.is_open())?;
        link.up.cut(stage);
        link.down.cut(stage);
        let told = told_after(stage);
        stage.at(link.up.last_arrival, Event::End(id, Way::ToBroker));
        stage.after(told, Event::End(id, Way::ToClient));
        stage.note(format_args!("{id:?} cut"));
        Some(told)
    }

    /// The broker takes no connections for a while, and may lose those it has.
    pub(crate) fn refuse_dials(&mut self, stage: &mut Stage, node: NodeId) {
        let longest = stage.scenario.delivery_timeout.mul_f64(1.5);
        let length = stage.faults.dice().spread(Duration::from_millis(10), longest);
        let until = stage.now + length;
        self.unreachable_until.insert(node, until);
        if stage.faults.dice().chance(0.6) {
            for id in self.links_to(node) {
                self.cut_one(stage, id);
            }
        }
        stage.faults.strikes.add(Fault::DialRefused, Scope::Node(node), stage.now, until);
        stage.note(format_args!("broker {node} takes no connections for {length:?}"));
    }
}

/// Up to three quarters of the client's patience.
fn short_hold(stage: &mut Stage) -> Duration {
    let patience = stage.scenario.request_timeout;
    stage.faults.dice().spread(patience / 20, patience * 3 / 4)
}

fn told_after(stage: &mut Stage) -> Duration {
    stage.faults.dice().duration(Duration::ZERO, Duration::from_millis(50))
}
