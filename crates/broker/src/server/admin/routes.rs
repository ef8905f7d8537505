//! What can be asked of the admin port: every path, and what it does. `docs/broker.md` has the same list for people; a test compares.

use std::time::Duration;

use serde::Serialize;

use super::Desk;
use super::http::{Reply, Request};
use super::orders::{AgeOrder, FaultOrder, LagOrder, LeaderOrder, NoOrder, ReplicasOrder, StopOrder, TopicOrder, body};
use super::{WAITING_MAX, views};
use crate::cluster::Cluster;
use crate::faults::{Fault, FaultId};
use crate::ids::{NodeId, PartitionIndex};
use crate::nodes::Stop;
use crate::partition::Partition;
use crate::server::serving::either;
use crate::snapshot::{SnapshotError, Window};
use crate::steer_error::SteerError;

type Answer = Result<Reply, Reply>;

pub(super) async fn answer(desk: &Desk, request: Request) -> Reply {
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    let method = if request.method == "HEAD" { "GET" } else { request.method.as_str() };
    let answer = match check(method, &path, &request) {
        Ok(()) => route(desk, (method, &path), &request).await,
        Err(refused) => Err(refused),
    };
    answer.unwrap_or_else(|refused| refused)
}

/// Whether there is such a path, and it takes what is asked with it.
fn check(method: &str, path: &[&str], request: &Request) -> Result<(), Reply> {
    let route = ROUTES.iter().find(|(known, route, _)| *known == method && is_of(path, route));
    let (_, _, parameters) = route.ok_or_else(|| refused(path))?;
    request.only(parameters)?;
    if method == "POST" { Ok(()) } else { nothing(request) }
}

async fn route(desk: &Desk, (method, path): (&str, &[&str]), request: &Request) -> Answer {
    match (method, path) {
        ("GET", []) => Ok(Reply::page(PAGE)),
        ("GET", ["ready"]) => ready(desk),
        ("GET", ["cluster"]) => cluster(desk),
        ("GET", ["topics"]) => {
            desk.look(|cluster| Ok(Reply::ok(&cluster.topics().map(views::topic).collect::<Vec<_>>())))
        }
        ("POST", ["topics"]) => create_topic(desk, request),
        ("GET", ["topics", name]) => topic(desk, name),
        ("DELETE", ["topics", name]) => delete_topic(desk, name),
        ("GET", ["topics", name, "partitions", index, "log"]) => log(desk, (name, index), request),
        ("GET", ["topics", name, "partitions", index, "producers"]) => producers_of(desk, (name, index)),
        ("POST", ["topics", name, "partitions", index, "leader"]) => lead(desk, (name, index), request),
        ("POST", ["topics", name, "partitions", index, "replicas"]) => move_replicas(desk, (name, index), request),
        ("GET", ["producers"]) => producers(desk),
        ("GET", ["connections"]) => connections(desk),
        ("GET", ["faults"]) => faults(desk),
        ("POST", ["faults"]) => add_fault(desk, request),
        ("DELETE", ["faults"]) => clear_faults(desk),
        ("GET", ["faults", id]) => fault(desk, id, request).await,
        ("DELETE", ["faults", id]) => remove_fault(desk, id),
        ("POST", ["nodes", id, what @ ("freeze" | "thaw" | "stop" | "start" | "lag" | "age_metadata")]) => {
            steer(desk, id, what, request)
        }
        (_, path) => Err(refused(path)),
    }
}

/// A path that is not there, or not for this method.
fn refused(path: &[&str]) -> Reply {
    let methods: Vec<&str> =
        ROUTES.iter().filter(|(_, route, _)| is_of(path, route)).map(|(method, ..)| *method).collect();
    if !methods.is_empty() {
        return Reply::wrong_method(methods.join(", "));
    }
    let mut known: Vec<&str> = ROUTES.iter().map(|(_, route, _)| *route).collect();
    known.dedup();
    Reply::error(404, format!("there is no /{}; there are: {}", path.join("/"), known.join(", ")))
}

