//! The command as a user runs it: the built binary, in folders of its own, told apart by what it prints and returns.

mod audit;
mod bench;
#[cfg(unix)]
mod broker;
mod completion;
mod endings;
mod exit_codes;
mod formats;
mod outcomes;
mod places;
mod process;
mod round_trip;
mod settings;
#[cfg(unix)]
mod settle;
mod sharing;
mod steering;
mod stubborn;
mod topics;
#[cfg(unix)]
mod tutorial;
#[cfg(unix)]
mod verifiable;
