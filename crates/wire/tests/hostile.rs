//! Bytes that nobody should send, offered to every decoder of messages: in all versions, with headers, and cut into frames.
//!
//! No decoder panics, and none allocates more than 16 times its input plus 64 KiB. What is counted is everything that is
//! asked of the allocator, freed or not, which bounds what is held at any one time as well.
//! Each test here is also a fuzz target (`cargo xtask fuzz`), so each makes all it does out of the bytes that it is given.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod memory;
mod mutate;
mod random;

use std::collections::BTreeMap;
use std::sync::Mutex;

use bytes::Bytes;
use memory::within_memory;
use milena_wire::frame::{FrameSplitter, RequestHeader, decode_request, decode_response};
use milena_wire::messages;
use milena_wire::{ApiKey, Message, Reader, Request, Response, Writer};
use mutate::mutate;
use random::{Draw, Random, each_api};

/// All APIs that clients send.
const API_COUNT: usize = 72;

/// All messages in all versions.
const TARGET_COUNT: usize = 542;

/// One message type in one version, with what the tests do to it.
struct Target {
    name: &'static str,
    version: i16,
    /// Whether the bytes are this message, whole.
    decode: fn(Bytes, i16) -> bool,
    /// A valid message.
    encode: fn(&mut Random, i16) -> Vec<u8>,
    flexible: bool,
}

fn decode<M: Message>(bytes: Bytes, version: i16) -> bool {
    let read = within_memory(bytes.len(), || read_whole::<M>(bytes, version));
    let Some(message) = read else { return false };
    // What can be read can be written, and means the same then.
    let written = write(&message, version);
    let again = read_whole::<M>(written.clone().into(), version).expect("what was written is read");
    assert_eq!(write(&again, version), written);
    true
}

fn read_whole<M: Message>(bytes: Bytes, version: i16) -> Option<M> {
    let mut r = Reader::new(bytes);
    let message = M::read(&mut r, version).ok()?;
    r.finish().ok().map(|()| message)
}

fn write<M: Message>(message: &M, version: i16) -> Vec<u8> {
    let mut w = Writer::new();
    message.write(&mut w, version).unwrap();
    w.into_bytes()
}

fn encode<M: Message + Draw>(random: &mut Random, version: i16) -> Vec<u8> {
    write(&M::draw(random, version), version)
}

fn targets() -> Vec<Target> {
    let mut targets = Vec::new();
    macro_rules! add {
        ($(($module:ident, $request:ident, $response:ident),)*) => { $(
            add!(messages::$module::request::$request, Request);
            add!(messages::$module::response::$response, Response);
        )* };
        ($message:ty, $role:ident) => {
            for version in <$message as $role>::VERSIONS {
                targets.push(Target {
                    name: stringify!($message),
                    version,
                    decode: decode::<$message>,
                    encode: encode::<$message>,
                    flexible: version >= <$message as $role>::FLEXIBLE_FROM,
                });
            }
        };
    }
    each_api!(add);
    assert_eq!(targets.len(), TARGET_COUNT);
    targets
}

