//! Who leads a partition, under which epoch, and who is in sync; now, and at earlier times.
//!
//! The leader epoch rises by one whenever the leader changes, to nobody too; in some releases also when the ISR shrinks. The leader is always in the ISR,
//! and the ISR is never empty: the last replica in it stays, because nobody else is elected unless an unclean election is asked for.

use std::collections::VecDeque;
use std::time::Duration;

use crate::ids::NodeId;

/// One state of a partition, as the controller has it or as a node believes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leadership {
    pub(crate) leader: Option<NodeId>,
    pub(crate) epoch: i32,
    /// In the order of the assignment.
    pub(crate) isr: Vec<NodeId>,
}

impl Leadership {
    /// The first of the replicas in sync that may lead; its like follows from every change.
    pub(crate) fn first(replicas: &[NodeId], isr: Vec<NodeId>, epoch: i32, may_lead: impl Fn(NodeId) -> bool) -> Self {
        let leader = replicas.iter().copied().find(|node| isr.contains(node) && may_lead(*node));
        Leadership { leader, epoch, isr }
    }

    /// With another leader. A new epoch, if it is one.
    pub(crate) fn led_by(&self, leader: Option<NodeId>) -> Leadership {
        let epoch = if leader == self.leader { self.epoch } else { self.epoch + 1 };
        Leadership { leader, epoch, isr: self.isr.clone() }
    }

    /// The state after this one, as releases of Kafka have it that give a leader a new epoch when a replica falls out of sync.
    pub(crate) fn renewed_on_shrink(&self, next: Leadership) -> Leadership {
        let has_shrunk = self.isr.iter().any(|member| !next.isr.contains(member));
        let epoch = if has_shrunk && next.epoch == self.epoch { self.epoch + 1 } else { next.epoch };
        Leadership { epoch, ..next }
    }

    /// Without a node: it leaves the ISR if another one is left, and leads no more.
    pub(crate) fn without(
        &self,
        node: NodeId,
        replicas: impl Iterator<Item = NodeId> + Clone,
        election: Election<impl Fn(NodeId) -> bool>,
    ) -> Leadership {
        let mut isr = self.isr.clone();
        if isr.len() > 1 {
            isr.retain(|member| *member != node);
        }
        let rest = Leadership { isr, ..self.clone() };
        match self.leader {
            Some(leader) if leader != node => rest,
            _ => rest.elected(
                replicas,
                Election { is_unclean: election.is_unclean, may_lead: |id| id != node && (election.may_lead)(id) },
            ),
        }
    }

    /// The first replica in sync that may lead becomes the leader, if there is one. In an unclean election it is otherwise any that may:
    /// it alone is in sync then, and what it lacks is lost.
    pub(crate) fn elected(
        &self,
        replicas: impl Iterator<Item = NodeId> + Clone,
        election: Election<impl Fn(NodeId) -> bool>,
    ) -> Leadership {
        let mut candidates = replicas.filter(|node| (election.may_lead)(*node));
        let first = if election.is_unclean { candidates.clone().next() } else { None };
        match candidates.find(|node| self.isr.contains(node)).or(first) {
            Some(unclean) if !self.isr.contains(&unclean) => {
                Leadership { isr: vec![unclean], ..self.led_by(Some(unclean)) }
            }
            leader => self.led_by(leader),
        }
    }
}

/// Who may be elected.
#[derive(Clone, Copy)]
pub(crate) struct Election<F> {
    /// Whether a replica out of sync may be, where no other can: `unclean.leader.election.enable`.
    pub(crate) is_unclean: bool,
    /// Whether the controller counts on a node.
    pub(crate) may_lead: F,
}

/// What a partition went through lately, for nodes whose metadata is old.
#[derive(Clone, Debug, Default)]
pub(crate) struct Past {
    /// Oldest first, each with the time at which it ended.
    ended: VecDeque<(Duration, Leadership)>,
}

impl Past {
    pub(crate) fn push(&mut self, ended: Duration, leadership: Leadership) {
        if self.ended.len() == REMEMBERED {
            self.ended.pop_front();
        }
        self.ended.push_back((ended, leadership));
    }

    /// What held at a time; none if it still does. Before the oldest that is remembered, the oldest.
    pub(crate) fn at(&self, time: Duration) -> Option<&Leadership> {
        self.ended.iter().find(|(ended, _)| *ended > time).map(|(_, leadership)| leadership)
    }
}

/// Enough to be told a few changes too late; a view older than that many changes helps nobody.
const REMEMBERED: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

    fn led_by_1() -> Leadership {
        Leadership::first(&NODES, NODES.to_vec(), 4, |_| true)
    }

    fn without(from: &Leadership, node: i32, dead: &[i32]) -> (Option<i32>, i32, Vec<i32>) {
        let election = Election { is_unclean: false, may_lead: |id: NodeId| !dead.contains(&id.0) };
        let next = from.without(NodeId(node), NODES.into_iter(), election);
        (next.leader.map(|id| id.0), next.epoch, next.isr.iter().map(|id| id.0).collect())
    }

    #[test]
    fn leader_that_goes_is_followed_by_the_first_in_sync_that_may_lead() {
        assert_eq!(without(&led_by_1(), 1, &[]), (Some(2), 5, vec![2, 3]));
        assert_eq!(without(&led_by_1(), 1, &[2]), (Some(3), 5, vec![2, 3]));
        let alone_in_sync = Leadership { isr: vec![NodeId(1), NodeId(3)], ..led_by_1() };
        assert_eq!(without(&alone_in_sync, 1, &[]), (Some(3), 5, vec![3]), "2 is alive, but not in sync");
    }

    #[test]
    fn last_in_sync_stays_so_and_leads_nothing() {
        let last = Leadership { isr: vec![NodeId(1)], ..led_by_1() };
        assert_eq!(without(&last, 1, &[]), (None, 5, vec![1]));
        let clean = Election { is_unclean: false, may_lead: |_| true };
        let nobody = last.without(NodeId(1), NODES.into_iter(), clean);
        let back = nobody.elected(NODES.into_iter(), clean);
        assert_eq!((back.leader, back.epoch), (Some(NodeId(1)), 6));
        let unclean = Election { is_unclean: true, may_lead: |_| true };
        let lost = last.without(NodeId(1), NODES.into_iter(), unclean);
        assert_eq!((lost.leader, lost.epoch, lost.isr), (Some(NodeId(2)), 5, vec![NodeId(2)]));
    }

    #[test]
    fn follower_that_goes_leaves_the_epoch_alone() {
        assert_eq!(without(&led_by_1(), 3, &[]), (Some(1), 4, vec![1, 2]));
    }

    #[test]
    fn past_tells_what_held_at_a_time() {
        let mut past = Past::default();
        let at = |epoch| Leadership { epoch, ..led_by_1() };
        past.push(Duration::from_secs(1), at(0));
        past.push(Duration::from_secs(3), at(1));
        let epoch = |millis| past.at(Duration::from_millis(millis)).map(|leadership| leadership.epoch);
        assert_eq!(
            [epoch(0), epoch(999), epoch(1_000), epoch(2_999), epoch(3_000)],
            [Some(0), Some(0), Some(1), Some(1), None]
        );
    }
}
