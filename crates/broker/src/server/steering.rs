//! What the owner of a running broker may do to its nodes, from any thread. Each call returns when it has taken effect.
//!
//! The meaning is that of [`Cluster`]'s methods of the same names; here time is the machine's.

use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use milena_wire::Uuid;

use super::Broker;
use super::serving::Server;
use crate::api::CreateTopicError;
use crate::cluster::Cluster;
use crate::ids::{NodeId, PartitionIndex, ProducerId};
use crate::moment::Moment;
use crate::new_topic::NewTopic;
use crate::nodes::Stop;
use crate::producer_state::ProducerEntry;
use crate::snapshot::{ConnectionEntry, LogSnapshot, SnapshotError, Window};
use crate::steer_error::SteerError;
use crate::topic_config::TopicConfig;

impl Broker {
    /// The truth: looks at the cluster on the broker's thread, which serves nobody meanwhile.
    ///
    /// ```
    /// use milena_broker::{Broker, BrokerOptions, TopicConfig, Window};
    ///
    /// let broker = Broker::start(BrokerOptions::default())?;
    /// broker.create_topic("orders", 3)?;
    /// let mut config = TopicConfig::default();
    /// config.set("retention.ms", Some("60000"))?;
    /// broker.alter_topic("orders", config)?;
    /// assert_eq!(broker.look(|cluster| cluster.connections()), 0);
    /// let log = broker.log("orders", 0)?;
    /// assert_eq!((log.high_watermark, log.records.len()), (0, 0));
    /// assert_eq!(broker.log_window("orders", 0, Window::ALL)?, log);
    /// assert!(broker.producers("orders", 0).expect("it is there").is_empty());
    /// assert!(broker.clients().is_empty());
    /// broker.delete_topic("orders")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn look<T: Send + 'static>(&self, look: impl FnOnce(&Cluster) -> T + Send + 'static) -> T {
        self.order(|server| look(&server.cluster.borrow()))
    }

    /// The log of a partition: every record that its leader has, with who wrote it, and what of it is committed. For large logs see
    /// [`Broker::log_window`].
    pub fn log(&self, topic: &str, partition: impl Into<PartitionIndex>) -> Result<LogSnapshot, SnapshotError> {
        self.log_window(topic, partition, Window::ALL)
    }

    /// The same with some of the records only.
    pub fn log_window(
        &self,
        topic: &str,
        partition: impl Into<PartitionIndex>,
        window: Window,
    ) -> Result<LogSnapshot, SnapshotError> {
        let (topic, partition) = (topic.to_owned(), partition.into());
        self.look(move |cluster| cluster.snapshot(&topic, partition, window))
    }

    /// What the leader of a partition, or who led last, knows of its producers, by id. None without such a partition.
    pub fn producers(
        &self,
        topic: &str,
        partition: impl Into<PartitionIndex>,
    ) -> Option<Vec<(ProducerId, ProducerEntry)>> {
        let (topic, partition) = (topic.to_owned(), partition.into());
        let known = |(id, entry): (ProducerId, &ProducerEntry)| (id, entry.clone());
        self.look(move |cluster| Some(cluster.partition(&topic, partition)?.producers().iter().map(known).collect()))
    }

    /// Who is connected, in the order in which they came.
    pub fn clients(&self) -> Vec<ConnectionEntry> {
        self.look(|cluster| cluster.clients().collect())
    }

    /// See [`Cluster::create_topic`].
    pub fn create_topic(&self, name: &str, partitions: i32) -> Result<Uuid, CreateTopicError> {
        let name = name.to_owned();
        self.steer(move |cluster, _| cluster.create_topic(&name, partitions))
    }

    /// See [`Cluster::create_topic_with`].
    ///
    /// ```
    /// use milena_broker::{Broker, BrokerOptions, NewTopic};
    ///
    /// let broker = Broker::start(BrokerOptions::default().nodes(3))?;
    /// broker.create_topic_with(NewTopic::new("orders").partitions(2).replication_factor(1))?;
    /// assert_eq!(broker.isr("orders", 1).map(|isr| isr.len()), Some(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn create_topic_with(&self, new: NewTopic) -> Result<Uuid, CreateTopicError> {
        self.steer(move |cluster, _| cluster.create_topic_with(new))
    }

    /// See [`Cluster::delete_topic`].
    pub fn delete_topic(&self, name: &str) -> Result<(), SteerError> {
        let name = name.to_owned();
        self.steer(move |cluster, now| cluster.delete_topic(now, &name))
    }

    /// See [`Cluster::alter_topic`].
    pub fn alter_topic(&self, name: &str, config: TopicConfig) -> Result<(), SteerError> {
        let name = name.to_owned();
        self.steer(move |cluster, now| cluster.alter_topic(now, &name, config))
    }

    /// See [`Cluster::freeze`]. The node's sockets still accept, and the system reads into its buffers.
    ///
    /// ```
    /// use std::time::Duration;
    /// use milena_broker::{Broker, BrokerOptions, NodeId, Stop};
    ///
    /// let broker = Broker::start(BrokerOptions::default().nodes(3))?;
    /// broker.create_topic("orders", 1)?;
    /// assert_eq!(broker.leader("orders", 0), Some(NodeId(1)));
    /// broker.move_leader("orders", 0, 2)?;
    /// assert_eq!((broker.leader("orders", 0), broker.leader_epoch("orders", 0)), (Some(NodeId(2)), Some(1)));
    /// // As SIGSTOP and SIGCONT, SIGKILL and a new process do.
    /// broker.freeze(3)?;
    /// broker.thaw(3)?;
    /// broker.stop_node(3, Stop::Kill)?;
    /// broker.start_node(3)?;
    /// // A follower that copies late, a node that has not heard the news, replicas elsewhere.
    /// broker.lag(1, Some(Duration::from_millis(50)))?;
    /// broker.lag(1, None)?;
    /// broker.age_metadata(1, Duration::from_secs(1))?;
    /// broker.move_replicas("orders", 0, &[2, 1])?;
    /// assert_eq!(broker.isr("orders", 0), Some(vec![NodeId(2), NodeId(1)]));
    /// // A replica in sync is not elected uncleanly.
    /// assert!(broker.elect_unclean("orders", 0, 1).is_err());
    /// assert_eq!(broker.high_watermark("orders", 0), Some(0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn freeze(&self, node: impl Into<NodeId>) -> Result<(), SteerError> {
        let node = node.into();
        self.steer(move |cluster, now| cluster.freeze(now, node))
    }

    /// See [`Cluster::thaw`].
    pub fn thaw(&self, node: impl Into<NodeId>) -> Result<(), SteerError> {
        let node = node.into();
        self.steer(move |cluster, now| cluster.thaw(now, node))
    }

    /// See [`Cluster::stop`]. The node's port stays taken, and refuses connections.
    pub fn stop_node(&self, node: impl Into<NodeId>, how: Stop) -> Result<(), SteerError> {
        let node = node.into();
        self.order(move |server| server.stop_node(node, how))
    }

    /// See [`Cluster::start`]. The node listens on its old port when this returns, or is still stopped.
    pub fn start_node(&self, node: impl Into<NodeId>) -> Result<(), SteerError> {
        let node = node.into();
        self.order(move |server| server.start_node(node))
    }

    /// See [`Cluster::lag`].
    pub fn lag(&self, node: impl Into<NodeId>, delay: Option<Duration>) -> Result<(), SteerError> {
        let node = node.into();
        self.steer(move |cluster, now| cluster.lag(now, node, delay))
    }

    /// See [`Cluster::move_leader`].
    pub fn move_leader(
        &self,
        topic: &str,
        partition: impl Into<PartitionIndex>,
        node: impl Into<NodeId>,
    ) -> Result<(), SteerError> {
        let (topic, partition, node) = (topic.to_owned(), partition.into(), node.into());
        self.steer(move |cluster, now| cluster.move_leader(now, &topic, partition, node))
    }

    /// See [`Cluster::move_replicas`].
    pub fn move_replicas(
        &self,
        topic: &str,
        partition: impl Into<PartitionIndex>,
        nodes: &[impl Into<NodeId> + Copy],
    ) -> Result<(), SteerError> {
        let (topic, partition) = (topic.to_owned(), partition.into());
        let nodes: Vec<NodeId> = nodes.iter().map(|node| (*node).into()).collect();
        self.steer(move |cluster, now| cluster.move_replicas(now, &topic, partition, &nodes))
    }

    /// See [`Cluster::elect_unclean`].
    pub fn elect_unclean(
        &self,
        topic: &str,
        partition: impl Into<PartitionIndex>,
        node: impl Into<NodeId>,
    ) -> Result<(), SteerError> {
        let (topic, partition, node) = (topic.to_owned(), partition.into(), node.into());
        self.steer(move |cluster, now| cluster.elect_unclean(now, &topic, partition, node))
    }

    /// See [`Cluster::age_metadata`].
    pub fn age_metadata(&self, node: impl Into<NodeId>, age: Duration) -> Result<(), SteerError> {
        let node = node.into();
        self.steer(move |cluster, now| cluster.age_metadata(now, node, age))
    }

    /// See [`Cluster::leader`].
    pub fn leader(&self, topic: &str, partition: impl Into<PartitionIndex>) -> Option<NodeId> {
        let (topic, partition) = (topic.to_owned(), partition.into());
        self.look(move |cluster| cluster.leader(&topic, partition))
    }

    /// See [`Cluster::leader_epoch`].
    pub fn leader_epoch(&self, topic: &str, partition: impl Into<PartitionIndex>) -> Option<i32> {
        let (topic, partition) = (topic.to_owned(), partition.into());
        self.look(move |cluster| cluster.leader_epoch(&topic, partition))
    }

    /// See [`Cluster::isr`].
    pub fn isr(&self, topic: &str, partition: impl Into<PartitionIndex>) -> Option<Vec<NodeId>> {
        let (topic, partition) = (topic.to_owned(), partition.into());
        self.look(move |cluster| cluster.isr(&topic, partition).map(<[NodeId]>::to_vec))
    }

    /// See [`Cluster::high_watermark`].
    pub fn high_watermark(&self, topic: &str, partition: impl Into<PartitionIndex>) -> Option<i64> {
        let (topic, partition) = (topic.to_owned(), partition.into());
        self.look(move |cluster| cluster.high_watermark(&topic, partition))
    }

    pub(super) fn steer<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Cluster, Moment) -> T + Send + 'static,
    ) -> T {
        self.order(|server| server.steer(change))
    }

    /// Waits for the broker's thread, which ends before its owner only by a panic.
    fn order<T: Send + 'static>(&self, order: impl FnOnce(&Rc<Server>) -> T + Send + 'static) -> T {
        let (answer, answered) = mpsc::sync_channel(1);
        let order = move |server: &Rc<Server>| {
            let _the_owner_waits = answer.send(order(server));
        };
        let _gone_if_it_panicked = self.orders.send(Box::new(order));
        answered.recv().expect("the broker's thread runs as long as its owner wants")
    }
}
