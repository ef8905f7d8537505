//! DescribeClientQuotas and AlterClientQuotas (KIP-546), and what quotas do to answers.
//!
//! Bytes of Produce requests and of the records in Fetch answers are counted as they are, time as a nominal one, because the cluster has no clock for its own
//! work. Who did too much is told so in the answer, and not served for that long; a Fetch answer that is too much is empty. Rates of
//! connections and of changes to topics are not limited here, so such quotas are refused.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use milena_wire::ErrorCode;
use milena_wire::messages::alter_client_quotas::request::{AlterClientQuotasRequest, EntityData, EntryData, OpData};
use milena_wire::messages::alter_client_quotas::response as altered;
use milena_wire::messages::describe_client_quotas::request::{ComponentData, DescribeClientQuotasRequest};
use milena_wire::messages::describe_client_quotas::response as described;

use super::fault::{Fault, code_and_text};
use crate::catalogue::CatalogueChange;
use crate::cluster::Cluster;
use crate::ids::NodeId;
use crate::quota_rates::{Deed, burst};
use crate::quotas::{Entity, EntityName, QuotaKey};

/// One condition of a filter.
enum Match {
    Named(String),
    Default,
    /// Any, but it must have one.
    Specified,
}

/// Conditions by the kind of entity.
type Filter = BTreeMap<&'static str, Match>;

impl Cluster {
    pub(super) fn describe_client_quotas(
        &self,
        request: &DescribeClientQuotasRequest,
    ) -> described::DescribeClientQuotasResponse {
        let filter = match read_filter(&request.components) {
            Ok(filter) => filter,
            Err(fault) => {
                return described::DescribeClientQuotasResponse {
                    error_code: fault.code.0,
                    error_message: fault.text(),
                    entries: None,
                    ..Default::default()
                };
            }
        };
        let fits = |entity: &Entity| {
            let parts = [(USER, &entity.user), (CLIENT, &entity.client)];
            // A strict filter without conditions fits nobody.
            let is_strict_enough =
                !request.strict || parts.iter().all(|(kind, it)| it.is_some() == filter.contains_key(kind));
            is_strict_enough
                && !filter.contains_key(IP)
                && parts.iter().all(|(kind, it)| fits(filter.get(kind), it.as_ref()))
        };
        let entries =
            self.quotas.iter().filter(|(entity, _)| fits(entity)).map(|(entity, values)| described::EntryData {
                entity: parts_of(entity)
                    .map(|(kind, name)| described::EntityData {
                        entity_type: kind.into(),
                        entity_name: name.map(Into::into),
                        ..Default::default()
                    })
                    .collect(),
                values: values
                    .map(|(key, value)| described::ValueData { key: key.name().into(), value, ..Default::default() })
                    .collect(),
                ..Default::default()
            });
        described::DescribeClientQuotasResponse {
            error_message: Some("".into()),
            entries: Some(entries.collect()),
            ..Default::default()
        }
    }

    pub(super) fn alter_client_quotas(
        &mut self,
        request: &AlterClientQuotasRequest,
    ) -> altered::AlterClientQuotasResponse {
        let mut times: BTreeMap<Vec<(&str, Option<&str>)>, usize> = BTreeMap::new();
        for entry in &request.entries {
            *times.entry(names_of(entry)).or_default() += 1;
        }
        let mut entries = Vec::with_capacity(request.entries.len());
        for entry in &request.entries {
            // Who names an entity twice is answered once, and nothing changes for it.
            let outcome = match times.remove(&names_of(entry)) {
                Some(1) => self.alter_quota(entry, request.validate_only),
                Some(_) => Err(Fault::invalid_request("the request names this entity more than once")),
                None => continue,
            };
            let (error_code, error_message) = code_and_text(outcome);
            let entity = |part: &EntityData| altered::EntityData {
                entity_type: part.entity_type.clone(),
                entity_name: part.entity_name.clone(),
                ..Default::default()
            };
            entries.push(altered::EntryData {
                error_code,
                error_message,
                entity: entry.entity.iter().map(entity).collect(),
                ..Default::default()
            });
        }
        altered::AlterClientQuotasResponse { entries, ..Default::default() }
    }

