//! Where the harness keeps things: `target/kafka`, and below it the jars of each version and the data of each cluster, if that is not
//! wanted in memory.
//!
//! Every cluster's folder is held by a lock on a file in it for as long as its process lives. A folder whose lock is free
//! was left behind by a process that was killed; the next cluster removes it.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// `target/kafka`; with `CARGO_TARGET_DIR`, below that folder.
pub fn home() -> PathBuf {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let workspace = crate_folder.ancestors().nth(2).expect("the crate is two levels below the workspace");
    let target = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => workspace.join(folder),
        None => workspace.join("target"),
    };
    target.join("kafka")
}

/// A folder in memory, on a machine that has such a place; otherwise [`home`].
pub fn memory() -> PathBuf {
    let shared = Path::new("/dev/shm");
    if shared.is_dir() { shared.join("kafka-harness") } else { home() }
}

/// Waits until no other process fetches jars or makes a cluster's folder; the lock ends with the returned file.
pub fn lock(home: &Path) -> io::Result<File> {
    fs::create_dir_all(home)?;
    let file = File::create(home.join("lock"))?;
    file.lock()?;
    Ok(file)
}

/// The folder of one cluster that lives no longer than this process.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// Held, never written: shows other processes that the folder is in use.
    _owner: File,
}

impl RunFolder {
    /// Makes a new folder, and removes those that nobody holds any more.
    pub fn create(home: &Path) -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let _lock = lock(home)?;
        sweep(home)?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = home.join(format!("{RUN}{}-{number}", std::process::id()));
        fs::create_dir_all(&path)?;
        let owner = File::create(path.join(OWNER))?;
        owner.lock()?;
        Ok(Self { path, _owner: owner })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("{} stays behind: {error}", self.path.display());
        }
    }
}

/// Called under the lock, so that no folder is between being made and being held.
fn sweep(home: &Path) -> io::Result<()> {
    for entry in fs::read_dir(home)? {
        let path = entry?.path();
        let is_run = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(RUN));
        if is_run && !is_held(&path) {
            fs::remove_dir_all(&path)?;
        }
    }
    Ok(())
}

fn is_held(folder: &Path) -> bool {
    match File::open(folder.join(OWNER)) {
        Ok(owner) => matches!(owner.try_lock(), Err(TryLockError::WouldBlock)),
        Err(_) => false,
    }
}

const RUN: &str = "run-";
const OWNER: &str = "owner";

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let folder = home().join(format!("test-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn a_folder_goes_with_its_owner() {
        let home = scratch("goes");
        let run = RunFolder::create(&home).unwrap();
        let path = run.path().to_owned();
        assert!(path.is_dir());
        drop(run);
        assert!(!path.exists());
        fs::remove_dir_all(home).unwrap();
    }

    #[test]
    fn a_folder_left_behind_is_removed_and_one_in_use_is_not() {
        let home = scratch("sweep");
        let in_use = RunFolder::create(&home).unwrap();
        let left = home.join("run-0-0");
        fs::create_dir_all(left.join("node1")).unwrap();
        File::create(left.join(OWNER)).unwrap();
        let next = RunFolder::create(&home).unwrap();
        assert!(in_use.path().is_dir() && next.path().is_dir() && !left.exists());
        drop((in_use, next));
        fs::remove_dir_all(home).unwrap();
    }
}
