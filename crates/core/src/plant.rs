//! Bugs planted on purpose: each breaks one rule in one line, and the simulation must find it.

/// Which rule is broken in this run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plant {
    /// None: the product's behaviour.
    #[default]
    Clean,
    /// Rule 1: a batch that is sent again gets a new sequence.
    NewStampOnResend,
    /// Rule 5: six unsettled stamps on a partition, where brokers remember five.
    WindowOfSix,
    /// An answer is taken for that of the youngest request on the connection.
    AnswerToWrongRequest,
}

impl Plant {
    /// Every plant that must be found, with the name the command line uses.
    pub const ALL: [(&'static str, Self); 3] = [
        ("new-stamp-on-resend", Self::NewStampOnResend),
        ("window-of-six", Self::WindowOfSix),
        ("answer-to-wrong-request", Self::AnswerToWrongRequest),
    ];
}
