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

/// One of each kind.
fn errors() -> Vec<ProbeError> {
    let (call, source) = (
        || "BPF_LINK_CREATE".to_owned(),
        |errno: Errno| io::Error::from(errno),
    );
    let netns = || PathBuf::from("/run/netns/cni-1");
    vec![
        ProbeError::NoSlot {
            slot: Slot(9),
            max: 8,
        },
        ProbeError::NoPermission {
            call: call(),
            source: source(Errno::EPERM),
        },
        ProbeError::NotSupported {
            what: call(),
            source: source(Errno::EOPNOTSUPP),
        },
        ProbeError::BpffsNotMounted {
            path: "/sys/fs/bpf/netclaim/x/v1".into(),
        },
        ProbeError::ForeignMap {
            path: "/sys/fs/bpf/netclaim/x/v1/counters".into(),
            found: "COUNTERS_V1 with 8 rows of 64 bytes".to_owned(),
            expected: "COUNTERS_V1 with 4096 rows of 64 bytes".to_owned(),
        },
        ProbeError::Verifier {
            program: "count_rx",
            log: "R0 !read_ok".to_owned(),
        },
        ProbeError::Object("no program count_rx".to_owned()),
        ProbeError::NoInterface {
            netns: netns(),
            if_name: "net1".to_owned(),
        },
        NetnsError::NotANamespace { path: netns() }.into(),
        NetnsError::Refused {
            path: netns(),
            source: source(Errno::EPERM),
        }
        .into(),
        ProbeError::NoHook {
            tcx: "not supported".to_owned(),
            clsact: "busy".to_owned(),
        },
        ProbeError::Kernel {
            call: call(),
            source: source(Errno::ENOMEM),
        },
    ]
}

#[test]
fn every_error_has_a_reason_a_code_and_words() {
    let row = |error: &ProbeError| format!("{} ({})\n  {error}", error.reason(), error.code());
    let table: Vec<String> = errors().iter().map(row).collect();
    insta::assert_snapshot!(table.join("\n\n"));
}
