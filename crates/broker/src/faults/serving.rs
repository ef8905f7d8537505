//! Serving requests, with what faults do before, around and after it.

use bytes::Bytes;
use milena_wire::frame::RequestHeader;
use milena_wire::messages::fetch::request::FetchRequest;
use milena_wire::{ApiKey, Message, Reader};

use super::{Aftermath, Delay, Ending, FaultId, Held, Refused, Request, Strike};
use crate::api::{Answer, Charged, Client, Part, Refusal, RequestHead, Served, Told, fetched_parts, served};
use crate::cluster::Cluster;
use crate::connection::{CloseReason, Seen, Turn};
use crate::ids::{ConnectionId, NodeId};
use crate::moment::Moment;

/// A request that is about to be served, and what its faults decided.
struct Struck {
    api: ApiKey,
    head: RequestHead,
    body: Reader,
    parts: Vec<Part>,
    strike: Strike,
}

impl Cluster {
    /// Serves one request of a connection that is not muted.
    pub(crate) fn serve(&mut self, now: Moment, id: ConnectionId, node: NodeId, frame: Bytes) {
        let bytes = frame.len();
        let mut body = Reader::new(frame);
        let header = match RequestHeader::read(&mut body) {
            Ok(header) => header,
            Err(error) => return self.close(id, CloseReason::Malformed(error)),
        };
        let strike = self.strike(now, node, &header, &body);
        self.note(id, header.api_key, header.client_id.clone());
        let api = header.api_key;
        let client = Client { node, name: header.client_id.as_deref().unwrap_or_default() };
        let charged = Charged { node, now: now.elapsed, client: client.name, bytes };
        let quota = self.charge_request(charged, api == ApiKey::PRODUCE);
        let head = RequestHead {
            correlation_id: header.correlation_id,
            version: header.api_version,
            throttle: strike.as_ref().and_then(|(_, strike)| strike.throttle).unwrap_or_default().max(quota),
            fetch_bytes_max: self.fetch_bytes_max(client.name),
        };
        let answered = match strike {
            None => self.answer(now, client, (api, head), body),
            Some((parts, strike)) => self.answer_struck(now, (id, client), Struck { api, head, body, parts, strike }),
        };
        // Who waited for what this request did is answered before the one who sent it.
        self.settle(now);
        match answered {
            Ok(Served { answer: Answer::Silence, throttle }) => {
                self.answered += 1;
                self.throttle_connection(now, id, throttle);
                self.stay_silent(now, id);
            }
            Ok(Served { answer: Answer::Frame(frame), throttle }) => {
                self.answered += 1;
                self.throttle_connection(now, id, throttle);
                self.respond(now, id, frame);
            }
            Ok(Served { answer: Answer::Later(request), .. }) => {
                self.turn(id, Turn::Parked);
                self.parking.park(id, *request);
            }
            Err(reason) => self.close(id, reason),
        }
    }

    /// What faults make of a request; none if there are none, or it cannot be read anyway.
    fn strike(
        &mut self,
        now: Moment,
        node: NodeId,
        header: &RequestHeader,
        body: &Reader,
    ) -> Option<(Vec<Part>, Strike)> {
        if !self.faults.are_in_force(now) {
            return None;
        }
        let api = header.api_key;
        let is_served = served(self.config.release, api).is_some_and(|served| served.contains(&header.api_version));
        let refusal = Refusal::of(api).filter(|_| is_served)?;
        let asked = (body.clone(), header.api_version);
        let parts = refusal.parts(asked, self.session_parts(node, header, body), &self.topics).ok()?;
        let request = Request { api, node, client: header.client_id.as_deref(), parts: &parts };
        let strike = self.faults.strike(now, request);
        Some((parts, strike))
    }

    /// What a fetch reads beside what it names.
    fn session_parts(&self, node: NodeId, header: &RequestHeader, body: &Reader) -> Vec<Part> {
        let fetch = match header.api_key {
            ApiKey::FETCH => FetchRequest::read(&mut body.clone(), header.api_version).ok(),
            _ => None,
        };
        let wanted = fetch.and_then(|fetch| self.fetch_sessions.get(&node)?.wanted_by(&fetch));
        wanted.map(|topics| fetched_parts(&topics)).unwrap_or_default()
    }

