use aya::sys::SyscallError;

use super::*;

fn check(error: &ProgramError, expected: Option<Errno>) {
    assert_eq!(errno(error), expected, "{error:?}");
}

#[test]
fn the_errno_is_found_under_every_wrapping() {
    let io = || io::Error::from(Errno::ENOLINK);
    let call = SyscallError {
        call: "x",
        io_error: io(),
    };
    check(&call.into(), Some(Errno::ENOLINK));
    check(&ProgramError::IOError(io()), Some(Errno::ENOLINK));
    check(&TcError::IoError(io()).into(), Some(Errno::ENOLINK));
    check(&ProgramError::NotLoaded, None);
}

#[test]
fn what_is_forbidden_and_what_is_unknown_are_told_apart() {
    let reason = |errno: Errno| ProbeError::from_io("BPF_MAP_CREATE", errno.into()).reason();
    assert_eq!(reason(Errno::EPERM), "NoPermission");
    assert_eq!(reason(Errno::EACCES), "NoPermission");
    assert_eq!(reason(Errno::ENOSYS), "KernelNotSupported");
    assert_eq!(reason(Errno::EOPNOTSUPP), "KernelNotSupported");
    assert_eq!(reason(Errno::ENOMEM), "KernelRefused");
}

#[test]
fn a_message_says_what_to_do_next() {
    let error = ProbeError::ForeignMap {
        path: "/sys/fs/bpf/netclaim/x/v1/counters".into(),
        found: "COUNTERS_V1 with 8 rows of 64 bytes".to_owned(),
        expected: "COUNTERS_V1 with 4096 rows of 64 bytes".to_owned(),
    };
    assert_eq!(
        error.to_string(),
        "the counters map pinned at /sys/fs/bpf/netclaim/x/v1/counters is COUNTERS_V1 with 8 rows \
         of 64 bytes, but COUNTERS_V1 with 4096 rows of 64 bytes is needed; start with the \
         --max-interfaces it was made with, or drain the node and remove \
         /sys/fs/bpf/netclaim/x/v1",
    );
    assert_eq!(
        ProbeError::NoSlot {
            slot: Slot(9),
            max: 8
        }
        .to_string(),
        "slot 9 is beyond the 8 that the counters map holds; raise --max-interfaces",
    );
}
