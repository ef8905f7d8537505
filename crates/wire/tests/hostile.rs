//! Bytes that nobody should send, offered to every decoder: all messages in all versions, headers, the frame splitter.
//!
//! No decoder panics, and none allocates more than 16 times its input plus 64 KiB. What is counted is everything that is
//! asked of the allocator, freed or not, which bounds what is held at any one time as well.
//! Each harness is also a fuzz target: `cargo bolero test NAME`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod random;
mod records_walk;

use std::collections::BTreeMap;
use std::sync::Mutex;

use bytes::Bytes;
use milena_wire::frame::{FrameSplitter, RequestHeader, decode_request, decode_response};
use milena_wire::records::{BatchHeader, RecordHeader, RecordLayout, batches, retain};
use milena_wire::{ApiKey, DecodeError, Message, Reader, Request, Response, UnknownTags, Writer};
use milena_wire::{crc32c, messages};
use random::{Draw, Random, each_api};

/// All APIs that clients send.
const API_COUNT: usize = 72;

/// All messages in all versions.
const TARGET_COUNT: usize = 542;

/// What the promise allows.
fn memory_allowed(input: usize) -> u64 {
    16 * input as u64 + 64 * 1024
}

/// Runs a decoder and fails when it asks for too much memory.
fn within_memory<T>(input: usize, decode: impl FnOnce() -> T) -> T {
    let mut result = None;
    let asked = allocation_counter::measure(|| result = Some(decode()));
    assert!(
        asked.bytes_total <= memory_allowed(input) && asked.bytes_max <= memory_allowed(input),
        "{input} bytes made the decoder ask for {} bytes, {} at once",
        asked.bytes_total,
        asked.bytes_max
    );
    result.unwrap()
}

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
    let input = bytes.len();
    within_memory(input, || {
        let mut r = Reader::new(bytes);
        M::read(&mut r, version).is_ok() && r.finish().is_ok()
    })
}

fn encode<M: Message + Draw>(random: &mut Random, version: i16) -> Vec<u8> {
    let mut w = Writer::new();
    M::draw(random, version).write(&mut w, version).unwrap();
    w.into_bytes()
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

/// Damage of the kinds that reach far: lengths and counts, cuts, repeats.
fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    let at = random.below(bytes.len());
    match random.below(8) {
        0 if !bytes.is_empty() => bytes[at] = random.roll() as u8,
        1 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
        2 => bytes.truncate(at),
        3 => bytes.insert(at, random.roll() as u8),
        4 => {
            let tail = bytes[at..].to_vec();
            (0..random.below(20)).for_each(|_| bytes.extend_from_slice(&tail));
        }
        5 => {
            // Far beyond the constant part of the allowance, or only that part would be tested.
            let length_max = if random.below(8) == 0 { 64 * 1024 } else { 256 };
            bytes.extend(std::iter::repeat_n(random.below(3) as u8, random.below(length_max)));
        }
        _ => {
            let hostile: [&[u8]; 8] = [
                &[0xff; 4],
                &[0x7f, 0xff, 0xff, 0xff],
                &[0x00, 0x00, 0x40, 0x00],
                &[0x00, 0x00, 0x10, 0x00],
                &[0x80, 0x80, 0x01],
                &[0xff, 0xff, 0xff, 0xff, 0x0f],
                &[0xff, 0x7f],
                &[0x7f, 0xff],
            ];
            let hostile = hostile[random.below(hostile.len())];
            bytes.iter_mut().skip(at).zip(hostile).for_each(|(byte, new)| *byte = *new);
        }
    }
}

/// Reads a seed off the front of fuzzed bytes, so that the fuzzer steers what is random.
fn seed(bytes: &[u8]) -> u64 {
    bytes.iter().take(16).fold(0, |seed: u64, byte| seed.rotate_left(7) ^ u64::from(*byte))
}

#[test]
fn random_bytes_are_refused_or_read_by_every_message_decoder() {
    let targets = targets();
    let read = Mutex::new(0u64);
    bolero::check!().with_iterations(4_000).with_max_len(2_048).for_each(|bytes: &[u8]| {
        let input = Bytes::copy_from_slice(bytes);
        for target in &targets {
            *read.lock().unwrap() += u64::from((target.decode)(input.clone(), target.version));
        }
    });
    assert!(read.into_inner().unwrap() > 0, "not even a single short message was read");
}

