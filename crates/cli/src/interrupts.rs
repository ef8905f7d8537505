//! Ctrl-C, as often as it is pressed, and where it is asked for SIGTERM like it.
//!
//! Always holds: from [`Interrupts::listen`] on the signal does not end the process by itself; each press ends what the
//! command does at that moment, once.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

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
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return press() };
    let mut pressed = press();
    armed(Box::pin(poll_fn(move |context| match terminate.poll_recv(context) {
        Poll::Ready(_) => Poll::Ready(Ok(())),
        Poll::Pending => pressed.as_mut().poll(context),
    })))
}

#[cfg(not(unix))]
fn press_or_terminate() -> Press {
    press()
}

fn armed(mut next: Press) -> Press {
    // The handler is set at the first poll. A press cannot have come before it.
    match next.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Pending => next,
        Poll::Ready(end) => Box::pin(std::future::ready(end)),
    }
}
