//! Bodies packed and unpacked by every codec, and bytes that nobody should send.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod dice;

use bytes::Bytes;
use dice::Dice;
use milena_wire::ErrorCode;
use milena_wire::crc32c;
use milena_wire::records::{
    Attributes, BatchError, BatchHeader, Codec, Compression, Encoding, Packer, RecordLayout, UnpackError, batches,
    unpack, validate_produced,
};

/// As records are: much the same, never quite.
fn text(len: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(len + 100);
    for number in 0u64.. {
        if text.len() >= len {
            break;
        }
        let noise = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
        text.extend_from_slice(format!("{{\"id\":{number},\"user\":\"u{noise}\",\"shop\":\"berlin\"}}").as_bytes());
    }
    text.truncate(len);
    text
}

fn encodings() -> Vec<Encoding> {
    // Of the negative ones, which leave more and more as it is, those that still shrink the text.
    let levels = |codec: Codec| {
        let all = codec.levels().map(|levels| *levels.start().max(&-3)..=*levels.end());
        all.into_iter().flatten().map(move |level| (codec, level))
    };
    let leveled =
        Codec::ALL.into_iter().flat_map(levels).filter_map(|(codec, level)| Encoding::with_level(codec, level));
    Codec::ALL.into_iter().map(Encoding::new).chain(leveled).collect()
}

#[test]
fn every_codec_at_every_level_gives_back_what_it_was_given_however_it_is_split() {
    let text = text(300_000);
    let mut packer = Packer::new();
    let mut packed_count = 0;
    for encoding in encodings() {
        for len in [1, 20, 1_000, 65_535, 65_536, 65_537, 300_000] {
            for chunk in [7, 1_024, 65_536, 300_000] {
                let text = &text[..len];
                let Some(packed) = packer.pack(encoding, text.chunks(chunk)) else { continue };
                assert!(packed.len() < len, "{encoding:?}");
                assert!(
                    unpack(encoding.codec().into(), &packed, len).as_deref() == Ok(text),
                    "{encoding:?}: {len} by {chunk}"
                );
                let refused = unpack(encoding.codec().into(), &packed, len - 1);
                assert_eq!(refused, Err(UnpackError::TooLarge { limit: len - 1 }), "{encoding:?}");
                packed_count += 1;
            }
        }
        assert!(packer.pack(encoding, [&text[..]]).unwrap().len() < text.len() / 2, "{encoding:?}");
    }
    assert!(packed_count >= encodings().len() * 4 * 5, "only {packed_count} became smaller");
}

#[test]
fn what_does_not_shrink_stays_as_it_is() {
    let mut packer = Packer::new();
    let mut dice = Dice(7);
    for len in [0, 1, 2, 30, 64 * 1024, 1_000_000] {
        let noise: Vec<u8> = (0..len).map(|_| dice.roll() as u8).collect();
        for encoding in encodings() {
            assert_eq!(packer.pack(encoding, noise.chunks(4_096)), None, "{encoding:?}: {len}");
        }
    }
    // The packer is as good as before.
    let text = text(10_000);
    for encoding in encodings() {
        let packed = packer.pack(encoding, [&text[..]]).unwrap();
        assert_eq!(unpack(encoding.codec().into(), &packed, text.len()).as_deref(), Ok(&text[..]), "{encoding:?}");
    }
}

#[test]
fn what_does_not_shrink_can_be_packed_all_the_same() {
    let mut dice = Dice(5);
    let noise: Vec<u8> = (0..300_000).map(|_| dice.roll() as u8).collect();
    let mut packer = Packer::new();
    for encoding in encodings() {
        for len in [0, 1, 20, 1_000, 65_535, 65_536, 65_537, 300_000] {
            let packed = packer.pack_even_if_larger(encoding, &noise[..len]);
            let unpacked = unpack(encoding.codec().into(), &packed, len.max(1));
            assert!(unpacked.as_deref() == Ok(&noise[..len]), "{encoding:?}: {len}");
        }
    }
}

