//! How many tests ran, read from what test programs print when they end.
//!
//! Two closing lines are understood: libtest's (`test result: ok. 5 passed; 0 failed; 1 ignored; ...`) and, for programs
//! with a `main` of their own, ours (`5 passed, 0 failed, 1 skipped`). One output may hold many of them; they add up.

use std::fmt;
use std::ops::AddAssign;

/// Individual tests by result. `skipped` counts tests that libtest calls ignored, and one for each step that was left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub passed: u64,
    pub failed: u64,
    pub skipped: u64,
}

impl Tally {
    /// The sum of all closing lines in `output`.
    pub fn of_output(output: &str) -> Self {
        let mut sum = Self::default();
        for line in output.lines() {
            if let Some(tally) = libtest_closing_line(line).or_else(|| own_closing_line(line)) {
                sum += tally;
            }
        }
        sum
    }

    /// Tests that really ran. An ignored test did not.
    pub fn ran(&self) -> u64 {
        self.passed + self.failed
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

fn libtest_closing_line(line: &str) -> Option<Tally> {
    let counts = line.strip_prefix("test result: ")?;
    let counts = counts.strip_prefix("ok. ").or_else(|| counts.strip_prefix("FAILED. "))?;
    let mut parts = counts.split("; ");
    let passed = counted(parts.next()?, "passed")?;
    let failed = counted(parts.next()?, "failed")?;
    let skipped = counted(parts.next()?, "ignored")?;
    Some(Tally { passed, failed, skipped })
}

fn own_closing_line(line: &str) -> Option<Tally> {
    let mut parts = line.trim_end().split(", ");
    let passed = counted(parts.next()?, "passed")?;
    let failed = counted(parts.next()?, "failed")?;
    let skipped = counted(parts.next()?, "skipped")?;
    parts.next().is_none().then_some(Tally { passed, failed, skipped })
}

/// The number in `5 passed`, if the word is the one asked for.
fn counted(part: &str, word: &str) -> Option<u64> {
    let (number, found) = part.split_once(' ')?;
    if found == word { number.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_of_several_test_programs_add_up() {
        let output = "running 2 tests\n\
            test a ... ok\n\
            test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
            \n\
            test result: FAILED. 3 passed; 1 failed; 4 ignored; 0 measured; 0 filtered out; finished in 1.20s\n";
        assert_eq!(Tally::of_output(output), Tally { passed: 5, failed: 1, skipped: 4 });
    }

    #[test]
    fn a_program_with_its_own_main_closes_with_our_line() {
        let output = "seed 1: 812 records\n500 passed, 2 failed, 1 skipped\n";
        assert_eq!(Tally::of_output(output), Tally { passed: 500, failed: 2, skipped: 1 });
    }

    #[test]
    fn what_looks_almost_like_a_closing_line_counts_nothing() {
        for line in [
            "test result: ok.",
            "test result: maybe. 1 passed; 0 failed; 0 ignored",
            "test tests::says_test_result_ok ... ok",
            "5 passed, 0 failed",
            "x passed, 0 failed, 0 skipped",
            "5 passed, 0 failed, 0 skipped, 1 other",
            "  test result: ok. 5 passed; 0 failed; 0 ignored",
            "-1 passed, 0 failed, 0 skipped",
        ] {
            assert_eq!(Tally::of_output(line), Tally::default(), "{line}");
        }
    }

    #[test]
    fn a_printed_tally_is_read_back() {
        let tally = Tally { passed: 7, failed: 0, skipped: 2 };
        assert_eq!(Tally::of_output(&tally.to_string()), tally);
    }

    #[test]
    fn an_ignored_test_did_not_run() {
        assert_eq!(Tally { passed: 0, failed: 0, skipped: 9 }.ran(), 0);
    }
}
