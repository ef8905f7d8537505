//! The command as a user runs it: the built binary, in folders of its own, told apart by what it prints and returns.

mod endings;
mod process;
mod round_trip;
mod sharing;
mod stubborn;
