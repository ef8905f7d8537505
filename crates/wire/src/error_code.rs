//! Kafka's error codes.
//!
//! Owns the number, the name and Kafka's own two classes of every code. Decides nothing: what an answer proves about a
//! batch depends on more than its code, and retriable here means only what Kafka's `RetriableException` means: the same
//! request may succeed later. It does not mean that nothing was written.

use std::fmt;

/// An error code as it stands in a response; 0 is success. Codes that this table does not know are kept as they are.
///
/// ```
/// use milena_wire::ErrorCode;
///
/// let code = ErrorCode::from(6);
/// assert_eq!(code, ErrorCode::NOT_LEADER_OR_FOLLOWER);
/// assert_eq!(code.name(), Some("NOT_LEADER_OR_FOLLOWER"));
/// assert!(code.is_retriable() && code.refreshes_metadata());
/// assert_eq!(code.into_result(), Err(code));
/// assert!(ErrorCode::NONE.is_none());
/// assert!(ErrorCode::KNOWN.contains(&code));
/// // One of a newer broker.
/// assert_eq!(ErrorCode(9999).name(), None);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ErrorCode(pub i16);

impl ErrorCode {
    /// Whether the code is 0, success.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// `Ok` for success, otherwise the code as the error.
    pub const fn into_result(self) -> Result<(), Self> {
        if self.is_none() { Ok(()) } else { Err(self) }
    }

    /// Kafka's name of the code; `None` for one that is not in the table.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        match self.entry() {
            Some((name, _)) => Some(name),
            None => None,
        }
    }

    /// Whether Kafka's Java client raises a `RetriableException` for the code. False for unknown codes.
    #[must_use]
    pub const fn is_retriable(self) -> bool {
        matches!(self.entry(), Some((_, Class::Retry | Class::Stale)))
    }

    /// Whether the code says that the client's picture of the cluster is out of date (Kafka's
    /// `InvalidMetadataException`). A stale coordinator (codes 15, 16) or controller (41) is looked up by other means
    /// and is not meant here.
    #[must_use]
    pub const fn refreshes_metadata(self) -> bool {
        matches!(self.entry(), Some((_, Class::Stale)))
    }
}

