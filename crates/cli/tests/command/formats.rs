//! What records look like on the way in and on the way out.

use std::fs;

use serde_json::{Value, json};

use crate::process::Folder;

/// What `consume --json` prints of a topic, without topic and times.
fn records(folder: &Folder, topic: &str) -> Vec<Value> {
    let mut records = folder.run(&format!("consume {topic} --json"), b"").with_code(0).json();
    for record in &mut records {
        let fields = record.as_object_mut().expect("is an object");
        assert_eq!(fields.remove("topic"), Some(json!(topic)));
        assert!(fields.remove("timestamp").is_some_and(|time| time.is_i64()));
    }
    records
}

#[test]
fn keys_headers_nulls_and_the_partition_are_as_they_were_asked_for() {
    let folder = Folder::new();
    folder.run("topics create orders --partitions 3", b"").with_code(0);
    let produced = folder.run_with(
        "produce orders -p 2 -Z -K :",
        &["-H", "shop=berlin = east", "-H", "flag", "-H", "empty="],
        b"a:1\nb:\n:3\nno key\nc:x:y\n",
    );
    produced.with_code(0);
    let headers = json!([
        {"key": "shop", "value": "berlin = east"}, {"key": "flag", "value": null}, {"key": "empty", "value": ""}
    ]);
    let expected = [
        (json!("a"), json!("1")),
        (json!("b"), Value::Null),
        (Value::Null, json!("3")),
        (Value::Null, json!("no key")),
        (json!("c"), json!("x:y")),
    ];
    let found = records(&folder, "orders");
    assert_eq!(found.len(), expected.len());
    for (offset, ((key, value), found)) in expected.into_iter().zip(found).enumerate() {
        let whole = json!({"partition": 2, "offset": offset, "key": key, "value": value, "headers": headers});
        assert_eq!(found, whole);
    }
    let fixed = folder.run_with("produce fixed", &["-k", "the key"], b"1\n2\n");
    fixed.with_code(0);
    let printed = folder.run_with("consume fixed", &["-K", "\\t", "-D", ";"], b"").with_code(0).stdout;
    assert_eq!(printed, b"the key\t1;the key\t2;");
}

#[test]
fn null_is_told_from_empty_on_the_way_out() {
    let folder = Folder::new();
    folder.run("produce orders -Z -K :", b"a:\n").with_code(0);
    folder.run("produce orders -K :", b"b:\n").with_code(0);
    let printed = |options: &str| folder.run(&format!("consume orders {options}"), b"").with_code(0).stdout;
    assert_eq!(printed("-K ="), b"a=\nb=\n");
    assert_eq!(printed("-K = -Z"), b"a=NULL\nb=\n");
    assert_eq!(printed(r"-f %k:%V\n"), b"a:-1\nb:0\n");
}

#[test]
fn files_are_values_or_are_taken_apart() {
    let folder = Folder::new();
    fs::write(folder.path().join("one"), "1\n2\n").expect("is written");
    fs::write(folder.path().join("two"), "3").expect("is written");
    fs::write(folder.path().join("three"), "").expect("is written");
    folder.run("produce whole one two three", b"not read").with_code(0);
    let whole: Vec<Value> = records(&folder, "whole").into_iter().map(|record| record["value"].clone()).collect();
    assert_eq!(whole, [json!("1\n2\n"), json!("3"), json!("")]);
    // A file that lacks its last LF does not run into the next one.
    folder.run("produce lines -l two one", b"").with_code(0);
    assert_eq!(folder.run("consume lines", b"").with_code(0).stdout, b"3\n1\n2\n");
    let missing = folder.run("produce never one nowhere", b"").with_code(2);
    assert!(missing.says("nowhere cannot be read: "), "{}", missing.stderr);
    let directory = folder.run("produce never .", b"").with_code(2);
    assert!(directory.says(". cannot be read: "), "{}", directory.stderr);
    assert_eq!(folder.run("consume never", b"").code, Some(2), "nothing was begun");
}

#[test]
fn records_may_end_with_any_bytes() {
    let folder = Folder::new();
    folder.run(r"produce orders -D \0", b"a\nb\0c\0").with_code(0);
    folder.run("produce orders -D --", b"d-e--f").with_code(0);
    assert_eq!(folder.run(r"consume orders -D \0", b"").with_code(0).stdout, b"a\nb\0c\0d-e\0f\0");
}

/// Whatever bytes a record has, and whatever is missing.
const ODD: &[u8] = br#"{"key":"plain","value":"text","headers":[{"key":"h","value":"v"},{"key":"h","value":null}]}
{"key":null,"value":"quote \" backslash \\ newline \n tab \t nul \u0000 e \u00e9 \ud83d\ude00","timestamp":1767225600123}
{"value":null,"key":"gone"}
{"value_base64":"/wD+","key_base64":"gA==","headers":[{"key":"raw","value_base64":"/w=="}]}
{"value":"","key":""}
{"value":{"nested": [1, 2.50, "x"]},"key":7}
"#;

