//! What is said about a difference: the request, both answers beside each other, and how to see it again.

use std::collections::BTreeMap;

use crate::asked::Asked;
use crate::batches::Fetched;
use crate::leaves::{leaves, pattern};
use crate::run::{Counts, Finding};

/// Findings that say the same of another seed, with how many there are.
pub fn kinds(findings: &[Finding]) -> Vec<(String, Vec<&Finding>)> {
    let mut kinds: BTreeMap<String, Vec<&Finding>> = BTreeMap::new();
    for finding in findings {
        kinds.entry(kind(finding)).or_default().push(finding);
    }
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort_by_key(|(_, findings)| std::cmp::Reverse(findings.len()));
    kinds
}

/// What differs first, and how.
pub fn kind(finding: &Finding) -> String {
    let first = &finding.differences[0];
    let (api, path, what) = (first.api.name(), pattern(&first.path), finding.asked.what);
    format!("{api} {path} ({what}): Kafka {}, here {}", first.kafka, first.ours)
}

/// One finding for a person.
pub fn text(finding: &Finding) -> String {
    let Finding { seed, step, asked, kafka, ours, .. } = finding;
    let api = asked.asked.api().name();
    let mut out = format!("seed {seed}, request {step}, {api} v{}, {}", asked.version, asked.what);
    if let Some(cut) = asked.cut {
        out += &format!(", frame {cut:?}");
    }
    out += &format!("\n  {}\n", request(&asked.asked));
    for difference in
        finding.differences.iter().filter(|it| !kafka.iter().chain(ours).any(|(path, _)| *path == it.path))
    {
        out += &format!("  !!  {}: {} {}\n", difference.path, difference.kafka, difference.ours);
    }
    let mut paths: Vec<&String> = kafka.iter().map(|(path, _)| path).collect();
    paths.extend(ours.iter().map(|(path, _)| path).filter(|path| !kafka.iter().any(|(known, _)| known == *path)));
    for path in paths {
        let value = |fields: &[(String, String)]| {
            fields.iter().find(|(known, _)| known == path).map_or("absent".to_owned(), |(_, value)| value.clone())
        };
        let (kafka, ours) = (value(kafka), value(ours));
        match kafka == ours {
            true => out += &format!("      {path}: {kafka}\n"),
            false => out += &format!("  !!  {path}\n        Kafka: {kafka}\n        here:  {ours}\n"),
        }
    }
    out + &format!("  again: {VARIABLE}={seed} cargo test -p milena-broker --test same_as_kafka -- --nocapture\n")
}

/// The request; record batches as their headers.
pub fn request(asked: &Asked) -> String {
    let Asked::Produce(request) = asked else { return format!("{asked:?}") };
    let mut out =
        format!("acks {} timeout {} transactional {:?}", request.acks, request.timeout_ms, request.transactional_id);
    for topic in &request.topic_data {
        for data in &topic.partition_data {
            out += &format!("\n  {} {:?} partition {}:", topic.name, topic.topic_id, data.index);
            match &data.records {
                None => out += " null",
                Some(bytes) => {
                    let fields = leaves(&Fetched::read(bytes, false, |id| id));
                    fields.iter().for_each(|(path, value)| out += &format!(" {path}={value}"));
                }
            }
        }
    }
    out
}

/// How often each API was compared in each version.
pub fn counts(counts: &Counts) -> String {
    let mut lines: BTreeMap<i16, (&str, String)> = BTreeMap::new();
    for ((api, version), count) in counts {
        let line = lines.entry(api.0).or_insert_with(|| (api.name(), String::new()));
        line.1 += &format!(" v{version}: {count}");
    }
    lines.values().map(|(api, counts)| format!("{api:<22}{counts}\n")).collect()
}

/// Which seeds are run: one, or `from..to`.
pub const VARIABLE: &str = "SAME_AS_KAFKA_SEEDS";
