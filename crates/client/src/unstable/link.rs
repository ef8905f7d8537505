//! One connection to one broker: dialed, its versions told, one question at a time.
//!
//! Owns the socket and the clock of its [`Connection`]. After an error a link is of no more use: an answer may still be
//! on its way. Whoever holds links drops it (`cluster.rs`).

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use milena_core::connection::{Connection, ConnectionConfig, ConnectionError};
use milena_core::metadata::Address;
use milena_core::time::Moment;
use milena_wire::{EncodeError, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::driver::dial::{connect, lost};

pub(super) struct Link {
    stream: TcpStream,
    connection: Connection<()>,
    since: Instant,
}

/// Why a broker could not be asked.
#[derive(Debug)]
#[non_exhaustive]
pub enum LinkError {
    /// No connection was opened.
    Dial(ConnectionError),
    /// No connection, or no answer, in the time that was left.
    TimedOut,
    /// The connection was of no more use.
    Broken(ConnectionError),
    /// A request cannot be written in the version that both sides speak.
    Encode(EncodeError),
}

impl LinkError {
    /// Whether another attempt may go better.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Dial(error) | Self::Broken(error) => error.is_retriable(),
            Self::TimedOut => true,
            Self::Encode(_) => false,
        }
    }
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dial(error) | Self::Broken(error) => error.fmt(f),
            Self::TimedOut => f.write_str("no answer in time: the broker hangs, or the port is no broker's"),
            Self::Encode(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for LinkError {}

impl Link {
    /// Dials and learns the broker's versions.
    pub(super) async fn open(address: &Address, client_id: Arc<str>, until: Instant) -> Result<Self, LinkError> {
        let until = until.min(Instant::now() + REQUEST_TIMEOUT);
        within(until, Self::dial(address, client_id)).await
    }

    async fn dial(address: &Address, client_id: Arc<str>) -> Result<Self, LinkError> {
        let stream = connect(address, REQUEST_TIMEOUT).await.map_err(LinkError::Dial)?;
        let connection = Connection::new(ConnectionConfig::new(client_id, REQUEST_TIMEOUT), Moment::START);
        let mut link = Self { stream, connection, since: Instant::now() };
        if let Some(handshake) = link.connection.poll_handshake() {
            link.write(&handshake).await?;
        }
        while !link.connection.is_ready() {
            link.read().await?;
            // A broker that lacks the version says so, and is asked again in version 0.
            if let Some(again) = link.connection.poll_handshake() {
                link.write(&again).await?;
            }
        }
        Ok(link)
    }

    /// The newest version of an API that both sides speak.
    pub(super) fn version_of<R: Request>(&self) -> Result<i16, LinkError> {
        self.connection.version_of::<R>().map_err(LinkError::Broken)
    }

    /// Asks, and waits for the answer.
    pub(super) async fn ask<R: Request>(
        &mut self,
        version: i16,
        request: &R,
        until: Instant,
    ) -> Result<R::Response, LinkError> {
        let until = until.min(Instant::now() + REQUEST_TIMEOUT);
        within(until, self.exchange(version, request)).await
    }

    async fn exchange<R: Request>(&mut self, version: i16, request: &R) -> Result<R::Response, LinkError> {
        let frame = self.connection.encode(version, request).map_err(LinkError::Encode)?;
        let now = self.now();
        self.connection.register(now, R::KEY, version, frame.len(), ());
        self.write(&frame).await?;
        loop {
            if let Some(answer) = self.connection.poll_answer() {
                return answer.decode::<R>().map_err(LinkError::Broken);
            }
            self.read().await?;
        }
    }

    async fn write(&mut self, frame: &[u8]) -> Result<(), LinkError> {
        self.stream.write_all(frame).await.map_err(|error| self.broken(lost(&error)))?;
        self.connection.handle_written(frame.len());
        Ok(())
    }

    async fn read(&mut self) -> Result<(), LinkError> {
        let read = self.stream.read_buf(self.connection.read_buffer()).await;
        match read {
            Ok(0) => Err(self.broken(ConnectionError::Closed)),
            Ok(_) => {
                let now = self.now();
                self.connection.handle_read(now).map_err(LinkError::Broken)
            }
            Err(error) => Err(self.broken(lost(&error))),
        }
    }

    fn broken(&self, error: ConnectionError) -> LinkError {
        LinkError::Broken(self.connection.explain(error))
    }

    fn now(&self) -> Moment {
        Moment::START + self.since.elapsed()
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("stream", &self.stream).finish_non_exhaustive()
    }
}

async fn within<T>(until: Instant, work: impl Future<Output = Result<T, LinkError>>) -> Result<T, LinkError> {
    tokio::time::timeout_at(until.into(), work).await.unwrap_or(Err(LinkError::TimedOut))
}

/// One silent broker must not use up the whole deadline where others could be asked.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
