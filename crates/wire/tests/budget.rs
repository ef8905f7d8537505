//! The budget of a frame, from both sides: claims that add up to more are refused, and messages of the smallest sound
//! elements are read, however many there are.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod memory;

use memory::within_memory;
use milena_wire::{DecodeError, Message, Reader, UnknownTags, Writer, messages};

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
