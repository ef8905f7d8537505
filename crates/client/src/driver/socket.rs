//! A socket as a task polls it: dialing, writing pieces in order, reading into the machine's buffer.
//!
//! Left out: what the bytes mean. Every byte that the kernel took is told, because "none, part or all of it written" is
//! what a request's fate may hang on (rule 12).

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use milena_core::fault::ConnectionError;
use milena_core::metadata::Address;
use milena_core::producer::body::ChunkSource;
use milena_core::producer::produce_request::Transmit;
use tokio::net::TcpStream;

use super::dial::connect;

/// Pieces in one vectored write; Linux takes 1024, and more than a few dozen save nothing.
const SLICES_MAX: usize = 64;

/// Asked of the buffer before every read: a response to a large request is some hundred bytes.
const READ_BYTES: usize = 16 * 1024;

#[derive(Default)]
pub(crate) enum Socket {
    #[default]
    Closed,
    Dialing(Pin<Box<dyn Future<Output = Result<TcpStream, ConnectionError>> + Send>>),
    Open(TcpStream),
}

impl Socket {
    pub(crate) fn dial(address: &Address, timeout: Duration) -> Self {
        let address = address.clone();
        Self::Dialing(Box::pin(async move { connect(&address, timeout).await }))
    }

    /// Ready once per dial.
    pub(crate) fn poll_connected(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        let Self::Dialing(dial) = self else { return Poll::Pending };
        let connected = ready!(dial.as_mut().poll(cx));
        Poll::Ready(connected.map(|stream| *self = Self::Open(stream)).inspect_err(|_| *self = Self::Closed))
    }

    /// Bytes taken by the kernel, from `skip` on.
    pub(crate) fn poll_write(&self, transmit: &Transmit, skip: usize, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Self::Open(stream) = self else { return Poll::Pending };
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let count = fill(&mut slices, transmit, skip);
        loop {
            ready!(stream.poll_write_ready(cx))?;
            match stream.try_write_vectored(&slices[..count]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    /// Bytes read into the buffer; 0 when the peer has closed.
    pub(crate) fn poll_read(&self, buffer: &mut BytesMut, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Self::Open(stream) = self else { return Poll::Pending };
        buffer.reserve(READ_BYTES);
        loop {
            ready!(stream.poll_read_ready(cx))?;
            match stream.try_read_buf(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read),
            }
        }
    }
}

fn fill<'a>(slices: &mut [IoSlice<'a>; SLICES_MAX], transmit: &'a Transmit, skip: usize) -> usize {
    let mut skip = skip;
    let mut count = 0;
    for slice in transmit.slices() {
        if skip >= slice.len() {
            skip -= slice.len();
            continue;
        }
        if count == SLICES_MAX {
            break;
        }
        slices[count] = IoSlice::new(&slice[skip..]);
        skip = 0;
        count += 1;
    }
    count
}

/// A request on its way into the socket.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    transmit: Option<Transmit>,
    written: usize,
}

impl Outgoing {
    pub(crate) fn is_idle(&self) -> bool {
        self.transmit.is_none()
    }

    pub(crate) fn start(&mut self, transmit: Transmit) {
        assert!(self.transmit.is_none(), "a request starts when the one before it is written");
        self.transmit = Some(transmit);
        self.written = 0;
    }

    /// Bytes taken by the kernel; pending when there is nothing to write or the socket takes nothing.
    pub(crate) fn poll_write(
        &mut self,
        socket: &Socket,
        chunks: &impl ChunkSource,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let Some(transmit) = &self.transmit else { return Poll::Pending };
        let written = ready!(socket.poll_write(transmit, self.written, cx))?;
        self.written += written;
        if self.written == transmit.len() {
            self.abandon(chunks);
        }
        Poll::Ready(Ok(written))
    }

    /// The rest is not written: its socket is gone. Batches that have ended meanwhile give their memory back here.
    pub(crate) fn abandon(&mut self, chunks: &impl ChunkSource) {
        if let Some(transmit) = self.transmit.take() {
            transmit.give_back(chunks);
        }
    }
}
