use aya::programs::ProgramError;
use nix::errno::Errno;

use super::*;

#[test]
fn what_an_old_kernel_says_names_the_kernel_that_is_needed() {
    let refused = |errno: Errno| FlowsError::from_hook(&ProgramError::IOError(errno.into()));
    for errno in [Errno::EINVAL, Errno::ERANGE, Errno::EOPNOTSUPP] {
        let error = refused(errno);
        assert_eq!(error.reason(), "KernelNotSupported", "{error}");
        assert!(error.to_string().contains("Linux 6.6 or later"), "{error}");
    }
    assert_eq!(refused(Errno::EPERM).reason(), "NoPermission");
}

#[test]
fn what_is_none_of_countings_business_does_not_speak_of_it() {
    for errno in [Errno::ENOMEM, Errno::ENOSYS] {
        let error = FlowsError::from(ProbeError::from_io("making the table", errno.into()));
        let words = error.to_string();
        assert!(
            !words.contains("uncounted") && !words.contains("5.10"),
            "{words}"
        );
    }
}
