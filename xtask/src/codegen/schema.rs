//! Kafka's message definitions as the generator needs them.
//!
//! A definition is JSON with `//` comments. Whatever is in it and not understood here is an error, so that a new Kafka
//! release cannot slip a construct past the generator. Descriptions (`about`) are not taken over.

use serde_json::{Map, Value};

/// A range of versions, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    pub min: i16,
    pub max: i16,
}

impl Versions {
    /// `none`, `3`, `0-4` or `3+`.
    fn parse(text: &str) -> Result<Option<Versions>, String> {
        let number = |text: &str| text.trim().parse::<i16>().map_err(|_| format!("{text:?} is not a version"));
        let text = text.trim();
        let versions = if text == "none" {
            return Ok(None);
        } else if let Some(min) = text.strip_suffix('+') {
            Versions { min: number(min)?, max: i16::MAX }
        } else if let Some((min, max)) = text.split_once('-') {
            Versions { min: number(min)?, max: number(max)? }
        } else {
            Versions { min: number(text)?, max: number(text)? }
        };
        Ok(Some(versions))
    }

    pub fn contains(self, version: i16) -> bool {
        (self.min..=self.max).contains(&version)
    }

    pub fn intersect(self, other: Versions) -> Option<Versions> {
        let both = Versions { min: self.min.max(other.min), max: self.max.min(other.max) };
        (both.min <= both.max).then_some(both)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Request,
    Response,
}

/// One message: a request or a response.
#[derive(Debug)]
pub struct Schema {
    pub api_key: i16,
    pub direction: Direction,
    pub versions: Versions,
    /// `i16::MAX` when no version is flexible.
    pub flexible_from: i16,
    pub latest_unstable: bool,
    /// The message itself first, then nested types in the order in which they are first named.
    pub structs: Vec<Struct>,
}

#[derive(Debug)]
pub struct Struct {
    pub name: String,
    /// The versions in which it can appear.
    pub versions: Versions,
    pub fields: Vec<Field>,
    /// Whether arrays of it are read, which bounds its size in memory.
    pub is_element: bool,
}

#[derive(Debug, Clone)]
pub struct Field {
    pub name: String,
    pub kind: Kind,
    /// The versions that carry it, within those of its struct.
    pub versions: Versions,
    pub nullable: Option<Versions>,
    pub tag: Option<u32>,
    pub ignorable: bool,
    pub is_topic_name: bool,
    /// Set when its length keeps the old form in flexible versions too.
    pub is_never_flexible: bool,
    pub default: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Bool,
    Int8,
    Int16,
    Uint16,
    Int32,
    Int64,
    Float64,
    Uuid,
    String,
    /// Byte strings; records are the same on the wire.
    Bytes,
    Records,
    Array(Box<Kind>),
    Struct(String),
}

impl Kind {
    fn parse(text: &str) -> Result<Kind, String> {
        Ok(match text {
            "bool" => Kind::Bool,
            "int8" => Kind::Int8,
            "int16" => Kind::Int16,
            "uint16" => Kind::Uint16,
            "int32" => Kind::Int32,
            "int64" => Kind::Int64,
            "float64" => Kind::Float64,
            "uuid" => Kind::Uuid,
            "string" => Kind::String,
            "bytes" => Kind::Bytes,
            "records" => Kind::Records,
            _ => match text.strip_prefix("[]") {
                Some(element) => Kind::Array(Box::new(Kind::parse_element(element)?)),
                None if text.starts_with(|first: char| first.is_ascii_uppercase()) => Kind::Struct(text.to_owned()),
                None => return Err(format!("type {text:?} is not known to the generator")),
            },
        })
    }

    fn parse_element(text: &str) -> Result<Kind, String> {
        match Kind::parse(text)? {
            Kind::Bytes | Kind::Records | Kind::Array(_) | Kind::Bool | Kind::Float64 => {
                Err(format!("arrays of {text} are not known to the generator"))
            }
            element => Ok(element),
        }
    }

    /// The struct that this is or that its elements are.
    fn struct_name(&self) -> Option<&str> {
        match self {
            Kind::Struct(name) => Some(name),
            Kind::Array(element) => element.struct_name(),
            _ => None,
        }
    }

