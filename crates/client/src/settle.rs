//! Settling what a process left in its fate journal: the public call, the report, and what is written back.
//!
//! Always holds: the journal is locked from before it is read until the report is there; what was proven is written into it, so a
//! later run says the same without asking; lines are never taken out.
//!
//! Left out: what is asked and what it proves (`milena_core::producer::settle`), asking (`settle/asking.rs`).

mod asking;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use milena_core::producer::journal::{DamageKind, Found, Reading, Sent, found};
use milena_core::producer::outcome::Undetermined;
use milena_core::producer::settle::{SettleConfig, Verdict, cases};
use tokio::sync::oneshot;

use self::asking::Asker;
use crate::config::ConfigError;
use crate::journal::{JournalError, LockedFile};
use crate::producer::spawn;
use crate::record::Record;

/// Finds out what became of the batches that a process had sent when it ended, from the journal that it left
/// ([`crate::ProducerConfig::fate_journal`]). The command `milena settle` does the same.
///
/// What is found in the log is written. That something is not there proves nothing by itself, because a copy may be on its way: only
/// a fence keeps that out, a record of yours on each partition in question ([`Self::fence_with`]).
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use milena::{BatchFate, Settle};
///
/// let settled = Settle::new("localhost:9092", "/var/lib/shop/orders.fates").fence_with("settled").run().await?;
/// for batch in &settled.batches {
///     match batch.fate {
///         BatchFate::Written { offset } => println!("{} records of {} are at {offset}", batch.count, batch.topic),
///         BatchFate::NotWritten => println!("{} records of {} may be sent again", batch.count, batch.topic),
///         ref undetermined => println!("{} records of {}: {undetermined}", batch.count, batch.topic),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Settle {
    bootstrap_servers: String,
    journal: PathBuf,
    client_id: String,
    fence: Option<Record<'static>>,
    timeout: Duration,
    producer_id_expiration: Duration,
}

impl Settle {
    /// The journal, and brokers of its cluster as for [`crate::ProducerConfig::new`].
    ///
    /// ```
    /// # use milena::Settle;
    /// let settle = Settle::new("kafka-1:9092,kafka-2:9092", "/var/lib/shop/orders.fates");
    /// # let _ = settle;
    /// ```
    pub fn new(bootstrap_servers: impl Into<String>, journal: impl Into<PathBuf>) -> Self {
        Self {
            bootstrap_servers: bootstrap_servers.into(),
            journal: journal.into(),
            client_id: "milena".to_owned(),
            fence: None,
            timeout: Duration::from_secs(30),
            producer_id_expiration: Duration::from_secs(24 * 3600),
        }
    }

    /// A record that is written once to each partition where something is in doubt, for each producer id that was used there: it keeps
    /// late copies out, so what the log then lacks is not written and never will be. Default: none; then nothing is said to be
    /// absent. Key, value and headers count. Consumers must expect it; a topic that is compacted needs a key. It is written once
    /// however often the journal is settled, as long as brokers remember the producer. Needs WRITE on the topic.
    ///
    /// ```
    /// # use milena::{Record, Settle};
    /// // Readers skip records with this key.
    /// let settle = Settle::new("localhost:9092", "orders.fates").fence_with(Record::tombstone().key("fence"));
    /// # let _ = settle;
    /// ```
    #[must_use]
    pub fn fence_with(mut self, record: impl Into<Record<'static>>) -> Self {
        self.fence = Some(record.into());
        self
    }

