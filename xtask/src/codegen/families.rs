//! Which definitions become messages, and under which feature of `milena-wire`; which ones do not, and why.
//!
//! Every request definition of the release stands here exactly once. One that does not is an error, so a new release
//! cannot bring an API that nobody has placed; the reasons of those left out are compared with the definitions.

use super::schema::Summary;

/// APIs that are compiled together.
pub struct Family {
    /// The feature that brings them; `None` for what the producer and the embedded broker always need.
    pub feature: Option<&'static str>,
    pub apis: &'static [&'static str],
}

pub const FAMILIES: &[Family] = &[
    Family {
        feature: None,
        apis: &[
            "Produce",
            "Fetch",
            "ListOffsets",
            "Metadata",
            "FindCoordinator",
            "ApiVersions",
            "CreateTopics",
            "DeleteTopics",
            "InitProducerId",
            "OffsetForLeaderEpoch",
            "DescribeCluster",
            "DescribeProducers",
        ],
    },
    Family {
        feature: Some("admin"),
        apis: &[
            "DeleteRecords",
            "DescribeConfigs",
            "AlterConfigs",
            "AlterReplicaLogDirs",
            "DescribeLogDirs",
            "CreatePartitions",
            "ElectLeaders",
            "IncrementalAlterConfigs",
            "AlterPartitionReassignments",
            "ListPartitionReassignments",
            "DescribeClientQuotas",
            "AlterClientQuotas",
            "DescribeQuorum",
            "UpdateFeatures",
            "UnregisterBroker",
            "ListConfigResources",
            "DescribeTopicPartitions",
            "AddRaftVoter",
            "RemoveRaftVoter",
        ],
    },
    Family {
        feature: Some("groups"),
        apis: &[
            "OffsetCommit",
            "OffsetFetch",
            "JoinGroup",
            "Heartbeat",
            "LeaveGroup",
            "SyncGroup",
            "DescribeGroups",
            "ListGroups",
            "DeleteGroups",
            "OffsetDelete",
            "ConsumerGroupHeartbeat",
            "ConsumerGroupDescribe",
        ],
    },
    Family {
        feature: Some("transactions"),
        apis: &[
            "AddPartitionsToTxn",
            "AddOffsetsToTxn",
            "EndTxn",
            // Brokers send it to each other, and so does the admin client that aborts a hanging transaction (KIP-664).
            "WriteTxnMarkers",
            "TxnOffsetCommit",
            "DescribeTransactions",
            "ListTransactions",
        ],
    },
    Family {
        feature: Some("share"),
        apis: &[
            "ShareGroupHeartbeat",
            "ShareGroupDescribe",
            "ShareFetch",
            "ShareAcknowledge",
            "DescribeShareGroupOffsets",
            "AlterShareGroupOffsets",
            "DeleteShareGroupOffsets",
        ],
    },
    Family { feature: Some("streams"), apis: &["StreamsGroupHeartbeat", "StreamsGroupDescribe"] },
    Family { feature: Some("sasl"), apis: &["SaslHandshake", "SaslAuthenticate"] },
    Family {
        feature: Some("security"),
        apis: &[
            "DescribeAcls",
            "CreateAcls",
            "DeleteAcls",
            "CreateDelegationToken",
            "RenewDelegationToken",
            "ExpireDelegationToken",
            "DescribeDelegationToken",
            "DescribeUserScramCredentials",
            "AlterUserScramCredentials",
        ],
    },
    Family { feature: Some("telemetry"), apis: &["GetTelemetrySubscriptions", "PushTelemetry"] },
];

/// An API without messages.
pub struct LeftOut {
    pub api: &'static str,
    pub reason: Reason,
}

/// Why no client sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The definition has no valid version any more.
    Removed,
    /// Only controllers listen to it, so what sends it is a broker or another controller.
    Controllers,
    /// Brokers listen to it, and only other brokers send it: who sends it must say who.
    Brokers(&'static str),
}

pub const LEFT_OUT: &[LeftOut] = &[
    LeftOut { api: "LeaderAndIsr", reason: Reason::Removed },
    LeftOut { api: "StopReplica", reason: Reason::Removed },
    LeftOut { api: "UpdateMetadata", reason: Reason::Removed },
    LeftOut { api: "ControlledShutdown", reason: Reason::Removed },
    LeftOut { api: "Vote", reason: Reason::Controllers },
    LeftOut { api: "BeginQuorumEpoch", reason: Reason::Controllers },
    LeftOut { api: "EndQuorumEpoch", reason: Reason::Controllers },
    LeftOut { api: "AlterPartition", reason: Reason::Controllers },
    LeftOut { api: "Envelope", reason: Reason::Controllers },
    LeftOut { api: "FetchSnapshot", reason: Reason::Controllers },
    LeftOut { api: "BrokerRegistration", reason: Reason::Controllers },
    LeftOut { api: "BrokerHeartbeat", reason: Reason::Controllers },
    LeftOut { api: "AllocateProducerIds", reason: Reason::Controllers },
    LeftOut { api: "ControllerRegistration", reason: Reason::Controllers },
    LeftOut { api: "AssignReplicasToDirs", reason: Reason::Controllers },
    LeftOut { api: "UpdateRaftVoter", reason: Reason::Controllers },
    LeftOut { api: "InitializeShareGroupState", reason: Reason::Brokers(SHARE_PERSISTER) },
    LeftOut { api: "ReadShareGroupState", reason: Reason::Brokers(SHARE_PERSISTER) },
    LeftOut { api: "WriteShareGroupState", reason: Reason::Brokers(SHARE_PERSISTER) },
    LeftOut { api: "DeleteShareGroupState", reason: Reason::Brokers(SHARE_PERSISTER) },
    LeftOut { api: "ReadShareGroupStateSummary", reason: Reason::Brokers(SHARE_PERSISTER) },
];

