//! The command line of `cargo xtask chaos`; see `USAGE`.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use milena_chaos::campaign::{self, Campaign, Lasts};
use milena_chaos::freeze::{self, Freeze};

const USAGE: &str = "\
usage: cargo xtask chaos --minutes N [--seed S]   faults of every kind by chance, for so long; S gives the same ones again
       cargo xtask chaos --steps N [--seed S]     so many of them
       cargo xtask chaos --load                   a million records with deadlines of 1 s, all nodes frozen for 20 s in the middle";

enum Task {
    Campaign(Campaign),
    Freeze,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let Some(task) = parse(&words) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let found = match task {
        Task::Campaign(campaign) => campaign::run(campaign),
        Task::Freeze => freeze::attack(Freeze::WHOLE),
    };
    match found {
        Ok(findings) if findings.is_empty() => ExitCode::SUCCESS,
        Ok(findings) => {
            eprintln!("{}\n{} findings", findings.join("\n"), findings.len());
            if let Task::Campaign(Campaign { seed, .. }) = task {
                eprintln!("the same faults again: the same command with --seed {seed}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(words: &[&str]) -> Option<Task> {
    if words == ["--load"] {
        return Some(Task::Freeze);
    }
    let (mut lasts, mut seed) = (None, None);
    for pair in words.chunks(2) {
        let [name, number] = pair else { return None };
        let number: u64 = number.parse().ok()?;
        match *name {
            "--minutes" => lasts = Some(Lasts::For(Duration::from_secs(number * 60))),
            "--steps" => lasts = Some(Lasts::Steps(number as usize)),
            "--seed" => seed = Some(number),
            _ => return None,
        }
    }
    Some(Task::Campaign(Campaign { seed: seed.unwrap_or_else(drawn_seed), lasts: lasts? }))
}

fn drawn_seed() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs() % 1_000_000)
}