#[test]
fn levels_make_a_difference_and_those_that_are_not_there_are_refused() {
    let text = text(200_000);
    let size = |encoding| Packer::new().pack(encoding, [&text[..]]).unwrap().len();
    for codec in Codec::ALL {
        let Some(levels) = codec.levels() else {
            assert_eq!(Encoding::with_level(codec, 1), None);
            continue;
        };
        let at = |level| Encoding::with_level(codec, level).unwrap();
        let (slow, fast) = (*levels.end(), *levels.start());
        assert!(size(at(slow)) < size(at(fast.max(-50))), "{codec}");
        // Whatever the fastest leaves comes back.
        let packed = Packer::new().pack(at(fast), [&text[..]]);
        assert!(
            packed.is_none_or(|packed| unpack(codec.into(), &packed, text.len()).as_deref() == Ok(&text[..])),
            "{codec}"
        );
        assert_eq!(Encoding::with_level(codec, levels.start() - 1), None);
        assert_eq!(Encoding::with_level(codec, levels.end() + 1), None);
    }
}

#[test]
fn snappy_is_written_with_xerials_header_and_read_without_it_as_well() {
    let text = text(200_000);
    let packed = Packer::new().pack(Encoding::new(Codec::Snappy), [&text[..]]).unwrap();
    assert_eq!(packed[..16], *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01");
    let bare = snap::raw::Encoder::new().compress_vec(&text).unwrap();
    assert_eq!(unpack(Compression::Snappy, &bare, text.len()).as_deref(), Ok(&text[..]));
    let refused = unpack(Compression::Snappy, &bare, text.len() - 1);
    assert_eq!(refused, Err(UnpackError::TooLarge { limit: text.len() - 1 }));
    // Java's library writes 32 KiB a block; any size is read, and streams that follow each other.
    let mut other = packed[..16].to_vec();
    for block in text.chunks(1_000) {
        let block = snap::raw::Encoder::new().compress_vec(block).unwrap();
        other.extend((block.len() as i32).to_be_bytes());
        other.extend(block);
    }
    assert_eq!(unpack(Compression::Snappy, &other.repeat(2), 2 * text.len()), Ok(text.repeat(2)));
}

/// A frame with the given parts; `blocks` with their lengths.
fn lz4_frame(flags: u8, block_size: u8, size: &[u8], blocks: &[u8]) -> Vec<u8> {
    let described = [&[flags, block_size], size].concat();
    let checksum = (twox_hash::XxHash32::oneshot(0, &described) >> 8) as u8;
    [&[0x04, 0x22, 0x4d, 0x18], &described[..], &[checksum], blocks, &[0; 4]].concat()
}

fn lz4_block(block: &[u8], with_checksum: bool) -> Vec<u8> {
    let checksum = twox_hash::XxHash32::oneshot(0, block).to_le_bytes();
    let checksum = if with_checksum { &checksum[..] } else { &[] };
    [&(block.len() as u32).to_le_bytes(), block, checksum].concat()
}

#[test]
fn lz4_is_written_as_java_writes_it_and_read_with_everything_that_a_frame_may_have() {
    let text = text(100_000);
    let packed = Packer::new().pack(Encoding::new(Codec::Lz4), [&text[..]]).unwrap();
    // Independent blocks of 64 KiB, no other checksum; the third byte is that of the header.
    assert_eq!(packed[..7], [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82]);
    assert_eq!(packed[packed.len() - 4..], [0; 4]);

    let (first, second) = text.split_at(60_000);
    let blocks = [first, second].map(lz4_flex::block::compress);
    let linked = lz4_flex::block::compress_with_dict(second, first);
    let size = (text.len() as u64).to_le_bytes();
    let content = twox_hash::XxHash32::oneshot(0, &text).to_le_bytes();
    let independent = [lz4_block(&blocks[0], false), lz4_block(&blocks[1], false)].concat();
    let checked = [lz4_block(&blocks[0], true), lz4_block(&blocks[1], true)].concat();
    let linked = [lz4_block(&blocks[0], false), lz4_block(&linked, false)].concat();
    let with_content = |mut frame: Vec<u8>| {
        frame.extend(content);
        frame
    };
    let frames = [
        lz4_frame(0x60, 0x40, &[], &independent),
        lz4_frame(0x70, 0x70, &[], &checked),
        lz4_frame(0x40, 0x50, &[], &linked),
        lz4_frame(0x68, 0x40, &size, &independent),
        with_content(lz4_frame(0x64, 0x40, &[], &independent)),
        with_content(lz4_frame(0x7c, 0x60, &size, &checked)),
    ];
    for (number, frame) in frames.iter().enumerate() {
        assert!(unpack(Compression::Lz4, frame, text.len()).as_deref() == Ok(&text[..]), "frame {number}");
        assert!(
            unpack(Compression::Lz4, &frame.repeat(2), 2 * text.len()) == Ok(text.repeat(2)),
            "frame {number} twice"
        );
        for cut in [1, 4, 7, 8, 50] {
            let cut = unpack(Compression::Lz4, &frame[..frame.len() - cut], text.len());
            assert_eq!(cut.map(drop), Err(UnpackError::Malformed), "frame {number}");
        }
    }
    let damaged = |frame: &[u8], at: usize| {
        let mut frame = frame.to_vec();
        frame[at] ^= 1;
        unpack(Compression::Lz4, &frame, text.len()).map(drop)
    };
    let end = |number: usize| frames[number].len() - 1;
    // The magic, the header's checksum, a block's, the content's, the size.
    for (number, at) in [(0, 0), (0, 6), (1, 20), (4, end(4)), (3, 6)] {
        assert_eq!(damaged(&frames[number], at), Err(UnpackError::Malformed), "frame {number} at {at}");
    }
    assert_eq!(
        unpack(Compression::Lz4, &lz4_frame(0x61, 0x40, &[1, 2, 3, 4], &independent), text.len()),
        Err(UnpackError::Malformed)
    );
}

/// So many bytes of the same kind in as few as the codec needs.
fn bomb(codec: Codec, bytes: usize) -> Vec<u8> {
    let zeroes = vec![0; 1 << 20];
    let chunks = std::iter::repeat_n(&zeroes[..], bytes >> 20);
    Packer::new().pack(Encoding::new(codec), chunks.collect::<Vec<_>>()).unwrap()
}

/// What the promise allows, the peaks of a growing buffer included; the codecs' own tables and windows are the constant.
fn memory_allowed(limit: usize) -> u64 {
    3 * limit as u64 + (12 << 20)
}

fn within_memory<T>(limit: usize, decode: impl FnOnce() -> T) -> T {
    let mut result = None;
    let asked = allocation_counter::measure(|| result = Some(decode()));
    assert!(asked.bytes_max <= memory_allowed(limit), "a limit of {limit} took {} bytes", asked.bytes_max);
    result.unwrap()
}

#[test]
fn a_bomb_takes_no_more_memory_than_its_limit_allows() {
    const LIMIT: usize = 1 << 20;
    for codec in Codec::ALL {
        let bomb = bomb(codec, 64 << 20);
        let refused = within_memory(LIMIT, || unpack(codec.into(), &bomb, LIMIT));
        assert_eq!(refused, Err(UnpackError::TooLarge { limit: LIMIT }), "{codec}");
        assert_eq!(within_memory(64 << 20, || unpack(codec.into(), &bomb, 64 << 20)).unwrap().len(), 64 << 20);
    }
}

/// Sizes that are claimed and not there.
#[test]
fn a_claim_takes_no_memory() {
    let snappy_of_two_gigabytes = [0xff, 0xff, 0xff, 0xff, 0x07, 0, 0];
    let zstd_window_of_a_terabyte = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xf0, 0x01, 0x00, 0x00];
    let zstd_content_of_two_gigabytes = [0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 0x80, 0x01, 0, 0];
    let lz4_of_blocks_of_four_megabytes = lz4_frame(0x60, 0x70, &[], &lz4_block(&[0; 8], false));
    let cases: [(Codec, &[u8]); 4] = [
        (Codec::Snappy, &snappy_of_two_gigabytes),
        (Codec::Zstd, &zstd_window_of_a_terabyte),
        (Codec::Zstd, &zstd_content_of_two_gigabytes),
        (Codec::Lz4, &lz4_of_blocks_of_four_megabytes),
    ];
    for (codec, bytes) in cases {
        let mut result = None;
        let asked = allocation_counter::measure(|| result = Some(unpack(codec.into(), bytes, 256 << 20)));
        assert!(result.unwrap().is_err(), "{codec}");
        assert!(asked.bytes_max < 1 << 20, "{codec}: {} bytes", asked.bytes_max);
    }
}

