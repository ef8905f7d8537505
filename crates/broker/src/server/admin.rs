//! The admin port: the owner's actions for programs in other languages, as JSON over HTTP, and a page for people.
//!
//! It lives on the broker's thread, beside the nodes' listeners, so what is asked has taken effect when it is answered. One request per
//! connection; heads, bodies, time and connections are bounded. Who comes when all places are taken is told so; requests that wait have half of
//! them, and give theirs back when their client leaves. Only programs of the same machine's owner are meant: requests that a
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
        let desk =
            Rc::new(Desk { server, host, bootstrap, served: Places::of(SERVED_MAX), waiting: Places::of(WAITING_MAX) });
        let turned_away = Places::of(TURNED_AWAY_MAX);
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                // Out of file descriptors, or a client that left at once.
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            if let Some(place) = desk.served.take() {
                tokio::task::spawn_local(visit(Rc::clone(&desk), place, stream));
            } else if let Some(place) = turned_away.take() {
                tokio::task::spawn_local(turn_away(place, stream));
            }
            // Others are closed without a word.
        }
    }
}

/// What all requests share.
pub(super) struct Desk {
    pub(super) server: Rc<Server>,
    pub(super) host: String,
    pub(super) bootstrap: String,
    served: Places,
    /// Of requests that are not answered before something happens.
    pub(super) waiting: Places,
}

/// So many of something, and no more at once.
pub(super) struct Places {
    left: Rc<Cell<usize>>,
}

/// One of them; free again once it is dropped.
pub(super) struct Place {
    left: Rc<Cell<usize>>,
}

impl Places {
    fn of(count: usize) -> Places {
        Places { left: Rc::new(Cell::new(count)) }
    }

    pub(super) fn take(&self) -> Option<Place> {
        self.left.set(self.left.get().checked_sub(1)?);
        Some(Place { left: Rc::clone(&self.left) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.left.set(self.left.get() + 1);
    }
}

async fn visit(desk: Rc<Desk>, _place: Place, mut stream: TcpStream) {
    let read = either(read(&mut stream), tokio::time::sleep(READ_TIME)).await;
    let (reply, is_head) = match read {
        Either::Left(Some(Ok(request))) => {
            let is_head = request.method == "HEAD";
            // Most are answered at once; who waits is looked after, so that nobody waits for a client that has left.
            match either(answer(&desk, request), left(&mut stream)).await {
                Either::Left(reply) => (reply, is_head),
                Either::Right(()) => return,
            }
        }
        Either::Left(Some(Err(reply))) => (reply, false),
        // The client left, or says nothing.
        Either::Left(None) | Either::Right(()) => return,
    };
    tell(stream, &reply.write(is_head), READ_TIME).await;
}

/// Says that all places are taken, whatever was asked.
async fn turn_away(_place: Place, stream: TcpStream) {
    let why = format!("{SERVED_MAX} requests are served already, which is all that this port does at once; ask again");
    tell(stream, &Reply::error(503, why).write(false), TURNED_AWAY_TIME).await;
}

async fn answer(desk: &Desk, request: Request) -> Reply {
    match request.is_foreign(&desk.host) {
        Some(why) => Reply::error(403, why),
        None => routes::answer(desk, request).await,
    }
}

async fn tell(mut stream: TcpStream, answer: &[u8], within: Duration) {
    let end = async {
        stream.write_all(answer).await?;
        stream.shutdown().await?;
        // What it still sends is read, so that closing does not throw away the answer.
        ignore_the_rest(&mut stream).await
    };
    let _the_client_left = either(end, tokio::time::sleep(within)).await;
}

/// Ends once the client has left.
async fn left(stream: &mut TcpStream) {
    let _either_way = ignore_the_rest(stream).await;
}

async fn ignore_the_rest(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
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
const SERVED_MAX: usize = 64;
/// So that who waits leaves room for who steers.
pub(super) const WAITING_MAX: usize = 32;
const TURNED_AWAY_MAX: usize = 64;
/// For a request to come, and for its answer to be taken.
const READ_TIME: Duration = Duration::from_secs(10);
/// For a client that is turned away to take that.
const TURNED_AWAY_TIME: Duration = Duration::from_secs(1);
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
