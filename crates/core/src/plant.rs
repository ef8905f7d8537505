//! Bugs planted on purpose: each breaks one rule in one line, and the simulation must find it.

/// Which rule is broken in this run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plant {
    /// None: the product's behaviour.
    #[default]
    Clean,
    /// Rule 1: a batch that is sent again gets a new sequence.
    NewStampOnResend,
    /// Rule 2: what may have been appended gets a second stamp.
    SecondStampWithoutProof,
    /// Rule 3: records that were withdrawn before the claim are sent all the same.
    WithdrawnAreSent,
    /// Rule 4: the first batch of an identity does not fly alone.
    FirstBatchInCompany,
    /// Rule 5: six unsettled stamps on a partition, where brokers remember five.
    WindowOfSix,
    /// Rule 7: a partition waits for the answers of its old leader before it moves.
    OldLeaderHoldsPartition,
    /// Rule 9: an acknowledgement proves earlier batches without an anchor too.
    ImpliedWithoutAnchor,
    /// Rule 10: a refusal speaks for the batch.
    RefusalSpeaksForBatch,
    /// Rule 11: no code leaves doubt.
    NoCodeLeavesDoubt,
    /// Rule 13: OUT_OF_ORDER_SEQUENCE_NUMBER at the head means that the batch is not there.
    GapMeansAbsent,
    /// Rule 17: old timestamps and old acknowledgements are as good as new ones.
    HorizonIgnored,
    /// Rule 6: a batch overtakes those that were accepted before it.
    BatchOvertakes,
    /// Rule 9: offsets of proven batches are guessed where somebody else may have written between them.
    OffsetsGuessed,
    /// Rule 12: what was handed over whole counts as never executed once its connection is gone.
    CutMeansUnsent,
    /// Rule 14: somebody else's epoch is answered with a higher one.
    ForeignEpochOutbid,
    /// Rule 14: where somebody else uses the producer id, every batch with the stamp is taken for the client's own.
    StampsAreBytes,
    /// Rule 14: where somebody else uses the producer id, what is not in the log now is not written.
    AbsentWithoutEnd,
    /// Rule 18: what is given up takes with it what somebody still waits for.
    GivenUpWhileWanted,
    /// Rule 19: what was given up is not written, though nothing keeps its copies out.
    AbsentWithoutFence,
    /// Rule 20: a batch takes the place of those that were given up, whatever its size.
    SquatOnBoundary,
    /// Rule 21: the log is read from the fence on.
    BaseAtFence,
    /// Rule 22: a batch of the same producer and sequence is found, whatever its epoch.
    AnyEpochIsFound,
    /// Rule 24: a fresh producer id is a fence.
    FreshIdFences,
    /// Rule 25: old stamps are sent to a topic that was created anew.
    OldStampsToNewTopic,
    /// Rule 28: the payload of what was given up is kept.
    PayloadKept,
    /// Rule 27: a slow partition stays among the healthy ones.
    SlowStays,
    /// An answer is taken for that of the youngest request on the connection.
    AnswerToWrongRequest,
}

impl Plant {
    /// Every plant that must be found, with the name the command line uses.
    pub const ALL: [(&'static str, Self); 27] = [
        ("new-stamp-on-resend", Self::NewStampOnResend),
        ("second-stamp-without-proof", Self::SecondStampWithoutProof),
        ("withdrawn-are-sent", Self::WithdrawnAreSent),
        ("first-batch-in-company", Self::FirstBatchInCompany),
        ("window-of-six", Self::WindowOfSix),
        ("old-leader-holds-partition", Self::OldLeaderHoldsPartition),
        ("implied-without-anchor", Self::ImpliedWithoutAnchor),
        ("refusal-speaks-for-batch", Self::RefusalSpeaksForBatch),
        ("no-code-leaves-doubt", Self::NoCodeLeavesDoubt),
        ("gap-means-absent", Self::GapMeansAbsent),
        ("horizon-ignored", Self::HorizonIgnored),
        ("batch-overtakes", Self::BatchOvertakes),
        ("offsets-guessed", Self::OffsetsGuessed),
        ("cut-means-unsent", Self::CutMeansUnsent),
        ("foreign-epoch-outbid", Self::ForeignEpochOutbid),
        ("stamps-are-bytes", Self::StampsAreBytes),
        ("absent-without-end", Self::AbsentWithoutEnd),
        ("given-up-while-wanted", Self::GivenUpWhileWanted),
        ("absent-without-fence", Self::AbsentWithoutFence),
        ("squat-on-boundary", Self::SquatOnBoundary),
        ("base-at-fence", Self::BaseAtFence),
        ("any-epoch-is-found", Self::AnyEpochIsFound),
        ("fresh-id-fences", Self::FreshIdFences),
        ("old-stamps-to-new-topic", Self::OldStampsToNewTopic),
        ("payload-kept", Self::PayloadKept),
        ("slow-stays", Self::SlowStays),
        ("answer-to-wrong-request", Self::AnswerToWrongRequest),
    ];
}
