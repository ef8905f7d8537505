//! `milena completion`: the scripts, and what the shells that are installed make of them.

use std::fs;
use std::process::Command;

use crate::process::Folder;

#[test]
fn every_shell_gets_its_completion() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = String::from_utf8(folder.run(&format!("completion {shell}"), b"").with_code(0).stdout);
        let script = script.expect("is text");
        for word in [
            "produce",
            "consume",
            "topics",
            "outcomes",
            "key-delimiter",
            "warmup-records",
            "any-order",
            "verifiable-producer",
            "repeating-keys",
        ] {
            assert!(script.contains(word), "{shell} lacks {word}");
        }
    }
    let wrong = folder.run("completion tcsh", b"").with_code(2);
    assert!(wrong.says("bash") && wrong.says("fish"), "{}", wrong.stderr);
}

/// A line that is typed, words that are offered for it, and words that are not.
type Row = (&'static str, &'static [&'static str], &'static [&'static str]);

/// The folder has the files `a-file` and `script`.
const ROWS: &[Row] = &[
    ("milena topics de", &["describe", "delete"], &["create", "a-file"]),
    ("milena produce t -z ", &["none", "gzip", "snappy", "lz4", "zstd"], &["a-file"]),
    ("milena produce t --compression s", &["snappy"], &["gzip", "a-file"]),
    ("milena produce t --acks ", &["all", "0"], &["a-file"]),
    ("milena produce t --config a-", &["a-file"], &[]),
    ("milena consume t --from ", &[], &["a-file", "script"]),
    ("milena consume t -b ", &[], &["a-file", "script"]),
    ("milena produce t --out", &["--outcomes"], &["a-file"]),
    ("milena audit --any", &["--any-order"], &["a-file"]),
    ("milena verifiable-producer --max", &["--max-messages"], &["a-file"]),
    ("milena verifiable-producer --command-config a-", &["a-file"], &[]),
];

/// Runs a program of a shell, with the typed line as its argument, for each row; its last line has the offered words.
fn offered_as_expected(shell: &str, program: &str) {
    let folder = Folder::new();
    // A shell that waits for something would wait for ever.
    let run = |arguments: &[&str]| {
        Command::new("timeout").args(["60", shell]).args(arguments).current_dir(folder.path()).output()
    };
    if !run(&["--version"]).is_ok_and(|said| said.status.success()) {
        println!("skipped: there is no {shell}, or no timeout");
        return;
    }
    let script = folder.run(&format!("completion {shell}"), b"").with_code(0).stdout;
    fs::write(folder.path().join(if shell == "zsh" { "_milena" } else { "script" }), script).expect("is written");
    fs::write(folder.path().join("a-file"), "").expect("is written");
    fs::write(folder.path().join("program"), program).expect("is written");
    for (typed, offered, not_offered) in ROWS {
        let said =
            Command::new(shell).args(["program", typed]).current_dir(folder.path()).output().expect("it is there");
        let all = String::from_utf8_lossy(&said.stdout).into_owned();
        let errors = String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success() && !all.contains("command not found"), "{shell}, {typed:?}: {all}{errors}");
        let words: Vec<&str> = all.split_whitespace().collect();
        for word in *offered {
            assert!(words.contains(word), "{shell}, {typed:?} lacks {word}: {all}{errors}");
        }
        for word in *not_offered {
            assert!(!words.contains(word), "{shell}, {typed:?} has {word}: {all}{errors}");
        }
    }
}

#[test]
fn bash_completes() {
    offered_as_expected(
        "bash",
        r#"
        compopt() { :; }  # There is no line that is being typed.
        source ./script
        read -ra COMP_WORDS <<< "$1"
        [[ "$1" == *' ' ]] && COMP_WORDS+=("")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        _milena milena "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
        "#,
    );
}

#[test]
fn fish_completes() {
    offered_as_expected("fish", "source ./script\ncomplete -C \"$argv[1]\" | cut -f 1\n");
}

/// zsh completes only what is typed at a terminal, so it gets one.
#[test]
fn zsh_completes() {
    offered_as_expected(
        "zsh",
        r#"
        zmodload zsh/zpty
        zpty shell "TERM=dumb zsh -f -i"
        zpty -w shell "PS1= RPS1= fpath=($PWD \$fpath); autoload -Uz compinit; compinit -u -D; LISTMAX=9999; unsetopt zle_bracketed_paste"
        # Instead of a menu: all that is offered, between two words that nobody types.
        zpty -w shell 'offer() { IPREFIX=; compadd() { builtin compadd -O offered "$@"; print -rl -- $offered; builtin compadd "$@" }; print BEG""IN; _main_complete; print EN""D }'
        zpty -w shell "zle -C offer list-choices offer; bindkey '^I' offer; print REA''DY"
        zpty -r shell out '*READY*'
        zpty -w -n shell "$1"$'\t'
        zpty -r shell out '*END*'
        print -r -- "${out#*BEGIN}"
        zpty -d shell
        "#,
    );
}
