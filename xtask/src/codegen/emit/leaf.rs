//! What one field is in Rust: its type, its default, and the call that reads or writes it.

use super::snake_case;
use crate::codegen::schema::{Field, Kind, Struct};

pub fn rust_type(field: &Field) -> String {
    let plain = plain_type(&field.kind);
    match field.nullable {
        Some(_) => format!("Option<{plain}>"),
        None => plain,
    }
}

pub fn plain_type(kind: &Kind) -> String {
    match kind {
        Kind::Bool => "bool".to_owned(),
        Kind::Int8 => "i8".to_owned(),
        Kind::Int16 => "i16".to_owned(),
        Kind::Uint16 => "u16".to_owned(),
        Kind::Int32 => "i32".to_owned(),
        Kind::Int64 => "i64".to_owned(),
        Kind::Float64 => "f64".to_owned(),
        Kind::Uuid => "Uuid".to_owned(),
        Kind::String => "Box<str>".to_owned(),
        Kind::Bytes | Kind::Records => "Bytes".to_owned(),
        Kind::Array(element) => format!("Vec<{}>", plain_type(element)),
        Kind::Struct(name) => name.clone(),
    }
}

/// The type as the definitions name it.
pub fn kind_text(kind: &Kind) -> String {
    match kind {
        Kind::Bool => "bool".to_owned(),
        Kind::Int8 => "int8".to_owned(),
        Kind::Int16 => "int16".to_owned(),
        Kind::Uint16 => "uint16".to_owned(),
        Kind::Int32 => "int32".to_owned(),
        Kind::Int64 => "int64".to_owned(),
        Kind::Float64 => "float64".to_owned(),
        Kind::Uuid => "uuid".to_owned(),
        Kind::String => "string".to_owned(),
        Kind::Bytes => "bytes".to_owned(),
        Kind::Records => "records".to_owned(),
        Kind::Array(element) => format!("array of {}", kind_text(element)),
        Kind::Struct(name) => name.clone(),
    }
}

/// The call that reads the field, its value plain or, where it may be null, an option.
pub fn read_leaf(field: &Field, nullable: bool, question: &str, scope: &str) -> String {
    let name = match &field.kind {
        Kind::Array(_) if nullable => "nullable_array(version)",
        Kind::Array(_) => "array(version)",
        Kind::Struct(_) if nullable => "nullable_struct(version)",
        // A reader needs no help to find the type; a source of random values is called by the type's own name.
        Kind::Struct(name) if question.is_empty() => return format!("{scope}{name}::draw(r, version)"),
        Kind::Struct(name) => return format!("{name}::read(r, version){question}"),
        Kind::String if nullable => "nullable_string()",
        Kind::String => "string()",
        Kind::Bytes | Kind::Records if nullable => "nullable_bytes()",
        Kind::Bytes | Kind::Records => "bytes()",
        plain => return format!("r.{}(){question}", kind_text(plain)),
    };
    // A source of random values does not care how they are written.
    match field.is_never_flexible && !question.is_empty() {
        true => format!("r.in_old_form(|r| r.{name}){question}"),
        false => format!("r.{name}{question}"),
    }
}

/// A plain value becomes `Some` where the field may be null in other versions.
pub fn as_field(field: &Field, value: String, is_option: bool) -> String {
    match field.nullable.is_some() && !is_option {
        true => format!("Some({value})"),
        false => value,
    }
}