    fn alter_quota(&mut self, entry: &EntryData, validate_only: bool) -> Result<(), Fault> {
        let asked = read_entity(&entry.entity)?;
        let mut seen = BTreeSet::new();
        if !entry.ops.iter().all(|op| seen.insert(&*op.key)) {
            return Err(Fault::invalid_request("the request names a quota of this entity more than once"));
        }
        let mut changes = Vec::with_capacity(entry.ops.len());
        for op in &entry.ops {
            changes.extend(read_change(op, &asked)?);
        }
        let Asked::Entity(entity) = asked else { return Ok(()) };
        if validate_only {
            return Ok(());
        }
        let before = self.quotas.clone();
        for (key, value) in changes {
            self.quotas.set(&entity, key, value);
        }
        self.save_changes(&[CatalogueChange::Quotas(self.quotas.clone())]).map_err(|error| {
            self.quotas = before;
            error.into()
        })
    }

    // What quotas do.

    /// How long a client has to wait after a request of so many bytes.
    pub(crate) fn charge_request(&mut self, asked: Charged<'_>, is_produce: bool) -> Duration {
        let time = NOMINAL_TIME + NOMINAL_TIME_PER_MEGABYTE.mul_f64(asked.bytes as f64 / 1e6);
        let time = self.charge(asked, QuotaKey::RequestTime, time.as_secs_f64() * 100.0).min(REQUEST_WAIT_MAX);
        match is_produce {
            true => time.max(self.charge(asked, QuotaKey::ProducerBytes, asked.bytes as f64)),
            false => time,
        }
    }

    /// The same for an answer to a Fetch request. One that is too much is not given, and so not counted.
    pub(super) fn charge_answer(&mut self, asked: Charged<'_>) -> Duration {
        let wait = self.charge(asked, QuotaKey::ConsumerBytes, asked.bytes as f64);
        if !wait.is_zero()
            && let Some(limit) = self.quotas.limit(asked.client, QuotaKey::ConsumerBytes)
        {
            let amount = asked.bytes as f64;
            self.quota_rates.take_back(&limit, asked.deed(QuotaKey::ConsumerBytes, amount));
        }
        wait
    }

    /// The most bytes that an answer may have without being too much by itself.
    pub(crate) fn fetch_bytes_max(&self, client: &str) -> u32 {
        match self.quotas.limit(client, QuotaKey::ConsumerBytes) {
            Some(limit) => burst(&limit) as u32,
            None => u32::MAX,
        }
    }

    fn charge(&mut self, asked: Charged<'_>, key: QuotaKey, amount: f64) -> Duration {
        match self.quotas.limit(asked.client, key) {
            Some(limit) => self.quota_rates.record(&limit, asked.deed(key, amount)),
            None => Duration::ZERO,
        }
    }
}

/// Who is served where, when, and how many bytes it takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Charged<'a> {
    pub(crate) node: NodeId,
    pub(crate) now: Duration,
    pub(crate) client: &'a str,
    pub(crate) bytes: usize,
}

impl Charged<'_> {
    fn deed(self, key: QuotaKey, amount: f64) -> Deed {
        Deed { node: self.node, now: self.now, key, amount }
    }
}

/// Whom a request is about.
enum Asked {
    Entity(Entity),
    /// An address: nothing that is limited here is limited by address.
    Address,
}

fn read_entity(parts: &[EntityData]) -> Result<Asked, Fault> {
    let mut entity = Entity::default();
    let mut address = None;
    for part in parts {
        let kind = &*part.entity_type;
        let name = match part.entity_name.as_deref() {
            Some("") => return Err(Fault::invalid_request(format!("Empty {kind} not supported"))),
            Some(name) => EntityName::Named(name.to_owned()),
            None => EntityName::Default,
        };
        match kind {
            USER => entity.user = Some(name),
            CLIENT => entity.client = Some(name),
            IP => address = Some(name),
            other => return Err(Fault::invalid_request(format!("Unhandled client quota entity type: {other}"))),
        }
    }
    let has_entity = entity.user.is_some() || entity.client.is_some();
    match address {
        Some(_) if has_entity => Err(Fault::invalid_request(
            "Invalid quota entity combination, IP entity shouldnot be combined with User or ClientId",
        )),
        Some(EntityName::Named(name)) if name.parse::<IpAddr>().is_err() => {
            Err(Fault::invalid_request(format!("{name} is not a valid IP or resolvable host.")))
        }
        Some(_) => Ok(Asked::Address),
        None if has_entity => Ok(Asked::Entity(entity)),
        None => Err(Fault::invalid_request("Invalid empty client quota entity")),
    }
}