/// The first two bytes choose what the rest is for.
fn chosen<'t, 'b>(targets: &'t [Target], bytes: &'b [u8]) -> Option<(usize, &'t Target, &'b [u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    let index = usize::from(u16::from_be_bytes(*number)) % targets.len();
    Some((index, &targets[index], rest))
}

#[test]
fn random_bytes_are_refused_or_read_by_every_message_decoder() {
    let targets = targets();
    let outcomes = Mutex::new(vec![[0u64; 2]; TARGET_COUNT]);
    bolero::check!().with_iterations(60_000).with_max_len(1_024).for_each(|bytes: &[u8]| {
        let Some((index, target, rest)) = chosen(&targets, bytes) else { return };
        let read = (target.decode)(Bytes::copy_from_slice(rest), target.version);
        outcomes.lock().unwrap()[index][usize::from(read)] += 1;
    });
    let outcomes = outcomes.into_inner().unwrap();
    let offered = outcomes.iter().filter(|[refused, read]| refused + read > 0).count();
    assert_eq!(offered, TARGET_COUNT);
    assert!(outcomes.iter().any(|[_, read]| *read > 0), "not even a single short message was read");
}

#[test]
fn mutated_messages_are_refused_or_read_by_every_message_decoder() {
    let targets = targets();
    let outcomes = Mutex::new(BTreeMap::new());
    bolero::check!().with_iterations(150_000).with_max_len(512).for_each(|bytes: &[u8]| {
        let Some((_, target, rest)) = chosen(&targets, bytes) else { return };
        let (mut damage, mut content) = Random::damage_and_content(rest, target.flexible);
        let mut message = (target.encode)(&mut content, target.version);
        for _ in 0..damage.below(4) {
            mutate(&mut damage, &mut message);
        }
        let read = (target.decode)(message.into(), target.version);
        let mut outcomes = outcomes.lock().unwrap();
        outcomes.entry((target.name, target.version)).or_insert([0u64; 2])[usize::from(read)] += 1;
    });
    let outcomes = outcomes.into_inner().unwrap();
    assert_eq!(outcomes.len(), TARGET_COUNT);
    let always =
        |end: usize| outcomes.iter().filter(|(_, seen)| seen[end] == 0).map(|(name, _)| name).collect::<Vec<_>>();
    let (never_refused, never_read) = (always(0), always(1));
    assert!(never_refused.is_empty() && never_read.is_empty(), "{never_refused:?} {never_read:?}");
}

#[test]
fn hostile_frames_are_refused_or_read_with_their_headers() {
    let seen = Mutex::new([0u64; 3]);
    bolero::check!().with_iterations(20_000).with_max_len(512).for_each(|bytes: &[u8]| {
        let (mut damage, mut content) = Random::damage_and_content(bytes, false);
        let mut answer_content = content.clone();
        let mut frame = match damage.bool() {
            true => bytes.to_vec(),
            false => valid_request(&mut content),
        };
        if damage.below(8) > 0 {
            mutate(&mut damage, &mut frame);
        }
        let frame = Bytes::from(frame);
        let [headers, requests, responses] = &mut *seen.lock().unwrap();
        within_memory(frame.len(), || {
            let mut r = Reader::new(frame.clone());
            let Ok(header) = RequestHeader::read(&mut r) else { return };
            *headers += 1;
            *requests += u64::from(read_request(header.api_key, r, header.api_version));
        });
        *responses += u64::from(read_response(&mut damage, &mut answer_content, frame));
    });
    let [headers, requests, responses] = seen.into_inner().unwrap();
    assert!(headers > 1_000 && requests > 500 && responses > 500, "{headers} {requests} {responses}");
}

fn valid_request(random: &mut Random) -> Vec<u8> {
    macro_rules! one_of {
        ($(($module:ident, $request:ident, $response:ident),)*) => {
            [$(request_frame::<messages::$module::request::$request>),*]
        };
    }
    let makers: [fn(&mut Random) -> Vec<u8>; API_COUNT] = each_api!(one_of);
    makers[random.below(makers.len())](random)
}

fn request_frame<R: Request + Draw>(random: &mut Random) -> Vec<u8> {
    let versions: Vec<i16> = R::VERSIONS.collect();
    let version = versions[random.below(versions.len())];
    random.flexible = version >= R::FLEXIBLE_FROM;
    let request = R::draw(random, version);
    milena_wire::frame::encode_request("client", 1, version, &request).unwrap().split_off(4)
}

fn read_request(key: ApiKey, r: Reader, version: i16) -> bool {
    macro_rules! by_key {
        ($(($module:ident, $request:ident, $response:ident),)*) => {
            match key {
                $(<messages::$module::request::$request as Request>::KEY =>
                    decode_request::<messages::$module::request::$request>(r, version).is_ok(),)*
                _ => false,
            }
        };
    }
    each_api!(by_key)
}

/// Offers the frame, or a damaged answer, as the answer to a random request.
fn read_response(damage: &mut Random, content: &mut Random, frame: Bytes) -> bool {
    macro_rules! one_of {
        ($(($module:ident, $request:ident, $response:ident),)*) => {
            [$(read_response_to::<messages::$module::request::$request>),*]
        };
    }
    let readers: [fn(&mut Random, &mut Random, Bytes) -> bool; API_COUNT] = each_api!(one_of);
    readers[content.below(readers.len())](damage, content, frame)
}

fn read_response_to<R: Request>(damage: &mut Random, content: &mut Random, frame: Bytes) -> bool
where
    R::Response: Draw,
{
    let versions: Vec<i16> = R::VERSIONS.collect();
    let version = versions[content.below(versions.len())];
    let frame = match damage.below(4) {
        0 => frame,
        _ => {
            content.flexible = version >= R::FLEXIBLE_FROM;
            let answer = R::Response::draw(content, version);
            let mut damaged = milena_wire::frame::encode_response(1, version, &answer).unwrap().split_off(4);
            mutate(damage, &mut damaged);
            damaged.into()
        }
    };
    within_memory(frame.len(), || decode_response::<R>(frame, version).is_ok())
}

#[test]
fn a_hostile_stream_costs_the_splitter_no_more_than_what_arrived() {
    let frames = Mutex::new(0u64);
    bolero::check!().with_iterations(5_000).with_max_len(4_096).for_each(|bytes: &[u8]| {
        let mut random = Random::steered(bytes, false);
        let mut stream = Vec::new();
        for piece in bytes.chunks(1 + random.below(300)) {
            let stated = match random.below(16) {
                0 => random.roll() as u32,
                _ => piece.len() as u32,
            };
            stream.extend_from_slice(&stated.to_be_bytes());
            stream.extend_from_slice(piece);
        }
        within_memory(stream.len(), || {
            let mut splitter = FrameSplitter::new(1_000_000);
            // Whoever still holds a frame must not make the splitter copy or allocate without bounds.
            let mut held = Bytes::new();
            for piece in stream.chunks(1 + random.below(1_000)) {
                match random.bool() {
                    true => splitter.push(piece),
                    false => splitter.read_buffer().extend_from_slice(piece),
                }
                while let Ok(Some(frame)) = splitter.next_frame() {
                    *frames.lock().unwrap() += 1;
                    held = frame;
                }
            }
            held.len()
        });
    });
    assert!(frames.into_inner().unwrap() > 1_000);
}
