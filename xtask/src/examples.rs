//! Whether every public item of the library, of the wire format and of the running broker has an example in its documentation.
//!
//! Reads the text, line by line: items are written so that `pub` at the begin of a line is public for adopters and
//! everything else says `pub(crate)`. What the client hands on from the core has its example where it is handed
//! on, and that example uses every method. In the wire format and the broker each item has its own; a method or constant of
//! a type may be used in another one of its file instead. Generated messages get theirs from the generator.

use crate::workspace;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Of the client: no public items, or none that are promised.
const LEFT_OUT: [&str; 3] = ["driver", "unstable", "properties/reading.rs"];

/// Of the core: types that the client hands on, with their methods.
const HANDED_ON: [&str; 3] = ["producer/delivery.rs", "producer/outcome.rs", "producer/outcome/result.rs"];

/// Of the wire format: generated, but for `mod.rs`, which has modules only.
const GENERATED: [&str; 1] = ["messages"];

/// Of the broker: what a test that starts one meets. The rest is for who drives a `Cluster` himself.
const RUNNING_BROKER: [&str; 6] =
    ["server.rs", "server/steering.rs", "server/faults.rs", "faults.rs", "cluster_config.rs", "release.rs"];

/// A sentence for each item without an example.
pub fn missing() -> io::Result<Vec<String>> {
    let wire = sources(&workspace::root().join("crates/wire/src"), &GENERATED)?;
    let broker = RUNNING_BROKER.iter().map(|name| workspace::root().join("crates/broker/src").join(name));
    let own = wire.into_iter().chain(broker).collect::<Vec<_>>();
    Ok([missing_in_client()?, missing_in(&own)?].concat())
}

/// Each item has its own, or is used in one of its file.
fn missing_in(files: &[PathBuf]) -> io::Result<Vec<String>> {
    let mut missing = Vec::new();
    for path in files {
        let text = fs::read_to_string(path)?;
        let name = path.strip_prefix(workspace::root()).unwrap_or(path).display().to_string();
        missing.extend(unused(&text).into_iter().map(|(line, item)| format!("{name}:{line}: {item}")));
    }
    Ok(missing)
}

fn missing_in_client() -> io::Result<Vec<String>> {
    let client = workspace::root().join("crates/client/src");
    let mut missing = Vec::new();
    for path in sources(&client, &LEFT_OUT)? {
        let text = fs::read_to_string(&path)?;
        let name = path.strip_prefix(&client).unwrap_or(&path).display().to_string();
        missing.extend(without_example(&text).into_iter().map(|(line, item)| format!("{name}:{line}: {item}")));
    }
    let examples = doc_lines(&fs::read_to_string(client.join("lib.rs"))?);
    for file in HANDED_ON {
        let text = fs::read_to_string(workspace::root().join("crates/core/src").join(file))?;
        let unused = methods(&text).filter(|method| !examples.contains(&format!("{method}(")));
        missing.extend(unused.map(|method| format!("{file}: {method} is in no example of the client's lib.rs")));
    }
    Ok(missing)
}

fn sources(folder: &Path, left_out: &[&str]) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if left_out.iter().any(|name| path.ends_with(name)) {
            continue;
        }
        if path.is_dir() {
            found.extend(sources(&path, left_out)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// As [`without_example`], less the members of types that an example of the text uses.
fn unused(text: &str) -> Vec<(usize, String)> {
    let examples = example_lines(text);
    let is_used = |line: usize| {
        let is_member = text.lines().nth(line - 1).is_some_and(|line| line.starts_with(' '));
        let item = text.lines().nth(line - 1).map(|line| line.trim().trim_start_matches("pub ")).unwrap_or_default();
        is_member && member_uses(item).iter().any(|using| examples.contains(using))
    };
    without_example(text).into_iter().filter(|(line, _)| !is_used(*line)).collect()
}

/// How a method or an associated constant looks where it is used. A name that a macro makes is used by the macro's callers.
fn member_uses(item: &str) -> Vec<String> {
    let words: Vec<&str> = item.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '$').collect();
    match words.iter().position(|word| *word == "fn") {
        Some(at) => ["::", "."]
            .iter()
            .map(|before| format!("{before}{}", words[at + 1]))
            .flat_map(|name| [format!("{name}("), format!("{name}::<")])
            .collect(),
        None if words[1].starts_with('$') => vec![String::new()],
        None => vec![format!("::{}", words[1])],
    }
}

/// The code in the documentation.
fn example_lines(text: &str) -> String {
    let mut in_example = false;
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("///")).filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        in_example ^= is_fence;
        in_example && !is_fence
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Public items, with their lines, that have no code in the comment before them.
fn without_example(text: &str) -> Vec<(usize, String)> {
    let mut missing = Vec::new();
    let (mut has_example, mut in_attribute) = (false, false);
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if in_attribute || line.starts_with("#[") {
            in_attribute = !line.ends_with(']');
        } else if let Some(comment) = line.strip_prefix("///") {
            has_example |= comment.trim_start().starts_with("```");
        } else {
            if is_item(line) && !has_example {
                missing.push((number + 1, line.trim_end_matches(" {").to_owned()));
            }
            has_example = false;
        }
    }
    missing
}

fn is_item(line: &str) -> bool {
    const KINDS: [&str; 9] =
        ["fn ", "async fn ", "const fn ", "struct ", "enum ", "trait ", "const ", "type ", "use milena_core::"];
    line.strip_prefix("pub ").is_some_and(|item| KINDS.iter().any(|kind| item.starts_with(kind)))
}

fn doc_lines(text: &str) -> String {
    text.lines().filter(|line| line.starts_with("///")).collect::<Vec<_>>().join("\n")
}

fn methods(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.strip_prefix("    pub fn ")?.split('(').next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_without_one_is_found_and_no_other() {
        let text = "
/// Told.
///
/// ```
/// f();
/// ```
#[allow(
    some,
    reason = \"of it\"
)]
pub fn f() {}

/// Not told.
#[must_use]
pub async fn g(self) -> Self {
    pub(crate) fn inner() {}
}

/// Handed on.
pub use milena_core::Thing;
pub use own::Other;
pub struct Bare {
    pub field: u8,
}
";
        let found: Vec<String> =
            without_example(text).into_iter().map(|(line, item)| format!("{line} {item}")).collect();
        assert_eq!(found, ["15 pub async fn g(self) -> Self", "20 pub use milena_core::Thing;", "22 pub struct Bare"]);
    }

    #[test]
    fn a_member_may_be_used_in_another_example_of_its_file_and_an_item_may_not() {
        let text = "
/// Told. Not by `Thing::hidden()`.
///
/// ```
/// Thing::new().used::<u8>();
/// assert_eq!(Thing::MAX, other());
/// ```
pub struct Thing;

impl Thing {
    pub const MAX: u8 = 1;
    pub const MIN: u8 = 0;
    pub const fn new() -> Self {}
    pub fn used<T>(&self) {}
    pub fn hidden() {}
    pub const $name: u8 = 1;
}

pub fn other() {}
";
        let found: Vec<String> = unused(text).into_iter().map(|(line, item)| format!("{line} {item}")).collect();
        assert_eq!(found, ["12 pub const MIN: u8 = 0;", "15 pub fn hidden() {}", "19 pub fn other() {}"]);
    }

    #[test]
    fn methods_are_read_from_impl_blocks() {
        let text = "impl A {\n    pub fn one(&self) {}\n    pub(super) fn two() {}\n}\npub fn three() {}\n";
        assert_eq!(methods(text).collect::<Vec<_>>(), ["one"]);
    }
}
