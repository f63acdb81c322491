//! Mutexes whose contents are true at any moment: whoever panics with one leaves nothing half done.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks it, also after somebody panicked with it.
pub(crate) fn locked<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
