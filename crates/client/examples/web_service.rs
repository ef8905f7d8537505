//! A web service that answers every request within a second, whatever Kafka does: `POST /orders` with the order as the body.
//!
//! `cargo run --example web_service -- HOST:PORT` sends to that cluster and serves on port 8080 until it is interrupted;
//! without an argument there is a broker in this process, and a few requests are made.
//!
//! What is worth copying: one producer for the whole service; the budget is the deadline; each of the three outcomes has its
//! own status, and only the one that is certain invites the caller to try again.

use std::error::Error;
use std::time::Duration;

use cluster::Cluster;
use milena::{DeliveryError, Producer, Record, Topic};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(crate) mod cluster;

/// What a request may take; a little less is left for Kafka.
const BUDGET: Duration = Duration::from_secs(1);

fn main() -> Result<(), Box<dyn Error>> {
    let servers = std::env::args().nth(1);
    let is_demonstration = servers.is_none();
    let cluster = Cluster::at(servers)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let producer = Producer::new(cluster.config().deadline(BUDGET - Duration::from_millis(50)))?;
        // At start-up there is more time; an error names the addresses and what is wrong with each.
        producer.ready(Duration::from_secs(10)).await?;
        let orders = producer.topic("orders")?;
        orders.ready(Duration::from_secs(10)).await?;
        if is_demonstration {
            let statuses = demonstrate(orders).await?;
            println!("{statuses:?}");
        } else {
            serve(TcpListener::bind("127.0.0.1:8080").await?, orders).await?;
        }
        println!("{:?}", producer.close(Duration::from_secs(5)).await);
        Ok(())
    })
}

/// Three orders and a request for something else.
pub async fn demonstrate(orders: Topic) -> Result<Vec<u16>, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let service = tokio::spawn(async move { serve(listener, orders).await });
    let mut statuses = Vec::new();
    for (path, body) in [("/orders", "4 tea"), ("/orders", "1 coffee"), ("/orders", ""), ("/menu", "")] {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("POST {path} HTTP/1.1\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        println!("{path} {body:?}: {}", answer.lines().next().unwrap_or_default());
        statuses.push(answer.split(' ').nth(1).ok_or("no status")?.parse()?);
    }
    service.abort();
    Ok(statuses)
}

async fn serve(listener: TcpListener, orders: Topic) -> std::io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        // A handle is cheap to clone. Records without a key spread by the threads that send them, not by handles.
        tokio::spawn(handle(stream, orders.clone()));
    }
}

async fn handle(mut stream: TcpStream, orders: Topic) -> std::io::Result<()> {
    let Some((path, body)) = read_request(&mut stream).await? else { return Ok(()) };
    let (status, said) = match path.as_str() {
        "/orders" => place(&orders, &body).await,
        _ => ("404 Not Found", "there are orders here, and nothing else".to_owned()),
    };
    let length = said.len();
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{said}");
    stream.write_all(answer.as_bytes()).await
}

/// Never later than the budget: waiting for room, for metadata and for the brokers all count.
pub async fn place(orders: &Topic, order: &[u8]) -> (&'static str, String) {
    let delivery = match orders.send(Record::value(order)).await {
        Ok(delivery) => delivery,
        // Nothing of it was written.
        Err(refused) if refused.is_retriable() => return ("503 Service Unavailable", refused.to_string()),
        Err(refused) => return ("413 Content Too Large", refused.to_string()),
    };
    match delivery.await.into_result() {
        Ok(at) => ("201 Created", format!("partition {}, offset {:?}", at.partition, at.offset)),
        Err(DeliveryError::NotWritten(why)) => ("503 Service Unavailable", format!("{why}: safe to send again")),
        Err(DeliveryError::Unknown(fate)) => {
            // The caller is answered now; what became of it is known later, and told to whoever reads the log.
            tokio::spawn(async move { eprintln!("an order in doubt: {:?}", fate.await) });
            ("202 Accepted", "sent, and not confirmed in time: to send it again may write it twice".to_owned())
        }
    }
}

/// As much of HTTP as this example needs: the path and a body of stated length, at most 64 KiB of both.
async fn read_request(stream: &mut TcpStream) -> std::io::Result<Option<(String, Vec<u8>)>> {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).await?;
        bytes.extend_from_slice(&chunk[..count]);
        if count == 0 || bytes.len() > 64 * 1024 {
            return Ok(None);
        }
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
        if bytes.len() - end - 4 >= length {
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            return Ok(Some((path, bytes[end + 4..end + 4 + length].to_vec())));
        }
    }
}
