//! The progress bar: on a terminal that nobody types the records into, a few times a second, never in the way of a record.

use std::fmt;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// A bar, or nothing where nobody would see it.
pub struct Progress {
    bar: Option<ProgressBar>,
    /// Drawn together with the bytes; a message of the bar would be drawn by itself, beside older bytes.
    written: Arc<AtomicU64>,
}

impl Progress {
    /// `total` bytes are to come, if that is known.
    pub fn on_terminal(total: Option<u64>) -> Self {
        let written = Arc::new(AtomicU64::new(0));
        let bar = (std::io::stderr().is_terminal() && !std::io::stdin().is_terminal()).then(|| {
            let template = if total.is_some() { KNOWN } else { OPEN };
            ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr()).with_style(style(template, &written))
        });
        Self { bar, written }
    }

    pub fn show(&self, bytes: u64, written: u64) {
        if let Some(bar) = &self.bar {
            self.written.store(written, Ordering::Relaxed);
            bar.set_position(bytes);
            bar.tick();
        }
    }

    /// What is said next starts on an empty line.
    pub fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn style(template: &str, written: &Arc<AtomicU64>) -> ProgressStyle {
    let written = Arc::clone(written);
    ProgressStyle::with_template(template).expect("the template is well formed").with_key(
        "written",
        move |_: &ProgressState, out: &mut dyn fmt::Write| {
            // A line that lacks a number is all that can come of it.
            let _incomplete = write!(out, "{}", HumanCount(written.load(Ordering::Relaxed)));
        },
    )
}

/// How many bytes a file on stdin still has; none for a pipe or a terminal.
#[cfg(unix)]
pub fn bytes_on_stdin() -> Option<u64> {
    use std::io::Seek;
    use std::os::fd::AsFd;
    let stdin = std::io::stdin().as_fd().try_clone_to_owned().ok()?;
    let mut file = std::fs::File::from(stdin);
    let metadata = file.metadata().ok()?;
    let position = metadata.is_file().then(|| file.stream_position().ok()).flatten()?;
    metadata.len().checked_sub(position)
}

/// How many bytes a file on stdin still has: not known here.
#[cfg(not(unix))]
pub fn bytes_on_stdin() -> Option<u64> {
    None
}

/// Often enough to look alive.
pub const INTERVAL: Duration = Duration::from_millis(100);

/// With the longest numbers 79 columns, so that no line wraps on a terminal of 80.
const KNOWN: &str =
    "{bar:8} {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left, {written} written";
const OPEN: &str = "{spinner} {decimal_bytes}, {decimal_bytes_per_sec}, {written} written";
