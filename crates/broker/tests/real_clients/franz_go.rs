//! franz-go, the client of Go.

use std::path::Path;
use std::process::Command;

use milena_broker::KafkaRelease;

use crate::stage::Stage;
use crate::talk::perform;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real_clients/franz_go");

#[test]
fn franz_go_writes_reads_and_administers_while_leaders_move() {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("franz-go");
    let build =
        Command::new("go").args(["build", "-mod=readonly", "-o"]).arg(&program).arg(".").current_dir(SOURCE).output();
    let build = build.expect("the group runs only where Go is");
    assert!(build.status.success(), "{}", String::from_utf8_lossy(&build.stderr));
    perform(&mut Stage::start(KafkaRelease::default()), Command::new(program));
}
