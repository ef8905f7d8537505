//! What must hold of settings, and how what does not is mended.
//!
//! Always holds: whoever does what is advised finds that relation to hold. What follows from other properties is told by those that it follows from.

use std::time::Duration;

use milena_core::backoff::Backoff;
use milena_core::producer::account::Share;
use milena_core::producer::front::AfterDeadline;
use milena_core::producer::verdict::Acks;
use milena_wire::records::BATCH_HEADER_BYTES;

use crate::config::ProducerConfig;
use crate::config::compression::COMPRESSION_THREADS_MAX;
use crate::config::misfit::{Change, Fix, Relation, Value, Verb};

impl ProducerConfig {
    /// All that must hold, in the order in which it is told.
    pub(super) fn relations(&self) -> Vec<Relation> {
        [self.relations_of_sizes(), self.relations_of_acks(), self.relations_of_times(), self.relations_of_waits()]
            .into_iter()
            .flatten()
            .collect()
    }

    fn relations_of_sizes(&self) -> Vec<Relation> {
        let (given, default) = (&self.given, Self::new(""));
        let least = self.max_request_size.saturating_add(BUFFER_SPARE);
        let most = self.buffer_memory.checked_sub(BUFFER_SPARE).filter(|most| *most >= MAX_REQUEST_SIZE_MIN);
        vec![
            self.range(
                "max_request_size",
                self.max_request_size.into(),
                (MAX_REQUEST_SIZE_MIN..=MAX_REQUEST_SIZE_MAX).contains(&self.max_request_size),
                "it must be 1024 to 2147418111 bytes, because the length of a request is a signed 32-bit number; brokers take \
                 100 MiB unless their socket.request.max.bytes says otherwise",
                default.max_request_size.into(),
            ),
            self.range(
                "batch_size",
                self.batch_size.into(),
                (1..=BATCH_SIZE_MAX).contains(&self.batch_size),
                "it must be 1 to 1073741824 bytes",
                default.batch_size.into(),
            ),
            Relation {
                holds: self.buffer_memory >= least,
                misfit: given.misfit(
                    [("buffer_memory", self.buffer_memory.into()), ("max_request_size", self.max_request_size.into())],
                    "one record of the largest size must find room, and 128 KiB more",
                    Fix::any(
                        [
                            given.change(Verb::Raise, "buffer_memory", least),
                            most.and_then(|most| given.change(Verb::Lower, "max_request_size", most)),
                        ],
                        "",
                    ),
                ),
            },
            self.fence_fits(),
            self.range(
                "partition_memory_share",
                Value::Share(self.partition_memory_share),
                Share::new(self.partition_memory_share).is_some(),
                "it must be above 0 and at most 1, which lets one partition take all of the memory",
                Value::Share(default.partition_memory_share),
            ),
            Relation {
                holds: self.client_id.len() <= CLIENT_ID_BYTES_MAX,
                misfit: given.misfit(
                    [("client_id", Value::Text(format!("of {} bytes", self.client_id.len())))],
                    "it may have at most 32767 bytes",
                    "use a shorter one",
                ),
            },
            Relation {
                holds: self.compression_threads.is_none_or(|threads| (1..=COMPRESSION_THREADS_MAX).contains(&threads)),
                misfit: given.misfit(
                    [("compression_threads", self.compression_threads.unwrap_or(1).into())],
                    "it must be 1 to 64",
                    "give another number, or leave it out for as many as the machine runs at a time, 4 at most",
                ),
            },
        ]
    }

    /// As any record.
    fn fence_fits(&self) -> Relation {
        let size = self.fence.as_ref().map_or(0, |fence| BATCH_HEADER_BYTES + fence.size());
        Relation {
            holds: size <= self.max_request_size,
            misfit: self.given.misfit(
                [
                    ("fence_with", Value::Text(format!("of {size} bytes"))),
                    ("max_request_size", self.max_request_size.into()),
                ],
                "the first must not be larger",
                Fix::any([self.given.change(Verb::Raise, "max_request_size", size)], " or use a smaller record"),
            ),
        }
    }

