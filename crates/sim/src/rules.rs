//! The rules of certainty, and which planted bugs break them: each rule has one that must be found, or a reason for none.

use milena_core::plant::Plant;

/// A rule by its number, in a few words.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// As comments and documents cite it.
    pub number: u8,
    /// What it says, in short.
    pub says: &'static str,
    /// What breaks it.
    pub plants: &'static [Plant],
    /// Why nothing does.
    pub why_none: &'static str,
}

const fn rule(number: u8, says: &'static str, plants: &'static [Plant]) -> Rule {
    Rule { number, says, plants, why_none: "" }
}

const fn unplanted(number: u8, says: &'static str, why_none: &'static str) -> Rule {
    Rule { number, says, plants: &[], why_none }
}

/// All of them.
pub const RULES: [Rule; 29] = [
    rule(1, "a stamp belongs to its bytes for ever", &[Plant::NewStampOnResend]),
    rule(2, "a second stamp needs a proof that the first is void", &[Plant::SecondStampWithoutProof]),
    rule(3, "what has withdrawn by the claim is not sent", &[Plant::WithdrawnAreSent]),
    rule(4, "the first batch of an identity flies alone", &[Plant::FirstBatchInCompany]),
    rule(5, "at most five unsettled stamps", &[Plant::WindowOfSix]),
    rule(6, "order is the order of acceptance", &[Plant::BatchOvertakes]),
    rule(7, "a new leader gets the head at once", &[Plant::OldLeaderHoldsPartition]),
    unplanted(8, "acknowledged with acks=all is written", "what every other plant's harm is measured by"),
    rule(
        9,
        "a later acknowledgement proves earlier batches only with an anchor, and their offsets only without a gap",
        &[Plant::ImpliedWithoutAnchor, Plant::OffsetsGuessed],
    ),
    rule(10, "a refusal speaks for its attempt", &[Plant::RefusalSpeaksForBatch]),
    rule(11, "ambiguous codes leave doubt", &[Plant::NoCodeLeavesDoubt]),
    rule(12, "only what was not handed over whole is never executed", &[Plant::CutMeansUnsent]),
    rule(13, "a gap at the head does not mean absence", &[Plant::GapMeansAbsent]),
    rule(
        14,
        "a producer id that somebody else uses is abandoned, and then only a batch's own bytes in the log prove anything",
        &[Plant::ForeignEpochOutbid, Plant::StampsAreBytes, Plant::AbsentWithoutEnd],
    ),
    unplanted(15, "splits and refused records", "its steps are those of rules 2 and 10, which have theirs"),
    unplanted(
        16,
        "deadlines depend on the clock alone",
        "the checker holds every outcome against its deadline; what releases callers decides nothing",
    ),
    rule(17, "what is older than the horizon proves nothing", &[Plant::HorizonIgnored]),
    rule(18, "what was sent is given up together or not at all", &[Plant::GivenUpWhileWanted]),
    rule(19, "only an acknowledged later epoch keeps copies out", &[Plant::AbsentWithoutFence]),
    rule(20, "what takes the place of others is none of them by its size", &[Plant::SquatOnBoundary]),
    rule(21, "the log is read from the last committed offset before the doubt", &[Plant::BaseAtFence]),
    rule(
        22,
        "what is found is the batch, and absence needs the whole stretch up to the fence",
        &[Plant::AnyEpochIsFound],
    ),
    unplanted(23, "withdrawals are limited", "a limit of cost: without it nothing untrue is said"),
    rule(24, "another producer id fences nothing", &[Plant::FreshIdFences]),
    rule(25, "old stamps are not sent to a new topic", &[Plant::OldStampsToNewTopic]),
    unplanted(26, "the journal", "there is none yet"),
    rule(27, "a slow partition leaves the others", &[Plant::SlowStays]),
    rule(28, "what is given up holds no memory", &[Plant::PayloadKept]),
    unplanted(
        29,
        "less than acks=all",
        "nothing is promised there that could be broken, but what the checker asks of every outcome",
    ),
];

/// Plants that break no rule of the list, but what the list takes for granted.
pub const BESIDE: [Plant; 1] = [Plant::AnswerToWrongRequest];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_plants_or_a_reason_and_every_plant_a_rule() {
        for (place, rule) in RULES.iter().enumerate() {
            assert_eq!(usize::from(rule.number), place + 1, "{}", rule.says);
            assert_eq!(rule.plants.is_empty(), !rule.why_none.is_empty(), "rule {}", rule.number);
        }
        for (name, plant) in Plant::ALL {
            let count = RULES.iter().flat_map(|rule| rule.plants).chain(&BESIDE).filter(|of| **of == plant).count();
            assert_eq!(count, 1, "{name}");
        }
    }
}
