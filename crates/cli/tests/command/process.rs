//! The binary as a process: run to its end, or talked to while it runs.
//!
//! Waiting is always for an event (a line on stderr, the end of the process) and bounded by [`PATIENCE`].

#![allow(dead_code, reason = "each test program uses its part")]

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Much longer than anything here takes, so a test that hangs ends with a reason.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A folder of a test, gone at its end.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("milena-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).expect("the target folder can be written");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn data(&self) -> PathBuf {
        self.0.join("milena-data")
    }

    /// Runs the command here to its end.
    pub fn run(&self, arguments: &str, stdin: &[u8]) -> Ended {
        let mut running = self.start(arguments);
        running.write(stdin);
        running.end()
    }

    /// As [`Self::run`], with arguments that have spaces in them after those that have none.
    pub fn run_with(&self, arguments: &str, more: &[&str], stdin: &[u8]) -> Ended {
        let mut running = self.start_with(arguments, more);
        running.write(stdin);
        running.end()
    }

    /// Starts the command here.
    pub fn start(&self, arguments: &str) -> Running {
        self.start_with::<&str>(arguments, &[])
    }

    /// Starts the command here with arguments that are no text.
    #[cfg(unix)]
    pub fn start_with_bytes(&self, arguments: &str, more: &[&[u8]]) -> Running {
        use std::os::unix::ffi::OsStrExt;
        let more: Vec<&OsStr> = more.iter().map(|bytes| OsStr::from_bytes(bytes)).collect();
        self.start_with(arguments, &more)
    }

    /// Starts the command here, by a shell that does something before.
    #[cfg(unix)]
    pub fn start_after(&self, before: &str, arguments: &str) -> Running {
        let child = Command::new("sh")
            .args(["-c", &format!("{before}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_milena")])
            .args(arguments.split_whitespace())
            .current_dir(&self.0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        Running::new(child.expect("there is a shell"))
    }

    fn start_with<A: AsRef<OsStr>>(&self, arguments: &str, more: &[A]) -> Running {
        let child = Command::new(env!("CARGO_BIN_EXE_milena"))
            .args(arguments.split_whitespace())
            .args(more)
            .current_dir(&self.0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        Running::new(child.expect("the binary was built"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _left_behind = fs::remove_dir_all(&self.0);
    }
}

/// A process that has ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Ended {
    /// Asserts the exit code, and shows what was said if it is another.
    pub fn with_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "it said: {}", self.stderr);
        self
    }

    /// Each line of stdout as JSON; a line that is none ends the test.
    pub fn json(&self) -> Vec<serde_json::Value> {
        json_lines(&self.stdout)
    }

    pub fn says(&self, text: &str) -> bool {
        self.stderr.contains(text)
    }
}

/// Each line as JSON; one that is none ends the test.
pub fn json_lines(text: &[u8]) -> Vec<serde_json::Value> {
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    let value = |line: &[u8]| {
        assert!(line.ends_with(b"\n"), "half a line: {}", line.escape_ascii());
        serde_json::from_slice(line).unwrap_or_else(|error| panic!("{error}: {}", line.escape_ascii()))
    };
    lines.map(value).collect()
}

/// A process that runs; killed if the test ends first.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stderr: Receiver<String>,
    said: String,
    stdout: Option<JoinHandle<Vec<u8>>>,
}

impl Running {
    fn new(mut child: Child) -> Self {
        let (tell, stderr) = channel();
        let lines = BufReader::new(child.stderr.take().expect("is piped")).lines();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| tell.send(line)));
        let mut out = child.stdout.take().expect("is piped");
        let stdout = std::thread::spawn(move || {
            let mut all = Vec::new();
            out.read_to_end(&mut all).expect("a pipe can be read");
            all
        });
        Self { child, stderr, said: String::new(), stdout: Some(stdout) }
    }

    /// To its stdin. A process that has ended does not read it.
    pub fn write(&mut self, bytes: &[u8]) {
        let stdin = self.child.stdin.as_mut().expect("is open");
        let _nobody_reads = stdin.write_all(bytes).and_then(|()| stdin.flush());
    }

    /// Waits for a line on stderr with this text.
    pub fn await_line(&mut self, text: &str) -> String {
        loop {
            match self.stderr.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.said += &line;
                    self.said.push('\n');
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(_) => panic!("no line with {text:?} came; it said: {}", self.said),
            }
        }
    }

    /// Ctrl-C.
    pub fn interrupt(&self) {
        self.signal("INT");
    }

    /// Waits until it listens to Ctrl-C. Where whoever started the tests ignores that, as shells do for what runs in the
    /// background, it would be lost before.
    #[cfg(target_os = "linux")]
    pub fn await_handler(&self) {
        let begun = Instant::now();
        while signals(&self.id().to_string(), "SigCgt") & INTERRUPT == 0 {
            assert!(begun.elapsed() < PATIENCE, "it never listens to Ctrl-C");
            std::thread::yield_now();
        }
    }

    pub fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn close_stdin(&mut self) {
        drop(self.child.stdin.take());
    }

    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
    }

    /// Closes its stdin and waits for its end.
    pub fn end(mut self) -> Ended {
        self.close_stdin();
        self.end_by_itself()
    }

    /// Waits for its end, though there might be more to read.
    pub fn end_by_itself(mut self) -> Ended {
        let status = self.await_end();
        while let Ok(line) = self.stderr.recv_timeout(PATIENCE) {
            self.said += &line;
            self.said.push('\n');
        }
        let stdout = self.stdout.take().expect("is joined once").join().expect("a pipe can be read");
        Ended { code: status.code(), stdout, stderr: std::mem::take(&mut self.said) }
    }

    fn await_end(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("it is ours") {
                return status;
            }
            if Instant::now() > until {
                self.child.kill().expect("it runs");
                panic!("it does not end; it said: {}", self.said);
            }
            // The standard library waits for a child without a limit only.
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// One of the sets of signals of a process, a bit each.
#[cfg(target_os = "linux")]
pub fn signals(process: &str, set: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs, or was not waited for");
    let bits = status.lines().find_map(|line| line.strip_prefix(set)?.strip_prefix(':'));
    bits.map_or(0, |bits| u64::from_str_radix(bits.trim(), 16).expect("is a hexadecimal number"))
}

pub const HANG_UP: u64 = 1;
const INTERRUPT: u64 = 1 << 1;

pub fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status();
    assert!(sent.expect("kill is there").success());
}

impl Drop for Running {
    fn drop(&mut self) {
        let _has_ended = self.child.kill();
        let _has_ended = self.child.wait();
    }
}