    fn may_be_null(&self) -> bool {
        matches!(self, Kind::String | Kind::Bytes | Kind::Records | Kind::Array(_) | Kind::Struct(_))
    }
}

impl Schema {
    /// Understands one definition file.
    pub fn parse(text: &str) -> Result<Schema, String> {
        let value: Value = serde_json::from_str(&without_comments(text)).map_err(|error| error.to_string())?;
        let object = Object::new(&value)?;
        object.only(&[
            "apiKey",
            "type",
            "name",
            "listeners",
            "validVersions",
            "flexibleVersions",
            "fields",
            "commonStructs",
            "latestVersionUnstable",
        ])?;
        let direction = match object.text("type")? {
            "request" => Direction::Request,
            "response" => Direction::Response,
            other => return Err(format!("message type {other:?} is not known to the generator")),
        };
        let name = object.text("name")?;
        let versions = object.versions("validVersions")?.ok_or_else(|| format!("{name} has no valid versions"))?;
        let mut structs = Structs { versions, common: Vec::new(), done: Vec::new() };
        if let Some(common) = object.array("commonStructs")? {
            structs.common = common.to_vec();
        }
        let fields = object.array("fields")?.ok_or("a message needs fields")?;
        structs.add(name, versions, fields, false)?;
        Ok(Schema {
            api_key: object.number("apiKey")?,
            direction,
            versions,
            flexible_from: object.versions("flexibleVersions")?.map_or(i16::MAX, |from| from.min),
            latest_unstable: object.flag("latestVersionUnstable")?,
            structs: structs.done,
        })
    }

    pub fn root(&self) -> &Struct {
        &self.structs[0]
    }

    /// Whether a value is in it, at any depth, that is not always equal to itself.
    pub fn holds_floats(&self, item: &Struct) -> bool {
        item.fields.iter().any(|field| match field.kind.struct_name() {
            Some(name) => self.holds_floats(self.find(name)),
            None => field.kind == Kind::Float64,
        })
    }

    pub fn find(&self, name: &str) -> &Struct {
        self.structs
            .iter()
            .find(|candidate| candidate.name == name)
            .expect("parsing fails for a struct that is named and not defined")
    }
}

/// What is to be known of a request definition that may have no messages here.
#[derive(Debug)]
pub struct Summary {
    pub api_key: i16,
    /// Without `Request`.
    pub name: String,
    /// Who takes it: `broker`, `zkBroker`, `controller`.
    pub listeners: Vec<String>,
    /// What can be sent without asking for what is not stable yet; `None` if no version is valid any more.
    pub stable_versions: Option<Versions>,
    /// Whether no version is valid any more.
    pub is_removed: bool,
}

impl Summary {
    /// Understands the outermost part of a request's definition file.
    pub fn parse(text: &str) -> Result<Summary, String> {
        let text = without_comments(text);
        // The first value counts, as for Kafka's own generator: a definition of 2.8 has a brace too many.
        let mut values = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
        let value = values.next().ok_or("it is empty")?.map_err(|error| error.to_string())?;
        let object = Object::new(&value)?;
        let name = object.text("name")?;
        let name = name.strip_suffix("Request").ok_or_else(|| format!("{name} is no request"))?;
        let listeners = object.array("listeners")?.unwrap_or_default();
        let valid = object.versions("validVersions")?;
        let unstable = i16::from(object.flag("latestVersionUnstable")?);
        let stable = valid.map(|versions| Versions { max: versions.max - unstable, ..versions });
        Ok(Summary {
            api_key: object.number("apiKey")?,
            name: name.to_owned(),
            listeners: listeners.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            stable_versions: stable.filter(|versions| versions.min <= versions.max),
            is_removed: valid.is_none(),
        })
    }

    /// Whether clients can send it to a broker.
    pub fn brokers_listen(&self) -> bool {
        self.listeners.iter().any(|listener| listener == "broker")
    }
}

/// The structs of one message while they are collected.
struct Structs {
    /// The versions of the message.
    versions: Versions,
    common: Vec<Value>,
    done: Vec<Struct>,
}

impl Structs {
    fn add(&mut self, name: &str, versions: Versions, fields: &[Value], is_element: bool) -> Result<(), String> {
        let at = self.done.len();
        let empty = Struct { name: name.to_owned(), versions, fields: Vec::new(), is_element };
        self.done.push(empty);
        for value in fields {
            let object = Object::new(value)?;
            let field = Field::parse(&object, versions)
                .map_err(|error| format!("{name}.{}: {error}", object.text("name").unwrap_or("?")))?;
            let Some(field) = field else { continue };
            self.add_nested(&field, object.array("fields")?)?;
            self.done[at].fields.push(field);
        }
        Ok(())
    }

