//! Why an administrator's request, or a part of it, is refused: a code, and the reason in words.

use milena_wire::ErrorCode;

use crate::storage::StorageError;
use crate::topic_config::ConfigError;
use crate::topics::TopicNameError;

/// A code and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: ErrorCode,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Fault {
        Fault { code, message: message.into() }
    }

    pub(super) fn invalid_request(message: impl Into<String>) -> Fault {
        Fault::new(ErrorCode::INVALID_REQUEST, message)
    }

    pub(super) fn unknown_topic(name: &str) -> Fault {
        Fault::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, format!("The topic '{name}' does not exist."))
    }

    /// As the nullable field of an answer: null where there is nothing to say.
    pub(super) fn text(&self) -> Option<Box<str>> {
        (!self.message.is_empty()).then(|| self.message.as_str().into())
    }
}

impl From<TopicNameError> for Fault {
    fn from(error: TopicNameError) -> Fault {
        Fault::new(ErrorCode::INVALID_TOPIC_EXCEPTION, error.to_string())
    }
}

impl From<ConfigError> for Fault {
    fn from(error: ConfigError) -> Fault {
        let code = match error {
            ConfigError::Null { .. } => ErrorCode::INVALID_REQUEST,
            _ => ErrorCode::INVALID_CONFIG,
        };
        Fault::new(code, error.to_string())
    }
}

impl From<StorageError> for Fault {
    fn from(error: StorageError) -> Fault {
        Fault::new(ErrorCode::KAFKA_STORAGE_ERROR, error.to_string())
    }
}

/// Code and text of an outcome, for answers that have both for every part.
pub(super) fn code_and_text(outcome: Result<(), Fault>) -> (i16, Option<Box<str>>) {
    match outcome {
        Ok(()) => (ErrorCode::NONE.0, None),
        Err(fault) => (fault.code.0, fault.text()),
    }
}