#[test]
fn mutated_messages_are_refused_or_read_by_every_message_decoder() {
    let targets = targets();
    let outcomes = Mutex::new(BTreeMap::new());
    bolero::check!().with_iterations(1_000).with_max_len(64).for_each(|bytes: &[u8]| {
        for target in &targets {
            let mut random = Random::new(seed(bytes), target.flexible);
            let mut message = (target.encode)(&mut random, target.version);
            for _ in 0..=random.below(4) {
                mutate(&mut random, &mut message);
            }
            let read = (target.decode)(message.into(), target.version);
            let mut outcomes = outcomes.lock().unwrap();
            outcomes.entry((target.name, target.version)).or_insert([0u64; 2])[usize::from(read)] += 1;
        }
    });
    let outcomes = outcomes.into_inner().unwrap();
    assert_eq!(outcomes.len(), TARGET_COUNT);
    let refused = outcomes.values().filter(|[refused, _]| *refused > 0).count();
    let read = outcomes.values().filter(|[_, read]| *read > 0).count();
    // A message of one fixed field can survive most damage; nearly all others must be seen both ways.
    assert!(
        refused >= TARGET_COUNT && read >= 530,
        "{refused} targets refused something, {read} read something: {outcomes:?}"
    );
}

/// Each of these claims, at every level, as many elements as the rest of the frame could hold.
#[test]
fn nested_claims_do_not_add_up() {
    const FILLER: usize = 1_000_000;
    // Topics of three bytes on the wire and 64 in memory: refused at the first claim.
    let mut one_level = vec![0; 25];
    one_level.extend(compact(FILLER / 3));
    one_level.extend(std::iter::repeat_n(1, FILLER));
    let refused = read::<messages::fetch::request::FetchRequest>(one_level, 12).unwrap_err();
    assert!(matches!(refused, DecodeError::BudgetExhausted { at: 28, .. }), "{refused}");

    // Topics may take what the frame allows; the partitions of the first one must not take it again.
    let mut two_levels = vec![0; 4];
    two_levels.extend(compact(FILLER / 3));
    two_levels.push(1);
    two_levels.extend(compact(FILLER / 9));
    two_levels.extend(std::iter::repeat_n(1, FILLER));
    let refused = read::<messages::describe_producers::response::DescribeProducersResponse>(two_levels, 0).unwrap_err();
    assert!(matches!(refused, DecodeError::BudgetExhausted { at: 11, .. }), "{refused}");
}

fn read<M: Message>(bytes: Vec<u8>, version: i16) -> Result<M, DecodeError> {
    within_memory(bytes.len(), || M::read(&mut Reader::new(bytes.into()), version))
}

/// A compact array length.
fn compact(elements: usize) -> Vec<u8> {
    let mut w = Writer::new();
    w.unsigned_varint(elements as u32 + 1);
    w.into_bytes()
}

/// The other side of the budget: what is unusual but sound is read, however much of it there is.
#[test]
fn a_sound_message_of_the_smallest_elements_is_read() {
    use messages::fetch::request::{FetchRequest, FetchTopic};
    let topic = |number| FetchTopic { topic: format!("{number:02}").into(), ..Default::default() };
    let fetch = FetchRequest { topics: (0..100_000).map(topic).collect(), ..Default::default() };
    reads_back(&fetch, 12);
    let empty = FetchRequest { topics: vec![FetchTopic::default(); 1_000], ..Default::default() };
    reads_back(&empty, 12);

    use messages::find_coordinator::request::FindCoordinatorRequest;
    let find = FindCoordinatorRequest { coordinator_keys: vec!["".into(); 100_000], ..Default::default() };
    reads_back(&find, 4);

    use messages::describe_producers::request::{DescribeProducersRequest, TopicRequest};
    let mut tags = UnknownTags::default();
    tags.append(0, &[]).unwrap();
    let topic = TopicRequest { unknown_tags: tags, ..Default::default() };
    let describe = DescribeProducersRequest { topics: vec![topic; 100_000], ..Default::default() };
    reads_back(&describe, 0);
}

