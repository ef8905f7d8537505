//! The fewest bytes that a value takes on the wire.
//!
//! They bound what an array's length may claim, and each element type's size in memory.

use super::{Field, Kind, Schema, Struct};

/// The fewest bytes in any version: what a hostile length is compared with.
pub fn wire_bytes_min(schema: &Schema, item: &Struct) -> usize {
    fewest(schema, item, 0)
}

/// The fewest bytes of a value that a peer has a reason to send, in any version: topic names have at least one
/// character. The elements in memory must not exceed this times `MEMORY_PER_BYTE`; the slack has room for the rest.
pub fn charged_bytes_min(schema: &Schema, item: &Struct) -> usize {
    fewest(schema, item, 1)
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
    let flexible = version >= schema.flexible_from;
    let nullable = field.is_nullable_in(version);
    match &field.kind {
        Kind::Bool | Kind::Int8 => 1,
        Kind::Int16 | Kind::Uint16 => 2,
        Kind::Int32 => 4,
        Kind::Int64 => 8,
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