    fn relations_of_acks(&self) -> Vec<Relation> {
        let given = &self.given;
        vec![
            Relation {
                holds: self.acks == Acks::All || !self.idempotence,
                misfit: given.misfit(
                    [("idempotence", Value::Flag(self.idempotence)), ("acks", Value::Acks(self.acks))],
                    format!(
                        "the first needs {} to be {}",
                        given.name("acks"),
                        given.value("acks", Value::Acks(Acks::All))
                    ),
                    Fix::any(
                        [
                            given.change(Verb::Set, "acks", Value::Acks(Acks::All)),
                            given.change(Verb::Set, "idempotence", Value::Flag(false)),
                        ],
                        " and accept records that are lost or written twice",
                    ),
                ),
            },
            self.stamps_behind(
                "after_deadline",
                self.after_deadline.into(),
                self.after_deadline == AfterDeadline::Withdraw,
                given.change(Verb::Set, "after_deadline", AfterDeadline::Complete),
            ),
            self.stamps_behind("fence_with", Value::Text("set".to_owned()), self.fence.is_some(), None),
            self.stamps_behind("fate_journal", Value::Text("set".to_owned()), self.fate_journal.is_some(), None),
            self.range(
                "max_in_flight",
                (self.in_flight_max() as usize).into(),
                (1..=IN_FLIGHT_MAX).contains(&self.in_flight_max()),
                "it must be 1 to 5: brokers remember the last five batches of a producer, and a connection carries five \
                 requests",
                (if self.idempotence { IN_FLIGHT_MAX as usize } else { 1 }).into(),
            ),
        ]
    }

    /// Of properties idempotence may follow from acks, and then it is acks that is to be changed.
    fn stamps_behind(&self, row: &'static str, value: Value, is_used: bool, without: Option<Change>) -> Relation {
        let given = &self.given;
        let follows = given.lacks("idempotence") && self.acks != Acks::All;
        let (needed, present, wanted) = match follows {
            true => ("acks", Value::Acks(self.acks), Value::Acks(Acks::All)),
            false => ("idempotence", Value::Flag(self.idempotence), Value::Flag(true)),
        };
        let limit = format!(
            "the first needs {} to be {}, because only stamps keep late copies out of the log",
            given.name(needed),
            given.value(needed, wanted.clone())
        );
        Relation {
            holds: self.idempotence || !is_used,
            misfit: given.misfit(
                [(row, value), (needed, present)],
                limit,
                Fix::any([given.change(Verb::Set, needed, wanted), without], ""),
            ),
        }
    }

    /// Each builds on the one before; design and reasons stand at the setters.
    fn relations_of_times(&self) -> Vec<Relation> {
        let given = &self.given;
        let (produce, request, delivery) = (self.produce_timeout, self.request_timeout, self.delivery_timeout);
        let (request_row, request_least) = (self.request_row(), self.request_least());
        let longer = produce.saturating_add(MILLI);
        // It follows another one no further than to its default.
        let raised = if longer > Self::new("").request_timeout { "request_timeout" } else { request_row };
        vec![
            self.produce_timeout_has_its_least(),
            Relation {
                holds: produce < request,
                misfit: given.misfit(
                    [("produce_timeout", produce.into()), (request_row, request.into())],
                    "the first must be shorter, so that a broker that waits for its followers answers before it is given \
                     up",
                    Fix::any(
                        [
                            self.lower_to("produce_timeout", request.saturating_sub(MILLI), MILLI),
                            given.change(Verb::Raise, raised, longer),
                        ],
                        "",
                    ),
                ),
            },
            Relation {
                holds: request <= delivery,
                misfit: given.misfit(
                    [("request_timeout", request.into()), ("delivery_timeout", delivery.into())],
                    "the first must not be longer, or a batch is given up before an attempt is",
                    Fix::any(
                        [
                            self.lower_to("request_timeout", delivery, request_least),
                            given.change(Verb::Raise, "delivery_timeout", request),
                        ],
                        "",
                    ),
                ),
            },
            self.room_behind_linger("deadline", self.deadline),
            self.room_behind_linger("delivery_timeout", delivery),
            Relation {
                holds: delivery <= self.horizon(),
                misfit: given.misfit(
                    [
                        ("delivery_timeout", delivery.into()),
                        ("producer_id_expiration", self.producer_id_expiration.into()),
                    ],
                    "the first must be at most half of the second, because later brokers may have forgotten the producer",
                    Fix::any(
                        [
                            self.lower_to("delivery_timeout", self.horizon(), request_least),
                            given.change(Verb::Raise, "producer_id_expiration", delivery.saturating_mul(2)),
                        ],
                        " with the brokers' producer.id.expiration.ms",
                    ),
                ),
            },
        ]
    }

