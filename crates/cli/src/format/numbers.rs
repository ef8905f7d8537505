//! Numbers as digits or as bytes.

/// How a number is written. Of those with a width, all bits set mean −1, which is null where a length is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digits {
    Ascii,
    Big(Width),
    Little(Width),
    Hex(Width),
    /// As many digits as it takes.
    HexShort,
    /// `true` unless it is 0.
    Bool,
    /// It takes no bytes, because it is always this one: a length that the format tells.
    Exact(u32),
}

/// Bytes that a number takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Width(u8);

impl Digits {
    /// By its name in a format.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "ascii" | "number" => return Some(Self::Ascii),
            "hex" => return Some(Self::HexShort),
            "bool" => return Some(Self::Bool),
            "byte" => return Some(Self::Big(Width(1))),
            _ => {}
        }
        let (kind, bits) = name.split_at(name.find(|c: char| c.is_ascii_digit())?);
        let width = Width(match bits {
            "8" => 1,
            "16" => 2,
            "32" => 4,
            "64" => 8,
            _ => return None,
        });
        match kind {
            "big" => Some(Self::Big(width)),
            "little" => Some(Self::Little(width)),
            "hex" => Some(Self::Hex(width)),
            _ => None,
        }
    }

    /// Adds the number; the error says that it is too large.
    pub fn write(self, number: i64, out: &mut Vec<u8>) -> Result<(), String> {
        match self {
            Self::Ascii => out.extend_from_slice(number.to_string().as_bytes()),
            Self::HexShort => out.extend_from_slice(format!("{number:x}").as_bytes()),
            Self::Exact(only) if number == i64::from(only) => {}
            Self::Exact(only) => {
                let found = if number < 0 { "null".to_owned() } else { format!("{number} bytes") };
                return Err(format!("--format says exactly {only} bytes, and there is one of {found}"));
            }
            Self::Bool => out.extend_from_slice(if number == 0 { b"false" } else { b"true" }),
            Self::Big(width) => out.extend_from_slice(&width.bytes(number)?[8 - width.len()..]),
            Self::Little(width) => out.extend(width.bytes(number)?.iter().rev().take(width.len())),
            Self::Hex(width) => {
                for byte in &width.bytes(number)?[8 - width.len()..] {
                    out.extend_from_slice(format!("{byte:02x}").as_bytes());
                }
            }
        }
        Ok(())
    }

    /// Whether it can be read again: the others lose something, or have no end.
    pub fn is_for_input(self) -> bool {
        !matches!(self, Self::HexShort | Self::Bool)
    }

    /// How many bytes it takes, unless it ends where its digits end.
    pub fn len(self) -> Option<usize> {
        match self {
            Self::Ascii | Self::HexShort | Self::Bool => None,
            Self::Big(width) | Self::Little(width) => Some(width.len()),
            Self::Hex(width) => Some(width.len() * 2),
            Self::Exact(_) => Some(0),
        }
    }

    /// The number in these bytes, which are as many as [`Self::len`] says. None: they are no number.
    pub fn read(self, bytes: &[u8]) -> Option<i64> {
        match self {
            Self::Ascii => std::str::from_utf8(bytes).ok()?.parse().ok(),
            Self::HexShort | Self::Bool => None,
            Self::Exact(only) => Some(only.into()),
            Self::Big(width) => Some(width.number(bytes.iter().copied())),
            Self::Little(width) => Some(width.number(bytes.iter().rev().copied())),
            Self::Hex(width) => {
                let digits = std::str::from_utf8(bytes).ok().filter(|text| !text.starts_with('+'))?;
                let number = u64::from_str_radix(digits, 16).ok()?;
                Some(width.number(number.to_be_bytes()[8 - width.len()..].iter().copied()))
            }
        }
    }
}

impl Width {
    fn len(self) -> usize {
        self.0.into()
    }

    /// Big-endian; the last ones count.
    fn bytes(self, number: i64) -> Result<[u8; 8], String> {
        let bits = u32::from(self.0) * 8;
        let fits = bits == 64 || (-1..(1 << bits) - 1).contains(&number);
        match fits {
            true => Ok(number.to_be_bytes()),
            false => Err(format!("{number} does not fit into {bits} bits; use a wider number in --format")),
        }
    }

    fn number(self, big: impl Iterator<Item = u8>) -> i64 {
        let unsigned = big.fold(0u64, |number, byte| number << 8 | u64::from(byte));
        let all = u64::MAX >> (64 - 8 * u32::from(self.0));
        if unsigned == all { -1 } else { unsigned as i64 }
    }
}
