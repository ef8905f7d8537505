//! Topic ids and directory ids as Kafka writes them: sixteen bytes, shown in URL-safe base64.
//!
//! Leaves out making random ids: whoever needs one brings its own randomness.

use std::fmt;

/// Sixteen bytes that name a topic, a directory or a cluster member.
///
/// ```
/// use milena_wire::Uuid;
/// assert_eq!(Uuid([1; 16]).to_string(), "AQEBAQEBAQEBAQEBAQEBAQ");
/// assert!(Uuid::ZERO.is_zero());
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// The id that stands for "none".
    pub const ZERO: Uuid = Uuid([0; 16]);

    /// Whether this is the id that stands for "none".
    pub fn is_zero(&self) -> bool {
        *self == Uuid::ZERO
    }
}

impl fmt::Display for Uuid {
    /// Kafka's tools print ids as URL-safe base64 without padding, 22 characters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let bits = u128::from_be_bytes(self.0);
        for at in 0..22u32 {
            // The last character carries the two lowest bits, padded with four zero bits.
            let six = match 122u32.checked_sub(6 * at) {
                Some(shift) => bits >> shift,
                None => bits << 4,
            };
            write!(f, "{}", char::from(ALPHABET[(six & 0x3f) as usize]))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_prints_as_kafka_prints_it() {
        assert_eq!(Uuid::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(Uuid([0xff; 16]).to_string(), "_____________________w");
        let counted = Uuid([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
        assert_eq!(counted.to_string(), "AAECAwQFBgcICQoLDA0ODw");
    }
}
