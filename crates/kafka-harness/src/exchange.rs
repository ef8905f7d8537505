//! One request to a broker and its answer, written by hand: the harness uses no client that it could share a mistake with.
//!
//! Only in the old encodings of fixed lengths, in versions that every broker from 3.9 to 4.3 speaks.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A request that is being written.
pub struct Request {
    bytes: Vec<u8>,
}

impl Request {
    /// Starts with the header: correlation id 1, no client id.
    pub fn new(api_key: i16, version: i16) -> Self {
        let mut request = Self { bytes: vec![0; LENGTH_BYTES] };
        request.int16(api_key).int16(version).int32(1).int16(-1);
        request
    }

    pub fn int8(&mut self, value: i8) -> &mut Self {
        self.bytes.extend(value.to_be_bytes());
        self
    }

    pub fn int16(&mut self, value: i16) -> &mut Self {
        self.bytes.extend(value.to_be_bytes());
        self
    }

    pub fn int32(&mut self, value: i32) -> &mut Self {
        self.bytes.extend(value.to_be_bytes());
        self
    }

    pub fn string(&mut self, text: &str) -> &mut Self {
        self.int16(i16::try_from(text.len()).expect("names are short"));
        self.bytes.extend(text.as_bytes());
        self
    }

    /// The length of an array; its elements follow.
    pub fn count(&mut self, count: usize) -> &mut Self {
        self.int32(i32::try_from(count).expect("arrays are short"))
    }

    /// Sends the request on a connection of its own and gives the answer's body. Each step has `patience`.
    pub fn exchange(mut self, address: SocketAddr, patience: Duration) -> io::Result<Vec<u8>> {
        let length = u32::try_from(self.bytes.len() - LENGTH_BYTES).expect("requests are short");
        self.bytes[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
        let mut stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        stream.write_all(&self.bytes)?;
        let mut length = [0; LENGTH_BYTES];
        stream.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length);
        if length > ANSWER_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("an answer of {length} bytes")));
        }
        let mut answer = vec![0; length as usize];
        stream.read_exact(&mut answer)?;
        if answer.len() < CORRELATION_ID_BYTES {
            return Err(cut_short());
        }
        Ok(answer.split_off(CORRELATION_ID_BYTES))
    }
}

/// The rest of an answer's body; `None` where it ends early.
pub struct Answer<'a>(pub &'a [u8]);

impl<'a> Answer<'a> {
    pub fn int8(&mut self) -> Option<i8> {
        self.array().map(i8::from_be_bytes)
    }

    pub fn int16(&mut self) -> Option<i16> {
        self.array().map(i16::from_be_bytes)
    }

    pub fn int32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }

    /// A string; empty when null.
    pub fn string(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.int16()?).unwrap_or(0);
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        str::from_utf8(text).ok()
    }

    /// As many elements as the array says.
    pub fn each<T>(&mut self, mut element: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.int32()?;
        (0..count).map(|_| element(self)).collect()
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }
}

pub fn cut_short() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "an answer cut short")
}

const LENGTH_BYTES: usize = 4;
const CORRELATION_ID_BYTES: usize = 4;

/// Answers of a few brokers and topics have some kilobytes; anything near this is not a broker.
const ANSWER_BYTES_MAX: u32 = 1 << 20;
