//! Whether a runtime of the application's can serve connections.

use std::net::{Ipv4Addr, UdpSocket};
use std::panic::catch_unwind;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::config::ConfigError;

/// Tokio tells by a panic only what a runtime was built without, and would do so in the driver, where it costs the producer.
/// Here it costs the call.
pub(crate) fn check_runtime(runtime: &Handle) -> Result<(), ConfigError> {
    let has_time = || drop(tokio::time::sleep(Duration::ZERO));
    check(runtime, has_time, "the runtime has no timers: build it with enable_time() or enable_all()")?;
    // Nothing is sent over it. Where there is none, whether the runtime could serve one shows with the first connection.
    let Ok(socket) = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)) else { return Ok(()) };
    let Ok(()) = socket.set_nonblocking(true) else { return Ok(()) };
    // A runtime that was shut down gives an error; that is told to whoever sends.
    let has_io = || drop(tokio::net::UdpSocket::from_std(socket));
    check(runtime, has_io, "the runtime has no I/O: build it with enable_io() or enable_all()")
}

fn check(
    runtime: &Handle,
    needs: impl FnOnce() + std::panic::UnwindSafe,
    fix: &'static str,
) -> Result<(), ConfigError> {
    let _entered = runtime.enter();
    catch_unwind(needs).map_err(|_| ConfigError::RuntimeLacks(fix))
}
