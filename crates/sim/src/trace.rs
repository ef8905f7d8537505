//! What happened, as text: hashed always, so that two runs of a seed can be compared, and kept when a reader wants it.

use std::fmt::{self, Write};

use milena_core::time::Moment;

#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    line: String,
    kept: Option<Vec<String>>,
}

impl Trace {
    pub(crate) fn new(is_kept: bool) -> Self {
        Self { hash: FNV_BASIS, line: String::new(), kept: is_kept.then(Vec::new) }
    }

    pub(crate) fn note(&mut self, now: Moment, what: fmt::Arguments<'_>) {
        self.line.clear();
        write!(self.line, "{now} {what}").expect("a string takes everything");
        for byte in self.line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
        }
        if let Some(kept) = &mut self.kept {
            kept.push(self.line.clone());
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn into_lines(self) -> Vec<String> {
        self.kept.unwrap_or_default()
    }
}

const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;
