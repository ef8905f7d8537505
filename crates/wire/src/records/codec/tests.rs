//! What needs to look inside; the rest is in `tests/codecs.rs`.

#![cfg(feature = "zstd")]

use super::*;

#[test]
fn the_library_and_the_pure_decoder_of_zstd_read_each_other() {
    let text: Vec<u8> = (0..40_000u32).flat_map(|number| (number % 977).to_string().into_bytes()).collect();
    for len in [1, 100, 5_000, text.len()] {
        let text = &text[..len];
        for level in [1, 3, 19] {
            let mut by_library = Vec::new();
            if !zstd::Encoder::default().encode(Some(level), text.chunks(1000), &mut by_library, len + 100) {
                panic!("{len} bytes do not fit at level {level}");
            }
            assert_eq!(zstd_pure::decode(&by_library, len).as_deref(), Ok(text));
            let too_large = if len == 1 { 0 } else { len - 1 };
            let refused = Err(UnpackError::TooLarge { limit: too_large });
            assert_eq!(zstd_pure::decode(&by_library, too_large), refused);
            assert_eq!(zstd::decode(&by_library, too_large), refused);
        }
        let mut by_rust = Vec::new();
        assert!(zstd_pure::Encoder.encode(None, text.chunks(1000), &mut by_rust, len + 100));
        assert_eq!(zstd::decode(&by_rust, len).as_deref(), Ok(text));
        let twice = by_rust.repeat(2);
        assert_eq!(zstd_pure::decode(&twice, 2 * len), zstd::decode(&twice, 2 * len));
    }
}
