//! Which interface of the machine one is.

use std::{io, os::fd::AsRawFd as _};

use netclaim_ebpf::drops::Place;
use nix::{
    errno::Errno,
    libc::{self, SO_NETNS_COOKIE, SOL_SOCKET, socklen_t},
    net::if_::if_nametoindex,
    sys::socket::{AddressFamily, SockFlag, SockType, socket},
};

use super::super::error::ProbeError;

/// The interface of this name in the thread's network namespace.
pub(super) fn here(if_name: &str) -> Result<Place, ProbeError> {
    let failed = |call: &str, error| ProbeError::from_io(format!("{call} for {if_name}"), error);
    let ifindex =
        if_nametoindex(if_name).map_err(|errno| failed("if_nametoindex", errno.into()))?;
    let cookie = cookie().map_err(|error| failed("SO_NETNS_COOKIE", error))?;
    Ok(Place::new(cookie, ifindex))
}

/// The namespace's number that no other one ever has (Linux 5.14).
fn cookie() -> io::Result<u64> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
    let mut cookie = 0_u64;
    #[expect(clippy::cast_possible_truncation, reason = "8")]
    let mut len = size_of::<u64>() as socklen_t;
    #[expect(unsafe_code, reason = "nix does not know this option")]
    // SAFETY: the kernel writes at most `len` bytes to `cookie`, which has as many.
    let returned = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut len,
        )
    };
    Errno::result(returned)?;
    Ok(cookie)
}
