//! A bpf file system that hangs nowhere, so that nobody else sees it, and that ends with the driver
//! however that ends. A map is shared between loads of an object by its pin alone.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsRawFd as _, OwnedFd},
    path::PathBuf,
    ptr,
};

use nix::{errno::Errno, libc};

use super::super::link::owned;

/// `FSOPEN_CLOEXEC`, `FSMOUNT_CLOEXEC` and `FSCONFIG_CMD_CREATE` (include/uapi/linux/mount.h).
const FSOPEN_CLOEXEC: libc::c_long = 1;
const FSMOUNT_CLOEXEC: libc::c_long = 1;
const FSCONFIG_CMD_CREATE: libc::c_long = 6;

/// The file system.
#[derive(Debug)]
pub(super) struct Room {
    mount: OwnedFd,
}

impl Room {
    /// An empty one.
    pub(super) fn new() -> io::Result<Self> {
        let kind: &CStr = c"bpf";
        #[expect(unsafe_code, reason = "a system call")]
        // SAFETY: the kernel reads the name, which lives until it is done.
        let context = unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC) };
        let context = owned(context)?;
        let nothing: *const libc::c_char = ptr::null();
        #[expect(unsafe_code, reason = "a system call")]
        // SAFETY: this command takes neither key nor value.
        let made = unsafe {
            libc::syscall(
                libc::SYS_fsconfig,
                context.as_raw_fd(),
                FSCONFIG_CMD_CREATE,
                nothing,
                nothing,
                0,
            )
        };
        Errno::result(made)?;
        #[expect(unsafe_code, reason = "a system call")]
        // SAFETY: it takes numbers only.
        let mount =
            unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), FSMOUNT_CLOEXEC, 0) };
        Ok(Self {
            mount: owned(mount)?,
        })
    }

    /// The path of a pin in it, for this process.
    pub(super) fn pin(&self, name: &str) -> PathBuf {
        let mount = self.mount.as_raw_fd();
        PathBuf::from(format!("/proc/self/fd/{mount}/{name}"))
    }
}
