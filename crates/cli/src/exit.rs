//! How a command ends: its exit code, and the one sentence of what went wrong.

use std::fmt;
use std::io::Write;
use std::process::ExitCode;

/// What the exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All was done; for `produce`: every record is written.
    Done,
    /// It began and could not be finished; for `produce`: some records are not written, and it is known which.
    Failed,
    /// A mistake in the arguments, or something that kept it from beginning.
    NotStarted,
    /// Some records may be written or not. Tells more than `Failed`, and goes before it.
    Unknown,
    /// Of `audit`: some outcomes are refuted by the log.
    Refuted,
    /// Of `audit`: some outcomes can be neither proved nor refuted.
    Unprovable,
    /// Ended by Ctrl-C before it began; for `consume`, `topics` and `audit` also before its end.
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::NotStarted => 2,
            Exit::Unknown => 3,
            Exit::Refuted => 4,
            Exit::Unprovable => 5,
            // What a shell reports of a process that SIGINT ended: 128 + 2.
            Exit::Interrupted => 130,
        })
    }
}

/// Why a command ended early.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    sentence: String,
}

impl Failure {
    /// It did not begin.
    pub fn to_start(why: impl fmt::Display) -> Self {
        Self { exit: Exit::NotStarted, sentence: why.to_string() }
    }

    /// It began.
    pub fn midway(why: impl fmt::Display) -> Self {
        Self { exit: Exit::Failed, sentence: why.to_string() }
    }

    /// Says it, and gives the exit code.
    pub fn tell(&self) -> Exit {
        tell(&self.sentence);
        self.exit
    }
}

/// Says what Ctrl-C came before and what that means, and gives the exit code.
pub fn interrupted(what: impl fmt::Display) -> Exit {
    tell(format_args!("interrupted {what}"));
    Exit::Interrupted
}

/// To stdout, at once. Whoever reads it may have seen enough.
pub fn print(text: &[u8]) -> Result<Exit, Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::midway(format!("stdout cannot be written: {error}")))
        }
        _ => Ok(Exit::Done),
    }
}

/// One line on stderr. A stderr that is closed is no reason to stop.
pub fn tell(sentence: impl fmt::Display) {
    let _nobody_listens = writeln!(std::io::stderr(), "milena: {sentence}");
}
