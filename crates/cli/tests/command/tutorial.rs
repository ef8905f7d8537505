//! `docs/tutorial.md`: what it tells to type is typed, in one shell, in order, and what it shows is what comes.
//!
//! In the page a line of a `console` block that begins with `$ ` is typed; those behind it are everything that is printed until the
//! next, by commands in the background too. `…` stands for anything within a line. Only the port is another one, so that
//! the test does not need 9092.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use crate::process::{Folder, PATIENCE};

/// A thread of the process has to take the signal before any stops, for which it waits on a busy machine. Without `/proc` that is
/// not seen.
const AWAIT_STOPPED: &str =
    "while [ -e /proc/self/status ] && ! grep -q '^State:.T' /proc/$(jobs -p %1)/status; do :; done";

const PAGE: &str = include_str!("../../../../docs/tutorial.md");

#[test]
fn the_tutorial_shows_what_happens() {
    let folder = Folder::new();
    let page = PAGE.replace(":9092", &format!(":{}", free_port()));
    let steps = steps(&page);
    assert!(steps.len() > 10, "the page has lost its commands: {steps:?}");
    let mut shell = Shell::start(folder.path());
    for step in &steps {
        shell.type_in(step.command);
        shell.expect(step);
        if step.command.starts_with("kill -STOP") {
            shell.write(AWAIT_STOPPED);
        }
    }
    shell.end();
}

/// A block in another language would not be run, and the program is an example of the library, where it is compiled and run.
#[test]
fn nothing_in_the_tutorial_goes_untried() {
    let languages: Vec<&str> =
        PAGE.lines().filter_map(|line| line.trim_start().strip_prefix("```")).step_by(2).collect();
    assert!(languages.iter().all(|language| ["console", "rust"].contains(language)), "{languages:?}");
    let programs: Vec<String> = blocks(PAGE, "rust").map(|lines| lines.join("\n") + "\n").collect();
    assert_eq!(programs, [include_str!("../../../client/examples/tutorial.rs")]);
}

#[test]
fn an_ellipsis_stands_for_anything_and_nothing_else_does() {
    for (shown, line) in [("a", "a"), ("a…", "abc"), ("…c", "abc"), ("a…c…e", "abcde"), ("…", "")] {
        assert!(is_shown(shown, line), "{shown} {line}");
    }
    for (shown, line) in [("a", "ab"), ("a…", "ba"), ("…c", "cb"), ("a…c…e", "abde"), ("ab…bc", "abc"), ("", "a")]
    {
        assert!(!is_shown(shown, line), "{shown} {line}");
    }
}

/// Something to type, and what is printed then.
#[derive(Debug)]
struct Step<'p> {
    command: &'p str,
    shown: Vec<&'p str>,
}

fn steps(page: &str) -> Vec<Step<'_>> {
    let mut steps: Vec<Step<'_>> = Vec::new();
    for line in blocks(page, "console").flatten() {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => steps.push(Step { command, shown: Vec::new() }),
            (None, Some(step)) => step.shown.push(line),
            (None, None) => panic!("nobody printed {line:?}"),
        }
    }
    steps
}

/// The lines of each block in this language.
fn blocks<'p>(page: &'p str, language: &str) -> impl Iterator<Item = Vec<&'p str>> {
    let mut lines = page.lines();
    let begin = format!("```{language}");
    std::iter::from_fn(move || {
        lines.by_ref().find(|line| *line == begin)?;
        Some(lines.by_ref().take_while(|line| *line != "```").collect())
    })
}

fn is_shown(shown: &str, line: &str) -> bool {
    let Some((begin, rest)) = shown.split_once('…') else { return shown == line };
    let Some(mut line) = line.strip_prefix(begin) else { return false };
    let (middle, end) = rest.rsplit_once('…').unwrap_or(("", rest));
    for part in middle.split('…') {
        let Some(at) = line.find(part) else { return false };
        line = &line[at + part.len()..];
    }
    line.ends_with(end)
}

/// A shell with `milena` in its `PATH`. What it and its commands print comes as one stream, as in a terminal.
struct Shell {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    typed: usize,
}

impl Shell {
    fn start(folder: &Path) -> Self {
        let binary = Path::new(env!("CARGO_BIN_EXE_milena")).parent().expect("is in a folder");
        let rest = std::env::var("PATH").unwrap_or_default();
        let mut child = Command::new("bash")
            .args(["--norc", "--noprofile"])
            .env("PATH", format!("{}:{rest}", binary.display()))
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Those in the background end with it.
            .process_group(0)
            .spawn()
            .expect("bash is there");
        let out = BufReader::new(child.stdout.take().expect("is piped")).lines();
        let (tell, lines) = channel();
        std::thread::spawn(move || out.map_while(Result::ok).try_for_each(|line| tell.send(line)));
        let stdin = child.stdin.take();
        let mut shell = Self { child, stdin, lines, typed: 0 };
        shell.write("exec 2>&1");
        shell
    }

    fn write(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("is open");
        writeln!(stdin, "{line}").and_then(|()| stdin.flush()).expect("the shell reads");
    }

    /// The command, and what tells that the shell is done with it, whose `$?` is that of the command.
    fn type_in(&mut self, command: &str) {
        self.typed += 1;
        self.write(command);
        let end = self.end_of_command();
        self.write(&format!("{{ code=$?; echo '{end}'; (exit $code); }}"));
    }

    fn end_of_command(&self) -> String {
        format!("--- end of command {} ---", self.typed)
    }

    /// Waits for the end of the command and for as many lines as are shown; more than those are found at the next command.
    fn expect(&mut self, step: &Step<'_>) {
        let end = self.end_of_command();
        let (mut has_ended, mut printed) = (false, Vec::new());
        while !has_ended || printed.len() < step.shown.len() {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line == end => has_ended = true,
                Ok(line) => printed.push(line),
                Err(error) => panic!("{error} after {:?}, which printed {printed:#?}", step.command),
            }
        }
        let is_as_shown = printed.len() == step.shown.len()
            && step.shown.iter().zip(&printed).all(|(shown, line)| is_shown(shown, line));
        assert!(is_as_shown, "{:?} printed {printed:#?}, and the page shows {:#?}", step.command, step.shown);
    }

    /// Nothing more is printed, and nothing runs on.
    fn end(mut self) {
        drop(self.stdin.take());
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => panic!("the page does not show {line:?}"),
            Err(error) => assert_eq!(error, std::sync::mpsc::RecvTimeoutError::Disconnected, "something runs on"),
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let group = format!("-{}", self.child.id());
        let _has_ended = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _has_ended = self.child.wait();
    }
}

/// Below the ports that systems give to those who ask for any.
fn free_port() -> u16 {
    let from = 15_000 + (std::process::id() % 10_000) as u16;
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (from..from + 1_000).find(is_free).expect("one of a thousand ports is free")
}