/// Nothing for the removal of what cannot be there.
fn read_change(op: &OpData, asked: &Asked) -> Result<Option<(QuotaKey, Option<f64>)>, Fault> {
    let key = QuotaKey::named(&op.key).filter(|_| matches!(asked, Asked::Entity(_)));
    if op.remove {
        return Ok(key.map(|key| (key, None)));
    }
    let name = &op.key;
    let Some(key) = key else {
        return Err(Fault::invalid_request(match (&**name, asked) {
            (CONNECTIONS, Asked::Address) | (MUTATIONS, Asked::Entity(_)) => {
                format!(
                    "{name} is not limited by this broker; it knows producer_byte_rate, consumer_byte_rate and request_percentage"
                )
            }
            _ => format!("Invalid configuration key {name}"),
        }));
    };
    let is_whole = key != QuotaKey::RequestTime;
    match op.value {
        value if value.is_nan() => Err(Fault::invalid_request(format!("Quota {name} must be a number"))),
        value if value <= 0.0 => Err(Fault::invalid_request(format!("Quota {name} must be greater than 0"))),
        value if is_whole && value > i64::MAX as f64 => {
            Err(Fault::invalid_request(format!("Proposed value for {name} is too large for a LONG.")))
        }
        value if is_whole && value.fract() > 1e-6 => {
            Err(Fault::invalid_request(format!("{name} cannot be a fractional value.")))
        }
        value => Ok(Some((key, Some(value)))),
    }
}

fn read_filter(components: &[ComponentData]) -> Result<Filter, Fault> {
    let mut filter = Filter::new();
    for component in components {
        let kind = match &*component.entity_type {
            "" => return Err(Fault::invalid_request("Invalid empty entity type.")),
            USER => USER,
            CLIENT => CLIENT,
            IP => IP,
            other => {
                return Err(Fault::new(ErrorCode::UNSUPPORTED_VERSION, format!("Unsupported entity type {other}")));
            }
        };
        if filter.insert(kind, read_match(component)?).is_some() {
            let message = format!("Entity type {kind} cannot appear more than once in the filter.");
            return Err(Fault::invalid_request(message));
        }
    }
    if filter.contains_key(IP) && filter.len() > 1 {
        return Err(Fault::invalid_request(
            "Invalid entity filter component combination. IP filter component should not be used with user or clientId filter component.",
        ));
    }
    Ok(filter)
}

fn read_match(component: &ComponentData) -> Result<Match, Fault> {
    let also = |what: &str| {
        Err(Fault::invalid_request(format!("Request specified {what}, but also specified a match string.")))
    };
    match (component.match_type, component.match_.as_deref()) {
        (0, Some(name)) => Ok(Match::Named(name.to_owned())),
        (0, None) => Err(Fault::invalid_request("Request specified MATCH_TYPE_EXACT, but set match string to null.")),
        (1, None) => Ok(Match::Default),
        (1, Some(_)) => also("MATCH_TYPE_DEFAULT"),
        (2, None) => Ok(Match::Specified),
        (2, Some(_)) => also("MATCH_TYPE_SPECIFIED"),
        (other, _) => Err(Fault::invalid_request(format!("Unknown match type {other}"))),
    }
}

fn fits(wanted: Option<&Match>, name: Option<&EntityName>) -> bool {
    match (wanted, name) {
        (None, _) | (Some(Match::Specified), Some(_)) | (Some(Match::Default), Some(EntityName::Default)) => true,
        (Some(Match::Named(wanted)), Some(EntityName::Named(name))) => wanted == name,
        _ => false,
    }
}

fn parts_of(entity: &Entity) -> impl Iterator<Item = (&'static str, Option<&str>)> {
    let parts = [(CLIENT, &entity.client), (USER, &entity.user)];
    parts.into_iter().filter_map(|(kind, name)| match name {
        Some(EntityName::Named(name)) => Some((kind, Some(name.as_str()))),
        Some(EntityName::Default) => Some((kind, None)),
        None => None,
    })
}

fn names_of(entry: &EntryData) -> Vec<(&str, Option<&str>)> {
    let mut names: Vec<_> = entry.entity.iter().map(|it| (&*it.entity_type, it.entity_name.as_deref())).collect();
    names.sort_unstable();
    names
}

const USER: &str = "user";
const CLIENT: &str = "client-id";
const IP: &str = "ip";
const CONNECTIONS: &str = "connection_creation_rate";
const MUTATIONS: &str = "controller_mutation_rate";
/// What a broker of ordinary speed needs for a small request, and for a large one.
const NOMINAL_TIME: Duration = Duration::from_micros(100);
const NOMINAL_TIME_PER_MEGABYTE: Duration = Duration::from_millis(1);
/// Kafka mutes for one sample at most for this.
const REQUEST_WAIT_MAX: Duration = Duration::from_secs(1);
