//! The broker as clients see it: through frames, and through sockets.

mod answers;
mod client;
mod configs;
mod fetch;
mod followers;
mod frozen;
mod growth;
mod hints;
mod hostile;
mod leaders;
mod metadata_age;
mod nodes_on_disk;
mod offsets;
mod produce;
mod replicas;
mod restart;
mod server;
mod server_nodes;
mod sessions;
mod stopped;
mod storm;
mod throttle;
mod topics;
