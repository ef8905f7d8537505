//! The thread that reads files of outcomes into the ledger.
//!
//! A producer that was killed leaves half a line at the end: that one is told and left out. Any other line that cannot be
//! understood is told with its place, and the audit then ends with another exit code, because it does not know a record's
//! outcome.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::oneshot;

use super::ledger::Ledger;
use super::line::{self, Line};
use crate::exit::tell;
use crate::lines::{self, Lines};

/// What was read.
#[derive(Debug, Default)]
pub struct Outcomes {
    pub ledger: Ledger,
    /// Lines that make no sense, alone or beside others of their record.
    pub bad: u64,
    /// Last lines that were cut off.
    pub unfinished: u64,
}

/// Within a tokio runtime. `lines` counts those that were read.
pub fn start(files: Vec<PathBuf>, lines: Arc<AtomicU64>) -> io::Result<oneshot::Receiver<Result<Outcomes, String>>> {
    let (tell_end, ended) = oneshot::channel();
    std::thread::Builder::new().name("milena-outcomes".to_owned()).spawn(move || {
        let _nobody_waits = tell_end.send(read(&files, &lines));
    })?;
    Ok(ended)
}

fn read(files: &[PathBuf], lines: &AtomicU64) -> Result<Outcomes, String> {
    let mut outcomes = Outcomes::default();
    for path in files {
        outcomes.ledger.begin_file(&path.display().to_string());
        match path.to_str() {
            Some("-") => outcomes.read(io::stdin(), path, lines)?,
            _ => outcomes.read(open(path)?, path, lines)?,
        }
        let wrong = outcomes.ledger.end_run();
        outcomes.tell_records(path, wrong);
    }
    if outcomes.bad > BAD_TOLD_MAX {
        tell(format_args!("{} more lines are wrong", outcomes.bad - BAD_TOLD_MAX));
    }
    Ok(outcomes)
}

/// As `consume` and `produce` open what they read.
pub fn open(path: &Path) -> Result<File, String> {
    crate::input::open(path)
}

impl Outcomes {
    fn read(&mut self, input: impl Read, path: &Path, count: &AtomicU64) -> Result<(), String> {
        let mut lines = Lines::new(Watched { input, last: b'\n' }, b"\n", LINE_BYTES_MAX);
        let (mut number, mut wrong_last) = (0, None);
        let before = count.load(Ordering::Relaxed);
        while lines.fill().map_err(|error| format!("{} cannot be read: {error}", path.display()))? {
            while let Some(line) = lines.next_line() {
                number += 1;
                if let Some(why) = wrong_last.take() {
                    self.tell_line(path, number - 1, why);
                }
                wrong_last = self.take(line, path).err();
            }
            count.store(before + number, Ordering::Relaxed);
        }
        match wrong_last {
            Some(_) if lines.input().last != b'\n' => {
                self.unfinished += 1;
                tell(format_args!("{}:{number}: the last line is unfinished; it is left out", path.display()));
            }
            Some(why) => self.tell_line(path, number, why),
            None => {}
        }
        Ok(())
    }

    fn take(&mut self, line: lines::Line<'_>, path: &Path) -> Result<(), String> {
        let line = match line {
            lines::Line::Whole(line) => line::parse(line)?,
            lines::Line::TooLong { bytes } => {
                return Err(format!("it has {bytes} bytes, and no outcome has more than {LINE_BYTES_MAX}"));
            }
        };
        match line {
            Line::Run(run) => {
                let wrong = self.ledger.begin_run(run);
                self.tell_records(path, wrong);
                Ok(())
            }
            Line::Told(told) => self.ledger.take(&told),
            Line::Nothing => Ok(()),
        }
    }

    fn tell_line(&mut self, path: &Path, number: u64, why: impl fmt::Display) {
        self.tell_bad(format_args!("{}:{number}: {why}", path.display()));
    }

    fn tell_records(&mut self, path: &Path, wrong: Result<(), Vec<String>>) {
        for why in wrong.err().unwrap_or_default() {
            self.tell_bad(format_args!("{}: {why}", path.display()));
        }
    }

    fn tell_bad(&mut self, what: impl fmt::Display) {
        self.bad += 1;
        if self.bad <= BAD_TOLD_MAX {
            tell(what);
        }
    }
}

/// Remembers how what was read ended.
struct Watched<R> {
    input: R,
    last: u8,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.input.read(buffer)?;
        if let Some(last) = buffer[..bytes].last() {
            self.last = *last;
        }
        Ok(bytes)
    }
}

/// More than a reason and a cause take; what is longer is something else.
const LINE_BYTES_MAX: usize = 1024 * 1024;

/// Whoever names a wrong file has seen enough then.
const BAD_TOLD_MAX: u64 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_all_files_are_counted_once_however_they_are_read() {
        const LINES: u64 = 10_000;
        let line = |number| format!("{{\"line\":{number},\"topic\":\"t\",\"outcome\":\"unknown\"}}\n");
        let text: String = (1..=LINES).map(line).collect();
        let (mut outcomes, count) = (Outcomes::default(), AtomicU64::new(0));
        for name in ["one", "other"] {
            outcomes.ledger.begin_file(name);
            outcomes.read(text.as_bytes(), Path::new(name), &count).expect("memory is readable");
            outcomes.ledger.end_run().expect("the lines go together");
        }
        assert_eq!(count.load(Ordering::Relaxed), 2 * LINES);
        assert_eq!((outcomes.ledger.entries.len() as u64, outcomes.bad), (2 * LINES, 0));
    }
}
