//! The progress bar: on a terminal only, a few times a second, never in the way of a record.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar, or nothing where nobody would see it.
pub struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    /// `total` bytes are to come, if that is known.
    pub fn on_terminal(total: Option<u64>) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let template = if total.is_some() { KNOWN } else { OPEN };
            let style = ProgressStyle::with_template(template).expect("the template is well formed");
            ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr()).with_style(style)
        });
        Self { bar }
    }

    pub fn show(&self, bytes: u64, written: u64) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{} written", indicatif::HumanCount(written)));
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

const KNOWN: &str = "{bar:30} {decimal_bytes} of {decimal_total_bytes} ({decimal_bytes_per_sec}, {eta} left), {msg}";
const OPEN: &str = "{spinner} {decimal_bytes} ({decimal_bytes_per_sec}), {msg}";
