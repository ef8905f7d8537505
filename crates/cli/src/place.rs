//! Which cluster a command talks to: one that was named, a broker in this process, or one in another process.
//!
//! The data directory belongs to whoever holds its lock. Owner: this process runs the broker and serves until nobody is
//! attached any more. Attached: another process owns it; a connection to it is held for the whole life of this process,
//! because connections are what the owner counts. An address file means nothing unless the lock is held.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use milena::unstable::{Admin, Probe};
use milena_broker::{Broker, BrokerOptions, StartError};

use crate::arguments::Where;
use crate::exit::{Failure, tell};
use crate::interrupts::{Interrupted, Interrupts};
use crate::settings;

/// Where a command works.
pub enum Place {
    Named(Vec<String>),
    Owner { broker: Broker },
    Attached { address: String, _probe: Box<Probe> },
}

/// Whether a data directory is made where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    Make,
    Refuse,
}

impl Place {
    /// Starts or finds the broker, and says in one line which.
    pub async fn open(choice: &Where, missing: Missing) -> Result<Self, Failure> {
        match choice {
            Where::Named(servers) => Ok(Self::Named(servers.clone())),
            Where::Embedded(directory) if directory.exists() && !directory.is_dir() => {
                Err(Failure::to_start(format!("--data-dir {} is not a directory; name another", directory.display())))
            }
            Where::Embedded(directory) if missing == Missing::Refuse && !directory.is_dir() => {
                Err(Failure::to_start(format!(
                    "there is no data directory {}; produce something first, or name a cluster with --bootstrap-server",
                    directory.display()
                )))
            }
            Where::Embedded(directory) => Self::start_or_attach(directory).await,
        }
    }

    /// Owner and attached processes come and go at any moment: what was seen of one is looked at again.
    async fn start_or_attach(directory: &Path) -> Result<Self, Failure> {
        let until = Instant::now() + ATTACH_TIME;
        loop {
            let address = match Broker::start(options(directory)) {
                Ok(broker) => return Ok(Self::owner(broker, directory)),
                Err(StartError::DataDirInUse { address, .. }) => address,
                Err(error) => return Err(Failure::to_start(error)),
            };
            let silence = match address {
                Some(address) => match Probe::open(&address, CLIENT_ID, PROBE_TIME).await {
                    Ok(probe) => return Ok(Self::attached(address, probe, directory)),
                    Err(error) => error.to_string(),
                },
                None => "it tells no address".to_owned(),
            };
            if Instant::now() >= until {
                return Err(Failure::to_start(format!(
                    "data directory {} is in use by another process, and {silence}; end that process or use another --data-dir",
                    directory.display()
                )));
            }
            tokio::time::sleep(ATTACH_PAUSE).await;
        }
    }

    fn owner(broker: Broker, directory: &Path) -> Self {
        let address = broker.bootstrap();
        tell(format_args!(
            "no --bootstrap-server: a broker runs in this process at {address}, with its data in {}",
            directory.display()
        ));
        tell_torn_tails(&broker);
        Self::Owner { broker }
    }

    fn attached(address: String, probe: Probe, directory: &Path) -> Self {
        tell(format_args!(
            "attached to the broker at {address}, another process that has its data in {}",
            directory.display()
        ));
        Self::Attached { address, _probe: Box::new(probe) }
    }

    /// Whom clients connect to first.
    pub fn bootstrap(&self) -> Vec<String> {
        match self {
            Self::Named(servers) => servers.clone(),
            Self::Owner { broker } => vec![broker.bootstrap().to_owned()],
            Self::Attached { address, .. } => vec![address.clone()],
        }
    }

    /// Whether it is ours, so that a missing topic is made without being asked for.
    pub fn is_embedded(&self) -> bool {
        !matches!(self, Self::Named(_))
    }

    /// Whether the broker runs in this process.
    pub fn is_own(&self) -> bool {
        matches!(self, Self::Owner { .. })
    }

    pub async fn admin(&self, client_id: &str, deadline: Duration) -> Result<Admin, Failure> {
        Admin::connect(&self.bootstrap(), client_id, deadline).await.map_err(settings::refused)
    }

    /// The command's own work is done and its connections are closed. An owner serves on until nobody is attached.
    pub async fn leave(self, interrupts: &mut Interrupts) {
        let Self::Owner { broker } = self else { return };
        let say = |_| tell("other processes use the broker; it is served until they are done, or until Ctrl-C");
        serve_out(broker, OWN_CONNECTIONS_TIME, say, interrupts).await;
    }
}

/// Stops the broker once nobody is connected, or at a Ctrl-C. What goes on is said once, with the number of connections,
/// when some are left after the quiet time.
async fn serve_out(mut broker: Broker, quiet: Duration, say: impl Fn(usize), interrupts: &mut Interrupts) {
    let quiet_until = Instant::now() + quiet;
    let mut is_told = false;
    while let Err(busy) = broker.stop_if_idle() {
        broker = busy;
        let connections = broker.connections();
        if !is_told && connections > 0 && Instant::now() >= quiet_until {
            is_told = true;
            say(connections);
        }
        if let Err(Interrupted) = interrupts.unless_pressed(tokio::time::sleep(LEAVE_PAUSE)).await {
            broker.stop();
            return;
        }
    }
}

/// What a crash left at the ends of logs and was cut off.
pub fn tell_torn_tails(broker: &Broker) {
    for torn in broker.torn_tails() {
        let file = torn.file.as_deref().unwrap_or(Path::new("a log in memory"));
        tell(format_args!(
            "{} bytes that a crash left unfinished were cut off {} at position {}: {}",
            torn.cut_bytes,
            file.display(),
            torn.at,
            torn.why
        ));
    }
}

fn options(directory: &Path) -> BrokerOptions {
    BrokerOptions { data_dir: Some(PathBuf::from(directory)), ..BrokerOptions::default() }
}

/// In the broker's logs and quotas.
pub const CLIENT_ID: &str = "milena-cli";

/// An owner opens its logs and closes its broker well within this.
const ATTACH_TIME: Duration = Duration::from_secs(10);
const ATTACH_PAUSE: Duration = Duration::from_millis(20);
/// A broker of this machine answers within milliseconds, unless it still reads its logs.
const PROBE_TIME: Duration = Duration::from_secs(5);
/// The producer's thread closes its sockets by itself, shortly after it is closed.
const OWN_CONNECTIONS_TIME: Duration = Duration::from_millis(300);
/// How often the owner looks whether it is alone: unnoticeable at the end of a command.
const LEAVE_PAUSE: Duration = Duration::from_millis(5);
