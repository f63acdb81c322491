//! The heap of this process, which shares a node's memory with the pods that it serves.

use nix::libc;

/// Gives back to the kernel what nobody uses, also between what is in use.
///
/// By itself glibc gives back the end of its heap only, where hardly anything is free: of what a burst
/// of pods needs, little pieces live long (a claim, an attachment) and hold what is between them.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "nix leaves it to its caller")]
    // SAFETY: no pointer goes in or out, and glibc locks each arena while it looks at it.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests;
