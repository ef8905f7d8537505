//! The few synchronisation types of this crate and of the client, exchanged for loom's when a model runs (`--cfg milena_model`; not
//! `loom`, which would take tokio's sockets away too).
//!
//! A poisoned lock is taken as it is: every critical section here only moves values, so a panic elsewhere cannot leave
//! one half done.

use std::sync::{PoisonError, TryLockError};

#[cfg(milena_model)]
use loom::sync::Mutex as RawMutex;
#[cfg(milena_model)]
pub use loom::sync::MutexGuard;
#[cfg(milena_model)]
pub use loom::sync::atomic;
#[cfg(not(milena_model))]
use std::sync::Mutex as RawMutex;
#[cfg(not(milena_model))]
pub use std::sync::MutexGuard;
#[cfg(not(milena_model))]
pub use std::sync::atomic;

/// A lock without poisoning.
#[derive(Debug)]
pub struct Mutex<T>(RawMutex<T>);

impl<T> Mutex<T> {
    /// An unlocked one.
    pub fn new(value: T) -> Self {
        Self(RawMutex::new(value))
    }

    /// Waits for the lock; poison is passed over.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock, unless somebody holds it.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// A value that is set at most once; a read is one acquire load.
#[cfg(not(milena_model))]
#[derive(Debug)]
pub struct Once<T>(std::sync::OnceLock<T>);

#[cfg(not(milena_model))]
#[allow(clippy::new_without_default)]
impl<T: Copy> Once<T> {
    /// Not set.
    pub fn new() -> Self {
        Self(std::sync::OnceLock::new())
    }

    /// The value, if it was set.
    pub fn get(&self) -> Option<T> {
        self.0.get().copied()
    }

    /// Whether this call set the value.
    pub fn set(&self, value: T) -> bool {
        self.0.set(value).is_ok()
    }
}

/// Loom has no `OnceLock`; the flag carries the ordering that is under test.
#[cfg(milena_model)]
#[derive(Debug)]
pub struct Once<T> {
    is_set: atomic::AtomicBool,
    value: Mutex<Option<T>>,
}

#[cfg(milena_model)]
#[allow(clippy::new_without_default)]
impl<T: Copy> Once<T> {
    /// Not set.
    pub fn new() -> Self {
        Self { is_set: atomic::AtomicBool::new(false), value: Mutex::new(None) }
    }

    /// The value, if it was set.
    pub fn get(&self) -> Option<T> {
        if self.is_set.load(atomic::Ordering::Acquire) { *self.value.lock() } else { None }
    }

    pub fn set(&self, value: T) -> bool {
        let mut held = self.value.lock();
        if held.is_some() {
            return false;
        }
        *held = Some(value);
        self.is_set.store(true, atomic::Ordering::Release);
        true
    }
}
