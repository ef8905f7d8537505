//! Where things are, and how cargo is called: always the cargo that runs this task, always from the workspace root.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of the workspace's `Cargo.toml`.
pub fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().expect("xtask is a folder of the workspace").to_owned()
}

/// The folder that cargo builds into.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |folder| root().join(folder))
}

/// A fresh folder below the target folder for the logs of one task.
pub fn logs(task: &str) -> io::Result<PathBuf> {
    let folder = target().join("xtask").join(task);
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// A call of cargo, not yet started.
pub fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).args(arguments);
    command
}
