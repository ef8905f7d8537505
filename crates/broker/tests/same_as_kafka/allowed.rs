//! The differences that are allowed: a checked file, with a reason for each.

use std::sync::atomic::{AtomicUsize, Ordering};

use milena_wire::ApiKey;

use crate::compare::Difference;
use crate::leaves::pattern;

/// One line of `allowed.txt`.
#[derive(Debug)]
pub struct Entry {
    line: &'static str,
    api: &'static str,
    versions: (i16, i16),
    request: &'static str,
    path: &'static str,
    kafka: &'static str,
    ours: &'static str,
    used: AtomicUsize,
}

/// The file.
#[derive(Debug)]
pub struct Allowed(Vec<Entry>);

impl Allowed {
    /// # Panics
    /// When a line is not seven columns, or lacks its reason.
    pub fn read(text: &'static str) -> Allowed {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        Allowed(lines.map(Entry::read).collect())
    }

    /// Whether a difference is one of these.
    pub fn covers(&self, request: &str, difference: &Difference) -> bool {
        let found = self.0.iter().find(|entry| fits(entry.request, request) && entry.fits(difference));
        found.inspect(|entry| _ = entry.used.fetch_add(1, Ordering::Relaxed)).is_some()
    }

    /// Lines that nothing differs by any more.
    pub fn unused(&self) -> Vec<&'static str> {
        let unused = self.0.iter().filter(|entry| entry.used.load(Ordering::Relaxed) == 0);
        unused.map(|entry| entry.line).collect()
    }

    /// How often each line was needed.
    pub fn uses(&self) -> impl Iterator<Item = (&'static str, usize)> {
        self.0.iter().map(|entry| (entry.line, entry.used.load(Ordering::Relaxed)))
    }
}

impl Entry {
    fn read(line: &'static str) -> Entry {
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        let [api, versions, request, path, kafka, ours, reason] = columns[..] else {
            panic!("not seven columns: {line}")
        };
        assert!(!reason.is_empty(), "an allowed difference has a reason: {line}");
        let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("not versions: {line}"));
        let (first, last) = versions.split_once('-').unwrap_or((versions, versions));
        let versions = (number(first), number(last));
        assert!(ApiKey::with_messages().any(|known| known.name() == api), "no such API: {line}");
        Entry { line, api, versions, request, path, kafka, ours, used: AtomicUsize::new(0) }
    }

    fn fits(&self, difference: &Difference) -> bool {
        let Difference { api, version, path, kafka, ours } = difference;
        self.api == api.name()
            && (self.versions.0..=self.versions.1).contains(version)
            && fits(self.path, &pattern(path))
            && fits(self.kafka, kafka)
            && fits(self.ours, ours)
    }
}

/// `*` stands for anything.
fn fits(wanted: &str, text: &str) -> bool {
    match wanted.split_once('*') {
        None => wanted == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            rest.is_empty() || (0..=text.len()).any(|at| text.is_char_boundary(at) && fits(rest, &text[at..]))
        }),
    }
}

#[test]
fn a_line_allows_what_it_says() {
    let allowed = Allowed::read("Fetch | 4-12 | * | responses[].*.error_code | NONE | OFFSET_* | because");
    let difference = |version, path: &str, ours: &str| Difference {
        api: ApiKey::FETCH,
        version,
        path: path.to_owned(),
        kafka: "NONE".to_owned(),
        ours: ours.to_owned(),
    };
    assert_eq!(allowed.unused().len(), 1);
    assert!(
        !allowed.covers("a fetch", &difference(13, "responses[0].partitions[2].error_code", "OFFSET_OUT_OF_RANGE"))
    );
    assert!(!allowed.covers("a fetch", &difference(12, "responses[0].partitions[2].error", "OFFSET_OUT_OF_RANGE")));
    assert!(!allowed.covers("a fetch", &difference(12, "responses[0].partitions[2].error_code", "NONE")));
    assert_eq!(allowed.unused().len(), 1);
    assert!(allowed.covers("a fetch", &difference(12, "responses[0].partitions[2].error_code", "OFFSET_OUT_OF_RANGE")));
    assert_eq!(allowed.unused().len(), 0);
}