/// Whether a path is of a route, whose parts in capitals stand for anything.
fn is_of(path: &[&str], route: &str) -> bool {
    let parts: Vec<&str> = route.split('/').filter(|part| !part.is_empty()).collect();
    let is_any = |part: &str| part.bytes().all(|byte| byte.is_ascii_uppercase());
    parts.len() == path.len() && parts.iter().zip(path).all(|(part, found)| is_any(part) || part == found)
}

impl Desk {
    fn look(&self, look: impl FnOnce(&Cluster) -> Answer) -> Answer {
        look(&self.server.cluster.borrow())
    }
}

fn ready(desk: &Desk) -> Answer {
    #[derive(Serialize)]
    struct Ready<'a> {
        ready: bool,
        bootstrap: &'a str,
    }
    Ok(Reply::ok(&Ready { ready: true, bootstrap: &desk.bootstrap }))
}

fn cluster(desk: &Desk) -> Answer {
    desk.look(|cluster| Ok(Reply::ok(&views::cluster(cluster, &desk.bootstrap))))
}

// Topics.

fn topic(desk: &Desk, name: &str) -> Answer {
    desk.look(|cluster| {
        let found = cluster.topic(name).ok_or_else(|| no_topic(name))?;
        Ok(Reply::ok(&views::topic(found)))
    })
}

fn create_topic(desk: &Desk, request: &Request) -> Answer {
    let new = body::<TopicOrder>(request)?.topic()?;
    let name = new.name.clone();
    let created = desk.server.steer(|cluster, _| cluster.create_topic_with(new));
    created.map_err(|error| Reply::error(400, error.to_string()))?;
    desk.look(|cluster| {
        let found = cluster.topic(&name).ok_or_else(|| no_topic(&name))?;
        Ok(Reply::json(201, &views::topic(found)))
    })
}

fn delete_topic(desk: &Desk, name: &str) -> Answer {
    desk.server.steer(|cluster, now| cluster.delete_topic(now, name)).map_err(not_steered)?;
    Ok(done())
}

fn log(desk: &Desk, (topic, index): (&str, &str), request: &Request) -> Answer {
    let index = partition_index(index)?;
    let from = request.number("from")?.unwrap_or(0);
    let max = request.number("max")?.unwrap_or(RECORDS_USUAL).min(RECORDS_MAX);
    let window = Window {
        from: i64::try_from(from).unwrap_or(i64::MAX),
        records_max: usize::try_from(max).unwrap_or(usize::MAX),
        bytes_max: LOG_BYTES_MAX,
    };
    desk.look(|cluster| match cluster.snapshot(topic, index, window) {
        Ok(snapshot) => Ok(Reply::ok(&views::log(topic, index, &snapshot))),
        Err(error @ SnapshotError::NoSuchPartition { .. }) => Err(Reply::error(404, error.to_string())),
        Err(error) => Err(Reply::error(500, error.to_string())),
    })
}

fn producers_of(desk: &Desk, (topic, index): (&str, &str)) -> Answer {
    let index = partition_index(index)?;
    desk.look(|cluster| {
        let found = partition(cluster, topic, index)?;
        Ok(Reply::ok(&views::producers(topic, index, found)))
    })
}

fn producers(desk: &Desk) -> Answer {
    desk.look(|cluster| {
        let mut all = Vec::new();
        for topic in cluster.topics() {
            for (found, index) in topic.partitions().iter().zip(0..) {
                all.extend(views::producers(topic.name(), PartitionIndex(index), found));
            }
        }
        all.truncate(PRODUCERS_MAX);
        Ok(Reply::ok(&all))
    })
}