/// The elements that the generator takes to have some content (`NEVER_EMPTY`), with no more than that.
#[test]
fn a_sound_message_of_the_smallest_large_elements_is_read() {
    const COUNT: usize = 20_000;
    macro_rules! many {
        ($module:ident, $side:ident, $message:ident $version:literal, $list:ident: $item:ident $content:tt) => { {
            use messages::$module::$side as of;
            #[allow(clippy::needless_update)]
            let item = many!(@ of, $item $content);
            let elements = vec![item; COUNT];
            let mut message = of::$message::default();
            message.$list = elements.into();
            reads_back(&message, $version);
        } };
        (@ $of:ident, $item:ident { $($field:ident: $value:expr),* }) => {
            $of::$item { $($field: $value.into(),)* ..Default::default() }
        };
    }
    let name = || Box::<str>::from("m1");
    let topics = || vec![Box::<str>::from("t")];
    let entity = messages::alter_client_quotas::request::EntityData { entity_type: "u".into(), ..Default::default() };
    many!(alter_client_quotas, request, AlterClientQuotasRequest 1, entries: EntryData { entity: vec![entity.clone()] });
    let entity =
        messages::describe_client_quotas::response::EntityData { entity_type: "u".into(), ..Default::default() };
    many!(describe_client_quotas, response, DescribeClientQuotasResponse 1,
        entries: EntryData { entity: vec![entity.clone()] });
    many!(join_group, request, JoinGroupRequest 9, protocols: JoinGroupRequestProtocol { name: "p" });
    many!(join_group, response, JoinGroupResponse 9, members: JoinGroupResponseMember { member_id: name() });
    many!(leave_group, request, LeaveGroupRequest 4, members: MemberIdentity { member_id: "m" });
    many!(list_groups, response, ListGroupsResponse 3, groups: ListedGroup { group_id: name() });
    many!(offset_fetch, request, OffsetFetchRequest 8, groups: OffsetFetchRequestGroup { group_id: name() });
    many!(sync_group, request, SyncGroupRequest 5, assignments: SyncGroupRequestAssignment { member_id: name() });

    use messages::describe_groups::response::{DescribeGroupsResponse, DescribedGroup, DescribedGroupMember};
    let member = DescribedGroupMember { member_id: name(), ..Default::default() };
    let group = DescribedGroup { members: vec![member; COUNT], ..Default::default() };
    reads_back(&DescribeGroupsResponse { groups: vec![group], ..Default::default() }, 5);

    use messages::streams_group_heartbeat::request as heartbeat;
    let copartition = heartbeat::CopartitionGroup { source_topics: vec![0], ..Default::default() };
    let subtopology = heartbeat::Subtopology { subtopology_id: name(), source_topics: topics(), ..Default::default() };
    let with_groups = heartbeat::Subtopology { copartition_groups: vec![copartition; COUNT], ..subtopology.clone() };
    for subtopologies in [vec![subtopology; COUNT], vec![with_groups]] {
        let topology = Some(heartbeat::Topology { subtopologies, ..Default::default() });
        reads_back(&heartbeat::StreamsGroupHeartbeatRequest { topology, ..Default::default() }, 0);
    }

    use messages::streams_group_describe::response as describe;
    let subtopology = describe::Subtopology { subtopology_id: name(), source_topics: topics(), ..Default::default() };
    let topology = describe::Topology { subtopologies: Some(vec![subtopology; COUNT]), ..Default::default() };
    let group = describe::DescribedGroup { topology: Some(topology), ..Default::default() };
    reads_back(&describe::StreamsGroupDescribeResponse { groups: vec![group], ..Default::default() }, 0);
}

fn reads_back<M: Message + PartialEq>(message: &M, version: i16) {
    let mut w = Writer::new();
    message.write(&mut w, version).unwrap();
    assert!(read::<M>(w.into_bytes(), version).unwrap() == *message);
}