#[test]
fn damaged_bytes_are_unpacked_or_refused_and_never_panic() {
    const LIMIT: usize = 100_000;
    let text = text(20_000);
    let mut refused = 0;
    for codec in Codec::ALL {
        let whole = Packer::new().pack(Encoding::new(codec), text.chunks(3_000)).unwrap();
        for seed in 0..3_000 {
            let mut dice = Dice(seed);
            let mut bytes = whole.clone();
            for _ in 0..=dice.below(3) {
                let at = dice.below(bytes.len());
                match dice.below(5) {
                    0 => bytes[at] = dice.roll() as u8,
                    1 => bytes[at] ^= 1 << dice.below(8),
                    2 => bytes.truncate(at.max(1)),
                    3 => bytes.extend_from_within(at..),
                    // The beginning is where the sizes are.
                    _ => bytes[at % 24 % whole.len()] = [0xff, 0x7f, 0x80, 0][dice.below(4)],
                }
            }
            refused += usize::from(within_memory(LIMIT, || unpack(codec.into(), &bytes, LIMIT)).is_err());
        }
    }
    assert!((5_000..12_000).contains(&refused), "{refused} of 12000 were refused");
    for (seed, codec) in (0..2_000).flat_map(|seed| Codec::ALL.map(|codec| (seed, codec))) {
        let noise = Dice(seed).bytes(200);
        let _ = within_memory(LIMIT, || unpack(codec.into(), &noise, LIMIT));
    }
}

