//! A connection of a client, and the one to the node that it leads to: four threads, two for each direction.
//!
//! Outlives its client where requests of it are still to be delivered, and its node where answers of it are.

use super::line::{LENGTH_BYTES, Line, Over, Room, read_frame};
use super::request::Request;
use super::rule::{Blow, End, Sender, Then, Way};
use super::{Ending, Shared};
use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Both ends, and what is between them.
#[derive(Debug)]
pub struct Connection {
    /// Counted from 0, for each proxy.
    pub number: u64,
    client: TcpStream,
    node: TcpStream,
    requests: Line,
    answers: Line,
    /// Of the two passing threads; the connection is over with the second one.
    threads_ended: AtomicU32,
    /// Requests whose answers have not come, in the order in which they were sent.
    unanswered: Mutex<VecDeque<Request>>,
}

impl Connection {
    pub fn new(number: u64, client: TcpStream, node: TcpStream) -> io::Result<Self> {
        client.set_nodelay(true)?;
        node.set_nodelay(true)?;
        let (requests, answers) = (Line::default(), Line::default());
        let (threads_ended, unanswered) = (AtomicU32::new(0), Mutex::default());
        Ok(Self { number, client, node, requests, answers, threads_ended, unanswered })
    }

    /// Starts the threads.
    pub fn serve(self: &Arc<Self>, shared: &Arc<Shared>) {
        let reading = Arc::clone(self);
        std::thread::spawn(move || read(&reading.client, &reading.requests));
        let reading = Arc::clone(self);
        std::thread::spawn(move || read(&reading.node, &reading.answers));
        for pass in [Self::pass_requests, Self::pass_answers] {
            let (passing, shared) = (Arc::clone(self), Arc::clone(shared));
            std::thread::spawn(move || {
                pass(&passing, &shared);
                if passing.threads_ended.fetch_add(1, Ordering::Relaxed) == 1 {
                    shared.forget(&passing);
                }
            });
        }
    }

    /// Closes both ends; what has not passed never will.
    pub fn cut(&self) {
        self.requests.cut();
        self.answers.cut();
        // The other side may have closed it already.
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.node.shutdown(Shutdown::Both);
    }

    /// Ends the holds that wait for it.
    pub fn release(&self) {
        self.requests.release();
        self.answers.release();
    }

    fn pass_requests(&self, shared: &Shared) {
        while let Some(frame) = self.requests.take() {
            let releases = self.requests.releases();
            let request = frame.get(LENGTH_BYTES..).and_then(Request::read);
            let blow = request.as_ref().and_then(|request| shared.strike(Way::Request, request, frame.len()));
            if let Some(request) = request.clone().filter(|request| request.is_answered) {
                self.lock_unanswered().push_back(request);
            }
            let passed = match (blow, &request) {
                (Some(blow), Some(request)) => {
                    self.suffer(Struck { way: Way::Request, frame: &frame, request, blow, releases }, shared)
                }
                _ => (&self.node).write_all(&frame).is_ok(),
            };
            if !passed {
                break;
            }
        }
        // The client has sent its last, and the node shall see it after what came before.
        let _ = self.node.shutdown(Shutdown::Write);
    }

    fn pass_answers(&self, shared: &Shared) {
        let mut is_heard = true;
        while let Some(frame) = self.answers.take() {
            let releases = self.answers.releases();
            let request = self.asked(&frame);
            let blow = request.as_ref().and_then(|request| shared.strike(Way::Answer, request, frame.len()));
            is_heard = match (blow, &request) {
                (Some(blow), Some(request)) => {
                    self.suffer(Struck { way: Way::Answer, frame: &frame, request, blow, releases }, shared)
                }
                _ => is_heard && (&self.client).write_all(&frame).is_ok(),
            };
        }
        let _ = self.client.shutdown(Shutdown::Write);
    }

    /// Does to a frame what was decided; whether the receiver still takes bytes.
    fn suffer(&self, struck: Struck<'_>, shared: &Shared) -> bool {
        let Struck { way, frame, request, blow, releases } = struck;
        let (line, from, mut to) = match way {
            Way::Request => (&self.requests, &self.client, &self.node),
            Way::Answer => (&self.answers, &self.node, &self.client),
        };
        let (passes, rest) = frame.split_at(blow.passes);
        let deed = shared.note(self.number, way, request, blow, frame.len());
        let mut is_heard = to.write_all(passes).is_ok();
        let (end, sender_left) = match blow.then {
            Then::Cut => (End::Cut, false),
            Then::Hold { pause, sender, end } => {
                if sender == Sender::Dismissed {
                    // Its bytes can still be read, until it closes in turn.
                    let _ = from.shutdown(Shutdown::Write);
                }
                let room = if sender == Sender::Unheard { Room::Without } else { Room::Plenty };
                match line.hold(pause, room, releases) {
                    (Over::InOrder, sender_left) => (end, sender_left),
                    (Over::Cut, sender_left) => (End::Cut, sender_left),
                }
            }
        };
        match end {
            End::Cut => self.cut(),
            End::Delivered => is_heard = is_heard && to.write_all(rest).is_ok(),
        }
        let ending = match end {
            End::Cut => Ending::Cut,
            End::Delivered if is_heard => Ending::Delivered,
            End::Delivered => Ending::Unheard,
        };
        shared.note_end(deed, ending, sender_left);
        ending == Ending::Delivered
    }

    /// The request of an answer, by its correlation id. Requests before it will have no answer any more.
    fn asked(&self, answer: &[u8]) -> Option<Request> {
        let id = i32::from_be_bytes(*answer.get(LENGTH_BYTES..)?.first_chunk()?);
        let mut unanswered = self.lock_unanswered();
        let place = unanswered.iter().position(|request| request.correlation_id == id)?;
        unanswered.drain(..=place).next_back()
    }

    fn lock_unanswered(&self) -> MutexGuard<'_, VecDeque<Request>> {
        self.unanswered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A frame to which something happens.
#[derive(Clone, Copy)]
struct Struck<'a> {
    way: Way,
    frame: &'a [u8],
    /// Itself, or the one that it answers.
    request: &'a Request,
    blow: Blow,
    /// Of the line, from before the blow.
    releases: u64,
}

fn read(stream: &TcpStream, line: &Line) {
    while line.await_room() {
        match read_frame(stream) {
            Ok(Some(frame)) => line.put(frame),
            Ok(None) | Err(_) => break,
        }
    }
    line.end();
}
