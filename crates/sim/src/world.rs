//! One run: the client, the network and the broker, moved from event to event until everything is settled.

use std::time::Duration;

use milena_core::time::Moment;

use crate::brokers::Brokers;
use crate::client::{Client, Offered};
use crate::faults::{Fault, Scope};
use crate::history::{RecordId, Via};
use crate::network::Network;
use crate::stage::{Event, Stage};
use crate::steersman::Helm;
use crate::workload::{RETRY_AFTER, Workload};

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) stage: Stage,
    pub(crate) client: Client,
    pub(crate) brokers: Brokers,
    net: Network,
    workload: Workload,
    is_producing: bool,
    /// A full buffer is waited for.
    is_waiting: bool,
}

/// From the last fault on, everything must be settled within this time.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);

/// Far more than any run needs; a run that reaches it goes round in circles.
const EVENTS_MAX: u64 = 3_000_000;

impl World {
    pub(crate) fn new(stage: Stage) -> Self {
        let brokers = Brokers::open(&stage);
        let client = Client::new(&stage);
        let workload = Workload::new(&stage.scenario);
        let net = Network::default();
        Self { stage, client, brokers, net, workload, is_producing: true, is_waiting: false }
    }

    /// Until everybody was told and nothing moves any more, or until the time is up.
    pub(crate) fn run(&mut self) {
        for number in 0..self.stage.scenario.topics.len() {
            let when = self.stage.scenario.topics[number].created_at;
            self.stage.at(when, Event::CreateTopic(number));
        }
        if let Some(when) = self.stage.scenario.close_at {
            self.stage.at(when, Event::CloseProducer);
        }
        for (when, fault) in self.stage.faults.schedule() {
            self.stage.at(when, Event::Strike(fault));
        }
        self.stage.at(Moment::START, Event::Produce);
        self.stage.at(self.stage.faults.end(), Event::Look);
        self.stage.at(self.stage.faults.end(), Event::Trickle);
        let mut events = 0;
        while !self.is_over() && !self.stage.history.is_hopeless {
            let Some(event) = self.stage.next() else { break };
            events += 1;
            let limit = self.stage.faults_over_at() + SETTLED_WITHIN;
            if self.stage.now > limit || events > EVENTS_MAX {
                self.stage.history.blame(format!("not at rest at {} after {events} events", self.stage.now));
                break;
            }
            if self.happen(event) {
                self.client.turn(&mut self.stage, &mut self.net);
            }
        }
        self.stage.history.look(self.stage.now);
    }

    fn is_over(&self) -> bool {
        let has_work = self.is_producing || !self.workload.waiting.is_empty();
        if has_work || !self.stage.is_silent() || self.stage.now < self.stage.faults_over_at() {
            return false;
        }
        // Records that nobody asks about hold memory until they are settled too.
        self.stage.history.is_settled() && self.client.memory().held() == 0
    }

    /// Whether the client has reason for a turn.
    fn happen(&mut self, event: Event) -> bool {
        let Self { stage, client, brokers, net, .. } = self;
        let heard = match event {
            Event::Produce => return self.produce(),
            Event::Offer => {
                self.is_waiting = false;
                return self.offer();
            }
            Event::Cancel(id) => return self.cancel(id),
            Event::Look => {
                stage.history.look(stage.now);
                stage.after(LOOK_EVERY, Event::Look);
                return false;
            }
            Event::Trickle => return self.trickle(),
            Event::CreateTopic(number) => {
                brokers.create_topic(stage, number);
                return false;
            }
            Event::CloseProducer => {
                let now = stage.now;
                stage.faults.strikes.add(Fault::Closed, Scope::Everything, now, Moment::NEVER);
                client.close(stage, net);
                return true;
            }
            Event::Wake(number) => return client.is_newest_wake(number),
            Event::Collect(partition) => {
                client.collect(stage, partition);
                return true;
            }
            Event::Mail(mail) => {
                client.receive(stage, mail);
                return true;
            }
            Event::Packed(lane, done) => {
                client.take_packed(lane, *done);
                return true;
            }
            Event::Dialed(link) => {
                let dialed = net.dialed(stage, link, |node| brokers.accept(node));
                (link, dialed)
            }
            Event::Writable(link) => (link, net.writable(stage, link, client.memory())),
            Event::Arrive(link, way, bytes) => (link, net.arrive(stage, link, way, &bytes)),
            Event::End(link, way) => (link, net.end(link, way)),
            Event::Cut(link) => {
                net.cut(stage, link);
                return false;
            }
            Event::Serve(link) => {
                brokers.serve(stage, net, link);
                brokers.forget(net, link);
                return false;
            }
            Event::ClusterWake(due) => {
                if brokers.is_due(due) {
                    brokers.wake(stage, net);
                }
                return false;
            }
            Event::Strike(fault) => {
                self.helm().strike(fault);
                return false;
            }
            Event::Aftermath(aftermath) => {
                self.helm().settle(aftermath);
                return false;
            }
        };
        let (link, heard) = heard;
        let is_heard = heard.is_some();
        if let Some((owner, heard)) = heard {
            client.hear(stage, net, link, owner, heard);
        }
        self.brokers.forget(&mut self.net, link);
        is_heard
    }