#[test]
fn lines_of_json_come_back_as_they_went_in() {
    let folder = Folder::new();
    folder.run("produce orders -J", ODD).with_code(0);
    let printed = folder.run("consume orders -J", b"").with_code(0);
    let found = printed.json();
    assert_eq!(found.len(), 6);
    assert_eq!(found[0]["headers"], json!([{"key": "h", "value": "v"}, {"key": "h", "value": null}]));
    assert_eq!(found[1]["timestamp"], json!(1_767_225_600_123i64));
    assert_eq!(found[1]["value"], json!("quote \" backslash \\ newline \n tab \t nul \0 e \u{e9} \u{1f600}"));
    assert_eq!((&found[2]["value"], &found[2]["key"]), (&Value::Null, &json!("gone")));
    assert_eq!((&found[3]["value_base64"], &found[3]["key_base64"]), (&json!("/wD+"), &json!("gA==")));
    assert_eq!(found[3].get("value"), None, "it is no text");
    assert_eq!(found[3]["headers"], json!([{"key": "raw", "value_base64": "/w=="}]));
    assert_eq!((&found[4]["value"], &found[4]["key"]), (&json!(""), &json!("")));
    assert_eq!((&found[5]["value"], &found[5]["key"]), (&json!(r#"{"nested": [1, 2.50, "x"]}"#), &json!("7")));
    // What is printed can be sent again, to whichever topic.
    folder.run("produce copy -J", &printed.stdout).with_code(0);
    assert_eq!(records(&folder, "copy"), records(&folder, "orders"));
}

#[test]
fn partitions_of_json_lines_are_kept_if_that_is_asked_for() {
    let folder = Folder::new();
    folder.run("topics create orders --partitions 3", b"").with_code(0);
    let input =
        b"{\"value\":\"a\",\"partition\":2}\n{\"value\":\"b\",\"partition\":0}\n{\"value\":\"c\",\"partition\":3}\n";
    let produced = folder.run("produce orders --json --keep-partitions", input).with_code(1);
    assert!(produced.says("2 written, 1 not written"), "{}", produced.stderr);
    assert!(produced.says("has no partition 3"), "{}", produced.stderr);
    assert_eq!(folder.run("consume orders -p 2", b"").with_code(0).stdout, b"a\n");
    assert_eq!(folder.run("consume orders -p 0", b"").with_code(0).stdout, b"b\n");
}

#[test]
fn a_line_that_is_no_json_is_not_written_and_the_others_are() {
    let folder = Folder::new();
    let produced =
        folder.run("produce orders --json", b"{\"value\":\"a\"}\nhello\n{\"key\":\"b\"}\n{\"value\":\"c\"}\n");
    let produced = produced.with_code(1);
    assert!(produced.says("2 written, 2 not written, 0 unknown"), "{}", produced.stderr);
    assert!(produced.says("line 2 is no record: expected value"), "{}", produced.stderr);
    assert!(produced.says("line 3 is no record: it has no value; write \"value\":null"), "{}", produced.stderr);
    assert_eq!(folder.run("consume orders", b"").with_code(0).stdout, b"a\nc\n");
}

#[test]
fn a_format_that_is_written_can_be_read_again() {
    let folder = Folder::new();
    folder.run("produce orders -J", ODD).with_code(0);
    let format = "%d %H{big16}%h{%K{big32}%k%V{big32}%v}%K{little64}%k%V{hex32}%v;\\n";
    let printed = folder.run_with("consume orders", &["-f", format], b"").with_code(0).stdout;
    folder.run_with("produce copy", &["-f", format], &printed).with_code(0);
    assert_eq!(records(&folder, "copy"), records(&folder, "orders"));
    let again = folder.run_with("consume copy", &["-f", format], b"").with_code(0).stdout;
    assert!(again == printed, "timestamps too");
}

#[test]
fn every_field_is_printed() {
    let folder = Folder::new();
    folder.run("topics create orders --partitions 2", b"").with_code(0);
    let input = br#"{"key":"k","value":"va","headers":[{"key":"a","value":"1"},{"key":"b","value":"2"}],"timestamp":1767225600123}"#;
    folder.run("produce orders -J -p 1", input).with_code(0);
    let format = "%t %T|%p|%o|%i|%k %K|%v %V|%v{hex}|%v{base64}|%d %d{s} %d{rfc3339}|%H%h{ %k=%v}|%%%{%}\\x41\\n";
    let printed = folder.run_with("consume orders", &["-f", format], b"").with_code(0).stdout;
    let expected =
        "orders 6|1|0|1|k 1|va 2|7661|dmE=|1767225600123 1767225600 2026-01-01T00:00:00.123Z|2 a=1 b=2|%{}A\n";
    assert_eq!(String::from_utf8_lossy(&printed), expected);
    folder.run("produce orders -p 0", &[b'x'; 300]).with_code(0);
    let narrow = folder.run_with("consume orders", &["-f", "%V{big8}"], b"").with_code(1);
    assert!(narrow.says("300 does not fit into 8 bits; use a wider number"), "{}", narrow.stderr);
}

#[test]
fn input_that_leaves_its_format_ends_there_and_what_came_before_is_written() {
    let folder = Folder::new();
    let produced = folder.run_with("produce orders", &["-f", "%V %v,"], b"1 a,2 bb,x c,1 d,").with_code(1);
    assert!(produced.says("after 2 records: record 3 of stdin is not as --format says"), "{}", produced.stderr);
    assert!(produced.says("2 written, 0 not written"), "{}", produced.stderr);
    assert_eq!(folder.run("consume orders", b"").with_code(0).stdout, b"a\nbb\n");
}

#[test]
fn a_format_or_delimiter_that_makes_no_sense_says_what_to_use() {
    let folder = Folder::new();
    for (arguments, option, sentence) in [
        ("produce orders", ["-f", "%v"], "put text after it, as in %v\\n"),
        ("produce orders", ["-f", "%o %v\\n"], "brokers give the offsets"),
        ("produce orders", ["-D", ""], "use at least one byte"),
        ("produce orders", ["-K", "\\q"], "a backslash stands before n, t, r, 0"),
        ("produce orders", ["-z", "brotli"], "use none, gzip, snappy, lz4 or zstd"),
        ("produce orders", ["-H", "=a"], "use NAME=VALUE"),
        ("consume orders", ["-f", "%s"], "use %v for the value"),
        ("consume orders", ["-o", "yesterday"], "start, end, an offset"),
        ("consume orders", ["-o", "@yesterday"], "as in @-1h"),
    ] {
        let ended = folder.run_with(arguments, &option, b"").with_code(2);
        assert!(ended.says(sentence) && ended.stdout.is_empty(), "{option:?}: {}", ended.stderr);
    }
    assert!(!folder.data().exists(), "nothing was begun");
}

/// Keys and values of headers are bytes to Kafka, names of headers are text.
#[cfg(unix)]
#[test]
fn options_take_any_bytes_where_kafka_does() {
    let folder = Folder::new();
    let run = |options: &[&[u8]], stdin: &[u8]| {
        let mut running = folder.start_with_bytes("produce orders", options);
        running.write(stdin);
        running.end()
    };
    run(&[b"-H", b"raw=\xff", b"-k", b"\x80key"], b"a\n").with_code(0);
    let found = records(&folder, "orders");
    assert_eq!(found[0]["headers"], json!([{"key": "raw", "value_base64": "/w=="}]));
    assert_eq!(found[0]["key_base64"], json!("gGtleQ=="));
    for (option, value) in [(&b"-H"[..], &b"\xff=value"[..]), (b"-H", b"\xff"), (b"--tag", b"\xff")] {
        let refused = run(&[option, value], b"a\n").with_code(2);
        assert!(refused.says("the name of a header is UTF-8"), "{}", refused.stderr);
    }
}

#[test]
fn attributes_of_batches_and_marks_of_partitions_are_printed() {
    let folder = Folder::new();
    folder.run("topics create orders -c message.timestamp.type=LogAppendTime", b"").with_code(0);
    let long = "again and ".repeat(100);
    folder.run("produce orders -z zstd", format!("{long}\n").as_bytes()).with_code(0);
    folder.run("produce orders -a 1", b"plain\n").with_code(0);
    let format = "%o %a{compression} %a{compression;hex8} %a{timestamp-type} %a{transactional-bit;bool} %a{control-bit} \
                  %y %[ %| %]\\n";
    let printed = folder.run_with("consume orders", &["-f", format], b"").with_code(0).stdout;
    let expected = "0 zstd 04 1 false 0 0 0 2 2\n1 none 00 1 false 0 -1 0 2 2\n";
    assert_eq!(String::from_utf8_lossy(&printed), expected);
    let ids = folder.run_with("consume orders", &["-f", "%x %e\\n"], b"").with_code(0).stdout;
    let ids = String::from_utf8(ids).expect("is text");
    let ids: Vec<i64> = ids.split_whitespace().map(|id| id.parse().expect("is a number")).collect();
    assert!(ids[0] >= 0 && ids[2] == -1, "{ids:?}");
    assert!(ids[1] >= 0 && ids[1] <= ids[3], "{ids:?}");
}

#[test]
fn patterns_of_time_and_values_of_json_go_both_ways() {
    let folder = Folder::new();
    let input = b"2026-01-03 04:05:06|{\"a\": [1, 2]}\n2026-01-03 04:05:07|\"b\"\n";
    let format = "%d{strftime[%F %T]}|%v{json}\\n";
    folder.run_with("produce orders", &["-f", format], input).with_code(0);
    let go = "%d{go[2006-01-02 15:04:05]}|%v\\n";
    let printed = folder.run_with("consume orders", &["-f", go], b"").with_code(0).stdout;
    assert_eq!(printed, input, "in whatever language");
    let unpacked = folder.run_with("consume orders -c 1", &["-f", "%v{unpack[bcs]} %d{hex64}\\n"], b"").with_code(0);
    assert_eq!(String::from_utf8_lossy(&unpacked.stdout), "123\"a\": [1, 2]} 0000019b8207c550\n");
}
