//! The name that somebody who misspelled it may have meant.

/// The nearest of these names, if it is near: of a name's letters at most one in four is wrong, or only its end is missing.
pub(super) fn nearest(name: &str, names: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let told = name.to_ascii_lowercase().replace(['_', '-'], ".");
    if told.len() > NAME_BYTES_MAX {
        return None;
    }
    let away = |candidate: &str| match candidate.strip_prefix(told.as_str()) {
        Some(rest) if rest.starts_with('.') => 1,
        _ => distance(&told, candidate),
    };
    let (distance, nearest) = names.map(|candidate| (away(candidate), candidate)).min_by_key(|(away, _)| *away)?;
    (distance <= nearest.len() / 4).then_some(nearest)
}

/// Longer than any name; the work grows with the length.
const NAME_BYTES_MAX: usize = 100;

/// Letters to put in, take out or change (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let right = right.as_bytes();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (taken, from) in left.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], taken + 1);
        for (place, to) in right.iter().enumerate() {
            let changed = diagonal + usize::from(from != *to);
            diagonal = row[place + 1];
            row[place + 1] = changed.min(diagonal + 1).min(row[place] + 1);
        }
    }
    row[right.len()]
}

#[cfg(all(test, not(milena_model)))]
mod tests {
    use super::*;

    #[test]
    fn letters_that_differ_are_counted() {
        for (left, right, expected) in [
            ("", "", 0),
            ("acks", "acks", 0),
            ("ack", "acks", 1),
            ("kcas", "acks", 2),
            ("skca", "acks", 4),
            ("", "ab", 2),
        ] {
            assert_eq!(distance(left, right), expected, "{left} {right}");
        }
    }

    #[test]
    fn a_name_is_proposed_only_if_it_is_near() {
        let names = || ["linger.ms", "batch.size", "acks"].into_iter();
        assert_eq!(nearest("linger_ms", names()), Some("linger.ms"));
        assert_eq!(nearest("Batch.Sise", names()), Some("batch.size"));
        assert_eq!(nearest("linger", names()), Some("linger.ms"));
        assert_eq!(nearest("group.id", names()), None);
        assert_eq!(nearest(&"linger.ms".repeat(100), names()), None);
    }
}