    fn helm(&mut self) -> Helm<'_> {
        Helm { stage: &mut self.stage, brokers: &mut self.brokers, net: &mut self.net, workload: &mut self.workload }
    }

    fn produce(&mut self) -> bool {
        let (count, pause) = self.workload.next_group();
        for _ in 0..count {
            let next = RecordId(self.stage.history.records.len() as u32);
            let (topic, content, via) = self.workload.make(next, self.stage.now);
            let id = self.stage.history.plan(topic, content, via);
            self.workload.waiting.push_back(id);
        }
        match pause {
            Some(pause) => self.stage.after(pause, Event::Produce),
            None => self.is_producing = false,
        }
        self.offer()
    }

    fn trickle(&mut self) -> bool {
        let Self { stage, client, .. } = self;
        let begins = stage.faults_over_at() + stage.scenario.recovery_max();
        if stage.now < begins || self.is_producing {
            stage.after(TRICKLE_EVERY, Event::Trickle);
            return false;
        }
        if stage.history.is_settled() {
            return false;
        }
        client.trickle(stage);
        if stage.now < begins + TRICKLE_EVERY * TRICKLES_MAX {
            stage.after(TRICKLE_EVERY, Event::Trickle);
        }
        true
    }

    /// First come, first served: a record that has to wait holds up those behind it.
    fn offer(&mut self) -> bool {
        while let Some(id) = self.workload.waiting.front().copied() {
            match self.client.offer(&mut self.stage, id) {
                Offered::Accepted => {
                    self.workload.waiting.pop_front();
                    self.plan_cancel(id);
                }
                Offered::Closed => self.workload.waiting.clear(),
                Offered::Later => {
                    if !std::mem::replace(&mut self.is_waiting, true) {
                        self.stage.after(RETRY_AFTER, Event::Offer);
                    }
                    break;
                }
            }
        }
        true
    }

    fn plan_cancel(&mut self, id: RecordId) {
        let via = self.stage.history.record(id).via;
        if matches!(via, Via::Await | Via::Look) && self.stage.dice.chance(0.1) {
            let wait = self.stage.dice.spread(Duration::from_micros(50), Duration::from_secs(1));
            self.stage.after(wait, Event::Cancel(id));
        }
    }

    fn cancel(&mut self, id: RecordId) -> bool {
        let now = self.stage.now;
        let Some(delivery) = self.stage.history.delivery(id).filter(|delivery| delivery.try_outcome().is_none()) else {
            return false;
        };
        delivery.cancel();
        self.stage.history.record(id).cancelled_at = Some(now);
        self.stage.note(format_args!("record {} is cancelled", id.0));
        true
    }
}

/// Between two records of a partition that has nothing else to send.
const TRICKLE_EVERY: Duration = Duration::from_secs(1);
const TRICKLES_MAX: u32 = 20;

/// How often those who only look do so, once the faults are over.
const LOOK_EVERY: Duration = Duration::from_millis(50);
