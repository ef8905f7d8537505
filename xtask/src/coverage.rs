//! Proves that no test of the workspace is left out of the groups: what `cargo metadata` lists, less what a step names.

use crate::groups::{GROUPS, Step};
use crate::workspace;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// One sentence for each target of the workspace that no group runs.
fn uncovered(metadata: &Value) -> Vec<String> {
    let mut missing = Vec::new();
    for package in array(metadata, "packages") {
        let name = text(package, "name");
        for target in array(package, "targets") {
            if let Some(what) = uncovered_target(name, target) {
                missing.push(format!("package {name}: {what}"));
            }
        }
        if array(package, "dependencies").iter().any(|dependency| text(dependency, "name") == "loom")
            && !steps().any(|step| matches!(step, Step::Models { package } if *package == name))
        {
            missing.push(format!("package {name}: its loom models are in no group"));
        }
    }
    missing
}

fn uncovered_target(package: &str, target: &Value) -> Option<String> {
    let name = text(target, "name");
    if array(target, "kind").iter().any(|kind| kind == "bench" || kind == "example" || kind == "custom-build") {
        return None;
    }
    if !array(target, "required-features").is_empty() {
        return Some(format!("target {name} has required-features, so cargo leaves it out without a word"));
    }
    let covered = if target["test"] == true {
        steps().any(|step| matches!(step, Step::Tests { package: covered, .. } if *covered == package))
    } else if array(target, "kind").iter().any(|kind| kind == "test") {
        return uncovered_modules(package, target);
    } else {
        true
    };
    (!covered).then(|| format!("target {name} is in no group"))
}

/// A target that needs more than cargo brings runs as a whole, or by every module of its that has tests.
fn uncovered_modules(package: &str, target: &Value) -> Option<String> {
    let name = text(target, "name");
    if steps().any(|step| matches!(step, Step::Target { package: p, target: t } if *p == package && *t == name)) {
        return None;
    }
    let covered: Vec<&str> = steps().filter_map(|step| module_of(step, package, name)).collect();
    let left_out: Vec<String> =
        modules_with_tests(text(target, "src_path")).into_iter().filter(|found| !covered.contains(&&**found)).collect();
    if covered.is_empty() {
        Some(format!("target {name} is in no group"))
    } else if left_out.is_empty() {
        None
    } else {
        Some(format!("target {name}: no group runs the tests of {}", left_out.join(", ")))
    }
}

fn module_of(step: &Step, package: &str, target: &str) -> Option<&'static str> {
    match *step {
        Step::Module { package: p, target: t, module } if p == package && t == target => Some(module),
        _ => None,
    }
}

/// The files beside a target's root that have tests, by the names of their modules; the root itself is `main`.
fn modules_with_tests(root: &str) -> Vec<String> {
    let Some(files) = Path::new(root).parent().and_then(|folder| fs::read_dir(folder).ok()) else { return Vec::new() };
    let paths = files.map(|file| file.expect("the folder is read").path());
    let sources = paths.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let with_tests = sources.filter(|path| fs::read_to_string(path).is_ok_and(|source| source.contains("#[test]")));
    with_tests.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect()
}

fn steps() -> impl Iterator<Item = &'static Step> {
    GROUPS.iter().flat_map(|group| group.steps)
}

fn array<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

#[test]
fn every_test_target_of_the_workspace_is_in_a_group() {
    let output = workspace::cargo(&["metadata", "--no-deps", "--offline", "--format-version", "1"]).output().unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(array(&metadata, "packages").len() >= 9, "cargo metadata lists the workspace");
    assert_eq!(uncovered(&metadata), Vec::<String>::new());
}

#[test]
fn a_new_package_without_a_group_is_found() {
    let metadata: Value = serde_json::from_str(
        r#"{ "packages": [ { "name": "newcomer", "dependencies": [ { "name": "loom" } ], "targets": [
            { "name": "newcomer", "kind": ["lib"], "test": true },
            { "name": "big", "kind": ["test"], "test": false },
            { "name": "gated", "kind": ["test"], "test": true, "required-features": ["x"] },
            { "name": "speed", "kind": ["bench"], "test": false } ] } ] }"#,
    )
    .unwrap();
    assert_eq!(
        uncovered(&metadata),
        [
            "package newcomer: target newcomer is in no group",
            "package newcomer: target big is in no group",
            "package newcomer: target gated has required-features, so cargo leaves it out without a word",
            "package newcomer: its loom models are in no group",
        ]
    );
}

#[test]
fn a_module_without_a_group_is_found() {
    let sources = workspace::root().join("xtask/src");
    let target = serde_json::json!({ "name": "real_clients", "src_path": sources.join("main.rs") });
    let missing = uncovered_modules("milena-broker", &target).expect("none of these modules is in a group");
    assert!(missing.contains("coverage") && !missing.contains("workspace"), "{missing}");
    assert_eq!(uncovered_modules("xtask", &target).as_deref(), Some("target real_clients is in no group"));
}
