use std::borrow::Cow;

use super::*;

type Bytes = Option<Vec<u8>>;

fn taken(format: &str, input: &[u8]) -> Result<(Bytes, Bytes, usize), String> {
    match Format::for_input(format).expect(format).take(input, true) {
        Taken::Record(record, bytes) => Ok((record.key.map(Cow::into_owned), record.value.map(Cow::into_owned), bytes)),
        Taken::More => Err("more".to_owned()),
        Taken::Malformed(why) => Err(why),
    }
}

fn some(text: &str) -> Option<Vec<u8>> {
    Some(text.as_bytes().to_vec())
}

#[test]
fn parts_end_at_the_next_literal_or_where_their_length_says() {
    for (format, input, key, value, bytes) in [
        ("%v\\n", "a b\nc", None, some("a b"), 4),
        ("%k %v\\n", "key the value\n", some("key"), some("the value"), 14),
        ("%k=%v;;", "a=b;c;;d", some("a"), some("b;c"), 7),
        ("%v%%\\x2c", "a%,", None, some("a"), 3),
        ("%K:%k%V:%v", "3:a:b2:cdx", some("a:b"), some("cd"), 9),
        ("%K{hex8}%k%V{big16}%v", "02ab\0\x01c", some("ab"), some("c"), 7),
        ("%V{little32}%v", "\x01\0\0\0z", None, some("z"), 5),
        ("%K %V %k%v", "-1 0 ", None, some(""), 5),
        ("%V{hex16} %v", "ffff ", None, None, 5),
        ("%k{hex} %v{base64}\\n", "6b YWI=\n", some("k"), some("ab"), 8),
        ("%K{3}%V{1}%k%v", "a\nbcd", some("a\nb"), some("c"), 4),
        ("%V{0}%v;", ";", None, some(""), 1),
        ("(%v)", "(a)", None, some("a"), 3),
        ("%v{base64raw}\\n", "YQ\n", None, some("a"), 3),
        ("%v{json}\\n", "{\"a\": [1, \"}\"]}\n", None, some("{\"a\": [1, \"}\"]}"), 16),
        ("%k{json}%v{json}", "12 \"b\"", some("12"), some("\"b\""), 6),
        ("%d{big64}%v;", "\0\0\0\0\0\0\0\x01a;", None, some("a"), 10),
        ("%d{strftime[%F %T]}|%v\\n", "2026-01-01 00:00:00|a\n", None, some("a"), 22),
        // A last delimiter may be missing at the end of the input.
        ("%v\\r\\n", "last", None, some("last"), 4),
    ] {
        assert_eq!(taken(format, input.as_bytes()), Ok((key, value, bytes)), "{format}");
    }
}

#[test]
fn headers_partitions_and_times_are_taken() {
    let format = Format::for_input("%p %d{rfc3339} %H %h{%k=%v,}%v\\n").expect("is a format");
    let Taken::Record(record, _) = format.take(b"3 2026-01-01T00:00:00Z 2 a=1,b=,v\n", true) else { panic!("it is") };
    assert_eq!((record.partition, record.timestamp), (Some(3), Some(1_767_225_600_000)));
    let header = |name: &'static str, value: &'static [u8]| (Cow::Borrowed(name), Some(Cow::Borrowed(value)));
    assert_eq!(record.headers, [header("a", b"1"), header("b", b"")]);
}

#[test]
fn what_is_not_whole_waits_for_more_wherever_it_is_cut() {
    let format = Format::for_input("%H{big8}%h{%K{big8}%k%v;}%K %k--%v\\r\\n").expect("is a format");
    let input = b"\x01\x01na;3 key--value\r\n";
    for cut in 1..input.len() {
        assert_eq!(format.take(&input[..cut], false), Taken::More, "{cut}");
    }
    assert!(matches!(format.take(input, false), Taken::Record(_, bytes) if bytes == input.len()));
}