    /// For how long a partition may bring nothing new before what is left there is undetermined, and how long the first connection
    /// may take. Default 30 s.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use milena::Settle;
    /// let settle = Settle::new("localhost:9092", "orders.fates").timeout(Duration::from_secs(5));
    /// # let _ = settle;
    /// ```
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The name in the broker's logs. Default `milena`.
    ///
    /// ```
    /// # use milena::Settle;
    /// let settle = Settle::new("localhost:9092", "orders.fates").client_id("checkout-settling");
    /// # let _ = settle;
    /// ```
    #[must_use]
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = client_id.into();
        self
    }

    /// As [`crate::ProducerConfig::producer_id_expiration`]: of what is older than half of it nothing is said to be absent. Default 24 h.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use milena::Settle;
    /// // The brokers were told `producer.id.expiration.ms=604800000`.
    /// let week = Duration::from_secs(7 * 24 * 3600);
    /// let settle = Settle::new("localhost:9092", "orders.fates").producer_id_expiration(week);
    /// # let _ = settle;
    /// ```
    #[must_use]
    pub fn producer_id_expiration(mut self, expiration: Duration) -> Self {
        self.producer_id_expiration = expiration;
        self
    }

    /// Settles the journal. Any executor will do: the work is done on a thread of its own. Brokers are asked only if something is in
    /// doubt. Dropping this future before it resolves lets the work go on, and the journal is locked until it has ended.
    ///
    /// ```
    /// # async fn example() -> Result<(), milena::SettleError> {
    /// # use milena::Settle;
    /// // Without a fence: nothing is changed in the cluster.
    /// let settled = Settle::new("localhost:9092", "orders.fates").run().await?;
    /// println!("{} batches were in doubt", settled.batches.len());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn run(self) -> Result<SettledJournal, SettleError> {
        let (tell, told) = oneshot::channel();
        let work = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
            let end = match runtime {
                Ok(runtime) => runtime.block_on(self.settle()),
                Err(error) => Err(SettleError::Config(ConfigError::NoThread(error.to_string()))),
            };
            // Nobody may wait any more.
            let _ = tell.send(end);
        };
        spawn("milena-settle", work).map_err(SettleError::Config)?;
        told.await.unwrap_or(Err(SettleError::Interrupted))
    }

    async fn settle(self) -> Result<SettledJournal, SettleError> {
        let mut file = LockedFile::open(&self.journal, false).map_err(SettleError::Journal)?;
        let reading = file.read().map_err(SettleError::Journal)?;
        let config = SettleConfig {
            has_fence: self.fence.is_some(),
            wall: wall_millis(),
            horizon: self.producer_id_expiration / 2,
        };
        let mut fates: BTreeMap<u64, (BatchFate, Option<String>)> =
            reading.found.iter().map(|(number, found)| (*number, (BatchFate::of(*found), None))).collect();
        let (mut whole_bytes, mut unrecorded) = (reading.whole_bytes as u64, None);
        let mut cases = cases(&reading, config);
        let mut asker = match cases.is_empty() {
            true => None,
            false => Some(Asker::connect(&self.bootstrap_servers, &self.client_id, self.timeout).await?),
        };
        for case in &mut cases {
            let asker = asker.as_mut().expect("it is there for the first case");
            let trouble = asker.settle(case, self.fence.as_ref()).await;
            let mut lines = String::new();
            for (sent, verdict) in case.verdicts() {
                if let Verdict::Proven(proven) = verdict {
                    lines.push_str(&found(sent.number, proven));
                }
                fates.insert(sent.number, (BatchFate::told(verdict), trouble.clone()));
            }
            if unrecorded.is_none() && !lines.is_empty() {
                match file.append(whole_bytes, &lines) {
                    Ok(()) => whole_bytes += lines.len() as u64,
                    Err(error) => unrecorded = Some(error.to_string()),
                }
            }
        }
        Ok(SettledJournal::new(&reading, fates, unrecorded))
    }
}

fn wall_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// What a journal amounts to.
///
/// ```
/// # fn example(settled: milena::SettledJournal) {
/// for damage in &settled.damages {
///     eprintln!("line {}: {}", damage.line, damage.why);
/// }
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SettledJournal {
    /// Every batch that was in doubt when its process ended, in the order in which they were sent; those that an earlier run has
    /// settled too.
    pub batches: Vec<SettledBatch>,
    /// Lines that could not be read. What they say is lost, and nothing else.
    pub damages: Vec<JournalDamage>,
    /// Why what was proven could not be written into the journal, if so: a later run has to find it out again.
    pub unrecorded: Option<String>,
}

impl SettledJournal {
    fn new(
        reading: &Reading,
        mut fates: BTreeMap<u64, (BatchFate, Option<String>)>,
        unrecorded: Option<String>,
    ) -> Self {
        let batch = |sent: &Sent| {
            let (fate, trouble) = fates.remove(&sent.number).expect("every batch in doubt has a case");
            SettledBatch::new(sent, fate, trouble)
        };
        let damage = |damage: &milena_core::producer::journal::Damage| JournalDamage {
            line: damage.line,
            why: match damage.kind {
                DamageKind::Checksum => "it is not what was written",
                DamageKind::Number => "another line has its number",
                _ => "this version does not know what it says",
            },
        };
        Self {
            batches: reading.sent.iter().map(batch).collect(),
            damages: reading.damages.iter().map(damage).collect(),
            unrecorded,
        }
    }

    /// Whether it is known of every batch whether it was written, and no line is damaged.
    ///
    /// ```
    /// # fn example(settled: milena::SettledJournal) -> std::io::Result<()> {
    /// if settled.is_settled() {
    ///     std::fs::remove_file("orders.fates")?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn is_settled(&self) -> bool {
        let is_open = |batch: &SettledBatch| matches!(batch.fate, BatchFate::Undetermined(_));
        self.damages.is_empty() && !self.batches.iter().any(is_open)
    }
}