/// KIP-932: asks for CLUSTER_ACTION; neither the consumers nor the admin client of Java send it.
const SHARE_PERSISTER: &str = "group coordinators and partition leaders keep the state of share groups by them";

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Reason::Removed => "no version is valid any more",
            Reason::Controllers => "only controllers listen to them",
            Reason::Brokers(who) => who,
        })
    }
}

/// Both tables for the reader of the documentation.
pub fn documentation() -> String {
    let mut out = "//! | feature | APIs |\n//! |---|---|\n".to_owned();
    for family in FAMILIES {
        let feature = family.feature.map_or_else(|| "always there".to_owned(), |feature| format!("`{feature}`"));
        out += &format!("//! | {feature} | {} |\n", family.apis.join(", "));
    }
    out += "//!\n//! Without messages, because no client sends them:\n//!\n";
    let mut reasons: Vec<Reason> = LEFT_OUT.iter().map(|row| row.reason).collect();
    reasons.dedup();
    for reason in reasons {
        let apis: Vec<&str> = LEFT_OUT.iter().filter(|row| row.reason == reason).map(|row| row.api).collect();
        out += &format!("//! - {}: {reason}.\n", apis.join(", "));
    }
    out
}

/// Compares both tables with all request definitions of the release.
pub fn check(definitions: &[Summary]) -> Result<(), String> {
    for definition in definitions {
        let name = definition.name.as_str();
        let families = FAMILIES.iter().filter(|family| family.apis.contains(&name)).count();
        let left_out: Vec<Reason> = LEFT_OUT.iter().filter(|row| row.api == name).map(|row| row.reason).collect();
        match (families, left_out.as_slice()) {
            (1, []) if !definition.is_removed => {}
            (1, []) => return Err(format!("{name} is in a family, and its definition has no valid version")),
            (0, [reason]) if *reason == actual_reason(definition, *reason) => {}
            (0, [reason]) => {
                return Err(format!("{name} is left out as {reason:?}, which is not what its definition says"));
            }
            (0, []) => return Err(format!("{name} is a new API: place it in a family or leave it out with a reason")),
            _ => return Err(format!("{name} is placed more than once")),
        }
    }
    let named = FAMILIES.iter().flat_map(|family| family.apis).chain(LEFT_OUT.iter().map(|row| &row.api));
    for name in named {
        if !definitions.iter().any(|definition| definition.name == *name) {
            return Err(format!("{name} is placed, and the release has no such definition"));
        }
    }
    Ok(())
}

/// The reason that a definition gives; which brokers send it is not in the definitions.
fn actual_reason(definition: &Summary, stated: Reason) -> Reason {
    match stated {
        _ if definition.is_removed => Reason::Removed,
        Reason::Brokers(_) if definition.brokers_listen() => stated,
        _ if definition.brokers_listen() => Reason::Brokers(""),
        _ => Reason::Controllers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Summary> {
        let placed = FAMILIES.iter().flat_map(|family| family.apis).map(|name| summary(name, true, false));
        let left_out = LEFT_OUT.iter().map(|row| {
            let listens = matches!(row.reason, Reason::Brokers(_));
            summary(row.api, listens, row.reason == Reason::Removed)
        });
        placed.chain(left_out).collect()
    }

    fn summary(name: &str, brokers_listen: bool, is_removed: bool) -> Summary {
        let listener = if brokers_listen { "broker" } else { "controller" };
        Summary {
            api_key: 0,
            name: name.to_owned(),
            listeners: vec![listener.to_owned()],
            stable_versions: None,
            is_removed,
        }
    }

    #[test]
    fn an_api_that_nobody_has_placed_is_an_error() {
        assert_eq!(check(&all()), Ok(()));
        let mut more = all();
        more.push(summary("DescribeTides", true, false));
        assert!(check(&more).unwrap_err().contains("DescribeTides is a new API"));
        let fewer: Vec<_> = all().into_iter().filter(|definition| definition.name != "Vote").collect();
        assert!(check(&fewer).unwrap_err().contains("no such definition"));
    }

    #[test]
    fn a_reason_that_the_definition_contradicts_is_an_error() {
        for (name, brokers_listen, is_removed) in
            [("Vote", true, false), ("Vote", false, true), ("ReadShareGroupState", false, false), ("Fetch", true, true)]
        {
            let mut changed = all();
            let definition = changed.iter_mut().find(|definition| definition.name == name).unwrap();
            *definition = summary(name, brokers_listen, is_removed);
            assert!(check(&changed).unwrap_err().starts_with(name), "{name}");
        }
    }
}
