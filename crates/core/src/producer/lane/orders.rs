//! What control tells a lane, and what a lane tells control and its owner.

use milena_wire::Uuid;

use super::{LeaderHint, StrayAnswer};
use crate::connection::ConnectionError;
use crate::ids::{Identity, PartitionId, ProducerId};
use crate::producer::back::{Ended, PartitionBack};

/// When a partition that is wanted elsewhere leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recall {
    /// With nothing of it unanswered: its next lane leads to the same broker, which must see its attempts in order.
    WhenIdle,
    /// Now: a higher leader epoch is known, and a frozen old leader must not hold the partition (rule 7).
    AtOnce,
}

/// What control tells a lane.
#[derive(Debug)]
pub enum LaneOrder {
    /// It takes the partition over.
    Adopt(Box<PartitionBack>),
    /// It must give the partition back.
    Recall(PartitionId, Recall),
    /// The partition may stamp with this identity.
    Grant(PartitionId, Identity),
    /// The partition's topic was deleted and created again.
    TopicRecreated(PartitionId, Uuid),
    /// Another cluster answers where this one did.
    ClusterChanged(PartitionId),
    /// Somebody else uses this producer id (rule 14).
    Abandon(PartitionId, ProducerId),
    /// An answer on a connection that the partition had left before it came here.
    Stray(PartitionId, StrayAnswer),
}

/// What a lane tells control.
#[derive(Debug)]
pub enum LaneReport {
    /// The lane's broker told its versions; requests can be sent.
    Connected,
    /// The lane's broker could not be reached, or not any more, for this reason.
    Disconnected(ConnectionError),
    /// A partition has no producer id; the one that it names must not be used again.
    NeedsIdentity(PartitionId, Option<ProducerId>),
    /// This partition may be led elsewhere; without one, everything here may be.
    NeedsMetadata(Option<PartitionId>),
    /// A broker that does not lead the partition said who does (KIP-951).
    LeaderHint(PartitionId, LeaderHint),
    /// An answer for a partition that has left; whoever leads it now must hear it.
    Stray(PartitionId, StrayAnswer),
    /// The partition holds up others (rule 27): it leaves, for the slow lane of this broker.
    Slow(PartitionId),
    /// The partition is prompt again, and belongs on the fast lane.
    Prompt(PartitionId),
    /// Somebody else stamps with this producer id (rule 14): it must not be used again, on any partition.
    ProducerIdUsedElsewhere(ProducerId),
    /// A recalled partition, or one that leaves for the slow lane. Nothing of it is unanswered, unless it was recalled at
    /// once.
    Released(Box<PartitionBack>),
}

/// What a lane tells its surroundings.
#[derive(Debug)]
// An event is taken at once; a box would be an allocation for every batch.
#[allow(clippy::large_enum_variant)]
pub enum LaneEvent {
    /// A batch ended; its outcome must be published and its memory given back.
    Ended(PartitionId, Ended),
    /// There is no connection (any more), for this reason. Its socket must be closed, if it is not: then dial again at
    /// [`Lane::poll_dial`](super::Lane::poll_dial).
    Disconnected(ConnectionError),
    /// Something of the partition is in doubt, and nothing is sent that could settle it: the record that was configured for that
    /// is to be given to [`PartitionFront::append_fence`](super::PartitionFront::append_fence).
    FenceWanted(PartitionId),
    /// For control.
    Report(LaneReport),
}
