//! Outcomes for the `?` operator.
//!
//! Left out: nothing is folded: an unknown outcome stays one, with its fate.

use std::fmt;

use super::{Because, NotWritten, Outcome, Settlement, Undetermined, Written};
use crate::producer::completion::Fate;

impl Outcome {
    /// The place of a written record, or an error that says whether it is safe to send it again.
    pub fn into_result(self) -> Result<Written, DeliveryError> {
        match self {
            Self::Written(at) => Ok(at),
            Self::NotWritten(why) => Err(DeliveryError::NotWritten(why)),
            Self::Unknown(fate) => Err(DeliveryError::Unknown(fate)),
        }
    }
}

impl Settlement {
    /// The place of a written record, or an error that says whether it is safe to send it again.
    pub fn into_result(self) -> Result<Written, SettlementError> {
        match self {
            Self::Written(at) => Ok(at),
            Self::NotWritten(why) => Err(SettlementError::NotWritten(why)),
            Self::Undetermined(why) => Err(SettlementError::Undetermined(why)),
        }
    }
}

/// An [`Outcome`] that is not `Written`.
#[derive(Clone, Debug)]
pub enum DeliveryError {
    /// Not in the log, and never will be: safe to send again.
    NotWritten(Because<NotWritten>),
    /// It was sent and no conclusive answer has come: to send it again may write it twice. The fate tells later.
    Unknown(Fate),
}

impl DeliveryError {
    /// Whether the record can be sent again without being written twice.
    pub fn is_safe_to_resend(&self) -> bool {
        matches!(self, Self::NotWritten(_))
    }

    /// What becomes of a record that is in doubt.
    pub fn into_fate(self) -> Option<Fate> {
        match self {
            Self::NotWritten(_) => None,
            Self::Unknown(fate) => Some(fate),
        }
    }
}

impl fmt::Display for DeliveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotWritten(why) => why.fmt(f),
            Self::Unknown(fate) => {
                write!(f, "unknown: sent, and no conclusive answer before its deadline ({})", fate.cause())
            }
        }
    }
}

impl std::error::Error for DeliveryError {}

/// A [`Settlement`] that is not `Written`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettlementError {
    /// Not in the log, and never will be: safe to send again.
    NotWritten(Because<NotWritten>),
    /// It cannot be told: a copy may be in the log, or still arrive.
    Undetermined(Because<Undetermined>),
}

impl SettlementError {
    /// Whether the record can be sent again without being written twice.
    pub fn is_safe_to_resend(&self) -> bool {
        matches!(self, Self::NotWritten(_))
    }
}

impl fmt::Display for SettlementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotWritten(why) => why.fmt(f),
            Self::Undetermined(why) => why.fmt(f),
        }
    }
}

impl std::error::Error for SettlementError {}

#[cfg(all(test, not(milena_model)))]
mod tests {
    use super::super::{AttemptError, Cause};
    use super::*;

    #[test]
    fn only_what_is_certain_is_safe_to_send_again() {
        let at = Written { partition: 1, offset: Some(7), timestamp: None };
        assert_eq!(Outcome::Written(at).into_result().ok(), Some(at));
        assert_eq!(Settlement::Written(at).into_result(), Ok(at));
        let cause = Cause { attempts: 2, node: Some(3), last_error: Some(AttemptError::ConnectionLost) };
        let not_written = Because { reason: NotWritten::DeadlinePassed, cause };
        let refused = Outcome::NotWritten(not_written).into_result().expect_err("is no success");
        assert!(refused.is_safe_to_resend());
        assert_eq!(refused.to_string(), not_written.to_string());
        assert!(refused.into_fate().is_none());
        assert!(Settlement::NotWritten(not_written).into_result().expect_err("is no success").is_safe_to_resend());
        let undetermined = Because { reason: Undetermined::NoFence, cause };
        let open = Settlement::Undetermined(undetermined).into_result().expect_err("is no success");
        assert!(!open.is_safe_to_resend());
        assert_eq!(open.to_string(), undetermined.to_string());
    }
}
