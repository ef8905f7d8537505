//! One test per row, and that every code in every context has one.

use std::collections::BTreeMap;

use super::*;

/// A head that was never sent before, behind an acknowledged batch.
const CLEAN: Context = Context {
    is_head: true,
    is_doubtful: false,
    is_anchored: true,
    is_superseded: false,
    is_idempotent: true,
    acks: Acks::All,
    records: 3,
    #[cfg(feature = "plants")]
    plant: crate::plant::Plant::Clean,
};
const BEHIND: Context = Context { is_head: false, ..CLEAN };
const DOUBTFUL: Context = Context { is_doubtful: true, ..CLEAN };
const UNANCHORED: Context = Context { is_anchored: false, ..DOUBTFUL };

const REFUSED: Verdict = Verdict::Resend { is_ambiguous: false, refresh_metadata: false };
const REFUSED_ELSEWHERE: Verdict = Verdict::Resend { is_ambiguous: false, refresh_metadata: true };
const IN_DOUBT: Verdict = Verdict::Resend { is_ambiguous: true, refresh_metadata: false };
const IN_DOUBT_ELSEWHERE: Verdict = Verdict::Resend { is_ambiguous: true, refresh_metadata: true };

fn answer(code: i16) -> Answer {
    Answer {
        error: ErrorCode(code),
        base_offset: -1,
        log_append_time: -1,
        log_start_offset: -1,
        bad_records: Vec::new(),
    }
}

fn appended(code: i16) -> Answer {
    Answer { base_offset: 7, ..answer(code) }
}

fn naming(code: i16, bad_records: &[u32]) -> Answer {
    Answer { bad_records: bad_records.to_vec(), ..answer(code) }
}

#[track_caller]
fn assert_row(row: Row, verdict: Verdict, cases: impl IntoIterator<Item = (Answer, Context)>) {
    for (answer, context) in cases {
        assert_eq!(classify(&answer, context), (row, verdict), "{answer:?} in {context:?}");
    }
}

fn codes(codes: &[i16], context: Context) -> impl Iterator<Item = (Answer, Context)> {
    codes.iter().map(move |code| (answer(*code), context))
}

#[test]
fn acknowledged() {
    let contexts = [CLEAN, BEHIND, DOUBTFUL, UNANCHORED, Context { is_superseded: true, ..CLEAN }];
    assert_row(Row::Acknowledged, Verdict::Written, contexts.map(|context| (appended(0), context)));
    assert_row(Row::Acknowledged, Verdict::Written, [(answer(0), CLEAN)]);
}

#[test]
fn on_leader() {
    let context = Context { acks: Acks::Leader, is_idempotent: false, ..CLEAN };
    assert_row(
        Row::OnLeader,
        Verdict::Written,
        [(appended(0), context), (appended(0), Context { is_head: false, ..context })],
    );
}

#[test]
fn duplicate_told() {
    assert_row(Row::DuplicateTold, Verdict::Written, codes(&[46], CLEAN).chain(codes(&[46], DOUBTFUL)));
}

#[test]
fn not_committed() {
    for context in [CLEAN, BEHIND, DOUBTFUL, UNANCHORED] {
        assert_row(Row::NotCommitted, IN_DOUBT, codes(&[7, 20], context).chain([(appended(20), context)]));
    }
}

#[test]
fn moved() {
    for context in [CLEAN, BEHIND, DOUBTFUL, UNANCHORED] {
        assert_row(Row::Moved, IN_DOUBT_ELSEWHERE, codes(&[3, 5, 6, 13, 56], context));
        assert_row(Row::Moved, IN_DOUBT_ELSEWHERE, [(appended(6), context)]);
    }
}

#[test]
fn stale() {
    assert_row(Row::Stale, REFUSED_ELSEWHERE, codes(&[74, 100, 103], CLEAN).chain(codes(&[100], DOUBTFUL)));
    assert_row(Row::Stale, REFUSED, codes(&[75], BEHIND));
}

#[test]
fn refused_for_now() {
    assert_row(Row::RefusedForNow, REFUSED, codes(&[2, 19, 89], CLEAN).chain(codes(&[2, 19, 89], BEHIND)));
    assert_row(Row::RefusedForNow, REFUSED, codes(&[19], DOUBTFUL));
}

#[test]
fn refused_after_append() {
    assert_row(Row::RefusedAfterAppend, IN_DOUBT, [(appended(19), CLEAN), (appended(2), BEHIND)]);
    assert_row(Row::RefusedAfterAppend, IN_DOUBT_ELSEWHERE, [(appended(100), CLEAN)]);
}

#[test]
fn unclear() {
    for context in [CLEAN, BEHIND, DOUBTFUL, UNANCHORED] {
        assert_row(Row::Unclear, IN_DOUBT, codes(&[-1, 30_000, 1, 78], context));
        assert_row(Row::Unclear, IN_DOUBT_ELSEWHERE, codes(&[72], context));
    }
    assert_row(Row::Unclear, IN_DOUBT, codes(&[45, 47, 90], Context { is_idempotent: false, ..CLEAN }));
}

#[test]
fn too_large_to_split() {
    assert_row(Row::TooLargeToSplit, Verdict::Split, codes(&[10, 18], CLEAN));
}

#[test]
fn bad_records() {
    let cases = [(naming(87, &[1]), CLEAN), (naming(87, &[0, 2]), CLEAN), (naming(32, &[2]), CLEAN)];
    assert_row(Row::BadRecords, Verdict::DropRecords, cases);
}