fn lead(desk: &Desk, (topic, index): (&str, &str), request: &Request) -> Answer {
    let index = partition_index(index)?;
    let LeaderOrder { node, unclean } = body(request)?;
    let node = NodeId(node);
    let elected = desk.server.steer(|cluster, now| match unclean {
        true => cluster.elect_unclean(now, topic, index, node),
        false => cluster.move_leader(now, topic, index, node),
    });
    elected.map_err(not_steered)?;
    Ok(done())
}

/// It is over when it is answered, unless a node copies nothing; then the answer says who is to come and to go.
fn move_replicas(desk: &Desk, (topic, index): (&str, &str), request: &Request) -> Answer {
    let index = partition_index(index)?;
    let nodes: Vec<NodeId> = body::<ReplicasOrder>(request)?.nodes.into_iter().map(NodeId).collect();
    desk.server.steer(|cluster, now| cluster.move_replicas(now, topic, index, &nodes)).map_err(not_steered)?;
    desk.look(|cluster| Ok(Reply::ok(&views::partition(partition(cluster, topic, index)?, index))))
}

// Connections and faults.

fn connections(desk: &Desk) -> Answer {
    let now = desk.server.clock.now();
    desk.look(|cluster| {
        Ok(Reply::ok(&cluster.clients().map(|client| views::connection(client, now)).collect::<Vec<_>>()))
    })
}

fn faults(desk: &Desk) -> Answer {
    let now = desk.server.clock.now();
    desk.look(|cluster| Ok(Reply::ok(&cluster.faults(now).map(views::fault).collect::<Vec<_>>())))
}

fn add_fault(desk: &Desk, request: &Request) -> Answer {
    let fault = body::<FaultOrder>(request)?.fault()?;
    let note = desk.server.steer(|cluster, _| fits_later(cluster, &fault))?;
    let id = desk.server.steer(|cluster, now| {
        let in_force = cluster.faults(now).filter(|entry| !entry.is_over).count();
        (in_force < FAULTS_MAX).then(|| cluster.add_fault(now, fault))
    });
    let id = id.ok_or_else(|| {
        Reply::error(409, format!("{FAULTS_MAX} faults are in force; end some with DELETE /faults/ID"))
    })?;
    let now = desk.server.clock.now();
    desk.look(|cluster| match cluster.fault(now, id) {
        Some(entry) => {
            let mut view = views::fault(entry);
            view.note = note;
            Ok(Reply::json(201, &view))
        }
        None => Err(no_fault(id)),
    })
}

/// Refuses a fault of a node that never comes. Topics and partitions may come: what is said if they are not there yet.
fn fits_later(cluster: &Cluster, fault: &Fault) -> Result<Option<String>, Reply> {
    if let Some(node) = fault.node.filter(|node| cluster.process(*node).is_none()) {
        let nodes = cluster.nodes().collect();
        return Err(Reply::error(400, SteerError::NoSuchNode { node, nodes }.to_string()));
    }
    let Some(name) = fault.topic.as_deref() else { return Ok(None) };
    let note = match (cluster.topic(name), fault.partition) {
        (None, _) => Some(format!("there is no topic {name:?} yet; requests that name it are hit all the same")),
        (Some(_), None) => None,
        (Some(topic), Some(index)) if topic.partition(index).is_some() => None,
        (Some(topic), Some(index)) => {
            let count = topic.partitions().len();
            Some(format!(
                "topic {name:?} has {count} partitions and no {index} yet; requests that name it are hit all the same"
            ))
        }
    };
    Ok(note)
}

fn clear_faults(desk: &Desk) -> Answer {
    desk.server.steer(|cluster, now| cluster.clear_faults(now));
    Ok(done())
}