fn batch_with(codec: Option<Compression>, count: i32, body: &[u8]) -> Bytes {
    let attributes = Attributes::default().with_compression(codec.unwrap_or(Compression::None));
    let header =
        BatchHeader { attributes, last_offset_delta: count - 1, record_count: count, ..BatchHeader::default() };
    [&header.seal(body.len(), crc32c::checksum(body))[..], body].concat().into()
}

fn body(count: i32) -> Vec<u8> {
    let mut body = Vec::new();
    for number in 0..count {
        let value = format!("the value of record {number}");
        let layout = RecordLayout::new(0, number, Some(b"key"), Some(value.len()), &[]).unwrap();
        layout.write(Some(value.as_bytes()), &mut body);
    }
    body
}

#[test]
fn records_of_a_compressed_batch_are_those_that_were_packed() {
    let body = body(1_000);
    let plain = batches(batch_with(None, 1_000, &body)).next().unwrap().unwrap();
    for codec in Codec::ALL {
        let packed = Packer::new().pack(Encoding::new(codec), [&body[..]]).unwrap();
        let bytes = batch_with(Some(codec.into()), 1_000, &packed);
        assert_eq!(validate_produced(&bytes).unwrap().record_count, 1_000);
        let view = batches(bytes).next().unwrap().unwrap();
        let records: Result<Vec<_>, _> = view.records().collect();
        assert_eq!(records, plain.records().collect(), "{codec}");
        let error = view.records_within(body.len() - 1).next().unwrap().unwrap_err();
        let fault = UnpackError::TooLarge { limit: body.len() - 1 };
        assert_eq!(error, BatchError::Compressed { base_offset: 0, codec: codec.into(), fault });
        let said = error.to_string();
        assert!(said.contains(&codec.to_string()) && said.contains("more than"), "{said}");
    }
}

#[test]
fn what_cannot_be_unpacked_is_one_error_and_a_count_that_the_records_do_not_have_another() {
    let codecs = [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    for codec in codecs {
        let mut records = batches(batch_with(Some(codec), 1_000, b"squeezed")).next().unwrap().unwrap().records();
        let error = records.next().unwrap().unwrap_err();
        assert_eq!(error, BatchError::Compressed { base_offset: 0, codec, fault: UnpackError::Malformed });
        assert!(records.next().is_none());
    }
    let unknown = batches(batch_with(Some(Compression::Unknown(5)), 1, b"x")).next().unwrap().unwrap();
    let error = unknown.records().next().unwrap().unwrap_err();
    assert_eq!(error.error_code(), ErrorCode::UNSUPPORTED_COMPRESSION_TYPE);
    let packed = Packer::new().pack(Encoding::new(Codec::Gzip), [&body(100)[..]]).unwrap();
    let lying = batches(batch_with(Some(Compression::Gzip), i32::MAX, &packed)).next().unwrap().unwrap();
    let error = lying.records().next().unwrap().unwrap_err();
    assert!(matches!(error, BatchError::RecordCount { count: i32::MAX, .. }), "{error}");
}
