//! Whether the programs of other clients are here; the reason if not, as a sentence for the reader of a skip.

use std::process::{Command, Stdio};

/// The oldest Go that the pinned franz-go builds with.
const GO_MIN: (u32, u32) = (1, 26);

/// kcat, a command line around librdkafka.
pub fn kcat_available() -> Result<(), String> {
    said("kcat", "-V").map(drop).map_err(|error| format!("{error}; Debian and its kin have it in the package kcat"))
}

/// Go, new enough for franz-go.
pub fn go_available() -> Result<(), String> {
    let version = said("go", "version").map_err(|error| format!("{error}; Go {}.{} is needed", GO_MIN.0, GO_MIN.1))?;
    match go_version(&version) {
        Some(found) if found >= GO_MIN => Ok(()),
        Some(found) => {
            Err(format!("go is version {}.{}, franz-go needs {}.{} or later", found.0, found.1, GO_MIN.0, GO_MIN.1))
        }
        None => Err(format!("go does not tell its version: {version:?}")),
    }
}

fn said(program: &str, argument: &str) -> Result<String, String> {
    let output = Command::new(program).arg(argument).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{program} cannot be run ({error})"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{program} {argument} fails: {}", String::from_utf8_lossy(&output.stderr)))
}

/// The 1 and 26 in `go version go1.26.8 linux/amd64`.
fn go_version(text: &str) -> Option<(u32, u32)> {
    let number = text.split_whitespace().find_map(|word| word.strip_prefix("go1."))?;
    let minor = number.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((1, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_what_go_prints() {
        assert_eq!(go_version("go version go1.26.8 linux/amd64\n"), Some((1, 26)));
        assert_eq!(go_version("go version go1.19 linux/arm64"), Some((1, 19)));
        assert_eq!(go_version("go version go1.27rc1 linux/amd64"), Some((1, 27)));
        assert_eq!(go_version("go: command not found"), None);
    }
}
