//! One request to a broker and its answer, written by hand: the harness uses no client that it could share a mistake with.
//!
//! In versions that every broker from 3.9 to 4.3 speaks; in the old encodings of fixed lengths where there are such.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Where a request is handed in.
#[derive(Clone, Copy, Debug)]
pub struct Door {
    pub address: SocketAddr,
    /// Whether only those come in who say who they are; we are the [`USER`] then.
    pub is_guarded: bool,
}

/// A request that is being written.
pub struct Request {
    bytes: Vec<u8>,
    /// Whether header and body are in the encodings with tagged fields.
    is_flexible: bool,
}

impl Request {
    /// Starts with the header: correlation id 1, no client id.
    pub fn new(api_key: i16, version: i16) -> Self {
        let mut request = Self { bytes: vec![0; LENGTH_BYTES], is_flexible: false };
        request.int16(api_key).int16(version).int32(CORRELATION_ID).int16(-1);
        request
    }

    /// The same for a version with tagged fields.
    pub fn flexible(api_key: i16, version: i16) -> Self {
        let mut request = Self::new(api_key, version);
        request.is_flexible = true;
        request.no_tags();
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

    /// A string in a version with tagged fields.
    pub fn compact_string(&mut self, text: &str) -> &mut Self {
        self.compact_count(text.len());
        self.bytes.extend(text.as_bytes());
        self
    }

    /// The length of an array in a version with tagged fields.
    pub fn compact_count(&mut self, count: usize) -> &mut Self {
        self.int8(i8::try_from(count + 1).expect("what we send is short"))
    }

    /// Where tagged fields could be.
    pub fn no_tags(&mut self) -> &mut Self {
        self.int8(0)
    }

    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend(bytes);
        self
    }

    /// Sends the request on a connection of its own and gives the answer's body. Each step has `patience`.
    pub fn exchange(self, door: Door, patience: Duration) -> io::Result<Vec<u8>> {
        let stream = TcpStream::connect_timeout(&door.address, patience)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        if door.is_guarded {
            log_in(&stream)?;
        }
        self.exchange_on(&stream)
    }

    fn exchange_on(mut self, mut stream: &TcpStream) -> io::Result<Vec<u8>> {
        let length = u32::try_from(self.bytes.len() - LENGTH_BYTES).expect("requests are short");
        self.bytes[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
        stream.write_all(&self.bytes)?;
        let mut length = [0; LENGTH_BYTES];
        stream.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length);
        if length > ANSWER_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("an answer of {length} bytes")));
        }
        let mut answer = vec![0; length as usize];
        stream.read_exact(&mut answer)?;
        let mut rest = Answer(&answer);
        rest.int32().filter(|id| *id == CORRELATION_ID).ok_or_else(cut_short)?;
        if self.is_flexible {
            rest.tags().ok_or_else(cut_short)?;
        }
        let body = rest.0.len();
        Ok(answer.split_off(answer.len() - body))
    }
}

/// SASL/PLAIN: SaslHandshake v1, then SaslAuthenticate v1.
fn log_in(stream: &TcpStream) -> io::Result<()> {
    let mut handshake = Request::new(17, 1);
    handshake.string("PLAIN");
    let token = format!("\0{USER}\0{PASSWORD}");
    let mut authenticate = Request::new(36, 1);
    authenticate.count(token.len()).bytes(token.as_bytes());
    for step in [handshake, authenticate] {
        let answer = step.exchange_on(stream)?;
        match Answer(&answer).int16().ok_or_else(cut_short)? {
            0 => {}
            code => return Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("SASL: error {code}"))),
        }
    }
    Ok(())
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

    /// A string in a version with tagged fields; empty when null.
    pub fn compact_string(&mut self) -> Option<&'a str> {
        let length = (self.varint()? as usize).saturating_sub(1);
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        str::from_utf8(text).ok()
    }

    /// As many elements as the array says, in a version with tagged fields; each reads its own tags.
    pub fn compact_each<T>(&mut self, mut element: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.varint()?.saturating_sub(1);
        (0..count).map(|_| element(self)).collect()
    }

    pub fn tags(&mut self) -> Option<()> {
        for _ in 0..self.varint()? {
            let (_tag, length) = (self.varint()?, self.varint()? as usize);
            self.0 = self.0.get(length..)?;
        }
        Some(())
    }

    pub fn varint(&mut self) -> Option<u32> {
        let mut value = 0;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array::<1>()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// As many elements as the array says.
    pub fn each<T>(&mut self, mut element: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.int32()?;
        (0..count).map(|_| element(self)).collect()
    }

    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }
}

pub fn cut_short() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "an answer cut short")
}

const LENGTH_BYTES: usize = 4;
const CORRELATION_ID: i32 = 1;

/// Who the harness is to nodes that ask; may do everything there.
pub const USER: &str = "harness";
pub const PASSWORD: &str = "harness";

/// Answers of a few brokers and topics have some kilobytes; anything near this is not a broker.
const ANSWER_BYTES_MAX: u32 = 1 << 20;
