//! Who leads a partition, under which epoch, and who is in sync; now, and at earlier times.
//!
//! The leader epoch rises by one whenever the leader changes, to nobody too; in some releases also when the ISR shrinks. The leader is always in the ISR,
//! and nobody else is elected unless an unclean election is asked for.
//!
//! Where eligible leader replicas are known (KIP-966), those that leave an ISR of fewer than `min.insync.replicas` may still be elected once the ISR
//! is empty: nothing was committed without them. Elsewhere the last replica in the ISR stays in it, so it is never empty.

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
    /// Those out of sync that have all that is committed. Empty while enough are in sync.
    pub(crate) eligible: Vec<NodeId>,
    /// Who led when the ISR became empty. Forgotten once enough are in sync.
    pub(crate) last_known: Option<NodeId>,
}

impl Leadership {
    /// The first of the replicas in sync that may lead; its like follows from every change.
    pub(crate) fn first(replicas: &[NodeId], isr: Vec<NodeId>, epoch: i32, may_lead: impl Fn(NodeId) -> bool) -> Self {
        let leader = replicas.iter().copied().find(|node| isr.contains(node) && may_lead(*node));
        Leadership { leader, epoch, isr, eligible: Vec::new(), last_known: None }
    }

    /// With another leader. A new epoch, if it is one.
    pub(crate) fn led_by(&self, leader: Option<NodeId>) -> Leadership {
        let epoch = if leader == self.leader { self.epoch } else { self.epoch + 1 };
        Leadership { leader, epoch, ..self.clone() }
    }

    /// The state after this one, as releases of Kafka have it that give a leader a new epoch when a replica falls out of sync.
    pub(crate) fn renewed_on_shrink(&self, next: Leadership) -> Leadership {
        let has_shrunk = self.isr.iter().any(|member| !next.isr.contains(member));
        let epoch = if has_shrunk && next.epoch == self.epoch { self.epoch + 1 } else { next.epoch };
        Leadership { epoch, ..next }
    }

    /// The state after this one, with those that may be elected although they are not in sync: whoever leaves an ISR of fewer than `min_isr`, as far
    /// as it still keeps a replica. With no number there are none.
    pub(crate) fn followed_by(
        &self,
        next: Leadership,
        min_isr: Option<usize>,
        is_replica: impl Fn(NodeId) -> bool,
    ) -> Leadership {
        let knows_all = |node: &NodeId| self.isr.contains(node) || self.eligible.contains(node);
        let is_unclean = next.leader.is_some_and(|leader| !knows_all(&leader));
        let Some(min_isr) = min_isr.filter(|min_isr| next.isr.len() < *min_isr && !is_unclean) else {
            return Leadership { eligible: Vec::new(), last_known: None, ..next };
        };
        debug_assert!(min_isr > 0, "a topic needs somebody in sync");
        let mut eligible = self.eligible.clone();
        eligible.extend(self.isr.iter().filter(|node| !self.eligible.contains(node)));
        eligible.retain(|node| !next.isr.contains(node) && is_replica(*node));
        let last_known = if next.isr.is_empty() { self.leader.or(self.last_known) } else { self.last_known };
        Leadership { eligible, last_known, ..next }
    }

    /// Without a node: it leaves the ISR, where eligible replicas are not known only if another one is left, and leads no more.
    pub(crate) fn without(
        &self,
        node: NodeId,
        replicas: impl Iterator<Item = NodeId> + Clone,
        election: Election<impl Fn(NodeId) -> bool>,
    ) -> Leadership {
        let mut isr = self.isr.clone();
        if isr.len() > 1 || election.knows_eligible {
            isr.retain(|member| *member != node);
        }
        let rest = Leadership { isr, ..self.clone() };
        match self.leader {
            Some(leader) if leader != node => rest,
            _ => rest.elected(
                replicas,
                Election {
                    is_unclean: election.is_unclean,
                    knows_eligible: election.knows_eligible,
                    may_lead: |id| id != node && (election.may_lead)(id),
                },
            ),
        }
    }

