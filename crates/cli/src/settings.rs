//! Settings by the names of other clients: from `-X` and `--config`, overruled by options.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use milena::unstable::{Access, Limits};
use milena::{ProducerConfig, Properties};

use crate::arguments::{Chosen, Where};
use crate::exit::Failure;
use crate::place::CLIENT_ID;

/// Where the properties are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    pub file: Option<PathBuf>,
    pub properties: Vec<(String, String)>,
}

impl Settings {
    /// The file, if there is one, overruled by what was typed.
    pub fn read(&self) -> Result<Properties, Failure> {
        let file = match &self.file {
            Some(path) => Properties::from_file(path).map_err(Failure::to_start)?,
            None => Properties::new(),
        };
        Ok(self.properties.iter().fold(file, |all, (name, value)| all.set(name, value)))
    }
}

/// How a command that sends nothing reaches its cluster.
#[derive(Clone, Debug)]
pub struct Reach {
    pub place: Where,
    pub client_id: String,
    pub deadline: Duration,
}

impl Settings {
    /// As options say, or else properties, or else the defaults.
    pub fn reach(&self, named: &Where) -> Result<Reach, Failure> {
        let Access { servers, client_id, deadline } =
            Access::from_properties(self.read()?).map_err(Failure::to_start)?;
        let place = match (named, servers) {
            (Where::Embedded(_), Some(servers)) => Where::Named(servers),
            (named, _) => named.clone(),
        };
        let client_id = client_id.unwrap_or_else(|| CLIENT_ID.to_owned());
        Ok(Reach { place, client_id, deadline: deadline.unwrap_or(DEADLINE) })
    }
}

/// Of every question to the cluster.
const DEADLINE: Duration = Duration::from_secs(30);

/// The cluster that was named with an option, or else in the properties.
pub fn place(properties: &Properties, named: &Where) -> Where {
    let servers = SERVERS.iter().find_map(|name| properties.get(name));
    match (named, servers) {
        (Where::Embedded(_), Some(servers)) => {
            Where::Named(servers.split(',').map(|server| server.trim().to_owned()).collect())
        }
        (named, _) => named.clone(),
    }
}

/// The configuration for these brokers, and what of it the command goes by.
pub fn producer(
    properties: Properties,
    bootstrap: &[String],
    chosen: &Chosen,
) -> Result<(ProducerConfig, Limits), Failure> {
    let has_client_id = properties.get("client.id").is_some();
    let names_servers = SERVERS.iter().any(|name| properties.get(name).is_some());
    // Properties must name brokers, and what they name is checked as a property. Those to use come after it, because they may
    // come from an option or be brokers of this process.
    let properties = if names_servers { properties } else { properties.set(SERVERS[0], "localhost:9092") };
    let mut config = ProducerConfig::from_properties(properties).map_err(Failure::to_start)?;
    config = config.bootstrap_servers(bootstrap.join(","));
    if !has_client_id {
        config = config.client_id(CLIENT_ID);
    }
    if let Some(linger) = chosen.linger {
        config = config.linger(linger);
    }
    if let Some(deadline) = chosen.deadline {
        let delivery_timeout = Limits::of(&config).delivery_timeout;
        config = config.deadline(deadline).delivery_timeout(deadline.max(delivery_timeout));
    }
    if let Some(after_deadline) = chosen.after_deadline {
        config = config.after_deadline(after_deadline);
    }
    if let Some(value) = &chosen.fence_with {
        config = config.fence_with(milena::Record::shared(value.clone().into()));
    }
    if let Some(acks) = chosen.acks {
        config = config.acks(acks);
        if acks != milena::Acks::All {
            // Idempotence needs them all; whoever asks for less knows that.
            config = config.idempotence(false);
        }
    }
    if !chosen.compression.is_empty() {
        config = config.compression(chosen.compression.iter().map(|(codec, _)| *codec));
        for (codec, level) in &chosen.compression {
            if let Some(level) = level {
                config = config.compression_level(*codec, *level);
            }
        }
    }
    let limits = Limits::of(&config);
    Ok((config, limits))
}

/// Why it cannot begin. Brokers that properties name were checked as properties, so these stood in the option.
pub fn refused(error: impl fmt::Display) -> Failure {
    Failure::to_start(error.to_string().replace("bootstrap_servers (bootstrap.servers)", "--bootstrap-server"))
}

const SERVERS: [&str; 2] = ["bootstrap.servers", "metadata.broker.list"];
