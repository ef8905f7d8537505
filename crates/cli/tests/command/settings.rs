//! Settings by other clients' names, and those with options of their own.

use std::fs;

use crate::process::Folder;
use crate::round_trip::broker;
use crate::stubborn::Stubborn;

#[test]
fn a_file_of_another_client_names_the_cluster_and_the_rest() {
    let folder = Folder::new();
    let (_broker, address) = broker(&folder, "--memory");
    let file =
        format!("# of the Java producer\nbootstrap.servers = {address}\nlinger.ms = 1\ncompression.type = lz4\n");
    fs::write(folder.path().join("producer.properties"), file).expect("is written");
    folder.run("produce orders -F producer.properties --create", b"a\n").with_code(0);
    folder
        .run(&format!("produce orders -X metadata.broker.list={address} -X queue.buffering.max.ms=1"), b"b\n")
        .with_code(0);
    let consumed = folder.run(&format!("consume orders --bootstrap {address}"), b"").with_code(0).stdout;
    assert_eq!(consumed, b"a\nb\n");
    assert!(!folder.data().exists(), "a named cluster needs no data directory");
    let unmade = folder.run("produce other -F producer.properties --partitions 2", b"").with_code(2);
    assert!(unmade.says("with bootstrap.servers, --partitions needs --create"), "{}", unmade.stderr);
}

#[test]
fn what_is_typed_goes_before_the_file_and_an_option_before_both() {
    let folder = Folder::new();
    let stubborn = Stubborn::silent();
    let server = format!("--bootstrap-server {}", stubborn.address());
    fs::write(folder.path().join("slow"), "milena.deadline.ms = 600000\n").expect("is written");
    for settings in
        ["-F slow -X milena.deadline.ms=1000", "-F slow --deadline 1s", "-X milena.deadline.ms=600000 --deadline 1s"]
    {
        // It would not end in time with the other deadline.
        let produced =
            folder.run(&format!("produce orders {server} --close-timeout 0s {settings}"), b"a\n").with_code(3);
        assert!(produced.says("0 written, 0 not written, 1 unknown"), "{settings}: {}", produced.stderr);
    }
}

#[test]
fn a_setting_that_means_nothing_says_what_to_use() {
    let folder = Folder::new();
    fs::write(folder.path().join("bad"), "linger.ms = 5\nacks = 2\n").expect("is written");
    for (settings, sentence) in [
        ("-X linger.msec=5", "the nearest is linger.ms"),
        ("-X linger.ms=soon", "linger.ms"),
        ("-X sasl.password=x", "sasl.password"),
        ("-F bad", "bad:2"),
        ("-F nowhere", "nowhere"),
        ("-z lz4:3", "'lz4:3' for '--compression <CODEC[:LEVEL]>': lz4 is written at one level here"),
        ("-z snappy:3", "snappy has no levels"),
        ("-z gzip:10", "'gzip:10' for '--compression <CODEC[:LEVEL]>': the level of gzip must be 1 to 9"),
        ("-z zstd:23", "must be -131072 to 22"),
        ("-X compression.zstd.level=23", "compression.zstd.level is 23: it must be -131072 to 22"),
        ("-b foo", "--bootstrap-server has \"foo\", which is not of the form host:port"),
        ("-K=", "an equals sign needs a space before it, as in -K ="),
        ("-X batch.size=0", "batch.size is 0: it must be 1 to"),
        ("-X acks=1 -X enable.idempotence=true", "set acks to all or set enable.idempotence to false"),
        ("-X bootstrap.servers=localhost", "bootstrap.servers is \"localhost\": give brokers as host:port"),
        ("-X linger.ms=60000", "lower linger.ms to 20000 or raise milena.deadline.ms to 70000"),
    ] {
        let ended = folder.run(&format!("produce orders {settings}"), b"").with_code(2);
        assert!(ended.says(sentence), "{settings}: {}", ended.stderr);
    }
}

