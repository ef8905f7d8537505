//! One of the two brokers, as a client sees it: a connection, what is sent, what comes.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bytes::Bytes;
use milena_wire::messages::api_versions::request::ApiVersionsRequest;

use crate::asked::{Answer, Asked};
use crate::compare::Seen;
use crate::names::Names;
use crate::sequence::{FrameDamage, Step};

/// A connection to a broker, and what its ids are called.
#[derive(Debug)]
pub struct Side {
    pub names: Names,
    address: SocketAddr,
    /// None until something is sent, and after the broker closed it.
    stream: Option<TcpStream>,
    sent: i32,
}

impl Side {
    pub fn new(address: SocketAddr, names: Names) -> Side {
        Side { names, address, stream: None, sent: 0 }
    }

    /// A restarted broker knows no connection of before.
    pub fn disconnect(&mut self) {
        self.stream = None;
    }

    /// Sends a request with this side's ids. Says under which number its answer comes.
    pub fn send(&mut self, step: &Step) -> io::Result<i32> {
        self.sent += 1;
        let asked = self.names.real(&step.asked);
        let frame = asked.frame(self.sent, step.version);
        let mut frame = frame.unwrap_or_else(|error| panic!("{} v{}: {error}: {asked:?}", asked.api(), step.version));
        if let Some(cut) = step.cut {
            damage(&mut frame, cut);
        }
        let number = self.sent;
        if step.is_silent() {
            // Whether the connection lives shows in the next answer.
            self.sent += 1;
            let probe = Asked::from(ApiVersionsRequest::default()).frame(self.sent, 0);
            frame.extend(probe.expect("the oldest version has no fields"));
        }
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let stream = TcpStream::connect(self.address)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                none.insert(stream)
            }
        };
        // A broker that closes early is seen when its answer is read.
        let _closed_early = stream.write_all(&frame);
        Ok(number)
    }

    /// What came of the request of this number.
    pub fn receive(&mut self, number: i32) -> Seen {
        let seen = self.read_frame().map(|frame| match correlation_id(&frame) == Some(number) {
            true => Seen::Answer(frame),
            false => Seen::Nothing,
        });
        match seen {
            Ok(seen) => {
                if matches!(seen, Seen::Answer(_)) && number != self.sent {
                    // The answer of what nobody expected an answer to; the probe's follows.
                    let _probe = self.read_frame();
                }
                seen
            }
            Err(error) => {
                self.disconnect();
                match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => Seen::Silence,
                    _ => Seen::Closed,
                }
            }
        }
    }

    /// Asks something for its own sake, with the ids as they are.
    pub fn ask(&mut self, version: i16, asked: impl Into<Asked>) -> io::Result<Answer> {
        let step = Step::plain(version, asked.into());
        let number = self.send(&step)?;
        match self.receive(number) {
            Seen::Answer(frame) => {
                step.asked.read_answer(frame, version).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
            }
            seen => Err(io::Error::other(format!("{}: {seen:?}", step.asked.api()))),
        }
    }

    /// Asks again until the answer is as it should be: what happens inside a broker can only be asked for.
    pub fn await_answer(
        &mut self,
        version: i16,
        asked: impl Into<Asked>,
        enough: impl Fn(&Answer) -> bool,
    ) -> io::Result<Answer> {
        let asked = asked.into();
        let deadline = Instant::now() + PATIENCE;
        let mut pause = PAUSE;
        loop {
            let answer = self.ask(version, asked.clone())?;
            if enough(&answer) {
                return Ok(answer);
            }
            if Instant::now() >= deadline {
                return Err(io::Error::new(ErrorKind::TimedOut, format!("not as awaited: {asked:?}: {answer:?}")));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn read_frame(&mut self) -> io::Result<Bytes> {
        let stream = self.stream.as_mut().ok_or(ErrorKind::NotConnected)?;
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let length = usize::try_from(i32::from_be_bytes(length)).map_err(|_| ErrorKind::InvalidData)?;
        if length > ANSWER_BYTES_MAX {
            return Err(ErrorKind::InvalidData.into());
        }
        let mut frame = vec![0; length];
        stream.read_exact(&mut frame)?;
        Ok(Bytes::from(frame))
    }
}

fn damage(frame: &mut Vec<u8>, cut: FrameDamage) {
    match cut {
        FrameDamage::Shorter(bytes) => frame.truncate(frame.len().saturating_sub(bytes).max(SHORTEST_FRAME)),
        FrameDamage::Longer(bytes) => frame.extend(vec![0; bytes]),
        FrameDamage::Version(version) => frame[6..8].copy_from_slice(&version.to_be_bytes()),
        FrameDamage::Key(key) => frame[4..6].copy_from_slice(&key.to_be_bytes()),
    }
    let length = i32::try_from(frame.len() - 4).expect("requests are short");
    frame[..4].copy_from_slice(&length.to_be_bytes());
}

fn correlation_id(frame: &Bytes) -> Option<i32> {
    frame.first_chunk().map(|bytes| i32::from_be_bytes(*bytes))
}

/// Longer than anything takes that is asked here.
const PATIENCE: Duration = Duration::from_secs(20);
/// What is waited for takes a few milliseconds, and some of it is much to ask for.
const PAUSE: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(16);
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// A length, an API key, a version, a number.
const SHORTEST_FRAME: usize = 12;