/// A batch that was in doubt when its process ended.
///
/// ```
/// # fn example(batch: milena::SettledBatch) {
/// // Records of a producer id and epoch on a partition are counted from 0.
/// let records = i64::from(batch.sequence)..i64::from(batch.sequence) + i64::from(batch.count);
/// println!("{} partition {}: records {records:?} are {}", batch.topic, batch.partition, batch.fate);
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SettledBatch {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The producer id that the cluster gave the process.
    pub producer_id: i64,
    /// Its epoch.
    pub epoch: i16,
    /// Of its first record: the records of a producer id and epoch on a partition are counted from 0.
    pub sequence: i32,
    /// How many records it has.
    pub count: u32,
    /// When its first record was accepted, in milliseconds since 1970, by the clock of the process.
    pub opened_at: i64,
    /// When it was first handed to a connection, likewise.
    pub sent_at: i64,
    /// The last offset that was committed on the partition before it, where that was known.
    pub base: Option<i64>,
    /// What became of it.
    pub fate: BatchFate,
    /// What went wrong while it was looked for, if anything did.
    pub trouble: Option<String>,
}

impl SettledBatch {
    fn new(sent: &Sent, fate: BatchFate, trouble: Option<String>) -> Self {
        let stamp = sent.mark.stamp;
        let identity = stamp.identity.expect("a line of a journal has an identity");
        Self {
            topic: (*sent.topic.name).to_owned(),
            partition: sent.partition.0,
            producer_id: identity.producer_id.0,
            epoch: identity.epoch.0,
            sequence: stamp.sequence.value(),
            count: sent.mark.count,
            opened_at: sent.opened_at,
            sent_at: sent.sent_at,
            base: sent.base.map(|base| base.offset),
            trouble: trouble.filter(|_| matches!(fate, BatchFate::Undetermined(_))),
            fate,
        }
    }
}

/// What became of a batch.
///
/// ```
/// use milena::{BatchFate, Undetermined};
///
/// assert_eq!(BatchFate::Written { offset: 118 }.to_string(), "written at offset 118");
/// assert!(BatchFate::Undetermined(Undetermined::NoFence).to_string().starts_with("undetermined: "));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BatchFate {
    /// It is in the log.
    Written {
        /// Of its first record; the others follow without a gap.
        offset: i64,
    },
    /// It is not in the log and never will be: its records may be sent again.
    NotWritten,
    /// It is not known, for this reason.
    Undetermined(Undetermined),
}

impl BatchFate {
    fn of(found: Found) -> Self {
        match found {
            Found::Written(offset) => Self::Written { offset },
            Found::NotWritten => Self::NotWritten,
        }
    }

    fn told(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Proven(found) => Self::of(found),
            Verdict::Undetermined(why) => Self::Undetermined(why),
        }
    }
}

impl fmt::Display for BatchFate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Written { offset } => write!(f, "written at offset {offset}"),
            Self::NotWritten => f.write_str("not written, and never will be"),
            Self::Undetermined(why) => write!(f, "undetermined: {why}"),
        }
    }
}

/// A line of a journal that could not be read.
///
/// ```
/// # fn example(damage: milena::JournalDamage) {
/// eprintln!("orders.fates:{}: {}", damage.line, damage.why);
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JournalDamage {
    /// From 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: &'static str,
}

/// Why a journal could not be settled at all.
///
/// ```
/// # async fn example(settle: milena::Settle) {
/// use milena::{JournalError, SettleError};
///
/// match settle.run().await {
///     Err(SettleError::Journal(JournalError::InUse { .. })) => eprintln!("its producer is alive"),
///     Err(error) => eprintln!("{error}"),
///     Ok(settled) => println!("{}", settled.is_settled()),
/// }
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettleError {
    /// The journal cannot be used: its producer is alive, it cannot be read, or it is none.
    Journal(JournalError),
    /// Addresses, or the operating system, do not allow it.
    Config(ConfigError),
    /// No broker could be asked, for these reasons.
    Unreachable(String),
    /// The thread that did it has ended; a panic is a bug, please report it.
    Interrupted,
}

impl fmt::Display for SettleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Journal(error) => error.fmt(f),
            Self::Config(error) => error.fmt(f),
            Self::Unreachable(why) => f.write_str(why),
            Self::Interrupted => f.write_str("the thread that settled the journal has ended early: please report it"),
        }
    }
}

impl std::error::Error for SettleError {}