#[test]
fn input_that_is_not_like_its_format_is_told() {
    for (format, input, said) in [
        ("%k %v\\n", "novalue", "the input ends in the middle"),
        ("%V %v", "5 abc", "the input ends in the middle"),
        ("%V{5}%v", "abc", "the input ends in the middle"),
        ("%V %v", "x abc", "a number should stand where"),
        ("%V %v", "99999999999 a", "is no length"),
        ("%V %v", "-2 a", "is no length"),
        ("<%v>", "[a]", "\"<\" should stand where \"[\" does"),
        ("%v{hex}\\n", "6g\n", "is not hexadecimal"),
        ("%v{hex}\\n", "616\n", "is not hexadecimal"),
        ("%v{base64}\\n", "*\n", "is not base64"),
        ("%p %v\\n", "-1 a\n", "is no partition"),
        ("%d{rfc3339} %v\\n", "noon a\n", "is no time as \"2026-01-31T12:00:00.000Z\" is"),
        ("%d{strftime[%F]} %v\\n", "noon a\n", "is no time as \"2026-01-31\" is"),
        ("%v{json}\\n", "{a}\n", "a value of JSON should stand"),
        ("%v{json}\\n", "{\"a\":1", "the input ends in the middle"),
        ("%v{base64raw}\\n", "YQ==\n", "is not base64"),
        ("%H %h{%k}%v\\n", "", "middle"),
    ] {
        if format.contains("%h") {
            assert!(Format::for_input(format).is_err());
            continue;
        }
        let why = taken(format, input.as_bytes()).expect_err(format);
        assert!(why.contains(said), "{format}: {why}");
    }
}

#[test]
fn many_headers_that_are_told_and_do_not_come_cost_nothing() {
    let format = Format::for_input("%H{big32}%h{%K{big8}%k}%v\\n").expect("is a format");
    assert_eq!(format.take(b"\x3f\xff\xff\xff", false), Taken::More);
    assert!(matches!(format.take(b"\x3f\xff\xff\xff", true), Taken::Malformed(_)));
}

#[test]
fn a_format_that_makes_no_sense_says_what_to_use() {
    for (format, said) in [
        ("%v", "put text after it, as in %v\\n"),
        ("%k%v\\n", "%k has no end"),
        ("%V", "the format ends with a number"),
        ("%p \\n", "neither %k nor %v"),
        ("", "neither %k nor %v"),
        ("%t %v\\n", "produce has its topic on the command line"),
        ("%o %v\\n", "brokers give the offsets"),
        ("%h{%k=%v,}%v\\n", "put %H before it"),
        ("%H %h{%v,}%v\\n", "%h has no %k"),
        ("%d{rfc3339}%v\\n", "%d{rfc3339}, has no end"),
        ("%d{go[2006]}%v\\n", "has no end"),
        ("%V%v{json}", "leave its length out"),
        ("%v{unpack[i]}", "is for consume"),
        ("%x %v\\n", "are for consume"),
        ("%a{compression} %v\\n", "are for consume"),
        ("%[ %v\\n", "are for consume"),
        ("%V{hex} %v", "has a width, as in {hex32}"),
        ("%V %v{hex}\\n", "kcl and rpk count what stands there"),
        ("%K{4}%k{base64} %v\\n", "leave %K out"),
        ("%V{1073741825}%v", "more than a record can hold"),
        ("%p{3} %v\\n", "it can be ascii"),
        ("%d{bool} %v\\n", "has a width"),
    ] {
        let why = Format::for_input(format).expect_err(format);
        assert!(why.contains(said), "{format}: {why}");
    }
    for (format, said) in [
        ("%", "write %%"),
        ("%s\\n", "is kcat's; use %v"),
        ("%q", "%q is no field"),
        ("%h", "as in %h{%k=%v }"),
        ("%h{%o}", "nothing of a header"),
        ("%v{utf7}", "it can be hex, base64"),
        ("%v{re[a]}", "it can be hex, base64"),
        ("%v{json}", "is for produce; consume --json"),
        ("%h{%v{json}}", "is for produce"),
        ("%v{unpack}", "stands in brackets"),
        ("%v{unpack[z]}", "is nothing of unpack"),
        ("%a", "compression, timestamp-type"),
        ("%a{colour}", "compression, timestamp-type"),
        ("%a{compression;roman}", "it can be ascii"),
        ("%D", "is of share groups"),
        ("%K{big31}", "as in %K{big32}"),
        ("%d{noon}", "rfc3339, strftime[%F %T]"),
        ("%v{hex", "is not closed"),
        ("\\q", "a backslash stands before"),
        ("\\x1", "a backslash stands before"),
    ] {
        let why = Format::for_output(format).expect_err(format);
        assert!(why.contains(said), "{format}: {why}");
    }
}

