//! The brokers of a cluster: what each one's process is doing, what the controller thinks of it, and how it is steered.
//!
//! Two views are kept apart. The *process* runs, is frozen or is stopped. The *controller* learns that late: a node that says nothing for the
//! session timeout is fenced, and one that comes back is believed once it has caught up. A node that was frozen goes on with what it knew
//! before, until it has learned what happened meanwhile.
//!
//! Leaves out what a change means for partitions; see `controller.rs`.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ids::NodeId;

/// One broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// Where clients are told to connect.
    pub host: String,
    /// The same.
    pub port: u16,
}

/// What a node's process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// It serves.
    Running,
    /// It was frozen and serves again, but does not know yet what happened meanwhile: it may lead under an epoch that is over.
    Waking,
    /// It has its connections, reads nothing and answers nothing.
    Frozen,
    /// It has no connections. What is stored stays.
    Stopped,
}

/// How a node is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// SIGTERM: its partitions get other leaders first, where replicas in sync are left.
    Clean,
    /// SIGKILL: its partitions have no leader that answers until the session timeout is over or the node is back.
    Kill,
}

/// A node, and how things stand with it.
#[derive(Clone, Debug)]
pub(crate) struct NodeState {
    pub(crate) node: Node,
    pub(crate) process: Process,
    /// Since when the controller hears nothing. Set by freezing and killing; cleared when it runs again, and once it is fenced.
    pub(crate) silent_since: Option<Duration>,
    /// The time that its view of the cluster ends at. Set by freezing; cleared when it has learned the rest.
    pub(crate) knows_until: Option<Duration>,
    /// When it will know everything again. Set by thawing.
    pub(crate) learns_at: Option<Duration>,
    /// Since when it copies nothing from leaders. Set by freezing and stopping; cleared when it copies again.
    pub(crate) away_since: Option<Duration>,
    /// Fenced: not alive as far as the controller knows. It leads nothing and joins no ISR.
    pub(crate) is_fenced: bool,
    /// When that changed last.
    pub(crate) fenced_changed: Duration,
    /// How late it copies as a follower; `Duration::MAX` for not at all.
    pub(crate) lag: Option<Duration>,
    /// How old its metadata answers are.
    pub(crate) metadata_age: Duration,
    /// Whether its last process ended without a word.
    pub(crate) was_killed: bool,
}

impl NodeState {
    fn new(node: Node) -> NodeState {
        NodeState {
            node,
            process: Process::Running,
            silent_since: None,
            knows_until: None,
            learns_at: None,
            away_since: None,
            is_fenced: false,
            fenced_changed: Duration::ZERO,
            lag: None,
            metadata_age: Duration::ZERO,
            was_killed: false,
        }
    }

    /// Whether it serves requests and copies from leaders.
    pub(crate) fn works(&self) -> bool {
        matches!(self.process, Process::Running | Process::Waking)
    }

    /// Whether it learns of changes when they happen.
    pub(crate) fn is_informed(&self) -> bool {
        self.process == Process::Running
    }

    pub(crate) fn fence(&mut self, now: Duration, is_fenced: bool) {
        if self.is_fenced != is_fenced {
            self.is_fenced = is_fenced;
            self.fenced_changed = now;
        }
    }

    /// Whether it was alive, as far as the controller knew at that time. Only the last change is remembered.
    pub(crate) fn was_listed(&self, at: Duration) -> bool {
        if self.fenced_changed <= at { !self.is_fenced } else { self.is_fenced }
    }
}

/// All nodes of a cluster, by id. None comes or goes.
#[derive(Clone, Debug)]
pub(crate) struct Nodes {
    nodes: BTreeMap<NodeId, NodeState>,
}

impl Nodes {
    pub(crate) fn new(nodes: &[Node]) -> Nodes {
        Nodes { nodes: nodes.iter().map(|node| (node.id, NodeState::new(node.clone()))).collect() }
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &NodeState> {
        self.nodes.values()
    }

    pub(crate) fn ids(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    pub(crate) fn get(&self, id: NodeId) -> Option<&NodeState> {
        self.nodes.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: NodeId) -> Option<&mut NodeState> {
        self.nodes.get_mut(&id)
    }

    /// A node that is known to be there: ids in assignments and connections were checked when they were made.
    pub(crate) fn state(&self, id: NodeId) -> &NodeState {
        self.nodes.get(&id).expect("replicas and connections are on nodes that exist")
    }

    /// Whether the controller may make it a leader: it may be dead, if nobody has noticed.
    pub(crate) fn is_eligible(&self, id: NodeId) -> bool {
        !self.state(id).is_fenced
    }

    /// The longest time by which a follower is late, of those that copy at all.
    pub(crate) fn longest_lag(&self) -> Option<Duration> {
        self.nodes.values().filter_map(|node| node.lag).filter(|lag| *lag != Duration::MAX).max()
    }

    /// The point in time as of which a node answers metadata.
    pub(crate) fn view_of(&self, id: NodeId, now: Duration) -> Duration {
        let state = self.state(id);
        let old = now.saturating_sub(state.metadata_age);
        state.knows_until.map_or(old, |until| until.min(old))
    }

    /// Who is named as controller: any node will do, and this one is the same in every answer.
    pub(crate) fn controller(&self, at: Duration) -> Option<NodeId> {
        self.nodes.values().find(|node| node.was_listed(at)).map(|node| node.node.id)
    }
}
