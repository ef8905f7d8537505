//! Any answer as a list of fields: where each is, and what it says.
//!
//! Messages are generated and derive `Debug`, which writes every field of them, those that the definitions lack included. Read line by
//! line, that is a list that no field can be missing from, for messages that do not exist yet as well.

use std::fmt::Debug;

/// A field: its place, such as `responses[0].partitions[1].error_code`, and its value.
pub type Leaf = (String, String);

/// Every field of a value, in its order.
pub fn leaves(value: &impl Debug) -> Vec<Leaf> {
    let text = format!("{value:#?}");
    let mut found = Vec::new();
    let mut path = String::new();
    let mut open: Vec<(Inside, usize)> = Vec::new();
    for line in text.lines() {
        let line = line.trim_start();
        let line = line.strip_suffix(',').unwrap_or(line);
        if matches!(line, "}" | ")" | "]") {
            let (_, length) = open.pop().expect("what is closed was opened");
            path.truncate(length);
            continue;
        }
        let length = path.len();
        let value = match open.last_mut() {
            None | Some((Inside::Tuple, _)) => line,
            Some((Inside::Fields, _)) => {
                let (name, value) = line.split_once(": ").expect("a field has a name");
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(name);
                value
            }
            Some((Inside::List(next), _)) => {
                path.push_str(&format!("[{next}]"));
                *next += 1;
                line
            }
        };
        match value.as_bytes().last() {
            Some(b'{') => open.push((Inside::Fields, length)),
            Some(b'(') => open.push((Inside::Tuple, length)),
            Some(b'[') => open.push((Inside::List(0), length)),
            _ => {
                found.push((path.clone(), value.to_owned()));
                path.truncate(length);
            }
        }
    }
    found
}

/// The name of a field without its place.
pub fn name(path: &str) -> &str {
    let last = path.rsplit('.').next().unwrap_or(path);
    last.split('[').next().unwrap_or(last)
}

/// A place without numbers: `responses[].partitions[].error_code`.
pub fn pattern(path: &str) -> String {
    let mut out = String::new();
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('[') {
        out.push_str(before);
        out.push_str("[]");
        rest = after.split_once(']').map_or("", |(_, rest)| rest);
    }
    out + rest
}

#[derive(Debug)]
enum Inside {
    Fields,
    /// `Some(…)` and newtypes, which have no name of their own.
    Tuple,
    List(usize),
}

#[test]
fn every_field_has_its_place() {
    #[derive(Debug)]
    #[allow(dead_code)] // Read by `Debug`.
    struct Inner {
        name: Option<&'static str>,
        numbers: Vec<i32>,
    }
    #[derive(Debug)]
    #[allow(dead_code)] // Read by `Debug`.
    struct Outer {
        empty: Vec<i32>,
        inner: Vec<Inner>,
        last: bool,
    }
    let inner = |name, numbers| Inner { name, numbers };
    let outer =
        Outer { empty: vec![], inner: vec![inner(Some("a: b {\n"), vec![7, 8]), inner(None, vec![])], last: true };
    let found = leaves(&Some(outer));
    let expected = [
        ("empty", "[]"),
        ("inner[0].name", "\"a: b {\\n\""),
        ("inner[0].numbers[0]", "7"),
        ("inner[0].numbers[1]", "8"),
        ("inner[1].name", "None"),
        ("inner[1].numbers", "[]"),
        ("last", "true"),
    ];
    assert_eq!(found, expected.map(|(path, value)| (path.to_owned(), value.to_owned())));
    assert_eq!((pattern("a[0].b[12].c"), name("a[0].b[12]")), ("a[].b[].c".to_owned(), "b"));
}