#[test]
fn every_codec_and_every_kind_of_acknowledgement_is_taken() {
    let folder = Folder::new();
    let mut expected = Vec::new();
    for option in [
        "-z none",
        "-z gzip:9",
        "-z snappy",
        "-z lz4",
        "-z zstd:1",
        "-z zstd:-5",
        "-z zstd,lz4",
        "-a all",
        "-a -1",
        "-a 1",
    ] {
        let line = format!("{option} {}\n", "again and ".repeat(100));
        folder.run(&format!("produce orders {option}"), line.as_bytes()).with_code(0);
        expected.extend_from_slice(line.as_bytes());
    }
    assert!(folder.run("consume orders", b"").with_code(0).stdout == expected);
    // Nobody ever says what became of it.
    let unknown = folder.run("produce orders -a 0 --deadline 1s", b"x\n").with_code(3);
    assert!(unknown.says("no acknowledgement was asked for"), "{}", unknown.stderr);
}

#[test]
fn a_partition_that_is_not_there_is_told_before_anything_is_read() {
    let folder = Folder::new();
    folder.run("topics create orders --partitions 3", b"").with_code(0);
    let absent = folder.run("produce orders -p 3", b"a\n").with_code(2);
    assert!(absent.says("topic orders has no partition 3; it has 3, numbered from 0"), "{}", absent.stderr);
}

#[test]
fn what_reads_and_looks_takes_the_settings_that_mean_something_there() {
    let folder = Folder::new();
    let (_broker, address) = broker(&folder, "--memory");
    let file = format!("metadata.broker.list = {address}\nclient.id = reader\nsecurity.protocol = PLAINTEXT\n");
    fs::write(folder.path().join("access"), file).expect("is written");
    folder.run("topics create orders -F access", b"").with_code(0);
    folder.run(&format!("produce orders -X bootstrap.servers={address}"), b"a\n").with_code(0);
    assert_eq!(folder.run("consume orders -F access", b"").with_code(0).stdout, b"a\n");
    let listed = folder.run(&format!("topics list -X bootstrap.servers={address}"), b"").with_code(0).stdout;
    assert!(listed.starts_with(b"orders\t"));
    let before = folder.run("topics -F access list", b"").with_code(0).stdout;
    assert_eq!(listed, before, "on either side of the subcommand");
    assert_eq!(folder.run(&format!("topics -b {address} list"), b"").with_code(0).stdout, before);
    // What is typed goes before the file, and an option before both.
    let typed = folder.run("topics list -F access -X metadata.broker.list=127.0.0.1:1", b"").with_code(2);
    assert!(typed.says("127.0.0.1:1"), "{}", typed.stderr);
    folder.run(&format!("topics list -X metadata.broker.list=127.0.0.1:1 -b {address}"), b"").with_code(0);
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let server = silent.local_addr().expect("bound");
    let slow = folder.run(&format!("topics list -b {server} -X default.api.timeout.ms=200"), b"").with_code(2);
    assert!(slow.says("no answer in time"), "{}", slow.stderr);
    fs::write(folder.path().join("wrong"), "\nlinger.ms = 5\n").expect("is written");
    for (arguments, sentence) in [
        ("consume orders -F wrong", "wrong:2: linger.ms means nothing here: reading and looking know"),
        ("consume orders -X auto.offset.reset=earliest", "say where to begin with --from"),
        ("consume orders -X group.id=shop", "without a group"),
        ("topics create other -X sasl.password=x", "PLAINTEXT"),
        ("topics delete orders -X compression.type=lz4", "means nothing here"),
        ("topics describe orders -F nowhere", "nowhere"),
    ] {
        let ended = folder.run(arguments, b"").with_code(2);
        assert!(ended.says(sentence), "{arguments}: {}", ended.stderr);
    }
    assert!(!folder.data().exists(), "a named cluster needs no data directory");
}
