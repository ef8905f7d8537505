//! What reading bytes may cost.

#![allow(dead_code, reason = "each test uses a part")]

/// What a decoder of messages and records may ask for: 16 times its input and a constant.
pub fn memory_allowed(input: usize) -> u64 {
    16 * input as u64 + 64 * 1024
}

/// What unpacking may take at once: three times its limit, and the codecs' own tables and windows.
pub fn memory_to_unpack(limit: usize) -> u64 {
    3 * limit as u64 + (12 << 20)
}

/// Runs a decoder and fails when it asks for too much memory.
pub fn within_memory<T>(input: usize, decode: impl FnOnce() -> T) -> T {
    let mut result = None;
    let asked = allocation_counter::measure(|| result = Some(decode()));
    assert!(
        asked.bytes_total <= memory_allowed(input) && asked.bytes_max <= memory_allowed(input),
        "{input} bytes made the decoder ask for {} bytes, {} at once",
        asked.bytes_total,
        asked.bytes_max
    );
    result.expect("it was run")
}

/// Runs what unpacks and fails when it takes too much memory at once.
pub fn within_limit<T>(limit: usize, unpack: impl FnOnce() -> T) -> T {
    let mut result = None;
    let asked = allocation_counter::measure(|| result = Some(unpack()));
    assert!(asked.bytes_max <= memory_to_unpack(limit), "a limit of {limit} took {} bytes", asked.bytes_max);
    result.expect("it was run")
}
