//! The command line of `cargo xtask chaos`; see `USAGE`.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use milena_chaos::campaign::{self, Campaign, Lasts};

const USAGE: &str = "\
usage: cargo xtask chaos --minutes N [--seed S]   faults of every kind by chance, for so long; S gives the same ones again
       cargo xtask chaos --steps N [--seed S]     so many of them";

fn main() -> ExitCode {
    let Some(campaign) = parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match campaign::run(campaign) {
        Ok(findings) if findings.is_empty() => ExitCode::SUCCESS,
        Ok(findings) => {
            let again = format!("cargo xtask chaos --seed {}", campaign.seed);
            eprintln!("{}\n{} findings; the same faults again: {again} ...", findings.join("\n"), findings.len());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Option<Campaign> {
    let (mut lasts, mut seed) = (None, None);
    while let Some(word) = words.next() {
        let number = words.next()?.parse::<u64>().ok()?;
        match word.as_str() {
            "--minutes" => lasts = Some(Lasts::For(Duration::from_secs(number * 60))),
            "--steps" => lasts = Some(Lasts::Steps(number as usize)),
            "--seed" => seed = Some(number),
            _ => return None,
        }
    }
    Some(Campaign { seed: seed.unwrap_or_else(drawn_seed), lasts: lasts? })
}

fn drawn_seed() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs() % 1_000_000)
}