#[test]
fn hostile_frames_are_refused_or_read_with_their_headers() {
    let seen = Mutex::new([0u64; 3]);
    bolero::check!().with_iterations(20_000).with_max_len(512).for_each(|bytes: &[u8]| {
        let mut random = Random::new(seed(bytes), false);
        let mut frame = match random.bool() {
            true => bytes.to_vec(),
            false => valid_request(&mut random),
        };
        if random.below(8) > 0 {
            mutate(&mut random, &mut frame);
        }
        let frame = Bytes::from(frame);
        let [headers, requests, responses] = &mut *seen.lock().unwrap();
        within_memory(frame.len(), || {
            let mut r = Reader::new(frame.clone());
            let Ok(header) = RequestHeader::read(&mut r) else { return };
            *headers += 1;
            *requests += u64::from(read_request(header.api_key, r, header.api_version));
        });
        *responses += u64::from(read_response(&mut random, frame));
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
fn read_response(random: &mut Random, frame: Bytes) -> bool {
    macro_rules! one_of {
        ($(($module:ident, $request:ident, $response:ident),)*) => {
            [$(read_response_to::<messages::$module::request::$request>),*]
        };
    }
    let readers: [fn(&mut Random, Bytes) -> bool; API_COUNT] = each_api!(one_of);
    readers[random.below(readers.len())](random, frame)
}

fn read_response_to<R: Request>(random: &mut Random, frame: Bytes) -> bool
where
    R::Response: Draw,
{
    let versions: Vec<i16> = R::VERSIONS.collect();
    let version = versions[random.below(versions.len())];
    let frame = match random.bool() {
        true => frame,
        false => {
            random.flexible = version >= R::FLEXIBLE_FROM;
            let answer = R::Response::draw(random, version);
            let mut damaged = milena_wire::frame::encode_response(1, version, &answer).unwrap().split_off(4);
            mutate(random, &mut damaged);
            damaged.into()
        }
    };
    within_memory(frame.len(), || decode_response::<R>(frame, version).is_ok())
}

#[test]
fn a_hostile_stream_costs_the_splitter_no_more_than_what_arrived() {
    let frames = Mutex::new(0u64);
    bolero::check!().with_iterations(5_000).with_max_len(4_096).for_each(|bytes: &[u8]| {
        let mut random = Random::new(seed(bytes), false);
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

#[test]
fn hostile_record_batches_are_refused_or_read() {
    let read = Mutex::new([0u64; 2]);
    bolero::check!().with_iterations(10_000).with_max_len(512).for_each(|bytes: &[u8]| {
        let mut random = Random::new(seed(bytes), false);
        let mut input = match random.below(4) {
            0 => bytes.to_vec(),
            _ => record_batch(&mut random),
        };
        for _ in 0..random.below(4) {
            mutate(&mut random, &mut input);
        }
        records_walk::walk(&input);
        let input = Bytes::from(input);
        let [whole_batches, records] = &mut *read.lock().unwrap();
        for batch in batches(input.clone()).without_checksums().map_while(Result::ok) {
            *whole_batches += 1;
            within_memory(batch.bytes.len(), || retain(batch.body.chunks(3), |index| index % 2 == 0).is_ok());
        }
        within_memory(input.len(), || {
            for batch in batches(input.clone()).without_checksums().map_while(Result::ok) {
                for record in batch.records().map_while(Result::ok) {
                    *records += 1 + record.headers().map(|header| u64::from(header.value.is_some())).sum::<u64>();
                }
            }
        });
    });
    let [whole_batches, records] = read.into_inner().unwrap();
    assert!(whole_batches > 1_000 && records > 1_000, "{whole_batches} {records}");
}

fn record_batch(random: &mut Random) -> Vec<u8> {
    let mut body = Vec::new();
    let count = 1 + random.below(4) as i32;
    for offset in 0..count {
        let (key, value) = (random.nullable_bytes(), random.nullable_bytes());
        let headers = vec![RecordHeader { key: "header", value: key.as_deref() }; random.below(3)];
        let value_length = value.as_ref().map(Bytes::len);
        let layout = RecordLayout::new(0, offset, key.as_deref(), value_length, &headers).unwrap();
        layout.write(value.as_deref(), &mut body);
    }
    let header = BatchHeader { last_offset_delta: count - 1, record_count: count, ..BatchHeader::default() };
    [&header.seal(body.len(), crc32c::checksum(&body))[..], &body].concat()
}
