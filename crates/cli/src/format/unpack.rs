//! Numbers and text out of bytes, in the letters that kcl and rpk took from Python's `struct`.

/// Checked letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpack {
    steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Number {
        letter: char,
        bytes: usize,
        is_signed: bool,
        is_little: bool,
    },
    /// One byte as it is.
    Character,
    /// All that is left, as it is.
    Rest,
    /// Nothing is left.
    End,
}

impl Unpack {
    /// Little-endian until `>` says otherwise.
    pub fn parse(letters: &str) -> Result<Self, String> {
        let (mut steps, mut is_little) = (Vec::new(), true);
        for letter in letters.chars() {
            if steps.last() == Some(&Step::End) {
                return Err(format!("{letter:?} stands behind $, which is the end"));
            }
            let bytes = match letter.to_ascii_lowercase() {
                'b' => 1,
                'h' => 2,
                'i' => 4,
                'q' => 8,
                _ => 0,
            };
            steps.push(match letter {
                '<' | '>' => {
                    is_little = letter == '<';
                    continue;
                }
                _ if bytes > 0 => Step::Number { letter, bytes, is_signed: letter.is_ascii_lowercase(), is_little },
                'c' | '.' => Step::Character,
                's' => Step::Rest,
                '$' => Step::End,
                other => {
                    return Err(format!(
                        "{other:?} is nothing of unpack; there are b B h H i I q Q (numbers of 1, 2, 4 and 8 bytes), c . \
                         (a byte), s (the rest), $ (the end), < and > (little and big endian)"
                    ));
                }
            });
        }
        if steps.is_empty() { Err("unpack needs letters, as in unpack[>iq]".to_owned()) } else { Ok(Self { steps }) }
    }

    /// Adds what the letters say; the error says where the bytes are not so.
    pub fn print(&self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        let mut rest = bytes;
        for step in &self.steps {
            match *step {
                Step::Number { letter, bytes, is_signed, is_little } => {
                    let (number, after) = rest.split_at_checked(bytes).ok_or_else(|| short(letter, bytes, rest))?;
                    rest = after;
                    out.extend_from_slice(shown(number, is_signed, is_little).as_bytes());
                }
                Step::Character => {
                    let (one, after) = rest.split_first().ok_or_else(|| short('c', 1, rest))?;
                    rest = after;
                    out.push(*one);
                }
                Step::Rest => out.extend_from_slice(std::mem::take(&mut rest)),
                Step::End if rest.is_empty() => {}
                Step::End => return Err(format!("unpack: {} bytes are left at $", rest.len())),
            }
        }
        Ok(())
    }
}

fn short(letter: char, bytes: usize, rest: &[u8]) -> String {
    format!("unpack: {letter} takes {bytes} bytes, and {} are left", rest.len())
}

fn shown(number: &[u8], is_signed: bool, is_little: bool) -> String {
    let push = |all: u64, byte: &u8| all << 8 | u64::from(*byte);
    let unsigned = match is_little {
        true => number.iter().rev().fold(0, push),
        false => number.iter().fold(0, push),
    };
    if is_signed {
        let unused = 64 - 8 * number.len() as u32;
        return ((unsigned << unused) as i64 >> unused).to_string();
    }
    unsigned.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_take_their_bytes_and_what_does_not_fit_is_told() {
        for (letters, bytes, expected) in [
            ("b", &b"\xff"[..], Ok("-1")),
            ("B", b"\xff", Ok("255")),
            ("hH", b"\xfe\xff\xfe\xff", Ok("-265534")),
            (">hI", b"\x01\x02\x80\x00\x00\x00", Ok("2582147483648")),
            ("<i>i", b"\x01\0\0\0\0\0\0\x01", Ok("11")),
            ("q", b"\xff\xff\xff\xff\xff\xff\xff\xff", Ok("-1")),
            ("Q$", b"\xff\xff\xff\xff\xff\xff\xff\xff", Ok("18446744073709551615")),
            ("c.s$", b"abcd", Ok("abcd")),
            ("i", b"abc", Err("i takes 4 bytes, and 3 are left")),
            ("c", b"", Err("c takes 1 bytes, and 0 are left")),
            ("b$", b"ab", Err("1 bytes are left at $")),
        ] {
            let mut out = Vec::new();
            let end = Unpack::parse(letters).expect(letters).print(bytes, &mut out);
            match expected {
                Ok(text) => assert_eq!((end, &*out), (Ok(()), text.as_bytes()), "{letters}"),
                Err(said) => assert!(end.as_ref().is_err_and(|why| why.contains(said)), "{letters}: {end:?}"),
            }
        }
        for (letters, said) in [("", "needs letters"), ("<", "needs letters"), ("i$i", "behind $"), ("x", "nothing of")]
        {
            assert!(Unpack::parse(letters).is_err_and(|why| why.contains(said)), "{letters}");
        }
    }
}