impl From<i16> for ErrorCode {
    fn from(code: i16) -> Self {
        Self(code)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name().unwrap_or("error code unknown to this client"), self.0)
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for ErrorCode {}

/// How the Java client's exception of a code is derived.
#[derive(Clone, Copy)]
enum Class {
    /// Not retriable.
    Fixed,
    /// Retriable.
    Retry,
    /// Retriable, and the metadata is out of date.
    Stale,
}

macro_rules! error_codes {
    ($($code:literal $name:ident $class:ident,)*) => {
        impl ErrorCode {
            $(
                #[doc = concat!("Code ", stringify!($code), ", ", error_codes!(@doc $class), ".")]
                pub const $name: Self = Self($code);
            )*

            /// Every code of the table, ascending.
            pub const KNOWN: &'static [Self] = &[$(Self::$name,)*];

            const fn entry(self) -> Option<(&'static str, Class)> {
                Some(match self.0 {
                    $($code => (stringify!($name), error_codes!(@class $class)),)*
                    _ => return None,
                })
            }
        }
    };
    (@doc fixed) => { "not retriable" };
    (@doc retry) => { "retriable" };
    (@doc stale) => { "retriable, refreshes metadata" };
    (@class fixed) => { Class::Fixed };
    (@class retry) => { Class::Retry };
    (@class stale) => { Class::Stale };
}

// Up to 133 as in Kafka 4.3.1; 134 to 136 came with 4.4.
error_codes! {
    -1 UNKNOWN_SERVER_ERROR fixed,
    0 NONE fixed,
    1 OFFSET_OUT_OF_RANGE fixed,
    2 CORRUPT_MESSAGE retry,
    3 UNKNOWN_TOPIC_OR_PARTITION stale,
    4 INVALID_FETCH_SIZE fixed,
    5 LEADER_NOT_AVAILABLE stale,
    6 NOT_LEADER_OR_FOLLOWER stale,
    7 REQUEST_TIMED_OUT retry,
    8 BROKER_NOT_AVAILABLE fixed,
    9 REPLICA_NOT_AVAILABLE stale,
    10 MESSAGE_TOO_LARGE fixed,
    11 STALE_CONTROLLER_EPOCH fixed,
    12 OFFSET_METADATA_TOO_LARGE fixed,
    13 NETWORK_EXCEPTION stale,
    14 COORDINATOR_LOAD_IN_PROGRESS retry,
    15 COORDINATOR_NOT_AVAILABLE retry,
    16 NOT_COORDINATOR retry,
    17 INVALID_TOPIC_EXCEPTION fixed,
    18 RECORD_LIST_TOO_LARGE fixed,
    19 NOT_ENOUGH_REPLICAS retry,
    20 NOT_ENOUGH_REPLICAS_AFTER_APPEND retry,
    21 INVALID_REQUIRED_ACKS fixed,
    22 ILLEGAL_GENERATION fixed,
    23 INCONSISTENT_GROUP_PROTOCOL fixed,
    24 INVALID_GROUP_ID fixed,
    25 UNKNOWN_MEMBER_ID fixed,
    26 INVALID_SESSION_TIMEOUT fixed,
    27 REBALANCE_IN_PROGRESS fixed,
    28 INVALID_COMMIT_OFFSET_SIZE fixed,
    29 TOPIC_AUTHORIZATION_FAILED fixed,
    30 GROUP_AUTHORIZATION_FAILED fixed,
    31 CLUSTER_AUTHORIZATION_FAILED fixed,
    32 INVALID_TIMESTAMP fixed,
    33 UNSUPPORTED_SASL_MECHANISM fixed,
    34 ILLEGAL_SASL_STATE fixed,
    35 UNSUPPORTED_VERSION fixed,
    36 TOPIC_ALREADY_EXISTS fixed,
    37 INVALID_PARTITIONS fixed,
    38 INVALID_REPLICATION_FACTOR fixed,
    39 INVALID_REPLICA_ASSIGNMENT fixed,
    40 INVALID_CONFIG fixed,
    41 NOT_CONTROLLER retry,
    42 INVALID_REQUEST fixed,
    43 UNSUPPORTED_FOR_MESSAGE_FORMAT fixed,
    44 POLICY_VIOLATION fixed,
    45 OUT_OF_ORDER_SEQUENCE_NUMBER fixed,
    46 DUPLICATE_SEQUENCE_NUMBER fixed,
    47 INVALID_PRODUCER_EPOCH fixed,
    48 INVALID_TXN_STATE fixed,
    49 INVALID_PRODUCER_ID_MAPPING fixed,
    50 INVALID_TRANSACTION_TIMEOUT fixed,
    51 CONCURRENT_TRANSACTIONS retry,
    52 TRANSACTION_COORDINATOR_FENCED fixed,
    53 TRANSACTIONAL_ID_AUTHORIZATION_FAILED fixed,
    54 SECURITY_DISABLED fixed,
    55 OPERATION_NOT_ATTEMPTED fixed,
    56 KAFKA_STORAGE_ERROR stale,
    57 LOG_DIR_NOT_FOUND fixed,
    58 SASL_AUTHENTICATION_FAILED fixed,
    59 UNKNOWN_PRODUCER_ID fixed,
    60 REASSIGNMENT_IN_PROGRESS fixed,
    61 DELEGATION_TOKEN_AUTH_DISABLED fixed,
    62 DELEGATION_TOKEN_NOT_FOUND fixed,
    63 DELEGATION_TOKEN_OWNER_MISMATCH fixed,
    64 DELEGATION_TOKEN_REQUEST_NOT_ALLOWED fixed,
    65 DELEGATION_TOKEN_AUTHORIZATION_FAILED fixed,
    66 DELEGATION_TOKEN_EXPIRED fixed,
    67 INVALID_PRINCIPAL_TYPE fixed,
    68 NON_EMPTY_GROUP fixed,
    69 GROUP_ID_NOT_FOUND fixed,
    70 FETCH_SESSION_ID_NOT_FOUND retry,
    71 INVALID_FETCH_SESSION_EPOCH retry,
    72 LISTENER_NOT_FOUND stale,
    73 TOPIC_DELETION_DISABLED fixed,
    74 FENCED_LEADER_EPOCH stale,
    75 UNKNOWN_LEADER_EPOCH retry,
    76 UNSUPPORTED_COMPRESSION_TYPE fixed,
    77 STALE_BROKER_EPOCH fixed,
    78 OFFSET_NOT_AVAILABLE retry,
    79 MEMBER_ID_REQUIRED fixed,
    80 PREFERRED_LEADER_NOT_AVAILABLE stale,
    81 GROUP_MAX_SIZE_REACHED fixed,
    82 FENCED_INSTANCE_ID fixed,
    83 ELIGIBLE_LEADERS_NOT_AVAILABLE stale,
    84 ELECTION_NOT_NEEDED stale,
    85 NO_REASSIGNMENT_IN_PROGRESS fixed,
    86 GROUP_SUBSCRIBED_TO_TOPIC fixed,
    87 INVALID_RECORD fixed,
    88 UNSTABLE_OFFSET_COMMIT retry,
    89 THROTTLING_QUOTA_EXCEEDED retry,
    90 PRODUCER_FENCED fixed,
    91 RESOURCE_NOT_FOUND fixed,
    92 DUPLICATE_RESOURCE fixed,
    93 UNACCEPTABLE_CREDENTIAL fixed,
    94 INCONSISTENT_VOTER_SET fixed,
    95 INVALID_UPDATE_VERSION fixed,
    96 FEATURE_UPDATE_FAILED fixed,
    97 PRINCIPAL_DESERIALIZATION_FAILURE fixed,
    98 SNAPSHOT_NOT_FOUND fixed,
    99 POSITION_OUT_OF_RANGE fixed,
    100 UNKNOWN_TOPIC_ID stale,
    101 DUPLICATE_BROKER_REGISTRATION fixed,
    102 BROKER_ID_NOT_REGISTERED fixed,
    103 INCONSISTENT_TOPIC_ID stale,
    104 INCONSISTENT_CLUSTER_ID fixed,
    105 TRANSACTIONAL_ID_NOT_FOUND fixed,
    106 FETCH_SESSION_TOPIC_ID_ERROR retry,
    107 INELIGIBLE_REPLICA fixed,
    108 NEW_LEADER_ELECTED fixed,
    109 OFFSET_MOVED_TO_TIERED_STORAGE fixed,
    110 FENCED_MEMBER_EPOCH fixed,
    111 UNRELEASED_INSTANCE_ID fixed,
    112 UNSUPPORTED_ASSIGNOR fixed,
    113 STALE_MEMBER_EPOCH fixed,
    114 MISMATCHED_ENDPOINT_TYPE fixed,
    115 UNSUPPORTED_ENDPOINT_TYPE fixed,
    116 UNKNOWN_CONTROLLER_ID fixed,
    117 UNKNOWN_SUBSCRIPTION_ID fixed,
    118 TELEMETRY_TOO_LARGE fixed,
    119 INVALID_REGISTRATION fixed,
    120 TRANSACTION_ABORTABLE fixed,
    121 INVALID_RECORD_STATE fixed,
    122 SHARE_SESSION_NOT_FOUND retry,
    123 INVALID_SHARE_SESSION_EPOCH retry,
    124 FENCED_STATE_EPOCH fixed,
    125 INVALID_VOTER_KEY fixed,
    126 DUPLICATE_VOTER fixed,
    127 VOTER_NOT_FOUND fixed,
    128 INVALID_REGULAR_EXPRESSION fixed,
    129 REBOOTSTRAP_REQUIRED fixed,
    130 STREAMS_INVALID_TOPOLOGY fixed,
    131 STREAMS_INVALID_TOPOLOGY_EPOCH fixed,
    132 STREAMS_TOPOLOGY_FENCED fixed,
    133 SHARE_SESSION_LIMIT_REACHED retry,
    134 GROUP_DELETION_FAILED fixed,
    135 STREAMS_TOPOLOGY_DESCRIPTION_UPDATE_FAILED fixed,
    136 CONTROLLER_ID_NOT_REGISTERED fixed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_code_displays_its_name_and_number() {
        assert_eq!(ErrorCode(6).to_string(), "NOT_LEADER_OR_FOLLOWER (6)");
        assert_eq!(ErrorCode(-1).to_string(), "UNKNOWN_SERVER_ERROR (-1)");
        assert_eq!(ErrorCode::NONE.name(), Some("NONE"));
    }

    #[test]
    fn an_unknown_code_keeps_its_number_and_is_never_retriable() {
        for code in [-2, 137, i16::MAX, i16::MIN] {
            let code = ErrorCode(code);
            assert_eq!(code.name(), None);
            assert!(!code.is_retriable() && !code.refreshes_metadata());
            assert!(code.to_string().ends_with(&format!("({})", code.0)));
        }
    }

    #[test]
    fn the_table_has_every_code_from_minus_one_on_without_a_gap() {
        let codes: Vec<i16> = ErrorCode::KNOWN.iter().map(|code| code.0).collect();
        assert_eq!(codes, (-1..=136).collect::<Vec<i16>>());
    }

    /// As `Errors` of kafka-clients 4.3.1 answers for `RetriableException` and `InvalidMetadataException`.
    #[test]
    fn the_classes_are_those_of_the_java_client() {
        let of = |pick: fn(ErrorCode) -> bool| -> Vec<i16> {
            ErrorCode::KNOWN.iter().filter(|code| pick(**code)).map(|code| code.0).collect()
        };
        assert_eq!(
            of(ErrorCode::is_retriable),
            [
                2, 3, 5, 6, 7, 9, 13, 14, 15, 16, 19, 20, 41, 51, 56, 70, 71, 72, 74, 75, 78, 80, 83, 84, 88, 89, 100,
                103, 106, 122, 123, 133
            ]
        );
        assert_eq!(of(ErrorCode::refreshes_metadata), [3, 5, 6, 9, 13, 56, 72, 74, 80, 83, 84, 100, 103]);
    }

    #[test]
    fn only_zero_is_success() {
        assert_eq!(ErrorCode(0).into_result(), Ok(()));
        assert_eq!(ErrorCode(7).into_result(), Err(ErrorCode::REQUEST_TIMED_OUT));
    }
}