/// The statement that appends the field.
pub fn write_leaf(item: &Struct, field: &Field, nullable: bool) -> String {
    let name = snake_case(&field.name);
    let value = if field.nullable.is_some() && !nullable {
        let path = format!("{}.{name}", item.name);
        let error = format!("EncodeError::NullNotAllowed {{ field: {path:?}, version }}");
        let borrow = if matches!(field.kind, Kind::Struct(_)) { "as_ref" } else { "as_deref" };
        format!("self.{name}.{borrow}().ok_or({error})?")
    } else if nullable && matches!(field.kind, Kind::Struct(_)) {
        format!("self.{name}.as_ref()")
    } else if nullable {
        format!("self.{name}.as_deref()")
    } else if matches!(field.kind, Kind::String | Kind::Bytes | Kind::Records | Kind::Array(_)) {
        format!("&self.{name}")
    } else {
        format!("self.{name}")
    };
    let call = match &field.kind {
        Kind::Array(_) if nullable => format!("w.nullable_array({value}, version)"),
        Kind::Array(_) => format!("w.array({value}, version)"),
        Kind::Struct(_) if nullable => format!("w.nullable_struct({value}, version)"),
        Kind::Struct(_) => format!("{value}.write(w, version)"),
        Kind::String if nullable => format!("w.nullable_string({value})"),
        Kind::String => format!("w.string({value})"),
        Kind::Bytes | Kind::Records if nullable => format!("w.nullable_bytes({value})"),
        Kind::Bytes | Kind::Records => format!("w.bytes({value})"),
        plain => return format!("w.{}({value});", kind_text(plain)),
    };
    match field.is_never_flexible {
        true => format!("w.in_old_form(|w| {call})?;"),
        false => format!("{call}?;"),
    }
}

/// The definition's default; Kafka's own where it gives none.
pub fn default_value(field: &Field) -> String {
    if is_null_by_default(field) {
        return "None".to_owned();
    }
    let given = field.default.as_deref().unwrap_or_default();
    let plain = match &field.kind {
        Kind::Bool => (given == "true").to_string(),
        Kind::Int8 | Kind::Int16 | Kind::Uint16 | Kind::Int32 | Kind::Int64 => number(given),
        Kind::Float64 => float(given),
        Kind::Uuid => "Uuid::ZERO".to_owned(),
        Kind::String if given.is_empty() => "Box::default()".to_owned(),
        Kind::String => format!("{given:?}.into()"),
        Kind::Bytes | Kind::Records => "Bytes::new()".to_owned(),
        Kind::Array(_) => "Vec::new()".to_owned(),
        Kind::Struct(name) => format!("{name}::default()"),
    };
    as_field(field, plain, false)
}

/// Records have no empty value of their own in Kafka: where they may be null, they are by default.
fn is_null_by_default(field: &Field) -> bool {
    field.nullable.is_some() && (field.default.as_deref() == Some("null") || field.kind == Kind::Records)
}

fn number(given: &str) -> String {
    match given.strip_prefix("0x") {
        _ if given.is_empty() => "0".to_owned(),
        Some(hex) => i64::from_str_radix(hex, 16).map_or_else(|_| given.to_owned(), |number| number.to_string()),
        None => given.to_owned(),
    }
}

fn float(given: &str) -> String {
    match given {
        "" => "0.0".to_owned(),
        given if given.contains('.') => given.to_owned(),
        whole => format!("{whole}.0"),
    }
}

/// Whether the default is what Rust's `Default` gives for the type.
pub fn is_default_of_type(field: &Field) -> bool {
    let default = default_value(field);
    match &field.kind {
        _ if field.nullable.is_some() => default == "None",
        Kind::Bool => default == "false",
        Kind::Int8 | Kind::Int16 | Kind::Uint16 | Kind::Int32 | Kind::Int64 => default == "0",
        Kind::Float64 => default == "0.0",
        Kind::String => default == "Box::default()",
        _ => true,
    }
}

/// The condition under which the field differs from its default.
pub fn is_set(field: &Field) -> String {
    let name = snake_case(&field.name);
    let default = default_value(field);
    if field.nullable.is_some() {
        return match &field.kind {
            _ if default == "None" => format!("self.{name}.is_some()"),
            Kind::Struct(_) => format!("self.{name} != {default}"),
            _ => format!("self.{name}.as_deref().is_none_or(|value| !value.is_empty())"),
        };
    }
    match &field.kind {
        Kind::Bool if default == "true" => format!("!self.{name}"),
        Kind::Bool => format!("self.{name}"),
        Kind::String if default != "Box::default()" => format!("self.{name} != {default}"),
        Kind::String | Kind::Bytes | Kind::Records | Kind::Array(_) => format!("!self.{name}.is_empty()"),
        _ => format!("self.{name} != {default}"),
    }
}
