//! Where random values come from: chance, or the bytes of a fuzzer.

#![allow(dead_code, reason = "each test uses a part")]

use bytes::Bytes;
use milena_wire::{UnknownTags, Uuid};

/// A type with random values.
pub trait Draw {
    /// A value that this version can carry.
    fn draw(r: &mut Random, version: i16) -> Self;
}

/// Small and fixed, so that a failing seed is the whole story.
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
    /// Whether the version drawn for has tagged fields.
    pub flexible: bool,
    /// Set when only one field in so many is drawn and the others keep their defaults, so that a single field decides
    /// whether a message fits a version.
    one_in: Option<usize>,
    /// What decides instead of chance.
    steering: Option<std::collections::VecDeque<u8>>,
    /// What the receiver knows; most values are taken from here then.
    pub known: Option<&'static Known>,
}

/// Values that mean something to whoever gets the messages: all others are refused by it at the first look.
#[derive(Debug)]
pub struct Known {
    pub strings: Vec<Box<str>>,
    pub uuids: Vec<Uuid>,
    pub bytes: Vec<Bytes>,
}

impl Random {
    pub fn new(seed: u64, flexible: bool) -> Self {
        Self { state: seed, flexible, one_in: None, steering: None, known: None }
    }

    pub fn sparse(seed: u64, flexible: bool) -> Self {
        Self { one_in: Some([2, 4, 8][seed as usize % 3]), ..Self::new(seed, flexible) }
    }

    /// Two bytes decide one thing each time, so that a fuzzer which changes a byte changes one decision. After the last one
    /// everything is the least it can be: what is not worth its bytes is not there.
    pub fn steered(bytes: &[u8], flexible: bool) -> Self {
        Self { steering: Some(bytes.iter().copied().collect()), ..Self::new(0, flexible) }
    }

    /// What decides about damage, and what about the content that is to be damaged: neither takes the other's bytes.
    pub fn damage_and_content(bytes: &[u8], flexible: bool) -> (Self, Self) {
        const DAMAGE_BYTES: usize = 24;
        let (damage, content) = bytes.split_at(bytes.len().min(DAMAGE_BYTES));
        (Self::steered(damage, flexible), Self::steered(content, flexible))
    }

    /// Whether a field is drawn.
    pub fn sets(&mut self) -> bool {
        self.one_in.is_none_or(|one_in| self.below(one_in) == 0)
    }

    /// splitmix64.
    pub fn roll(&mut self) -> u64 {
        let from = match &mut self.steering {
            Some(bytes) => [bytes.pop_front(), bytes.pop_front()]
                .into_iter()
                .fold(0, |number, byte| number << 8 | u64::from(byte.unwrap_or(0))),
            None => {
                self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                self.state
            }
        };
        let mixed = (from ^ (from >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.roll() % end.max(1) as u64) as usize
    }

    pub fn bool(&mut self) -> bool {
        self.below(2) == 1
    }

    pub fn int8(&mut self) -> i8 {
        self.int64() as i8
    }

    pub fn int16(&mut self) -> i16 {
        self.int64() as i16
    }

    pub fn uint16(&mut self) -> u16 {
        self.int64() as u16
    }

    pub fn int32(&mut self) -> i32 {
        self.int64() as i32
    }

    pub fn int64(&mut self) -> i64 {
        if self.known.is_some() && self.below(4) > 0 {
            return self.below(4) as i64;
        }
        match self.below(4) {
            0 => self.below(3) as i64 - 1,
            1 => [i64::MAX, i64::MIN, i32::MAX.into(), i32::MIN.into(), i16::MAX.into()][self.below(5)],
            _ => self.roll() as i64,
        }
    }

    /// Any number; what is none is not equal to itself and has a test of its own.
    pub fn float64(&mut self) -> f64 {
        match self.below(4) {
            0 => [0.0, -0.0, 1.0, f64::INFINITY, f64::MIN_POSITIVE][self.below(5)],
            _ => Some(f64::from_bits(self.roll())).filter(|number| !number.is_nan()).unwrap_or(1.5),
        }
    }

    pub fn uuid(&mut self) -> Uuid {
        if let Some(uuid) = self.of_known(|known| &known.uuids) {
            return uuid;
        }
        match self.below(4) {
            0 => Uuid::ZERO,
            _ => Uuid((u128::from(self.roll()) << 64 | u128::from(self.roll())).to_be_bytes()),
        }
    }

    pub fn string(&mut self) -> Box<str> {
        if let Some(string) = self.of_known(|known| &known.strings) {
            return string;
        }
        let length = self.length();
        (0..length).map(|_| ['a', 'Z', '.', '0', 'ß', '水', '🦀', '\0'][self.below(8)]).collect::<String>().into()
    }

    pub fn nullable_string(&mut self) -> Option<Box<str>> {
        self.bool().then(|| self.string())
    }

    pub fn bytes(&mut self) -> Bytes {
        if let Some(bytes) = self.of_known(|known| &known.bytes) {
            return bytes;
        }
        let length = self.length();
        (0..length).map(|_| self.roll() as u8).collect()
    }

    pub fn nullable_bytes(&mut self) -> Option<Bytes> {
        self.bool().then(|| self.bytes())
    }

    pub fn array<T: Draw>(&mut self, version: i16) -> Vec<T> {
        let count_min = usize::from(self.one_in.is_some());
        (0..self.below(4).max(count_min)).map(|_| T::draw(self, version)).collect()
    }

    pub fn nullable_array<T: Draw>(&mut self, version: i16) -> Option<Vec<T>> {
        (self.below(4) > 0).then(|| self.array(version))
    }

    pub fn nullable_struct<T: Draw>(&mut self, version: i16) -> Option<T> {
        self.bool().then(|| T::draw(self, version))
    }

    /// Tags above all known ones: the oracle writes unknown tags after the known ones.
    pub fn unknown_tags(&mut self) -> UnknownTags {
        let mut tags = UnknownTags::default();
        if self.flexible && self.one_in.is_none() && self.below(8) == 0 {
            let mut tag = 100;
            for _ in 0..=self.below(3) {
                tag += 1 + self.below(200) as u32;
                let content = self.bytes();
                tags.append(tag, &content).expect("the tags ascend");
            }
        }
        tags
    }

    /// Something known, most of the time.
    fn of_known<T: Clone + 'static>(&mut self, values: impl Fn(&'static Known) -> &'static Vec<T>) -> Option<T> {
        let values = values(self.known?);
        if self.below(8) == 0 { None } else { values.get(self.below(values.len())).cloned() }
    }

    /// Mostly short; now and then past what one byte of a compact length can say.
    fn length(&mut self) -> usize {
        match self.below(16) {
            0 => 126 + self.below(4),
            _ => self.below(6),
        }
    }
}

/// Elements of arrays that are no structs.
macro_rules! plain {
    ($($type:ty, $leaf:ident);*) => { $(
        impl Draw for $type {
            fn draw(r: &mut Random, _version: i16) -> Self {
                r.$leaf()
            }
        }
    )* };
}

plain!(i8, int8; i16, int16; i32, int32; i64, int64; Box<str>, string);
