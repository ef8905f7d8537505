//! Which partition records without a key go to next: by chance, and the less often the more waits there (KIP-794).
//!
//! Left out: for how long they stay there, and what is measured; whoever holds the queues knows.

/// Picks a place by how many batches wait at each: the longest queue has the weight one, an empty one that of its length and
/// one more. `draw` is a number by chance.
///
/// ```
/// use milena_core::producer::partitioning::pick;
///
/// // Two places of weight 3, and one of weight 1.
/// let picked: Vec<usize> = (0..7).map(|draw| pick([0, 2, 0].into_iter(), draw)).collect();
/// assert_eq!(picked, [0, 0, 0, 1, 2, 2, 2]);
/// ```
///
/// # Panics
///
/// Without a place.
pub fn pick(queues: impl Iterator<Item = u64> + Clone, draw: u64) -> usize {
    let longest = queues.clone().max().expect("there is a place to go to");
    let weights = queues.map(|queue| longest + 1 - queue);
    let mut left = draw % weights.clone().sum::<u64>();
    for (place, weight) in weights.enumerate() {
        if left < weight {
            return place;
        }
        left -= weight;
    }
    unreachable!("what is left is less than all weights together")
}

#[cfg(all(test, not(milena_model)))]
mod tests {
    use super::*;

    #[test]
    fn places_are_picked_by_their_weights() {
        for queues in [vec![0], vec![0; 12], vec![5, 5, 5], vec![0, 1, 2, 3, 10], vec![100, 0]] {
            let longest = queues.iter().copied().max().unwrap_or(0);
            let total: u64 = queues.iter().map(|queue| longest + 1 - queue).sum();
            let mut counts = vec![0; queues.len()];
            (0..total * 3).for_each(|draw| counts[pick(queues.iter().copied(), draw)] += 1);
            let expected: Vec<u64> = queues.iter().map(|queue| 3 * (longest + 1 - queue)).collect();
            assert_eq!(counts, expected, "{queues:?}");
        }
    }
}