    /// Of properties it may follow from another one, and then it is that one which is too short.
    fn produce_timeout_has_its_least(&self) -> Relation {
        let default = Self::new("").produce_timeout;
        if !self.produce_timeout_follows() {
            return self.least("produce_timeout", self.produce_timeout, MILLI, default);
        }
        let (row, least) = (self.request_row(), self.request_least());
        let limit = format!(
            "it must be at least {}, because a broker may wait for its followers for half of it",
            self.given.value(row, least)
        );
        Relation {
            holds: self.produce_timeout >= MILLI,
            misfit: self.given.misfit(
                [(row, self.request_timeout.into())],
                limit,
                self.given.change(Verb::Raise, row, least),
            ),
        }
    }

    /// Whether it follows from `request_timeout`; see `properties/draft.rs`.
    fn produce_timeout_follows(&self) -> bool {
        let half = self.request_timeout / 2;
        self.given.lacks("produce_timeout") && self.produce_timeout == half && half < Self::new("").produce_timeout
    }

    /// Whether it follows from `delivery_timeout`; see `properties/draft.rs`.
    fn request_timeout_follows(&self) -> bool {
        let delivery = self.delivery_timeout;
        self.given.lacks("request_timeout")
            && self.request_timeout == delivery
            && delivery < Self::new("").request_timeout
    }

