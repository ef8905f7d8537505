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
    /// `total` bytes are to come, if that is known; from stdin, or from files.
    pub fn on_terminal(total: Option<u64>, is_stdin: bool) -> Self {
        let written = Arc::new(AtomicU64::new(0));
        let bar = (std::io::stderr().is_terminal() && !(is_stdin && std::io::stdin().is_terminal())).then(|| {
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

/// How many of something there are so far, where somebody sees it.
pub struct Counting(Option<ProgressBar>);

impl Counting {
    pub fn on_terminal(what: impl fmt::Display) -> Self {
        Self(std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} {human_pos} {msg}");
            ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
                .with_style(style.expect("the template is well formed"))
                .with_message(what.to_string())
        }))
    }

    pub fn show(&self, count: u64) {
        if let Some(bar) = &self.0 {
            bar.set_position(count);
            bar.tick();
        }
    }

    /// What is said next starts on an empty line.
    pub fn end(&mut self) {
        if let Some(bar) = self.0.take() {
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

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;

    use indicatif::TermLike;

    use super::*;

    /// A terminal that keeps what is drawn; shared with the test.
    #[derive(Clone, Debug, Default)]
    struct Screen(Arc<Mutex<Vec<String>>>);

    impl TermLike for Screen {
        // Wider than what is promised, so that a longer line would be seen as it is.
        fn width(&self) -> u16 {
            200
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, line: &str) -> io::Result<()> {
            self.write_str(line)
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.lock().expect("no panic").push(text.trim_end().to_owned());
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_with_long_numbers_fits_eighty_columns() {
        for (template, total) in [(KNOWN, Some(999_990_000_000)), (OPEN, None)] {
            let screen = Screen::default();
            let written = Arc::new(AtomicU64::new(0));
            let target = ProgressDrawTarget::term_like(Box::new(screen.clone()));
            let bar = ProgressBar::with_draw_target(total, target).with_style(style(template, &written));
            let progress = Progress { bar: Some(bar), written };
            progress.show(888_880_000_000, 8_888_888_888);
            let drawn = screen.0.lock().expect("no panic").clone();
            let line = drawn.iter().find(|line| line.contains("8,888,888,888 written")).expect("it is drawn");
            assert!(line.contains("888.88 GB"), "{line}");
            assert!(line.chars().count() <= 79, "{line}");
        }
    }
}
