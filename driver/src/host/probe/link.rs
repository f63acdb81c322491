//! `BPF_LINK_DETACH`, the one call that aya 0.14 does not offer.
//!
//! Closing the last descriptor detaches a link as well, but later, when the kernel finds time.

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
};

use nix::{errno::Errno, libc};

/// `enum bpf_cmd` of include/uapi/linux/bpf.h.
const LINK_GET_FD_BY_ID: libc::c_int = 30;
const LINK_DETACH: libc::c_int = 34;

/// Takes the link with this id off its interface. When it returns, its program runs nowhere:
/// the kernel waits for all that are under way (net/core: `tcx_link_detach`, `tcx_entry_sync`).
pub(super) fn detach(id: u32) -> io::Result<()> {
    let link = open(id)?;
    bpf(LINK_DETACH, link.as_raw_fd().cast_unsigned()).map(|_| ())
}

fn open(id: u32) -> io::Result<OwnedFd> {
    owned(bpf(LINK_GET_FD_BY_ID, id)?)
}

/// The descriptor that a system call returned which makes one.
pub(super) fn owned(returned: libc::c_long) -> io::Result<OwnedFd> {
    let fd = RawFd::try_from(Errno::result(returned)?).map_err(io::Error::other)?;
    #[expect(unsafe_code, reason = "takes over what the kernel handed out")]
    // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A command of bpf(2) whose whole argument is one number. The kernel takes the rest of the
/// attribute as zero.
fn bpf(command: libc::c_int, argument: u32) -> io::Result<libc::c_long> {
    let attribute = &raw const argument;
    #[expect(unsafe_code, reason = "a system call")]
    // SAFETY: the kernel reads `size_of::<u32>()` bytes at `attribute`, which lives until it is done.
    let returned = unsafe { libc::syscall(libc::SYS_bpf, command, attribute, size_of::<u32>()) };
    Errno::result(returned).map_err(Into::into)
}
