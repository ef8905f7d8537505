//! What the results of a group's steps mean for the group. A pure decision; `test.rs` runs and prints.
//!
//! The rule that always holds: a group passes only if every one of its steps ran at least one test, and no test failed.
//! Nothing that went wrong is left out of the counts: a step that failed without a failed test (it did not compile, it
//! crashed, it ran nothing) counts as one failed.

use crate::tally::Tally;

/// What became of one step.
#[derive(Debug)]
pub enum StepEnd {
    /// The step's program ended.
    Ended { success: bool, tally: Tally },
    /// The step was not run, because something that it needs is not there.
    Skipped { reason: String },
}

/// What became of a group.
#[derive(Debug, PartialEq, Eq)]
pub struct GroupEnd {
    pub verdict: Verdict,
    pub tally: Tally,
}

/// A group's result, with the reason for everything but success.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Passed,
    Skipped(String),
    Failed(String),
}

/// What `--deny-skips` decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skips {
    Allowed,
    Denied,
}

/// Judges a group by its steps, each with the words in which it is named to the reader.
pub fn judge(steps: &[(String, StepEnd)], skips: Skips) -> GroupEnd {
    let mut tally = Tally::default();
    let mut failures = Vec::new();
    let mut skipped = Vec::new();
    for (name, end) in steps {
        let (counted, verdict) = judge_step(end, skips);
        tally += counted;
        match verdict {
            Verdict::Passed => {}
            Verdict::Skipped(reason) => skipped.push(reason),
            Verdict::Failed(reason) => failures.push(format!("{name}: {reason}")),
        }
    }
    if steps.is_empty() {
        tally.failed += 1;
        failures.push("it has no steps".to_owned());
    }
    // Steps that could not run for the same reason say it once.
    failures.dedup();
    skipped.dedup();
    let verdict = if !failures.is_empty() {
        Verdict::Failed(failures.join("; "))
    } else if !skipped.is_empty() {
        Verdict::Skipped(skipped.join("; "))
    } else {
        Verdict::Passed
    };
    GroupEnd { verdict, tally }
}

fn judge_step(end: &StepEnd, skips: Skips) -> (Tally, Verdict) {
    let one_failed = Tally { failed: 1, ..Tally::default() };
    let one_skipped = Tally { skipped: 1, ..Tally::default() };
    match end {
        StepEnd::Skipped { reason } if skips == Skips::Denied => {
            (one_failed, Verdict::Failed(format!("skipped, which --deny-skips forbids: {reason}")))
        }
        StepEnd::Skipped { reason } => (one_skipped, Verdict::Skipped(reason.clone())),
        StepEnd::Ended { tally, .. } if tally.failed > 0 => {
            (*tally, Verdict::Failed(format!("{} failed", tally.failed)))
        }
        StepEnd::Ended { success: false, tally } => {
            (Tally { failed: 1, ..*tally }, Verdict::Failed("ended with an error".to_owned()))
        }
        StepEnd::Ended { tally, .. } if tally.ran() == 0 => {
            (Tally { failed: 1, ..*tally }, Verdict::Failed("ran nothing".to_owned()))
        }
        StepEnd::Ended { tally, .. } if tally.skipped > 0 && skips == Skips::Denied => {
            let reason = format!("{} ignored, which --deny-skips forbids", tally.skipped);
            (Tally { failed: 1, ..*tally }, Verdict::Failed(reason))
        }
        StepEnd::Ended { tally, .. } => (*tally, Verdict::Passed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(success: bool, passed: u64, failed: u64, skipped: u64) -> (String, StepEnd) {
        ("a step".to_owned(), StepEnd::Ended { success, tally: Tally { passed, failed, skipped } })
    }

    fn left_out() -> (String, StepEnd) {
        ("a step".to_owned(), StepEnd::Skipped { reason: "no java".to_owned() })
    }

    fn counts(passed: u64, failed: u64, skipped: u64) -> Tally {
        Tally { passed, failed, skipped }
    }

    #[test]
    fn a_group_whose_steps_all_ran_and_passed_passes() {
        let end = judge(&[ended(true, 3, 0, 0), ended(true, 4, 0, 0)], Skips::Denied);
        assert_eq!(end, GroupEnd { verdict: Verdict::Passed, tally: counts(7, 0, 0) });
    }

    #[test]
    fn a_group_that_ran_nothing_fails() {
        let end = judge(&[ended(true, 0, 0, 0)], Skips::Allowed);
        assert_eq!(end.verdict, Verdict::Failed("a step: ran nothing".to_owned()));
        assert_eq!(end.tally, counts(0, 1, 0));
    }

    #[test]
    fn one_step_that_ran_nothing_fails_the_group() {
        let end = judge(&[ended(true, 9, 0, 0), ended(true, 0, 0, 5)], Skips::Allowed);
        assert_eq!(end.verdict, Verdict::Failed("a step: ran nothing".to_owned()));
        assert_eq!(end.tally, counts(9, 1, 5));
    }

    #[test]
    fn a_group_without_steps_fails() {
        let end = judge(&[], Skips::Allowed);
        assert!(matches!(end.verdict, Verdict::Failed(_)));
        assert_eq!(end.tally, counts(0, 1, 0));
    }

    #[test]
    fn a_failed_test_fails_the_group_even_when_the_program_says_success() {
        let end = judge(&[ended(true, 3, 1, 0)], Skips::Allowed);
        assert_eq!(end.verdict, Verdict::Failed("a step: 1 failed".to_owned()));
        assert_eq!(end.tally, counts(3, 1, 0));
    }

    #[test]
    fn an_error_without_a_failed_test_counts_as_one_failed() {
        let end = judge(&[ended(false, 3, 0, 0)], Skips::Allowed);
        assert_eq!(end.verdict, Verdict::Failed("a step: ended with an error".to_owned()));
        assert_eq!(end.tally, counts(3, 1, 0));
    }

    #[test]
    fn a_skipped_step_is_counted_and_named() {
        let end = judge(&[ended(true, 3, 0, 0), left_out()], Skips::Allowed);
        assert_eq!(end, GroupEnd { verdict: Verdict::Skipped("no java".to_owned()), tally: counts(3, 0, 1) });
    }

    #[test]
    fn with_denied_skips_a_skipped_step_fails() {
        let end = judge(&[ended(true, 3, 0, 0), left_out()], Skips::Denied);
        assert!(matches!(end.verdict, Verdict::Failed(reason) if reason.contains("no java")));
        assert_eq!(end.tally, counts(3, 1, 0));
    }

    #[test]
    fn with_denied_skips_an_ignored_test_fails() {
        assert_eq!(judge(&[ended(true, 3, 0, 1)], Skips::Allowed).verdict, Verdict::Passed);
        let end = judge(&[ended(true, 3, 0, 1)], Skips::Denied);
        assert!(matches!(end.verdict, Verdict::Failed(reason) if reason.contains("1 ignored")));
        assert_eq!(end.tally, counts(3, 1, 1));
    }
}