    /// Which setting says how long requests take.
    fn request_row(&self) -> &'static str {
        if self.request_timeout_follows() { "delivery_timeout" } else { "request_timeout" }
    }

    /// Less has no room for a broker's wait for its followers.
    fn request_least(&self) -> Duration {
        if self.produce_timeout_follows() { MILLI * 2 } else { self.produce_timeout.saturating_add(MILLI) }
    }

    /// Not below what else must hold.
    fn lower_to(&self, row: &'static str, most: Duration, least: Duration) -> Option<Change> {
        if most < least { None } else { self.given.change(Verb::Lower, row, most) }
    }

    /// The time in which a batch fills is part of what its records have: what is left of it is for sending.
    fn room_behind_linger(&self, row: &'static str, whole: Duration) -> Relation {
        let (given, linger) = (&self.given, self.fill_time());
        let most = whole - self.room_within(whole);
        // It grows with the other where it follows from it.
        let request = if self.request_timeout_follows() { Self::new("").request_timeout } else { self.request_timeout };
        Relation {
            holds: linger <= most,
            misfit: given.misfit(
                [("linger", linger.into()), (row, whole.into())],
                format!(
                    "the time in which a batch fills is part of the second, and must leave {} or half of it for sending",
                    given.name("request_timeout")
                ),
                Fix::any(
                    [
                        given.change(Verb::Lower, "linger", most),
                        given.change(Verb::Raise, row, linger.saturating_add(linger.min(request))),
                    ],
                    "",
                ),
            ),
        }
    }

    /// A request takes no longer than its timeout, and who sets a short time expects short requests.
    fn room_within(&self, whole: Duration) -> Duration {
        self.request_timeout.min(whole / 2)
    }

    /// One that was not set takes no more than there is.
    pub(in crate::config) fn fill_time(&self) -> Duration {
        let half = self.deadline.min(self.delivery_timeout) / 2;
        self.linger.unwrap_or(LINGER.min(half))
    }

    fn relations_of_waits(&self) -> Vec<Relation> {
        let (given, default) = (&self.given, Self::new(""));
        let (retry, reconnect) = (self.retry_backoff, self.reconnect_backoff);
        let most = self.rebootstrap_after.saturating_sub(MILLI);
        vec![
            self.backoff_has_its_least(["retry_backoff, initial", "retry_backoff, max"], retry, default.retry_backoff),
            self.backoff_grows(["retry_backoff, initial", "retry_backoff, max"], retry),
            self.backoff_has_its_least(
                ["reconnect_backoff, initial", "reconnect_backoff, max"],
                reconnect,
                default.reconnect_backoff,
            ),
            self.backoff_grows(["reconnect_backoff, initial", "reconnect_backoff, max"], reconnect),
            self.least("settle_timeout", self.settle_timeout, MILLI, default.settle_timeout),
            self.least("connect_timeout", self.connect_timeout, MILLI, default.connect_timeout),
            self.least("metadata_max_age", self.metadata_max_age, MAX_AGE_MIN, default.metadata_max_age),
            Relation {
                holds: self.rebootstrap_after > self.request_timeout,
                misfit: given.misfit(
                    [
                        ("rebootstrap_after", self.rebootstrap_after.into()),
                        ("request_timeout", self.request_timeout.into()),
                    ],
                    "the first must be longer, so that a slow answer does not cost every connection",
                    Fix::any(
                        [
                            given.change(Verb::Raise, "rebootstrap_after", self.request_timeout.saturating_add(MILLI)),
                            self.lower_to("request_timeout", most, self.request_least()),
                        ],
                        "",
                    ),
                ),
            },
        ]
    }

    /// Of properties the begin may follow from the end; see `properties/draft.rs`.
    fn backoff_has_its_least(&self, rows: [&'static str; 2], backoff: Backoff, default: Backoff) -> Relation {
        let [initial, max] = rows;
        let follows = self.given.lacks(initial) && backoff.initial == backoff.max;
        match follows {
            true => self.least(max, backoff.max, MILLI, default.max),
            false => self.least(initial, backoff.initial, MILLI, default.initial),
        }
    }

    fn backoff_grows(&self, [initial, max]: [&'static str; 2], backoff: Backoff) -> Relation {
        Relation {
            holds: backoff.initial <= backoff.max,
            misfit: self.given.misfit(
                [(initial, backoff.initial.into()), (max, backoff.max.into())],
                "the first must not be longer",
                Fix::any(
                    [self.lower_to(initial, backoff.max, MILLI), self.given.change(Verb::Raise, max, backoff.initial)],
                    "",
                ),
            ),
        }
    }

    fn least(&self, row: &'static str, value: Duration, least: Duration, default: Duration) -> Relation {
        let limit = format!("it must be at least {}", self.given.value(row, least));
        self.range(row, value.into(), value >= least, limit, default.into())
    }

    fn range(
        &self,
        row: &'static str,
        value: Value,
        holds: bool,
        limit: impl Into<String>,
        default: Value,
    ) -> Relation {
        let fix = self.given.change(Verb::Give, row, default);
        Relation { holds, misfit: self.given.misfit([(row, value)], limit, fix) }
    }
}

/// 10,000 records a second of a partition share batches of 50.
const LINGER: Duration = Duration::from_millis(5);

/// Less is a mistake in the unit.
const MILLI: Duration = Duration::from_millis(1);

/// Of a partition; brokers remember five batches, and a lane has five requests under way.
pub(super) const IN_FLIGHT_MAX: u32 = 5;

/// More often would be a load on the cluster without a use.
const MAX_AGE_MIN: Duration = Duration::from_secs(1);

/// The smallest sensible limit; anything below is a mistake in the unit.
const MAX_REQUEST_SIZE_MIN: usize = 1024;

/// Lengths on the wire are signed 32-bit numbers; 64 KiB are for what stands around the batch: the names of client and topic,
/// of 32,767 and 249 bytes at most, and fields of fixed length.
const MAX_REQUEST_SIZE_MAX: usize = i32::MAX as usize - 64 * 1024;

/// Lengths on the wire are signed 32-bit numbers.
const BATCH_SIZE_MAX: usize = 1 << 30;

/// Its length on the wire is a signed 16-bit number.
const CLIENT_ID_BYTES_MAX: usize = i16::MAX as usize;

/// Chunks around a large record.
const BUFFER_SPARE: usize = 128 * 1024;
