//! The tables of `docs/configuration.md` are written from the tables in the code.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use super::*;

const BEGIN: &str = "<!-- begin of what MILENA_WRITE_DOCS=1 cargo test -p milena --lib configuration writes -->\n";
const END: &str = "<!-- end -->\n";

#[test]
fn the_tables_of_the_configuration_are_those_of_the_code() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let text = fs::read_to_string(&path).expect("the page is there");
    let (before, rest) = text.split_once(BEGIN).expect("the tables have a begin");
    let (_, after) = rest.split_once(END).expect("the tables have an end");
    let written = format!("{before}{BEGIN}{}{END}{after}", tables());
    if std::env::var_os("MILENA_WRITE_DOCS").is_some() {
        fs::write(&path, &written).expect("the page can be written");
    }
    assert!(
        text == written,
        "docs/configuration.md is behind the code: MILENA_WRITE_DOCS=1 cargo test -p milena --lib configuration"
    );
}

/// A reader who comes from another client asks at each number that is not theirs.
#[test]
fn what_differs_has_its_reason() {
    for Setting { ours, default, java, librdkafka, why, .. } in SETTINGS {
        // What it stands for may follow in brackets.
        let is_same = |theirs: &str| {
            let mut forms = theirs.split([';', '(', ')']).map(str::trim);
            theirs.is_empty() || default.is_some_and(|default| forms.any(|form| form == default))
        };
        assert!(!why.is_empty() || (is_same(java) && is_same(librdkafka)), "{ours}: {java} and {librdkafka}");
    }
}

fn tables() -> String {
    let mut text = String::new();
    text.push_str("\n## What can be set\n\n| here | Java | librdkafka | default | Java's | librdkafka's | what differs, and why |\n");
    text.push_str("|---|---|---|---|---|---|---|\n");
    for Setting { ours, spellings, default, java, librdkafka, why } in SETTINGS {
        let names = |clients: &[Client]| {
            let names = spellings.iter().filter(|spelling| clients.contains(&spelling.of));
            names.map(|spelling| format!("`{}`", spelling.name)).collect::<Vec<_>>().join(", ")
        };
        let own = names(&[Client::Milena]);
        let here = if own.is_empty() { format!("`{ours}`") } else { format!("`{ours}`, as a property {own}") };
        let default = default.unwrap_or("");
        let (javas, librdkafkas) = (names(&[Client::Java, Client::Both]), names(&[Client::Librdkafka, Client::Both]));
        writeln!(text, "| {here} | {javas} | {librdkafkas} | {default} | {java} | {librdkafka} | {why} |")
            .expect("a string");
    }
    text.push_str("\n## What is so anyway\n\nThese values are accepted, because they are what this client does; others are errors.\n\n");
    text.push_str("| property | of | values | otherwise |\n|---|---|---|---|\n");
    for Other { name, of, allowed, advice } in OTHERS.iter().filter(|other| !other.allowed.is_empty()) {
        let allowed: Vec<String> = allowed
            .iter()
            .map(|value| if value.is_empty() { "empty".to_owned() } else { format!("`{value}`") })
            .collect();
        writeln!(text, "| `{name}` | {} | {} | {advice} |", client(*of), allowed.join(", ")).expect("a string");
    }
    text.push_str("\n## What is an error, and what to use instead\n\n| property | of | instead |\n|---|---|---|\n");
    for Other { name, of, advice, .. } in OTHERS.iter().filter(|other| other.allowed.is_empty()) {
        writeln!(text, "| `{name}` | {} | {advice} |", client(*of)).expect("a string");
    }
    for elsewhere in ELSEWHERE {
        let names = elsewhere.covered().collect::<Vec<_>>().join(", ");
        writeln!(text, "| {names} | both | {} |", elsewhere.advice).expect("a string");
    }
    text.push('\n');
    text
}

fn client(of: Client) -> &'static str {
    match of {
        Client::Java => "Java",
        Client::Librdkafka => "librdkafka",
        Client::Both => "both",
        Client::Milena => "milena",
    }
}
