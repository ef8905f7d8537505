//! What an answer says about the attempt it answers: a pure table.
//!
//! A refusal speaks for its attempt, not for the batch (rule 10); some codes may follow an append (rule 11). Acting on
//! the verdict is the back's work.
//!
//! This table knows retriable codes and all others. The procedures for OUT_OF_ORDER_SEQUENCE_NUMBER at the head (rule
//! 13), foreign epochs (14) and splits (15) are not here: such a batch ends.

use milena_wire::ErrorCode;

/// A partition's part of a produce response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// NONE or why the broker refused.
    pub error: ErrorCode,
    /// Of the first record; beside an error it says where the batch was appended, if it was.
    pub base_offset: i64,
    /// −1 unless the topic uses `LogAppendTime`.
    pub log_append_time: i64,
}

/// What else the meaning of an answer depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// Nothing older of this partition is unsettled.
    pub is_head: bool,
}

/// What the answer means for its attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// In the log, committed.
    Written {
        /// Absent where the broker does not tell.
        base_offset: Option<i64>,
        /// The broker's clock, on topics with `LogAppendTime`.
        log_append_time: Option<i64>,
    },
    /// Send the same bytes under the same stamp again.
    Resend {
        /// The attempt may have been appended.
        is_ambiguous: bool,
        /// The partition may have moved.
        refresh_metadata: bool,
    },
    /// No further attempt can succeed under this stamp.
    Stop {
        /// The attempt may have been appended.
        is_ambiguous: bool,
    },
}

/// The table.
pub fn classify(answer: Answer, context: Context) -> Verdict {
    let code = answer.error;
    if code.is_none() {
        return Verdict::Written {
            base_offset: known(answer.base_offset),
            log_append_time: known(answer.log_append_time),
        };
    }
    if code == ErrorCode::DUPLICATE_SEQUENCE_NUMBER {
        // Only brokers before the cache of five send it; it means "appended before", and Java takes it as success.
        return Verdict::Written { base_offset: None, log_append_time: None };
    }
    let is_ambiguous = may_follow_append(code) || answer.base_offset >= 0;
    if code.is_retriable() {
        return Verdict::Resend { is_ambiguous, refresh_metadata: code.refreshes_metadata() };
    }
    if !context.is_head {
        // An older batch goes first. OUT_OF_ORDER_SEQUENCE_NUMBER only says that it is missing; any other refusal comes again
        // when this batch is the head, and must not end the older one with it.
        return Verdict::Resend { is_ambiguous, refresh_metadata: false };
    }
    Verdict::Stop { is_ambiguous }
}

/// Rule 11: codes that brokers also send after the append, on the first attempt too.
fn may_follow_append(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            | ErrorCode::LEADER_NOT_AVAILABLE
            | ErrorCode::NOT_LEADER_OR_FOLLOWER
            | ErrorCode::REQUEST_TIMED_OUT
            | ErrorCode::NETWORK_EXCEPTION
            | ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND
            | ErrorCode::KAFKA_STORAGE_ERROR
            | ErrorCode::UNKNOWN_SERVER_ERROR
    ) || code.name().is_none()
}

fn known(number: i64) -> Option<i64> {
    (number >= 0).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(code: i16, base_offset: i64, is_head: bool) -> Verdict {
        classify(Answer { error: ErrorCode(code), base_offset, log_append_time: -1 }, Context { is_head })
    }

    #[test]
    fn success_carries_offset_and_broker_time_where_they_are_known() {
        let answer = Answer { error: ErrorCode::NONE, base_offset: 7, log_append_time: 99 };
        let written = Verdict::Written { base_offset: Some(7), log_append_time: Some(99) };
        assert_eq!(classify(answer, Context { is_head: true }), written);
        assert_eq!(verdict(0, -1, true), Verdict::Written { base_offset: None, log_append_time: None });
    }

    #[test]
    fn a_duplicate_reported_by_an_old_broker_is_written_without_an_offset() {
        assert_eq!(verdict(46, -1, true), Verdict::Written { base_offset: None, log_append_time: None });
    }

    #[test]
    fn codes_that_may_follow_an_append_are_ambiguous_and_sent_again() {
        for (code, refresh_metadata) in
            [(3, true), (5, true), (6, true), (7, false), (13, true), (20, false), (56, true)]
        {
            let resend = Verdict::Resend { is_ambiguous: true, refresh_metadata };
            assert_eq!(verdict(code, -1, true), resend, "code {code}");
        }
    }

    #[test]
    fn refusals_before_append_are_sent_again_without_doubt() {
        assert_eq!(verdict(19, -1, true), Verdict::Resend { is_ambiguous: false, refresh_metadata: false });
        assert_eq!(verdict(2, -1, true), Verdict::Resend { is_ambiguous: false, refresh_metadata: false });
    }

    #[test]
    fn a_base_offset_beside_an_error_says_that_it_was_appended() {
        assert_eq!(verdict(19, 4, true), Verdict::Resend { is_ambiguous: true, refresh_metadata: false });
        assert_eq!(verdict(87, 4, true), Verdict::Stop { is_ambiguous: true });
    }

    #[test]
    fn a_final_refusal_behind_an_unsettled_batch_waits_for_it_and_at_the_head_ends() {
        for code in [10, 45, 87] {
            assert_eq!(verdict(code, -1, false), Verdict::Resend { is_ambiguous: false, refresh_metadata: false });
            assert_eq!(verdict(code, -1, true), Verdict::Stop { is_ambiguous: false });
        }
        assert_eq!(verdict(-1, -1, false), Verdict::Resend { is_ambiguous: true, refresh_metadata: false });
    }

    #[test]
    fn final_refusals_stop_and_unknown_codes_stop_in_doubt() {
        for code in [10, 17, 18, 29, 31, 32, 47, 59, 87] {
            assert_eq!(verdict(code, -1, true), Verdict::Stop { is_ambiguous: false }, "code {code}");
        }
        for code in [-1, 30_000] {
            assert_eq!(verdict(code, -1, true), Verdict::Stop { is_ambiguous: true }, "code {code}");
        }
    }
}