#[test]
fn numbers_with_a_width_hold_what_fits_and_null() {
    for (name, number, bytes) in [
        ("big16", 258, &b"\x01\x02"[..]),
        ("little16", 258, b"\x02\x01"),
        ("hex16", 258, b"0102"),
        ("big8", -1, b"\xff"),
        ("hex32", -1, b"ffffffff"),
        ("big64", i64::MAX, b"\x7f\xff\xff\xff\xff\xff\xff\xff"),
        ("ascii", -1, b"-1"),
        ("exactly 7", 7, b""),
    ] {
        let digits = Digits::named(name).unwrap_or(Digits::Exact(7));
        let mut out = Vec::new();
        assert_eq!(digits.write(number, &mut out), Ok(()), "{name}");
        assert_eq!(out, bytes, "{name}");
        assert_eq!(digits.read(&out), Some(number), "{name}");
    }
    let byte = Digits::named("big8").expect("is one");
    assert!(byte.write(255, &mut Vec::new()).is_err_and(|why| why.contains("255 does not fit into 8 bits")));
    for (number, said) in [(5, "one of 5 bytes"), (-1, "one of null")] {
        let why = Digits::Exact(7).write(number, &mut Vec::new()).expect_err("it is another");
        assert!(why.contains("exactly 7 bytes") && why.contains(said), "{why}");
    }
    assert_eq!(unescape("\\t\\x2c;"), Ok(b"\t,;".to_vec()));
    assert!(unescape("").is_err());
}

/// Formats and inputs out of pieces that have a meaning, put together by chance.
#[test]
fn whatever_the_input_is_it_is_taken_within_its_bytes_and_the_same_however_reads_cut_it() {
    const PARTS: [&str; 25] = [
        "%k",
        "%v",
        "%K",
        "%V",
        "%V{2}",
        "%V{big8}",
        "%K{little16}",
        "%V{hex8}",
        "%H",
        "%H{big8}",
        "%h{%k=%v,}",
        "%h{%K%k;%V{big8}%v}",
        "%v{hex}",
        "%k{base64}",
        "%p",
        "%d",
        "%d{s}",
        "%d{rfc3339}",
        "%d{strftime[%F]}",
        "%v{json}",
        "%k{json}",
        "%k{base64raw}",
        ":",
        "\\n",
        ", ",
    ];
    const PIECES: [&[u8]; 17] = [
        b"1",
        b"2",
        b"-1",
        b"ff",
        b"\x00",
        b"\x01",
        b"\xff",
        b":",
        b"\n",
        b", ",
        b"a=b,",
        b"YWI=",
        b"2026-01-01",
        b"6162",
        b"{\"a\":",
        b"}",
        b"\"",
    ];
    let mut state = 1u64;
    let mut below = |end: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % end
    };
    let (mut records, mut formats) = (0, 0);
    while formats < 3_000 {
        let text: String = (0..1 + below(6)).map(|_| PARTS[below(PARTS.len())]).collect();
        let Ok(format) = Format::for_input(&text) else { continue };
        formats += 1;
        for _ in 0..10 {
            let input: Vec<u8> = (0..1 + below(12)).flat_map(|_| PIECES[below(PIECES.len())].to_vec()).collect();
            let whole = format.take(&input, false);
            if let Taken::Record(_, bytes) = &whole {
                records += 1;
                assert!((1..=input.len()).contains(bytes), "{text} {input:?}");
                assert_eq!(format.take(&input, true), whole, "{text} {input:?}");
            }
            for cut in 1..input.len() {
                let part = format.take(&input[..cut], false);
                assert!(
                    part == Taken::More || part == whole || is_malformed(&part, &whole),
                    "{text} {input:?} {cut}: {part:?}"
                );
            }
        }
    }
    assert!(records > 1_000, "{records} records of {formats} formats");
}

/// What is shown of the input may be less where less of it was there.
fn is_malformed(part: &Taken<'_>, whole: &Taken<'_>) -> bool {
    matches!((part, whole), (Taken::Malformed(_), Taken::Malformed(_)))
}