    fn add_nested(&mut self, field: &Field, fields: Option<&[Value]>) -> Result<(), String> {
        let Some(name) = field.kind.struct_name() else { return Ok(()) };
        let is_element = matches!(field.kind, Kind::Array(_));
        if let Some(fields) = fields {
            if self.done.iter().any(|known| known.name == name) {
                return Err(format!("struct {name} is defined twice"));
            }
            return self.add(name, field.versions, fields, is_element);
        }
        if let Some(known) = self.done.iter_mut().find(|known| known.name == name) {
            known.is_element |= is_element;
            return Ok(());
        }
        let common = self.common.iter().find(|common| common["name"] == name).cloned();
        let common = common.ok_or_else(|| format!("struct {name} is not defined"))?;
        let object = Object::new(&common)?;
        object.only(&["name", "versions", "about", "fields"])?;
        let fields = object.array("fields")?.ok_or("a common struct needs fields")?;
        // A common struct may appear wherever the message does: its users need not agree on versions.
        self.add(name, self.versions, fields, is_element)
    }
}

impl Field {
    /// `None` for a field that no valid version carries any more.
    fn parse(object: &Object<'_>, within: Versions) -> Result<Option<Field>, String> {
        object.only(&[
            "name",
            "type",
            "versions",
            "nullableVersions",
            "taggedVersions",
            "flexibleVersions",
            "tag",
            "ignorable",
            "default",
            "entityType",
            "mapKey",
            "zeroCopy",
            "about",
            "fields",
        ])?;
        let declared = object.versions("versions")?.ok_or("a field needs versions")?;
        let Some(versions) = declared.intersect(within) else { return Ok(None) };
        let tag = match (object.versions("taggedVersions")?, object.find("tag")) {
            (None, None) => None,
            (Some(tagged), Some(tag)) if tagged == declared => {
                Some(tag.as_u64().and_then(|tag| tag.try_into().ok()).ok_or("tag is no number")?)
            }
            _ => return Err("tag and versions do not fit each other".to_owned()),
        };
        let kind = Kind::parse(object.text("type")?)?;
        let nullable = object.versions("nullableVersions")?.and_then(|nullable| nullable.intersect(versions));
        if nullable.is_some() && !kind.may_be_null() {
            return Err("a nullable field of this type is not known to the generator".to_owned());
        }
        if nullable.is_some() && tag.is_some() && matches!(kind, Kind::Struct(_)) {
            return Err("a nullable tagged struct is not known to the generator".to_owned());
        }
        let is_never_flexible = match (object.find("flexibleVersions"), &kind) {
            (None, _) => false,
            (Some(Value::String(none)), Kind::String | Kind::Bytes) if none == "none" => true,
            _ => return Err("flexible versions of this type or range are not known to the generator".to_owned()),
        };
        Ok(Some(Field {
            is_never_flexible,
            name: object.text("name")?.to_owned(),
            is_topic_name: object.find("entityType").is_some_and(|entity| entity == "topicName"),
            kind,
            versions,
            nullable,
            tag,
            ignorable: object.flag("ignorable")?,
            default: object.find("default").map(|default| match default {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            }),
        }))
    }

    pub fn is_nullable_in(&self, version: i16) -> bool {
        self.nullable.is_some_and(|nullable| nullable.contains(version))
    }
}

/// A JSON object whose every use can say what is wrong.
struct Object<'a>(&'a Map<String, Value>);

impl<'a> Object<'a> {
    fn new(value: &'a Value) -> Result<Self, String> {
        value.as_object().map(Object).ok_or_else(|| format!("{value} is no object"))
    }