    fn note(&mut self, id: ConnectionId, api: ApiKey, client: Option<Box<str>>) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.seen = Seen { client, api: Some(api), requests: connection.seen.requests + 1 };
        }
    }

    fn answer_struck(
        &mut self,
        now: Moment,
        (id, client): (ConnectionId, Client<'_>),
        struck: Struck,
    ) -> Result<Served, CloseReason> {
        let Struck { api, head, body, parts, strike } = struck;
        let Strike { delay, ending, ref refused, .. } = strike;
        if ending == Some(Ending::CloseBefore) {
            return Err(CloseReason::Fault);
        }
        let refusal = Refusal::of(api).expect("what is struck is served");
        let told = told(&parts, refused);
        let is_left_out = |refused: &Option<Refused>| match refused {
            Some(refused) => !(refused.executed && refusal.changes_something()),
            None => false,
        };
        let left_out: Vec<bool> = refused.iter().map(is_left_out).collect();
        let is_nothing_left = parts.is_empty() && left_out.contains(&true) && refusal.changes_something();
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.aftermath = Some(Aftermath { api, head, delay, ending, told, held: None });
        }
        if is_nothing_left {
            let answer = Answer::Frame(refusal.tell(head, None, &[])?);
            return Ok(Served { answer, throttle: head.throttle });
        }
        let body = match left_out.contains(&true) {
            true => refusal.leave_out(body, head.version, &left_out)?,
            false => body,
        };
        self.answer(now, client, (api, head), body)
    }

    /// There is no answer to acks=0: a late one is a connection that is muted meanwhile.
    fn stay_silent(&mut self, now: Moment, id: ConnectionId) {
        let aftermath = self.connections.get_mut(&id).and_then(|connection| connection.aftermath.take());
        match aftermath {
            None => self.end_turn(now, id),
            Some(mut aftermath) => match aftermath.delay.take() {
                Some(delay) => self.hold(now, id, aftermath, (delay, None)),
                None => self.end_silently(now, id, &aftermath),
            },
        }
    }

    /// There is no answer to acks=0, so an error can only close the connection.
    fn end_silently(&mut self, now: Moment, id: ConnectionId, aftermath: &Aftermath) {
        match (aftermath.ending, aftermath.told.first()) {
            (Some(Ending::LoseAnswer), _) => self.lose(id),
            (Some(_), _) => self.close(id, CloseReason::Fault),
            (None, Some((_, refused))) => self.close(id, CloseReason::SilentProduceRefused(refused.code)),
            (None, None) => self.end_turn(now, id),
        }
    }

    /// Hands out an answer, as the request's faults want it.
    pub(crate) fn respond(&mut self, now: Moment, id: ConnectionId, frame: Bytes) {
        let aftermath = self.connections.get_mut(&id).and_then(|connection| connection.aftermath.take());
        let Some(mut aftermath) = aftermath else { return self.post(id, frame) };
        let told = std::mem::take(&mut aftermath.told);
        let frame = match Refusal::of(aftermath.api).filter(|_| !told.is_empty()) {
            Some(refusal) => refusal.tell(aftermath.head, Some(frame), &told),
            None => Ok(frame),
        };
        match (frame, aftermath.delay.take()) {
            (Err(reason), _) => self.close(id, reason),
            (Ok(frame), None) => self.end(id, aftermath.ending, frame),
            (Ok(frame), Some(delay)) => self.hold(now, id, aftermath, (delay, Some(frame))),
        }
    }

    fn hold(&mut self, now: Moment, id: ConnectionId, aftermath: Aftermath, (delay, answer): (Delay, Option<Bytes>)) {
        let Delay { fault, time } = delay;
        let until = now.elapsed.saturating_add(time);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.aftermath = Some(Aftermath { held: Some(Held { fault, until, answer }), ..aftermath });
            connection.turn = Turn::Held;
            self.timers.set(until, crate::timers::Timer::Answer(id));
        }
    }

    /// Hands out an answer that was held back, if it is time and the node is awake.
    pub(crate) fn release(&mut self, now: Moment, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if !self.nodes.state(connection.node).works() {
            return;
        }
        let is_due = |aftermath: &mut Aftermath| aftermath.held.as_ref().is_some_and(|held| held.until <= now.elapsed);
        let Some(mut aftermath) = connection.aftermath.take_if(is_due) else { return };
        match aftermath.held.take().and_then(|held| held.answer) {
            Some(frame) => self.end(id, aftermath.ending, frame),
            None => self.end_silently(now, id, &aftermath),
        }
        // Whose client is gone has more to execute, and takes no answer; nor does who sent acks=0.
        self.serve_waiting(now, id);
    }

    /// A fault is gone, or all are if none is named: what it holds goes out, and what it would have held is not held.
    pub(crate) fn hold_no_more(&mut self, now: Moment, gone: Option<FaultId>) {
        let is_gone = |fault: FaultId| gone.is_none_or(|gone| gone == fault);
        let mut freed = Vec::new();
        for (id, connection) in &mut self.connections {
            let Some(aftermath) = &mut connection.aftermath else { continue };
            aftermath.delay.take_if(|delay| is_gone(delay.fault));
            if let Some(held) = aftermath.held.as_mut().filter(|held| is_gone(held.fault)) {
                held.until = now.elapsed;
                freed.push(*id);
            }
        }
        for id in freed {
            self.release(now, id);
        }
    }

    fn end(&mut self, id: ConnectionId, ending: Option<Ending>, frame: Bytes) {
        match ending {
            None => self.post(id, frame),
            Some(Ending::LoseAnswer) => self.lose(id),
            Some(Ending::Cut(bytes)) if bytes > 0 => {
                self.post(id, frame.slice(..bytes.min(frame.len())));
                self.close(id, CloseReason::Fault);
            }
            Some(Ending::Cut(_) | Ending::CloseBefore | Ending::CloseAfter) => self.close(id, CloseReason::Fault),
        }
    }

    /// Nothing of this connection is served any more.
    fn lose(&mut self, id: ConnectionId) {
        self.turn(id, Turn::Lost);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.waiting.clear();
        }
    }
}

/// What the answer says of which part; nothing of none for a request that is answered as a whole.
fn told(parts: &[Part], refused: &[Option<Refused>]) -> Vec<Told> {
    let told = refused.iter().enumerate().filter_map(|(at, refused)| Some((parts.get(at).cloned(), (*refused)?)));
    told.collect()
}