/// With `hits` it waits for so many, at most `timeout_ms`.
async fn fault(desk: &Desk, id: &str, request: &Request) -> Answer {
    let id = fault_id(id)?;
    let wanted = request.number("hits")?.unwrap_or(0);
    let timeout = request.number("timeout_ms")?.unwrap_or(WAIT_USUAL_MS).min(WAIT_MAX_MS);
    let entry = || {
        let now = desk.server.clock.now();
        desk.server.cluster.borrow().fault(now, id).ok_or_else(|| no_fault(id))
    };
    let wait = async {
        let mut place = None;
        loop {
            // Before looking, so that nothing in between is missed.
            let told = desk.server.fault_told.notified();
            let known = entry().map_err(|unknown| match place {
                None => unknown,
                Some(_) => Reply::error(404, format!("fault {id} was removed meanwhile")),
            })?;
            if known.hits >= wanted {
                return Ok(Reply::ok(&views::fault(known)));
            }
            if known.is_over {
                let why = format!("fault {id} is over: it has hit {} requests, and will not hit {wanted}", known.hits);
                return Err(Reply::error(409, why));
            }
            if place.is_none() {
                place = Some(desk.waiting.take().ok_or_else(|| {
                    let why = format!("{WAITING_MAX} requests wait for hits already; ask without \"hits\", or again");
                    Reply::error(503, why)
                })?);
            }
            told.await;
        }
    };
    match either(wait, tokio::time::sleep(Duration::from_millis(timeout))).await {
        super::Either::Left(answer) => answer,
        super::Either::Right(()) => {
            let hits = entry()?.hits;
            Err(Reply::error(408, format!("fault {id} has hit {hits} requests within {timeout} ms, not {wanted}")))
        }
    }
}

fn remove_fault(desk: &Desk, id: &str) -> Answer {
    let id = fault_id(id)?;
    let removed = desk.server.steer(|cluster, now| cluster.remove_fault(now, id));
    removed.map(|entry| Reply::ok(&views::fault(entry))).ok_or_else(|| no_fault(id))
}

// Nodes.

fn steer(desk: &Desk, id: &str, what: &str, request: &Request) -> Answer {
    let node = id.parse().map(NodeId).map_err(|_| Reply::error(404, format!("{id:?} is no node id")))?;
    let steered = match what {
        "freeze" => nothing(request).map(|()| desk.server.steer(|cluster, now| cluster.freeze(now, node)))?,
        "thaw" => nothing(request).map(|()| desk.server.steer(|cluster, now| cluster.thaw(now, node)))?,
        "stop" => {
            let how = if body::<StopOrder>(request)?.clean { Stop::Clean } else { Stop::Kill };
            desk.server.stop_node(node, how)
        }
        "start" => nothing(request).map(|()| desk.server.start_node(node))?,
        "lag" => {
            let lag = body::<LagOrder>(request)?.lag()?;
            desk.server.steer(|cluster, now| cluster.lag(now, node, lag))
        }
        _ => {
            let age = Duration::from_millis(body::<AgeOrder>(request)?.time_ms);
            desk.server.steer(|cluster, now| cluster.age_metadata(now, node, age))
        }
    };
    steered.map_err(not_steered)?;
    desk.look(|cluster| Ok(Reply::ok(&views::node(cluster, cluster.nodes.state(node)))))
}

// What the above share.

fn not_steered(error: SteerError) -> Reply {
    let status = match &error {
        SteerError::NoSuchNode { .. } | SteerError::NoSuchTopic(_) | SteerError::NoSuchPartition { .. } => 404,
        SteerError::Listen { .. } | SteerError::Storage(_) => 500,
        SteerError::NoReplicas | SteerError::ReplicaTwice(_) => 400,
        _ => 409,
    };
    Reply::error(status, error.to_string())
}

fn nothing(request: &Request) -> Result<(), Reply> {
    body::<NoOrder>(request).map(|NoOrder {}| ())
}

fn done() -> Reply {
    #[derive(Serialize)]
    struct Done {
        done: bool,
    }
    Reply::ok(&Done { done: true })
}

fn partition<'c>(cluster: &'c Cluster, topic: &str, index: PartitionIndex) -> Result<&'c Partition, Reply> {
    let found = cluster.topic(topic).ok_or_else(|| no_topic(topic))?;
    found.partition(index).ok_or_else(|| {
        let count = found.partitions().len();
        Reply::error(404, format!("topic {topic:?} has {count} partitions, numbered from 0; there is no {index}"))
    })
}