    fn only(&self, known: &[&str]) -> Result<(), String> {
        match self.0.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(format!("{key:?} is not known to the generator")),
            None => Ok(()),
        }
    }

    fn find(&self, key: &str) -> Option<&'a Value> {
        self.0.get(key)
    }

    fn text(&self, key: &str) -> Result<&'a str, String> {
        self.find(key).and_then(Value::as_str).ok_or_else(|| format!("{key:?} is missing"))
    }

    fn number(&self, key: &str) -> Result<i16, String> {
        let number = self.find(key).and_then(Value::as_i64);
        number.and_then(|number| number.try_into().ok()).ok_or_else(|| format!("{key:?} is missing or no number"))
    }

    /// A flag that is false when absent; Kafka writes some of them as strings.
    fn flag(&self, key: &str) -> Result<bool, String> {
        match self.find(key) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(Value::String(text)) if text == "true" => Ok(true),
            Some(Value::String(text)) if text == "false" => Ok(false),
            Some(other) => Err(format!("{key:?} is {other}, not a flag")),
        }
    }

    fn versions(&self, key: &str) -> Result<Option<Versions>, String> {
        match self.find(key) {
            None => Ok(None),
            Some(Value::String(text)) => Versions::parse(text),
            Some(other) => Err(format!("{key:?} is {other}, not versions")),
        }
    }

    fn array(&self, key: &str) -> Result<Option<&'a [Value]>, String> {
        match self.find(key) {
            None => Ok(None),
            Some(Value::Array(values)) => Ok(Some(values)),
            Some(other) => Err(format!("{key:?} is {other}, not an array")),
        }
    }
}

/// Kafka's definitions put `//` comments on lines of their own.
fn without_comments(text: &str) -> String {
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    text.lines().filter(is_code).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFINITION: &str = r#"
// a comment
{
  "apiKey": 7, "type": "request", "name": "CutRequest", "validVersions": "2-5", "flexibleVersions": "4+",
  "fields": [
    { "name": "Gone", "type": "int32", "versions": "0-1" },
    // another comment
    { "name": "Pieces", "type": "[]Piece", "versions": "0+", "nullableVersions": "1+", "fields": [
      { "name": "Size", "type": "int64", "versions": "3+", "default": "-1", "ignorable": true }
    ]}
  ]
}"#;

    #[test]
    fn versions_are_cut_to_those_that_are_valid() {
        let schema = Schema::parse(DEFINITION).unwrap();
        assert_eq!(schema.flexible_from, 4);
        assert_eq!(schema.root().fields.len(), 1);
        let pieces = &schema.root().fields[0];
        assert_eq!(pieces.versions, Versions { min: 2, max: 5 });
        assert_eq!(pieces.nullable, Some(Versions { min: 2, max: 5 }));
        let size = &schema.find("Piece").fields[0];
        assert_eq!((size.versions, size.ignorable), (Versions { min: 3, max: 5 }, true));
        assert!(schema.find("Piece").is_element);
    }

    #[test]
    fn only_strings_and_bytes_may_keep_the_old_form() {
        let old = DEFINITION.replace("\"type\": \"int64\"", "\"type\": \"string\", \"flexibleVersions\": \"none\"");
        let schema = Schema::parse(&old.replace(", \"default\": \"-1\"", "")).unwrap();
        assert!(schema.find("Piece").fields[0].is_never_flexible);
        let number = DEFINITION.replace("\"ignorable\": true", "\"flexibleVersions\": \"none\"");
        assert!(Schema::parse(&number).unwrap_err().contains("flexible versions"));
        let later = old.replace("\"none\"", "\"5+\"");
        assert!(Schema::parse(&later).unwrap_err().contains("flexible versions"));
    }

    #[test]
    fn a_construct_that_is_not_understood_is_an_error() {
        let unknown_key = DEFINITION.replace("\"ignorable\"", "\"compressed\"");
        assert!(Schema::parse(&unknown_key).unwrap_err().contains("compressed"));
        let unknown_type = DEFINITION.replace("int64", "float32");
        assert!(Schema::parse(&unknown_type).unwrap_err().contains("float32"));
        let undefined =
            DEFINITION.replace("[]Piece\"", "[]Slice\"").replace("\"fields\": [\n      {", "\"about\": [\n      {");
        assert!(Schema::parse(&undefined).unwrap_err().contains("Slice"));
    }
}
