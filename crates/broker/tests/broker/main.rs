//! The broker as clients see it: through frames, and through sockets.

mod answers;
mod client;
mod fetch;
mod frozen;
mod hints;
mod hostile;
mod leaders;
mod offsets;
mod produce;
mod replicas;
mod restart;
mod server;
mod stopped;
mod topics;
