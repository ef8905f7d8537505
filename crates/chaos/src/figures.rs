//! The figures of a row, as lines for the reader of the log.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::time::Duration;

use crate::audit::Audit;
use crate::punctual::Millis;

/// Prints as some lines that `cargo xtask test` shows.
pub struct Figures<'a> {
    pub row: &'a str,
    /// From the first record to the last fate.
    pub took: Duration,
    pub audit: &'a Audit,
}

impl Display for Figures<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { row, took, audit } = self;
        let counts = &audit.counts;
        let share = |part: usize| 100.0 * part as f64 / counts.offered.max(1) as f64;
        let undetermined: usize = counts.undetermined.values().sum();
        writeln!(
            f,
            "measured: {row}: {:.1} s, {} records offered, {} compared with {} in {} partitions of the log, {} in order",
            took.as_secs_f64(),
            counts.offered,
            counts.compared(),
            counts.found,
            counts.partitions,
            counts.ordered,
        )?;
        writeln!(
            f,
            "measured:   told: {} written, not written {}, {} unknown ({:.2} %), refused {}; {} cancelled",
            counts.written,
            Reasons(&counts.not_written),
            counts.unknown,
            share(counts.unknown),
            Reasons(&counts.refused),
            counts.cancelled,
        )?;
        writeln!(
            f,
            "measured:   fates: {} written, not written {}, undetermined {} ({:.2} %), {} of them in the log",
            counts.fate_written,
            Reasons(&counts.fate_not_written),
            Reasons(&counts.undetermined),
            share(undetermined),
            counts.undetermined_found,
        )?;
        let lateness = Spread(&audit.lateness);
        writeln!(
            f,
            "measured:   told after their deadline by: {lateness}; excused meanwhile up to {}",
            Millis(audit.stall_max)
        )?;
        for (topic, latencies) in audit.latencies.iter().enumerate() {
            writeln!(f, "measured:   until written, topic {}: {}", topic + 1, Spread(latencies))?;
        }
        write!(f, "measured:   {} findings", audit.findings.len())
    }
}

/// Counts by reason.
struct Reasons<'a>(&'a BTreeMap<String, usize>);

impl Display for Reasons<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.values().sum::<usize>())?;
        if self.0.is_empty() {
            return Ok(());
        }
        let reasons: Vec<String> = self.0.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        write!(f, " [{}]", reasons.join(", "))
    }
}

/// Of values in ascending order.
pub struct Spread<'a>(pub &'a [Duration]);

impl Display for Spread<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |share: f64| {
            let place = (self.0.len() as f64 * share).ceil() as usize;
            Millis(self.0.get(place.saturating_sub(1)).copied().unwrap_or_default())
        };
        write!(f, "{} records, p50 {}, p99 {}, p99.9 {}, max {}", self.0.len(), at(0.5), at(0.99), at(0.999), at(1.0))
    }
}