fn partition_index(text: &str) -> Result<PartitionIndex, Reply> {
    let index = text.parse().map(PartitionIndex);
    index.map_err(|_| Reply::error(404, format!("{text:?} is no partition; they are numbered from 0")))
}

fn fault_id(text: &str) -> Result<FaultId, Reply> {
    text.parse()
        .map(FaultId)
        .map_err(|_| Reply::error(404, format!("{text:?} is no fault's id; GET /faults lists them")))
}

fn no_topic(name: &str) -> Reply {
    Reply::error(404, format!("there is no topic {name:?}; POST /topics makes one"))
}

fn no_fault(id: FaultId) -> Reply {
    Reply::error(404, format!("there is no fault {id}; GET /faults lists them"))
}

/// What there is, with the parameters that it takes; for who asks for something else, and for the documentation.
const ROUTES: [(&str, &str, &[&str]); 24] = [
    ("GET", "/", &[]),
    ("GET", "/ready", &[]),
    ("GET", "/cluster", &[]),
    ("GET", "/topics", &[]),
    ("POST", "/topics", &[]),
    ("GET", "/topics/NAME", &[]),
    ("DELETE", "/topics/NAME", &[]),
    ("GET", "/topics/NAME/partitions/N/log", &["from", "max"]),
    ("GET", "/topics/NAME/partitions/N/producers", &[]),
    ("POST", "/topics/NAME/partitions/N/leader", &[]),
    ("POST", "/topics/NAME/partitions/N/replicas", &[]),
    ("GET", "/producers", &[]),
    ("GET", "/connections", &[]),
    ("GET", "/faults", &[]),
    ("POST", "/faults", &[]),
    ("DELETE", "/faults", &[]),
    ("GET", "/faults/ID", &["hits", "timeout_ms"]),
    ("DELETE", "/faults/ID", &[]),
    ("POST", "/nodes/ID/freeze", &[]),
    ("POST", "/nodes/ID/thaw", &[]),
    ("POST", "/nodes/ID/stop", &[]),
    ("POST", "/nodes/ID/start", &[]),
    ("POST", "/nodes/ID/lag", &[]),
    ("POST", "/nodes/ID/age_metadata", &[]),
];

const PAGE: &str = include_str!("page.html");

/// Records of one answer.
const RECORDS_USUAL: u64 = 100;
const RECORDS_MAX: u64 = 10_000;
/// Keys and values of one answer; one record is always told.
const LOG_BYTES_MAX: usize = 8 << 20;
const PRODUCERS_MAX: usize = 1000;
/// Each is looked at by every request.
const FAULTS_MAX: usize = 1000;
/// How long a request waits for hits.
const WAIT_USUAL_MS: u64 = 10_000;
const WAIT_MAX_MS: u64 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documentation_has_every_route_and_no_other() {
        let page = include_str!("../../../../../docs/broker.md");
        let route = |line: &'static str| {
            let mut cells = line.strip_prefix("| `")?.split("` | `");
            let (method, rest) = (cells.next()?, cells.next()?);
            ["GET", "POST", "DELETE"].contains(&method).then(|| (method, rest.split('`').next().unwrap_or_default()))
        };
        let routes = ROUTES.map(|(method, route, _)| (method, route));
        assert_eq!(page.lines().filter_map(route).collect::<Vec<_>>(), routes);
    }

    #[test]
    fn capitals_of_a_route_stand_for_anything() {
        assert!(is_of(&["topics", "t", "partitions", "0", "log"], "/topics/NAME/partitions/N/log"));
        assert!(is_of(&[], "/") && !is_of(&["topics"], "/"));
        assert!(!is_of(&["topics", "t", "partitions", "0", "logs"], "/topics/NAME/partitions/N/log"));
    }
}
