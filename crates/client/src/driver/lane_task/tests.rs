//! A lane's task with real sockets, and nobody who answers.

use std::net::SocketAddr;

use milena_core::ids::{NodeId, PartitionIndex};
use milena_core::producer::back::TopicRef;
use milena_core::producer::control::NewPartition;
use milena_core::producer::front::PartitionFront;
use milena_core::producer::lane::Recall;
use milena_core::producer::outcome::NotWritten;
use milena_core::producer::trouble::Trouble;
use milena_wire::messages::api_versions::response::{ApiVersion, ApiVersionsResponse};
use milena_wire::{ApiKey, frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::super::packers::Packers;
use super::*;
use crate::ProducerConfig;
use crate::pool::ChunkPool;
use crate::report::Reporter;
use crate::shared::Shared;

const SOON: Duration = Duration::from_secs(10);

/// One lane that leads one partition, as its control task sees it.
struct Rig {
    surroundings: Surroundings,
    orders: mpsc::UnboundedSender<Parcel<ToLane>>,
    told: mpsc::UnboundedReceiver<Parcel<FromLane>>,
    _stop: watch::Sender<Option<NotWritten>>,
}

impl Rig {
    fn start(address: SocketAddr) -> Self {
        let settings = ProducerConfig::new("a:1").check().expect("fits");
        let pool = Arc::new(ChunkPool::new(settings.buffer_memory, settings.memory_share));
        let shared = Arc::new(Shared::new(&settings, None, Arc::clone(&pool), mpsc::unbounded_channel().0));
        let (reporter, _) = Reporter::new(pool, None);
        let new = NewPartition { id: PartitionId(0), index: PartitionIndex(0), trouble: Trouble::new() };
        let front = PartitionFront::new(new.index, Arc::clone(&new.trouble), settings.front);
        let watch = Arc::clone(&shared.watch);
        let slot = PartitionSlot::new(new.id, "orders".into(), front, Arc::new(Gate::new()), watch);
        shared.add_slot(Arc::new(slot));
        let (stop, stopped) = watch::channel(None);
        let surroundings =
            Surroundings { shared, reporter, packers: Packers::none(), connect_timeout: SOON, stop: stopped };
        let lane = Lane::new(LaneId::fast(NodeId(1)), settings.lane, 1);
        let (orders, order_queue) = mpsc::unbounded_channel();
        let (to_control, told) = mpsc::unbounded_channel();
        let (address, gate) = (address_of(address), Arc::new(Gate::new()));
        tokio::spawn(LaneTask::new(surroundings.clone(), lane, address, gate, order_queue, to_control).run());
        let topic = TopicRef { name: "orders".into(), id: milena_wire::Uuid::ZERO };
        let back = PartitionBack::new(&new, topic, settings.control.back);
        let rig = Self { surroundings, orders, told, _stop: stop };
        rig.order(ToLane::Order(LaneOrder::Adopt(Box::new(back))));
        rig
    }

    fn order(&self, order: ToLane) {
        self.orders.send(Parcel::new(order, &self.surroundings)).expect("the lane runs");
    }

    /// Waits until the lane says something that is meant here.
    async fn hear(&mut self, is_meant: impl Fn(&FromLane) -> bool) {
        let heard = async { while !is_meant(self.told.recv().await.expect("it has a last word").message()) {} };
        tokio::time::timeout(SOON, heard).await.expect("it says so soon");
    }
}

fn address_of(address: SocketAddr) -> Address {
    Address { host: address.ip().to_string().into(), port: address.port() }
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

async fn accept(listener: &TcpListener) -> TcpStream {
    tokio::time::timeout(SOON, listener.accept()).await.expect("it dials soon").expect("a connection").0
}

async fn read_to_end(mut stream: TcpStream) {
    let mut bytes = Vec::new();
    tokio::time::timeout(SOON, stream.read_to_end(&mut bytes)).await.expect("it hangs up soon").expect("no reset");
}

/// As a broker that speaks nothing but Produce.
async fn answer_versions(stream: &mut TcpStream) {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await.expect("a request");
    let mut request = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut request).await.expect("which is whole");
    let produce = ApiVersion { api_key: ApiKey::PRODUCE.0, min_version: 3, max_version: 9, ..ApiVersion::default() };
    let response = ApiVersionsResponse { api_keys: vec![produce], ..ApiVersionsResponse::default() };
    let version = i16::from_be_bytes([request[2], request[3]]);
    let correlation = i32::from_be_bytes([request[4], request[5], request[6], request[7]]);
    let answer = frame::encode_response(correlation, version, &response).expect("fits");
    stream.write_all(&answer).await.expect("the lane listens");
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

#[test]
fn a_lane_whose_broker_moved_leaves_the_old_address_and_dials_the_new_one() {
    run(async {
        let ((old, first), (new, second)) = (listen().await, listen().await);
        let rig = Rig::start(first);
        let mut connection = accept(&old).await;
        connection.read_u8().await.expect("it asks for versions");
        // Nobody answers there, and nothing is wrong with that before the time of a request is over.
        rig.order(ToLane::Address(Some(address_of(second))));
        read_to_end(connection).await;
        accept(&new).await;
    });
}

#[test]
fn a_lane_whose_broker_nobody_knows_dials_when_somebody_does() {
    run(async {
        let (listener, address) = listen().await;
        let mut rig = Rig::start(address);
        let mut connection = accept(&listener).await;
        connection.read_u8().await.expect("it asks for versions");
        rig.order(ToLane::Address(None));
        read_to_end(connection).await;
        let is_lost = |told: &FromLane| {
            matches!(told, FromLane::Report(_, LaneReport::Disconnected(ConnectionError::BrokerUnknown)))
        };
        // When it hung up, and when it would have dialed again.
        rig.hear(is_lost).await;
        rig.hear(is_lost).await;
        rig.order(ToLane::Address(Some(address_of(address))));
        accept(&listener).await;
    });
}

#[test]
fn a_lane_that_is_told_to_end_waits_for_its_last_answer_and_closes_its_socket() {
    run(async {
        let (listener, address) = listen().await;
        let mut rig = Rig::start(address);
        let mut connection = accept(&listener).await;
        rig.order(ToLane::Order(LaneOrder::Recall(PartitionId(0), Recall::WhenIdle)));
        rig.hear(|told| matches!(told, FromLane::Report(_, LaneReport::Released(_)))).await;
        rig.order(ToLane::End);
        // The control task keeps nothing of a lane that it told to end.
        rig.orders = mpsc::unbounded_channel().0;
        answer_versions(&mut connection).await;
        rig.hear(|told| matches!(told, FromLane::Report(_, LaneReport::Connected))).await;
        rig.hear(|told| matches!(told, FromLane::Left)).await;
        let mut rest = Vec::new();
        assert_eq!(connection.read_to_end(&mut rest).await.expect("no reset"), 0);
    });
}