#[test]
fn refused_for_good() {
    let single = Context { records: 1, ..CLEAN };
    let codes_of_requests = [17, 21, 29, 31, 35, 42, 43, 44, 48, 53, 65, 76, 120];
    assert_row(Row::RefusedForGood, Verdict::Refuse, codes(&codes_of_requests, CLEAN));
    assert_row(Row::RefusedForGood, Verdict::Refuse, codes(&[10, 18, 32, 87], single).chain(codes(&[32, 87], CLEAN)));
    // All records are bad, or ones that the batch does not have.
    let all = [(naming(87, &[0, 1, 2]), CLEAN), (naming(87, &[3]), CLEAN), (naming(87, &[0]), single)];
    assert_row(Row::RefusedForGood, Verdict::Refuse, all);
}

/// An appended batch, sent again, was answered INVALID_TIMESTAMP, MESSAGE_TOO_LARGE and INVALID_RECORD (Kafka 4.3.1).
#[test]
fn refused_in_doubt() {
    for context in [DOUBTFUL, UNANCHORED] {
        assert_row(Row::RefusedInDoubt, Verdict::Doubt, codes(&[10, 18, 29, 32, 87], context));
        assert_row(Row::RefusedInDoubt, Verdict::Doubt, [(naming(87, &[1]), context)]);
    }
    assert_row(Row::RefusedInDoubt, Verdict::Doubt, [(appended(87), CLEAN), (appended(10), CLEAN)]);
}

#[test]
fn refused_behind() {
    let doubtful = Context { is_doubtful: true, ..BEHIND };
    assert_row(Row::RefusedBehind, REFUSED, codes(&[10, 87, 29], BEHIND).chain(codes(&[10, 87, 29], doubtful)));
}

#[test]
fn gap_behind() {
    let doubtful = Context { is_doubtful: true, ..BEHIND };
    assert_row(Row::GapBehind, REFUSED, codes(&[45, 59], BEHIND).chain(codes(&[45, 59], doubtful)));
}

#[test]
fn gap_before_clean_head() {
    let unanchored = Context { is_anchored: false, ..CLEAN };
    assert_row(Row::GapBeforeCleanHead, Verdict::Renew, codes(&[45, 59], CLEAN).chain(codes(&[45], unanchored)));
}

#[test]
fn gap_at_doubtful_head() {
    assert_row(Row::GapAtDoubtfulHead, Verdict::Probe, codes(&[45, 59], DOUBTFUL).chain([(appended(45), CLEAN)]));
}

#[test]
fn gap_unanchored() {
    assert_row(Row::GapUnanchored, Verdict::StateLost, codes(&[45, 59], UNANCHORED));
}

#[test]
fn foreign_epoch() {
    for context in [CLEAN, BEHIND, DOUBTFUL, UNANCHORED] {
        assert_row(Row::ForeignEpoch, Verdict::Abandon, codes(&[47, 49, 52, 90], context));
    }
}

#[test]
fn superseded_epoch() {
    for context in [CLEAN, BEHIND, DOUBTFUL].map(|context| Context { is_superseded: true, ..context }) {
        assert_row(Row::SupersededEpoch, Verdict::Ignore, codes(&[47, 49, 52, 90], context));
    }
}

/// Every context there is.
fn contexts() -> Vec<Context> {
    let both = [false, true];
    let mut contexts = Vec::new();
    for bits in 0..32u32 {
        let is = |bit: u32| both[(bits >> bit & 1) as usize];
        for (acks, records) in [(Acks::All, 1), (Acks::All, 3), (Acks::Leader, 3)] {
            contexts.push(Context {
                is_head: is(0),
                is_doubtful: is(1),
                is_anchored: is(2),
                is_superseded: is(3),
                is_idempotent: is(4),
                acks,
                records,
                #[cfg(feature = "plants")]
                plant: crate::plant::Plant::Clean,
            });
        }
    }
    contexts
}

/// Rules 10 and 11, whatever the code: nothing ends as not written after an attempt that may have been appended, and no
/// answer with a base offset counts as a refusal.
#[test]
fn no_code_in_any_context_denies_what_may_have_been_appended() {
    let mut reached = BTreeMap::new();
    let codes = ErrorCode::KNOWN.iter().map(|code| code.0).chain([30_000, i16::MIN]);
    for code in codes {
        for context in contexts() {
            for answer in [answer(code), appended(code), naming(code, &[1])] {
                let (row, verdict) = classify(&answer, context);
                *reached.entry(row).or_insert(0) += 1;
                let may_be_there = context.is_doubtful || answer.base_offset >= 0;
                let denies =
                    matches!(verdict, Verdict::Refuse | Verdict::Split | Verdict::DropRecords | Verdict::Renew);
                assert!(!(denies && may_be_there), "{verdict:?} for {answer:?} in {context:?}");
                let is_success = code == 0 || code == 46;
                assert_eq!(verdict == Verdict::Written, is_success, "{answer:?} in {context:?}");
                if answer.base_offset >= 0 && !is_success {
                    let is_refused = matches!(verdict, Verdict::Resend { is_ambiguous: false, .. });
                    assert!(!is_refused, "{answer:?} in {context:?}");
                }
            }
        }
    }
    let missing: Vec<Row> = Row::ALL.into_iter().filter(|row| !reached.contains_key(row)).collect();
    assert_eq!(missing, [], "every row is the answer to something");
}
