//! The fewest bytes that a value takes on the wire.
//!
//! They bound what an array's length may claim, and each element type's size in memory.

use super::leaf::plain_type;
use super::{Field, Kind, Schema, Struct};

/// The fewest bytes in any version: what a hostile length is compared with.
pub fn wire_bytes_min(schema: &Schema, item: &Struct) -> usize {
    fewest(schema, item, 0)
}

/// The condition under which elements of a sound message stay within `MEMORY_PER_BYTE`: in any version, with the fewest
/// bytes that a peer has a reason to send. Topic names have at least one character, and what `NEVER_EMPTY` says has
/// its content, which takes memory of its own; the slack has room for the rest.
pub fn memory_condition(schema: &Schema, item: &Struct) -> String {
    let mut memory = format!("size_of::<{}>()", item.name);
    let mut bytes = fewest(schema, item, 1);
    for row in NEVER_EMPTY.iter().filter(|row| row.message == schema.root().name && row.item == item.name) {
        if let Some(field) = item.fields.iter().find(|field| field.name == row.field) {
            bytes += row.characters;
            if let Kind::Array(element) = &field.kind {
                bytes += element_bytes_min(schema, element);
                memory += &format!(" + size_of::<{}>()", plain_type(element));
            }
            if row.characters > 0 {
                memory += &format!(" + size_of::<[u8; {}]>()", row.characters);
            }
        }
    }
    format!("{memory} <= MEMORY_PER_BYTE * {bytes}")
}

fn element_bytes_min(schema: &Schema, element: &Kind) -> usize {
    match element {
        Kind::Struct(name) => wire_bytes_min(schema, schema.find(name)),
        Kind::Int16 => 2,
        _ => 1,
    }
}

/// A field of an array's elements that has content in every message that makes sense, in every version.
pub struct NeverEmpty {
    pub message: &'static str,
    pub item: &'static str,
    /// A string, or an array that has one element at least.
    pub field: &'static str,
    /// The fewest characters of the string, or of the strings in the array's element.
    pub characters: usize,
}

/// Elements that are large in memory and could be tiny on the wire if nothing in them had to be there. Ids are unique among
/// their neighbours, so few of them have less than two characters.
pub const NEVER_EMPTY: &[NeverEmpty] = &[
    // An entry is about at least one entity, whose type has a name.
    NeverEmpty { message: "AlterClientQuotasRequest", item: "EntryData", field: "Entity", characters: 1 },
    NeverEmpty { message: "DescribeClientQuotasResponse", item: "EntryData", field: "Entity", characters: 1 },
    NeverEmpty { message: "DescribeGroupsResponse", item: "DescribedGroupMember", field: "MemberId", characters: 2 },
    NeverEmpty { message: "JoinGroupRequest", item: "JoinGroupRequestProtocol", field: "Name", characters: 1 },
    NeverEmpty { message: "JoinGroupResponse", item: "JoinGroupResponseMember", field: "MemberId", characters: 2 },
    // Or the group instance id: one of them says who leaves.
    NeverEmpty { message: "LeaveGroupRequest", item: "MemberIdentity", field: "MemberId", characters: 1 },
    NeverEmpty { message: "ListGroupsResponse", item: "ListedGroup", field: "GroupId", characters: 2 },
    NeverEmpty { message: "OffsetFetchRequest", item: "OffsetFetchRequestGroup", field: "GroupId", characters: 2 },
    NeverEmpty { message: "SyncGroupRequest", item: "SyncGroupRequestAssignment", field: "MemberId", characters: 2 },
    // Or the repartition topics or the pattern: a subtopology reads from something, and so does a copartition group.
    NeverEmpty { message: "StreamsGroupDescribeResponse", item: "Subtopology", field: "SubtopologyId", characters: 2 },
    NeverEmpty { message: "StreamsGroupDescribeResponse", item: "Subtopology", field: "SourceTopics", characters: 1 },
    NeverEmpty { message: "StreamsGroupHeartbeatRequest", item: "Subtopology", field: "SubtopologyId", characters: 2 },
    NeverEmpty { message: "StreamsGroupHeartbeatRequest", item: "Subtopology", field: "SourceTopics", characters: 1 },
    NeverEmpty {
        message: "StreamsGroupHeartbeatRequest",
        item: "CopartitionGroup",
        field: "SourceTopics",
        characters: 0,
    },
];

/// Compares `NEVER_EMPTY` with the definitions: each row names a field that every version of its element carries.
pub fn check(schemas: &[&Schema]) -> Result<(), String> {
    for row in NEVER_EMPTY {
        let NeverEmpty { message, item, field, .. } = row;
        let schema = schemas.iter().find(|schema| schema.root().name == *message);
        let element = schema.and_then(|schema| schema.structs.iter().find(|candidate| candidate.name == *item));
        let carried = element.is_some_and(|element| {
            let mut fields = element.fields.iter().filter(|candidate| candidate.name == *field);
            element.is_element && fields.any(|field| field.versions == element.versions && field.tag.is_none())
        });
        if !carried {
            return Err(format!("{message}: no {item}.{field} in every version, which the generator relies on"));
        }
    }
    for schema in schemas {
        let empty = |item: &&Struct| item.is_element && wire_bytes_min(schema, item) == 0;
        if let Some(item) = schema.structs.iter().find(empty) {
            return Err(format!(
                "{}: a {} may have no bytes at all, so its count has no limit",
                schema.root().name,
                item.name
            ));
        }
    }
    Ok(())
}

fn fewest(schema: &Schema, item: &Struct, topic_name: usize) -> usize {
    let versions = item.versions.min..=item.versions.max;
    versions.map(|version| struct_bytes(schema, item, version, topic_name)).min().unwrap_or(0)
}

fn struct_bytes(schema: &Schema, item: &Struct, version: i16, topic_name: usize) -> usize {
    let tag_count = usize::from(version >= schema.flexible_from);
    let carried = item.fields.iter().filter(|field| field.tag.is_none() && field.versions.contains(version));
    tag_count + carried.map(|field| field_bytes(schema, field, version, topic_name)).sum::<usize>()
}

fn field_bytes(schema: &Schema, field: &Field, version: i16, topic_name: usize) -> usize {
    let flexible = version >= schema.flexible_from && !field.is_never_flexible;
    let nullable = field.is_nullable_in(version);
    match &field.kind {
        Kind::Bool | Kind::Int8 => 1,
        Kind::Int16 | Kind::Uint16 => 2,
        Kind::Int32 => 4,
        Kind::Int64 | Kind::Float64 => 8,
        Kind::Uuid => 16,
        Kind::String => {
            let content = if field.is_topic_name && !nullable { topic_name } else { 0 };
            content + if flexible { 1 } else { 2 }
        }
        Kind::Bytes | Kind::Records | Kind::Array(_) => {
            if flexible {
                1
            } else {
                4
            }
        }
        Kind::Struct(_) if nullable => 1,
        Kind::Struct(name) => struct_bytes(schema, schema.find(name), version, topic_name),
    }
}
