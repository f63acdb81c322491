use nix::errno::Errno;

use super::*;

#[test]
fn every_error_has_a_reason_a_code_and_words() {
    let missing = BtfError::NoType {
        kind: "enum",
        name: "skb_drop_reason".to_owned(),
    };
    let errors = [
        DropsError::Undescribed {
            path: "/sys/kernel/btf/vmlinux".into(),
            source: Errno::ENOENT.into(),
        },
        missing.into(),
        ProbeError::from_io("loading count_drop", Errno::EPERM.into()).into(),
    ];
    let told: Vec<_> = errors
        .iter()
        .map(|error| format!("{} {}: {error}", error.reason(), error.code()))
        .collect();
    assert_eq!(
        told,
        [
            "NoKernelTypes no_kernel_types: the kernel does not describe itself in \
             /sys/kernel/btf/vmlinux: No such file or directory (os error 2); use one with \
             CONFIG_DEBUG_INFO_BTF",
            "KernelNotSupported kernel_not_supported: the kernel gives no reasons for its drops \
             that this driver can read: the kernel has no enum skb_drop_reason; Linux 5.17 or \
             later is needed",
            "NoPermission no_permission: loading count_drop is not permitted: Operation not \
             permitted (os error 1); the driver needs CAP_BPF, CAP_NET_ADMIN and CAP_SYS_ADMIN \
             (securityContext.privileged: true)",
        ]
    );
}
