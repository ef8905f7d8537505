//! Whether every public item of the library has an example in its documentation.
//!
//! Reads the text, line by line: items of the client are written so that `pub` at the begin of a line is public for
//! adopters and everything else says `pub(crate)`. What the client hands on from the core has its example where it is handed
//! on, and that example uses every method.

use crate::workspace;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Of the client: no public items, or none that are promised.
const LEFT_OUT: [&str; 2] = ["driver", "unstable"];

/// Of the core: types that the client hands on, with their methods.
const HANDED_ON: [&str; 3] = ["producer/delivery.rs", "producer/outcome.rs", "producer/outcome/result.rs"];

/// A sentence for each item without an example.
pub fn missing() -> io::Result<Vec<String>> {
    let client = workspace::root().join("crates/client/src");
    let mut missing = Vec::new();
    for path in sources(&client)? {
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

fn sources(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if LEFT_OUT.iter().any(|name| path.ends_with(name)) {
            continue;
        }
        if path.is_dir() {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
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
    fn methods_are_read_from_impl_blocks() {
        let text = "impl A {\n    pub fn one(&self) {}\n    pub(super) fn two() {}\n}\npub fn three() {}\n";
        assert_eq!(methods(text).collect::<Vec<_>>(), ["one"]);
    }
}
