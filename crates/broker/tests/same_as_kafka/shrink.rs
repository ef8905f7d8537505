//! A sequence that differs, made smaller: requests are left out as long as the same field differs in the same way.

use crate::leaves::pattern;
use crate::pair::Pair;
use crate::report;
use crate::run::{Counts, Finding, Rules, Run};
use crate::sequence::Sequence;

/// What is left of a finding's sequence, as text for a person.
pub fn smallest(pair: &Pair, finding: &Finding, rules: &Rules<'_>) -> String {
    let whole = Sequence::of(finding.seed, &rules.origin(format!("s{}", finding.seed)));
    if let Some(restart) = whole.restart_at.filter(|restart| *restart <= finding.step) {
        let before = listed(&whole, &(0..restart).collect::<Vec<_>>());
        let after = listed(&whole, &(restart..finding.step).collect::<Vec<_>>());
        return format!("{}  after\n{before}  - a restart\n{after}", report::text(finding));
    }
    let mut kept: Vec<usize> = (0..=finding.step).collect();
    let mut last = finding.clone();
    let mut attempts = 0;
    let mut piece = kept.len().div_ceil(2);
    while piece > 0 {
        let mut at = 0;
        while at + piece < kept.len() && attempts < ATTEMPTS_MAX {
            let mut fewer = kept.clone();
            fewer.drain(at..at + piece);
            attempts += 1;
            match again(pair, finding, &fewer, attempts, rules) {
                Some(found) => (kept, last) = (fewer, found),
                None => at += piece,
            }
        }
        piece /= 2;
    }
    let mut out = report::text(&last);
    out += &format!("  left of {} requests:\n", finding.step + 1);
    out + &listed(&whole, &kept[..kept.len() - 1])
}

/// A line for each of these requests.
fn listed(sequence: &Sequence, kept: &[usize]) -> String {
    let line = |at: &usize| {
        let step = &sequence.steps[*at];
        let api = step.asked.api().name();
        format!("  - {api} v{}, {}: {}\n", step.version, step.what, report::request(&step.asked))
    };
    kept.iter().map(line).collect()
}

/// Whether only these requests, on topics of their own, still differ in the same field at their end.
fn again(pair: &Pair, finding: &Finding, kept: &[usize], attempt: usize, rules: &Rules<'_>) -> Option<Finding> {
    let prefix = format!("s{}x{attempt}p{}", finding.seed, std::process::id());
    let sequence = Sequence { restart_at: None, ..Sequence::of(finding.seed, &rules.origin(prefix)).only(kept) };
    let (kafka, ours) = pair.prepare(std::slice::from_ref(&sequence)).ok()?.pop()?;
    let mut run = Run::new(sequence, kafka, ours);
    run.go(rules, &mut Counts::new()).ok()?;
    let found = run.found?;
    let is_same = |a: &Finding, b: &Finding| {
        let (a, b) = (&a.differences[0], &b.differences[0]);
        a.api == b.api && pattern(&a.path) == pattern(&b.path) && (&a.kafka, &a.ours) == (&b.kafka, &b.ours)
    };
    (is_same(&found, finding) && found.step + 1 == kept.len()).then_some(found)
}

/// Each creates topics.
const ATTEMPTS_MAX: usize = 60;
