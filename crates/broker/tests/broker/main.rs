//! The broker as clients see it: through frames, and through sockets.

mod answers;
mod client;
mod fetch;
mod hostile;
mod offsets;
mod produce;
mod restart;
mod server;
mod topics;
