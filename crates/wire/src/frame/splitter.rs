//! Cuts a stream of bytes into frames.
//!
//! Memory follows what has arrived, never what a length claims: a peer that announces a hundred megabytes and sends
//! ten bytes costs one read buffer. Frames are slices of that buffer.

use std::fmt;

use bytes::{Bytes, BytesMut};

/// The longest frame by default: what a broker's `socket.request.max.bytes` allows.
///
/// ```
/// use milena_wire::frame::{FRAME_BYTES_MAX, FrameSplitter};
/// let splitter = FrameSplitter::new(FRAME_BYTES_MAX);
/// # let _ = splitter;
/// ```
pub const FRAME_BYTES_MAX: usize = 104_857_600;

/// The bytes that have arrived and do not make a frame yet.
///
/// ```
/// use milena_wire::frame::FrameSplitter;
///
/// let mut splitter = FrameSplitter::new(1024);
/// splitter.push(&[0, 0, 0, 2, 7]);
/// assert_eq!(splitter.next_frame()?, None, "a byte is missing");
/// // A socket reads into it, and nothing is copied.
/// splitter.read_buffer().extend_from_slice(&[8]);
/// assert_eq!(splitter.next_frame()?.as_deref(), Some([7, 8].as_slice()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct FrameSplitter {
    arrived: BytesMut,
    frame_bytes_max: usize,
}

impl FrameSplitter {
    /// A splitter that refuses frames longer than this.
    pub fn new(frame_bytes_max: usize) -> Self {
        Self { arrived: BytesMut::new(), frame_bytes_max }
    }

    /// Where the socket's next bytes go, with room for a read of useful size.
    pub fn read_buffer(&mut self) -> &mut BytesMut {
        // A frame that is partly here gets room for as much again, so that a long one needs few reads and few moves. What
        // is left of the last room is used up first: frames that are still held make each new room an allocation.
        let room = self.arrived.len().clamp(READ_BYTES_MIN, READ_BYTES_MAX);
        if self.arrived.capacity() - self.arrived.len() < room / 4 {
            self.arrived.reserve(room);
        }
        &mut self.arrived
    }

    /// Takes bytes that were read elsewhere.
    pub fn push(&mut self, bytes: &[u8]) {
        self.arrived.extend_from_slice(bytes);
    }

    /// The next whole frame, without its length. After an error the stream has no more frames: close it.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, FrameTooLong> {
        let Some(stated) = self.arrived.first_chunk().copied().map(i32::from_be_bytes) else { return Ok(None) };
        let limit = self.frame_bytes_max;
        let length = match usize::try_from(stated) {
            Ok(length) if length <= limit => length,
            _ => return Err(FrameTooLong { stated, limit }),
        };
        let end = LENGTH_BYTES + length;
        if self.arrived.len() < end {
            return Ok(None);
        }
        let mut frame = self.arrived.split_to(end);
        Ok(Some(frame.split_off(LENGTH_BYTES).freeze()))
    }
}

/// A peer states a frame length that is negative or above the limit; what follows cannot be read.
///
/// ```
/// use milena_wire::frame::FrameSplitter;
///
/// let mut splitter = FrameSplitter::new(1024);
/// splitter.push(b"HTTP/1.1 400 Bad Request");
/// let refused = splitter.next_frame().unwrap_err();
/// assert_eq!((refused.stated, refused.limit), (0x4854_5450, 1024));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameTooLong {
    /// The length as stated.
    pub stated: i32,
    /// The longest one that is accepted.
    pub limit: usize,
}

impl fmt::Display for FrameTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "peer states a frame of {} bytes, accepted are 0 to {}; not a Kafka peer?", self.stated, self.limit)
    }
}

impl std::error::Error for FrameTooLong {}

const LENGTH_BYTES: usize = 4;

/// Room for a read when little has arrived: many small frames at once.
const READ_BYTES_MIN: usize = 16 * 1024;

/// Room for a read inside a long frame.
const READ_BYTES_MAX: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_whole_however_the_bytes_arrive() {
        let stream = [0, 0, 0, 2, 7, 8, 0, 0, 0, 0, 0, 0, 0, 1, 9];
        for step in 1..=stream.len() {
            let mut splitter = FrameSplitter::new(10);
            let mut frames = Vec::new();
            for piece in stream.chunks(step) {
                splitter.push(piece);
                while let Some(frame) = splitter.next_frame().unwrap() {
                    frames.push(frame.to_vec());
                }
            }
            assert_eq!(frames, [vec![7, 8], vec![], vec![9]], "in pieces of {step}");
        }
    }

    #[test]
    fn a_frame_above_the_limit_is_refused_before_its_bytes_arrive() {
        let mut splitter = FrameSplitter::new(10);
        splitter.push(&[0, 0, 0, 11]);
        assert_eq!(splitter.next_frame(), Err(FrameTooLong { stated: 11, limit: 10 }));
        let mut splitter = FrameSplitter::new(10);
        splitter.push(&[255, 255, 255, 255]);
        assert_eq!(splitter.next_frame(), Err(FrameTooLong { stated: -1, limit: 10 }));
    }
}
