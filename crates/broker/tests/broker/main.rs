//! The broker as clients see it: through frames, and through sockets.

mod client;
mod produce;
