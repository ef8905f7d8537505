//! The admin port: the owner's actions for programs in other languages, as JSON over HTTP, and a page for people.
//!
//! It lives on the broker's thread, beside the nodes' listeners, so what is asked has taken effect when it is answered. One request per
//! connection; heads, bodies, time and connections are bounded. Only programs of the same machine's owner are meant: requests that a
//! foreign page makes in somebody's browser are refused by their `Host` and `Origin` ([`http::Request::is_foreign`]).
//!
//! Reading and writing HTTP is in `admin/http.rs`, what can be asked in `admin/routes.rs`, how it looks in JSON in `admin/views.rs`.

mod http;
mod orders;
mod routes;
mod views;

use std::cell::Cell;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use self::http::{Parsed, Reply, Request};
use super::serving::{Either, Server, either};

/// The port, before the thread runs.
#[derive(Debug)]
pub(super) struct Admin {
    pub(super) listener: StdListener,
    /// The host as its owner named it, which requests may name too.
    pub(super) host: String,
    /// What clients of the nodes are told.
    pub(super) bootstrap: String,
}

impl Admin {
    pub(super) fn listen(address: &str, bootstrap: &str) -> std::io::Result<Admin> {
        let listener = StdListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host).to_owned();
        Ok(Admin { listener, host, bootstrap: bootstrap.to_owned() })
    }

    pub(super) fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Within a runtime that has I/O.
    pub(super) async fn serve(self, server: Rc<Server>) {
        let Admin { listener, host, bootstrap } = self;
        let listener = TcpListener::from_std(listener).expect("the runtime has I/O enabled");
        let desk = Rc::new(Desk { server, host, bootstrap, open: Cell::new(0) });
        loop {
            match listener.accept().await {
                Ok((stream, _)) if desk.open.get() < CONNECTIONS_MAX => {
                    tokio::task::spawn_local(Visit::begin(Rc::clone(&desk)).serve(stream));
                }
                // One too many, or one that left at once.
                Ok(_) | Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }
}

/// What all requests share.
pub(super) struct Desk {
    pub(super) server: Rc<Server>,
    pub(super) host: String,
    pub(super) bootstrap: String,
    open: Cell<usize>,
}

/// One connection; counted until it is dropped.
struct Visit {
    desk: Rc<Desk>,
}

impl Visit {
    fn begin(desk: Rc<Desk>) -> Visit {
        desk.open.set(desk.open.get() + 1);
        Visit { desk }
    }

    async fn serve(self, mut stream: TcpStream) {
        let read = either(read(&mut stream), tokio::time::sleep(READ_TIME)).await;
        let reply = match read {
            Either::Left(Some(Ok(request))) => self.answer(request).await,
            Either::Left(Some(Err(reply))) => reply,
            // The client left, or says nothing.
            Either::Left(None) | Either::Right(()) => return,
        };
        let end = async {
            stream.write_all(&reply.write()).await?;
            stream.shutdown().await?;
            // What it still sends is read, so that closing does not throw away the answer.
            let mut rest = [0; 1024];
            while stream.read(&mut rest).await? > 0 {}
            std::io::Result::Ok(())
        };
        let _the_client_left = either(end, tokio::time::sleep(READ_TIME)).await;
    }

    async fn answer(&self, request: Request) -> Reply {
        match request.is_foreign(&self.desk.host) {
            Some(why) => Reply::error(403, why),
            None => routes::answer(&self.desk, request).await,
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.desk.open.set(self.desk.open.get() - 1);
    }
}

/// None if the client left before its request was whole.
async fn read(stream: &mut TcpStream) -> Option<Result<Request, Reply>> {
    let mut bytes = Vec::with_capacity(1024);
    loop {
        match http::parse(&bytes) {
            Parsed::Request(request) => return Some(Ok(request)),
            Parsed::Refused(reply) => return Some(Err(reply)),
            Parsed::Incomplete => {
                if stream.read_buf(&mut bytes).await.ok()? == 0 {
                    return None;
                }
            }
        }
    }
}

/// Pages and test programs ask one after the other; more at once is somebody's mistake.
const CONNECTIONS_MAX: usize = 64;
/// For a request to come, and for its answer to be taken.
const READ_TIME: Duration = Duration::from_secs(10);
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
