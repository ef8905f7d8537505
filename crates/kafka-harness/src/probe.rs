//! Asks a broker who is alive: one Metadata request, written by hand, because that is the moment at which clients may come.
//!
//! A broker opens its port before it serves requests, and serves requests before its registration is known everywhere;
//! only its own answer that lists the live brokers shows that it is part of the cluster.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The ids of the brokers that the one at `address` holds for alive, in ascending order.
pub fn live_brokers(address: SocketAddr, patience: Duration) -> io::Result<Vec<i32>> {
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    stream.write_all(&METADATA_REQUEST)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > RESPONSE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a metadata response of {length} bytes")));
    }
    let mut response = Vec::new();
    stream.take(u64::from(length)).read_to_end(&mut response)?;
    brokers(&response).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a metadata response cut short"))
}

/// Reads the broker list of a Metadata v1 response: correlation id, then per broker id, host, port, rack.
fn brokers(response: &[u8]) -> Option<Vec<i32>> {
    let mut rest = response;
    int32(&mut rest)?;
    let count = int32(&mut rest)?;
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(int32(&mut rest)?);
        string(&mut rest)?;
        int32(&mut rest)?;
        string(&mut rest)?;
    }
    ids.sort_unstable();
    Some(ids)
}

fn int32(rest: &mut &[u8]) -> Option<i32> {
    let (bytes, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(i32::from_be_bytes(*bytes))
}

/// Passes over a nullable string.
fn string(rest: &mut &[u8]) -> Option<()> {
    let (bytes, after) = rest.split_first_chunk()?;
    let length = usize::try_from(i16::from_be_bytes(*bytes)).unwrap_or(0);
    *rest = after.get(length..)?;
    Some(())
}

/// Length 14, Metadata (key 3) v1, correlation id 1, no client id, no topics.
const METADATA_REQUEST: [u8; 18] = [0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0];

/// Three brokers fit in a few hundred bytes; anything near this is not a broker.
const RESPONSE_BYTES_MAX: u32 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_BROKERS: &[u8] = b"\0\0\0\x01\0\0\0\x02\
        \0\0\0\x02\0\x09127.0.0.1\0\0\x4b\0\xff\xff\
        \0\0\0\x01\0\x09127.0.0.1\0\0\x4a\0\0\x01r\
        \0\0\0\x01\0\0\0\0";

    #[test]
    fn the_broker_list_is_read_in_order() {
        assert_eq!(brokers(TWO_BROKERS), Some(vec![1, 2]));
    }

    #[test]
    fn a_list_cut_anywhere_is_no_list() {
        let last_broker_ends = TWO_BROKERS.len() - 8;
        for end in 0..last_broker_ends {
            assert_eq!(brokers(&TWO_BROKERS[..end]), None, "cut at {end}");
        }
    }
}
