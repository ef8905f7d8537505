//! One Java process of the cluster, in a process group of its own so that a Ctrl-C meant for the tests does not reach it.
//!
//! A tethered process never outlives the one that started it, however that one ends: a watcher waits for the end of a pipe
//! that only the owner holds open, and kills. (Linux's parent-death signal would need `unsafe`, and fires when the starting
//! *thread* ends.) The watcher is a child of the shell that then becomes the JVM, so there is no moment without it.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tether {
    /// No longer than the value that holds it, and the process that holds that.
    Owner,
    /// Until somebody kills it.
    None,
}

/// A running, frozen or just ended process.
#[derive(Debug)]
pub struct Jvm {
    child: Child,
    tether: Option<ChildStdin>,
}

impl Jvm {
    /// Starts `java`, with what it prints appended to `log`.
    pub fn launch(java: &Command, log: &Path, tether: Tether) -> io::Result<Self> {
        let log = File::options().create(true).append(true).open(log)?;
        let (script, stdin) = match tether {
            Tether::Owner => (TETHERED, Stdio::piped()),
            Tether::None => (LOOSE, Stdio::null()),
        };
        let mut child = Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(java.get_program())
            .args(java.get_args())
            .stdin(stdin)
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()?;
        let tether = child.stdin.take();
        Ok(Self { child, tether })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn has_ended(&mut self) -> io::Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Sends a signal by its name, as `kill` knows it.
    pub fn signal(&self, name: &str) -> io::Result<()> {
        signal(self.id(), name)
    }

    /// From now on every write beyond so many bytes of a file fails (the soft `RLIMIT_FSIZE`); `None` ends that. Linux only.
    pub fn limit_files(&self, bytes: Option<u64>) -> io::Result<()> {
        let limit = bytes.map_or("unlimited".to_owned(), |bytes| bytes.to_string());
        let limit = format!("--fsize={limit}:");
        let status = Command::new("prlimit").args(["--pid", &self.id().to_string(), &limit]).status()?;
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("prlimit {limit} ended with {status}"))) }
    }

    /// SIGKILL, and its end; works on a frozen process as well.
    pub fn kill(mut self) -> io::Result<()> {
        self.end_now()
    }

    /// SIGTERM, and its end: what a broker does on an orderly shutdown. Killed when it takes longer than `patience`.
    pub fn terminate(mut self, patience: Duration) -> io::Result<()> {
        self.signal("TERM")?;
        let deadline = Instant::now() + patience;
        while !self.has_ended()? {
            if Instant::now() >= deadline {
                self.end_now()?;
                return Err(io::Error::new(io::ErrorKind::TimedOut, format!("no orderly end within {patience:?}")));
            }
            // A child's end can be awaited only without a limit; this asks.
            std::thread::sleep(Duration::from_millis(10));
        }
        self.dismiss_watcher();
        Ok(())
    }

    fn end_now(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        self.dismiss_watcher();
        Ok(())
    }

    /// A line instead of the end of the pipe: the watcher leaves without killing, since the process id may be another's by then.
    fn dismiss_watcher(&mut self) {
        if let Some(mut tether) = self.tether.take() {
            // Fails only when the watcher is gone already.
            let _ = tether.write_all(b"ended\n");
        }
    }
}

impl Drop for Jvm {
    fn drop(&mut self) {
        if self.tether.is_some()
            && let Err(error) = self.end_now()
        {
            eprintln!("process {} was not killed: {error}", self.id());
        }
    }
}

/// Sends a signal to a process that need not be our child. By the shell, because the call itself would need `unsafe`.
pub fn signal(process: u32, name: &str) -> io::Result<()> {
    let status = Command::new("sh").args(["-c", r#"kill -s "$1" "$2""#, "sh", name, &process.to_string()]).status()?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("kill -s {name} {process} ended with {status}")))
    }
}

/// The shell keeps its process id (`$$`) when it becomes the JVM.
const TETHERED: &str = r#"
exec 3<&0 </dev/null
( read -r _ <&3 || kill -s KILL $$ ) >/dev/null 2>&1 &
exec "$@" 3<&-
"#;

/// Closing the terminal does not end it.
const LOOSE: &str = r#"trap '' HUP; exec "$@""#;

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn log(name: &str) -> PathBuf {
        let home = crate::folders::home();
        std::fs::create_dir_all(&home).unwrap();
        home.join(format!("test-{name}-{}.log", std::process::id()))
    }

    fn sleeper() -> Command {
        let mut command = Command::new("sleep");
        command.arg("600");
        command
    }

    #[test]
    fn a_process_ends_when_its_owner_lets_go_of_the_pipe() {
        let log = log("pipe");
        let mut jvm = Jvm::launch(&sleeper(), &log, Tether::Owner).unwrap();
        assert!(!jvm.has_ended().unwrap());
        // What the kernel does with the pipe of an owner that is killed.
        drop(jvm.tether.take());
        let status = jvm.child.wait().unwrap();
        assert!(!status.success(), "{status}");
        std::fs::remove_file(log).unwrap();
    }

    #[test]
    fn a_frozen_process_is_killed_as_well() {
        let log = log("frozen");
        let jvm = Jvm::launch(&sleeper(), &log, Tether::Owner).unwrap();
        jvm.signal("STOP").unwrap();
        jvm.kill().unwrap();
        std::fs::remove_file(log).unwrap();
    }

    #[test]
    fn an_orderly_end_is_awaited() {
        let log = log("orderly");
        let jvm = Jvm::launch(&sleeper(), &log, Tether::Owner).unwrap();
        jvm.terminate(Duration::from_secs(20)).unwrap();
        std::fs::remove_file(log).unwrap();
    }

    #[test]
    fn a_signal_to_nobody_is_an_error() {
        let log = log("nobody");
        let mut jvm = Jvm::launch(&sleeper(), &log, Tether::Owner).unwrap();
        jvm.end_now().unwrap();
        assert!(jvm.signal("CONT").is_err());
        std::fs::remove_file(log).unwrap();
    }
}