    /// The first replica in sync that may lead becomes the leader, if there is one. If nobody is in sync, it is the first of those that are
    /// eligible, and if there are none of them either, who led last. In an unclean election it is otherwise any that may: what it
    /// lacks is lost. Who was not in sync is alone in sync then.
    pub(crate) fn elected(
        &self,
        replicas: impl Iterator<Item = NodeId> + Clone,
        election: Election<impl Fn(NodeId) -> bool>,
    ) -> Leadership {
        let candidates = replicas.filter(|node| (election.may_lead)(*node));
        let first_of = |nodes: &[NodeId]| candidates.clone().find(|node| nodes.contains(node));
        let last_known = || first_of(self.last_known.as_slice()).filter(|_| self.eligible.is_empty());
        let any = || if election.is_unclean { candidates.clone().next() } else { None };
        let leader = match self.isr.is_empty() {
            true => first_of(&self.eligible).or_else(last_known).or_else(any),
            false => first_of(&self.isr).or_else(any),
        };
        match leader {
            Some(outside) if !self.isr.contains(&outside) => {
                Leadership { isr: vec![outside], ..self.led_by(Some(outside)) }
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
    /// Whether an ISR may become empty, because it is known who may be elected then.
    pub(crate) knows_eligible: bool,
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
        let election =
            Election { is_unclean: false, knows_eligible: false, may_lead: |id: NodeId| !dead.contains(&id.0) };
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
        let clean = Election { is_unclean: false, knows_eligible: false, may_lead: |_| true };
        let nobody = last.without(NodeId(1), NODES.into_iter(), clean);
        let back = nobody.elected(NODES.into_iter(), clean);
        assert_eq!((back.leader, back.epoch), (Some(NodeId(1)), 6));
        let unclean = Election { is_unclean: true, knows_eligible: false, may_lead: |_| true };
        let lost = last.without(NodeId(1), NODES.into_iter(), unclean);
        assert_eq!((lost.leader, lost.epoch, lost.isr), (Some(NodeId(2)), 5, vec![NodeId(2)]));
    }

    /// As 4.3.1 showed it, with three replicas of which two must be in sync.
    #[test]
    fn who_leaves_too_small_an_isr_may_still_be_elected() {
        let election = |alive: &'static [i32]| Election {
            is_unclean: false,
            knows_eligible: true,
            may_lead: move |id: NodeId| alive.contains(&id.0),
        };
        let numbers = |nodes: &[NodeId]| nodes.iter().map(|id| id.0).collect::<Vec<_>>();
        let told = |it: &Leadership| {
            (it.leader.map(|id| id.0), numbers(&it.isr), numbers(&it.eligible), it.last_known.map(|id| id.0))
        };
        let without = |from: &Leadership, node: i32, alive: &'static [i32]| {
            let next = from.without(NodeId(node), NODES.into_iter(), election(alive));
            from.followed_by(next, Some(2), |_| true)
        };
        let two = without(&led_by_1(), 3, &[1, 2]);
        assert_eq!(told(&two), (Some(1), vec![1, 2], vec![], None), "enough are in sync");
        let one = without(&two, 2, &[1]);
        assert_eq!(told(&one), (Some(1), vec![1], vec![2], None));
        let none = without(&one, 1, &[]);
        assert_eq!(told(&none), (None, vec![], vec![2, 1], Some(1)));
        let third = none.elected(NODES.into_iter(), election(&[3]));
        assert_eq!(third, none, "what 3 lacks may be committed");
        let second = none.followed_by(none.elected(NODES.into_iter(), election(&[2, 3])), Some(2), |_| true);
        assert_eq!(told(&second), (Some(2), vec![2], vec![1], Some(1)));
        let both = Leadership { isr: vec![NodeId(2), NodeId(3)], ..second.clone() };
        assert_eq!(told(&second.followed_by(both, Some(2), |_| true)), (Some(2), vec![2, 3], vec![], None));
        // Nobody is eligible any more after processes that were killed began anew: who led last may lead.
        let forgotten = Leadership { eligible: Vec::new(), ..none.clone() };
        assert_eq!(forgotten.elected(NODES.into_iter(), election(&[2, 3])).leader, None);
        let last = forgotten.followed_by(forgotten.elected(NODES.into_iter(), election(&[1, 2])), Some(2), |_| true);
        assert_eq!(told(&last), (Some(1), vec![1], vec![], None));
        // Replicas that are gone are not elected.
        assert_eq!(numbers(&one.followed_by(without(&one, 1, &[]), Some(2), |id| id.0 != 2).eligible), [1]);
        assert_eq!(one.followed_by(one.clone(), None, |_| true).eligible, []);
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
