//! Which part of a topic is printed: offsets, times and numbers of records.

use crate::process::Folder;

/// Five records, an hour from one to the next, beginning with 2026.
fn hours(folder: &Folder) {
    let lines: String =
        (0..5).map(|hour| format!("{{\"value\":\"{hour}\",\"timestamp\":{}}}\n", START + hour * 3_600_000)).collect();
    folder.run("produce orders --json", lines.as_bytes()).with_code(0);
}

const START: i64 = 1_767_225_600_000;

#[test]
fn places_are_offsets_distances_and_times() {
    let folder = Folder::new();
    hours(&folder);
    for (places, expected) in [
        ("-o 3", "3\n4\n"),
        ("-o +3", "3\n4\n"),
        ("-o -2", "3\n4\n"),
        ("-o -99", "0\n1\n2\n3\n4\n"),
        ("--from beginning --to +2", "0\n1\n"),
        ("--to -3", "0\n1\n"),
        ("--from @2026-01-01T03:00:00Z", "3\n4\n"),
        ("--from @1767225600001 --to @2026-01-01T03:00:00.001Z", "1\n2\n3\n"),
        ("--from @1767229200 --to @2026-01-01T04:00:00+01:00", "1\n2\n"),
        ("--from @2026-01-02", ""),
        ("--to @2026-01-02", "0\n1\n2\n3\n4\n"),
        ("--from @1990-01-01 --to @2026-01-01", ""),
        ("-c 2", "0\n1\n"),
        ("-c 2 -o 2", "2\n3\n"),
        ("-c 99", "0\n1\n2\n3\n4\n"),
    ] {
        let printed = folder.run(&format!("consume orders {places}"), b"").with_code(0);
        assert_eq!(String::from_utf8_lossy(&printed.stdout), expected, "{places}: {}", printed.stderr);
    }
}

#[test]
fn how_long_ago_counts_from_now() {
    let folder = Folder::new();
    hours(&folder);
    folder.run("produce orders", b"young\n").with_code(0);
    assert_eq!(folder.run("consume orders --from @-1h", b"").with_code(0).stdout, b"young\n");
    assert_eq!(folder.run("consume orders --to @-1h --from -2", b"").with_code(0).stdout, b"4\n");
    let none = folder.run("consume orders --from @-0s", b"").with_code(0);
    assert!(none.says("no record of topic orders lies between --from @20"), "{}", none.stderr);
}

#[test]
fn a_count_is_of_all_partitions_together() {
    let folder = Folder::new();
    folder.run("topics create orders --partitions 2", b"").with_code(0);
    folder.run("produce orders -p 0", b"a\nb\n").with_code(0);
    folder.run("produce orders -p 1", b"c\nd\n").with_code(0);
    assert_eq!(folder.run("consume orders -c 3", b"").with_code(0).stdout, b"a\nb\nc\n");
    assert_eq!(folder.run("consume orders -o -1", b"").with_code(0).stdout, b"b\nd\n");
}
