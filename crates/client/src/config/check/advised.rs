//! What is advised helps: written as it is told, it is read, and what was refused holds.

use super::*;
use crate::Properties;
use crate::config::misfit::Change;

type Pairs = Vec<(&'static str, String)>;

fn read(pairs: &Pairs) -> ProducerConfig {
    let servers = ("bootstrap.servers", "a:1".to_owned());
    let properties: Properties = pairs.iter().cloned().chain([servers]).collect();
    ProducerConfig::from_properties(properties).unwrap_or_else(|error| panic!("{pairs:?}: {error}"))
}

/// Which relation is told first, with its text and what is advised.
fn broken(pairs: &Pairs) -> Option<(usize, String, Vec<Change>)> {
    let relations = read(pairs).relations();
    let first = relations.iter().position(|relation| !relation.holds)?;
    let misfit = &relations[first].misfit;
    Some((first, misfit.to_string(), misfit.fix.changes.clone()))
}

fn with(pairs: &Pairs, change: &Change) -> Pairs {
    let others = pairs.iter().filter(|(name, _)| *name != change.name).cloned();
    others.chain([(change.name, change.value.clone())]).collect()
}

/// How many were done.
fn every_advice_helps(pairs: &Pairs) -> usize {
    let Some((relation, text, changes)) = broken(pairs) else { return 0 };
    for change in &changes {
        let changed = with(pairs, change);
        assert!(read(&changed).relations()[relation].holds, "{pairs:?}: {text}: with {change}");
        assert!(text.contains(&change.to_string()), "{text}");
    }
    changes.len()
}

fn owned(pairs: &[(&'static str, &str)]) -> Pairs {
    pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}

/// Each with a value that it takes and that cannot be: it is told as it was written, and what is advised helps.
#[test]
fn every_property_is_told_in_its_own_unit() {
    for (name, value) in [
        ("linger.ms", "60000.5"),
        ("queue.buffering.max.ms", "60000.5"),
        ("batch.size", "0"),
        ("buffer.memory", "512000"),
        ("queue.buffering.max.kbytes", "500"),
        ("milena.partition.memory.share", "1.5"),
        ("max.request.size", "3000000000"),
        ("message.max.bytes", "20"),
        ("max.in.flight.requests.per.connection", "6"),
        ("max.in.flight", "0"),
        ("milena.delivery.timeout.ms", "43200001"),
        ("delivery.timeout.ms", "43200001"),
        ("message.timeout.ms", "1"),
        ("request.timeout.ms", "120001"),
        ("socket.timeout.ms", "1"),
        ("milena.produce.timeout.ms", "10000"),
        ("milena.settle.timeout.ms", "0"),
        ("retry.backoff.ms", "0"),
        ("retry.backoff.max.ms", "0"),
        ("reconnect.backoff.ms", "0"),
        ("reconnect.backoff.max.ms", "0"),
        ("socket.connection.setup.timeout.ms", "0"),
        ("metadata.max.age.ms", "999"),
        ("topic.metadata.refresh.interval.ms", "10"),
        ("metadata.recovery.rebootstrap.trigger.ms", "10000"),
        ("milena.producer.id.expiration.ms", "100001"),
    ] {
        let pairs = owned(&[(name, value)]);
        let (.., text, changes) = broken(&pairs).unwrap_or_else(|| panic!("{name}={value} is accepted"));
        assert!(text.contains(&format!("{name} is {value}")), "{text}");
        assert!(changes.iter().any(|change| change.name == name), "{text}");
        assert!(every_advice_helps(&pairs) > 0);
    }
}

#[test]
fn what_nobody_set_is_not_blamed_and_what_is_advised_is_read() {
    let followers = "it must be at least 2, because a broker may wait for its followers for half of it";
    let fills = "the time in which a batch fills is part of the second, and must leave request.timeout.ms or half of it for \
                 sending";
    for (pairs, text) in [
        (
            &[("queue.buffering.max.kbytes", "500")][..],
            "queue.buffering.max.kbytes is 500 and max.request.size is 1048576: one record of the largest size must find \
             room, and 128 KiB more: raise queue.buffering.max.kbytes to 1152 or lower max.request.size to 380928"
                .to_owned(),
        ),
        (
            &[("delivery.timeout.ms", "1")],
            format!("delivery.timeout.ms is 1: {followers}: raise delivery.timeout.ms to 2"),
        ),
        (
            &[("message.timeout.ms", "1")],
            format!("message.timeout.ms is 1: {followers}: raise message.timeout.ms to 2"),
        ),
        (
            &[("request.timeout.ms", "1")],
            format!("request.timeout.ms is 1: {followers}: raise request.timeout.ms to 2"),
        ),
        (
            &[("request.timeout.ms", "0")],
            format!("request.timeout.ms is 0: {followers}: raise request.timeout.ms to 2"),
        ),
        (
            &[("retry.backoff.max.ms", "0")],
            "retry.backoff.max.ms is 0: it must be at least 1: give retry.backoff.max.ms another value; its default is 1000"
                .to_owned(),
        ),
        (
            &[("milena.producer.id.expiration.ms", "100001")],
            "milena.delivery.timeout.ms is 120000 and milena.producer.id.expiration.ms is 100001: the first must be at most \
             half of the second, because later brokers may have forgotten the producer: lower milena.delivery.timeout.ms to \
             50000 or raise milena.producer.id.expiration.ms to 240000 with the brokers' producer.id.expiration.ms"
                .to_owned(),
        ),
        (
            &[("linger.ms", "0.7"), ("milena.deadline.ms", "1")],
            format!(
                "linger.ms is 0.7 and milena.deadline.ms is 1: {fills}: lower linger.ms to 0.5 or raise milena.deadline.ms \
                 to 2"
            ),
        ),
    ] {
        let pairs = owned(pairs);
        assert_eq!(broken(&pairs).map(|(_, text, _)| text), Some(text));
        assert!(every_advice_helps(&pairs) > 0);
    }
    // Some of these leave no room for anything, and are mended one after the other.
    for mut pairs in [owned(&[("delivery.timeout.ms", "1")]), owned(&[("request.timeout.ms", "0")])] {
        while let Some((.., changes)) = broken(&pairs) {
            pairs = with(&pairs, &changes[0]);
        }
        assert!(read(&pairs).check().is_ok());
    }
}

/// By chance: few settings or many, from nothing to the largest that is read.
#[test]
fn whatever_is_refused_holds_once_the_advice_is_followed() {
    // One name of each setting: two with two values are an error.
    const NAMES: [[&str; 2]; 17] = [
        ["linger.ms", "queue.buffering.max.ms"],
        ["batch.size", "batch.size"],
        ["buffer.memory", "queue.buffering.max.kbytes"],
        ["max.request.size", "message.max.bytes"],
        ["max.in.flight.requests.per.connection", "max.in.flight"],
        ["delivery.timeout.ms", "message.timeout.ms"],
        ["milena.deadline.ms", "milena.deadline.ms"],
        ["milena.delivery.timeout.ms", "milena.delivery.timeout.ms"],
        ["request.timeout.ms", "socket.timeout.ms"],
        ["milena.produce.timeout.ms", "milena.produce.timeout.ms"],
        ["retry.backoff.ms", "retry.backoff.ms"],
        ["retry.backoff.max.ms", "retry.backoff.max.ms"],
        ["reconnect.backoff.ms", "reconnect.backoff.ms"],
        ["reconnect.backoff.max.ms", "reconnect.backoff.max.ms"],
        ["metadata.max.age.ms", "topic.metadata.refresh.interval.ms"],
        ["metadata.recovery.rebootstrap.trigger.ms", "metadata.recovery.rebootstrap.trigger.ms"],
        ["milena.producer.id.expiration.ms", "milena.producer.id.expiration.ms"],
    ];
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut dice = move |sides: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % sides
    };
    let mut followed = 0;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..20_000 {
        // Names of one client only, for those of the other may be ambiguous beside them.
        let of = dice(2) as usize;
        let mut pairs = Pairs::new();
        for _ in 0..=dice(5) {
            let name = NAMES[dice(NAMES.len() as u64) as usize][of];
            let top = [3, 10, 5_000, 200_000, 100_000_000, 1 << 33][dice(6) as usize];
            let least = u64::from(["delivery.timeout.ms", "message.timeout.ms"].contains(&name));
            let counts = name.starts_with("max.in.flight");
            let mut value = if counts { dice(10) } else { dice(top).max(least) }.to_string();
            if NAMES[0].contains(&name) && dice(2) == 0 {
                value = format!("{value}.{}", dice(1000));
            }
            pairs.retain(|(other, _)| *other != name);
            pairs.push((name, value));
        }
        seen.extend(broken(&pairs).map(|(relation, ..)| relation));
        followed += every_advice_helps(&pairs);
    }
    assert!(followed > 5_000 && seen.len() > 12, "{followed} of {seen:?}");
}
