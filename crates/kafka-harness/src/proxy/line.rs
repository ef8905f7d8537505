//! One direction of a connection: the frames that were read and not yet passed on.
//!
//! A reading thread puts in, a writing thread takes out. Usually a little is read ahead, so that a receiver that does not read
//! is felt by the sender; while frames are held a sender is heard without limit, or not at all.

use super::rule::Pause;
use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Between two threads.
#[derive(Debug, Default)]
pub struct Line {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Vec<u8>>,
    bytes: usize,
    /// How much the reading thread may take in.
    room: Room,
    /// Nothing more comes from the sender.
    has_ended: bool,
    /// Nothing more shall pass.
    is_cut: bool,
    /// Counts the releases.
    releases: u64,
}

/// For what is read ahead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Room {
    #[default]
    Little,
    Without,
    /// As much as memory reasonably has.
    Plenty,
}

/// How a hold ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Its time was over, or it was released.
    InOrder,
    /// The connection was cut.
    Cut,
}

impl Room {
    fn bytes_max(self) -> usize {
        match self {
            Self::Without => 0,
            Self::Little => 64 << 10,
            Self::Plenty => 256 << 20,
        }
    }
}

impl Line {
    /// Waits for room before anything is read; whether reading shall go on.
    pub fn await_room(&self) -> bool {
        !self.wait_while(|state| state.bytes >= state.room.bytes_max() && !state.is_cut).is_cut
    }

    pub fn put(&self, frame: Vec<u8>) {
        let mut state = self.lock();
        state.bytes += frame.len();
        state.frames.push_back(frame);
        drop(state);
        self.changed.notify_all();
    }

    /// Nothing more comes.
    pub fn end(&self) {
        self.lock().has_ended = true;
        self.changed.notify_all();
    }

    /// Nothing more passes, and nobody waits any more.
    pub fn cut(&self) {
        self.lock().is_cut = true;
        self.changed.notify_all();
    }

    /// Ends the holds that were decided on before.
    pub fn release(&self) {
        self.lock().releases += 1;
        self.changed.notify_all();
    }

    /// How many there were; a hold must know it from before it was decided on.
    pub fn releases(&self) -> u64 {
        self.lock().releases
    }

    /// The next frame; `None` when nothing more comes or passes.
    pub fn take(&self) -> Option<Vec<u8>> {
        let mut state = self.wait_while(|state| state.frames.is_empty() && !state.has_ended && !state.is_cut);
        if state.is_cut {
            return None;
        }
        let frame = state.frames.pop_front()?;
        state.bytes -= frame.len();
        drop(state);
        self.changed.notify_all();
        Some(frame)
    }

    /// Waits as long as a frame is held; how it went on, and whether its sender has left meanwhile.
    pub fn hold(&self, pause: Pause, room: Room, releases: u64) -> (Over, bool) {
        let mut state = self.lock();
        state.room = room;
        self.changed.notify_all();
        let is_held = |state: &mut State| state.releases == releases && !state.is_cut;
        let mut state = match pause {
            Pause::UntilReleased => self.changed.wait_while(state, is_held).unwrap_or_else(PoisonError::into_inner),
            Pause::For(time) => {
                self.changed.wait_timeout_while(state, time, is_held).unwrap_or_else(PoisonError::into_inner).0
            }
        };
        state.room = Room::default();
        let ended = (if state.is_cut { Over::Cut } else { Over::InOrder }, state.has_ended);
        drop(state);
        self.changed.notify_all();
        ended
    }

    fn wait_while(&self, is_so: impl FnMut(&mut State) -> bool) -> MutexGuard<'_, State> {
        self.changed.wait_while(self.lock(), is_so).unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A frame with its length, or what came of one before the stream ended; `None` at the end.
pub fn read_frame(mut stream: impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut frame = Vec::new();
    take_up_to(&mut stream, LENGTH_BYTES, &mut frame)?;
    if let Some(length) = frame.first_chunk() {
        let length = u32::from_be_bytes(*length) as usize;
        if length > FRAME_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {length} bytes")));
        }
        take_up_to(&mut stream, length, &mut frame)?;
    }
    Ok((!frame.is_empty()).then_some(frame))
}

/// A connection that is reset in the middle has sent what has come.
fn take_up_to(stream: &mut impl Read, count: usize, frame: &mut Vec<u8>) -> io::Result<()> {
    let before = frame.len();
    match stream.take(count as u64).read_to_end(frame) {
        Err(error) if before == 0 && frame.is_empty() => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

pub const LENGTH_BYTES: usize = 4;

/// Kafka's own limit, `socket.request.max.bytes`.
const FRAME_BYTES_MAX: usize = 100 << 20;
