//! Ctrl-C, as often as it is pressed, and where it is asked for other signals that want an end like it.
//!
//! Always holds: from [`Interrupts::listen`] on the signal does not end the process by itself; each press ends what the
//! command does at that moment, once.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

#[cfg(unix)]
use nix::sys::signal::Signal;
#[cfg(unix)]
use tokio::signal::unix::{SignalKind, signal};

type Press = Pin<Box<dyn Future<Output = io::Result<()>>>>;

pub struct Interrupts {
    /// Resolves at the next press; made anew at once, so that none is missed.
    next: Press,
    /// What makes it.
    press: fn() -> Press,
}

/// Ctrl-C was pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupted;

impl Interrupts {
    /// From now on. Must be called within a tokio runtime.
    pub fn listen() -> Self {
        Self { next: press(), press }
    }

    /// From now on SIGTERM counts as a press, where the system has it.
    #[must_use]
    pub fn or_terminated(self) -> Self {
        Self { next: press_or_terminate(), press: press_or_terminate }
    }

    /// From now on SIGTERM and SIGHUP count as presses: what `kill`, `docker stop` and systemd send, and a terminal that is closed. Whoever
    /// started the process with SIGHUP ignored, as nohup does, wants it to stay so.
    pub fn include_other_ends(&mut self) {
        (self.next, self.press) = (press_or_any_end(), press_or_any_end);
    }

    /// Does the work, or drops it at the next press.
    pub async fn unless_pressed<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Interrupted> {
        let mut work = pin!(work);
        poll_fn(|context| {
            if let Poll::Ready(output) = work.as_mut().poll(context) {
                return Poll::Ready(Ok(output));
            }
            match self.next.as_mut().poll(context) {
                Poll::Ready(Ok(())) => {
                    self.next = (self.press)();
                    Poll::Ready(Err(Interrupted))
                }
                // Without a handler the system ends the process by itself.
                Poll::Ready(Err(_)) => {
                    self.next = Box::pin(std::future::pending());
                    Poll::Pending
                }
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }
}

fn press() -> Press {
    armed(Box::pin(tokio::signal::ctrl_c()))
}

#[cfg(unix)]
fn press_or_terminate() -> Press {
    press_or(&[SignalKind::terminate()])
}

#[cfg(unix)]
fn press_or_any_end() -> Press {
    let both = [SignalKind::terminate(), SignalKind::hangup()];
    press_or(if is_hangup_ignored() { &both[..1] } else { &both[..] })
}

#[cfg(unix)]
fn press_or(kinds: &[SignalKind]) -> Press {
    let mut others: Vec<_> = kinds.iter().filter_map(|kind| signal(*kind).ok()).collect();
    let mut pressed = press();
    armed(Box::pin(poll_fn(move |context| {
        match others.iter_mut().any(|signal| signal.poll_recv(context).is_ready()) {
            true => Poll::Ready(Ok(())),
            false => pressed.as_mut().poll(context),
        }
    })))
}

/// Where the system does not tell, the signal is left as it is.
#[cfg(unix)]
fn is_hangup_ignored() -> bool {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return true };
    let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    mask.is_none_or(|mask| mask & (1 << (Signal::SIGHUP as i32 - 1)) != 0)
}

/// A file that grows beyond the process's limit is an error of the write, as in every other program, and no end of the process. Must be called
/// within a tokio runtime.
#[cfg(unix)]
pub fn survive_limits_of_files() {
    // A handler is as good as ignoring it, and stays set. Without one a limit ends the process.
    let _stays_set = signal(SignalKind::from_raw(Signal::SIGXFSZ as i32));
}

#[cfg(not(unix))]
pub fn survive_limits_of_files() {}

#[cfg(not(unix))]
fn press_or_terminate() -> Press {
    press()
}

#[cfg(not(unix))]
fn press_or_any_end() -> Press {
    press()
}

fn armed(mut next: Press) -> Press {
    // The handler is set at the first poll. A press cannot have come before it.
    match next.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Pending => next,
        Poll::Ready(end) => Box::pin(std::future::ready(end)),
    }
}
