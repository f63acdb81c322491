//! Where the running kernel keeps what the program reads, and how it calls its reasons.

use std::{fs, path::Path};

use netclaim_core::{
    btf::{Btf, BtfError},
    drops::Reasons,
};
use netclaim_ebpf::drops::{
    CONSUMED, DEV_IFINDEX, DEV_NET, HAS_SOCKET, NET_COOKIE, NOT_DROPPED, SKB_DEV, SKB_IIF, SOCK_NET,
};

use super::error::DropsError;

/// Where the kernel describes itself.
pub(in super::super) const BTF: &str = "/sys/kernel/btf/vmlinux";

/// Global, structure and member: the places that the program reads.
const OFFSETS: [(&str, &str, &[&str]); 6] = [
    (SKB_DEV, "sk_buff", &["dev"]),
    (SKB_IIF, "sk_buff", &["skb_iif"]),
    (DEV_IFINDEX, "net_device", &["ifindex"]),
    (DEV_NET, "net_device", &["nd_net", "net"]),
    (SOCK_NET, "sock", &["__sk_common", "skc_net", "net"]),
    (NET_COOKIE, "net", &["net_cookie"]),
];

/// Reasons that are none, by name: kernels before 6.3 have only the first of them.
const NO_REASONS: [(&str, &str); 2] = [
    (NOT_DROPPED, "SKB_NOT_DROPPED_YET"),
    (CONSUMED, "SKB_CONSUMED"),
];

/// Parameters of the tracepoint where it tells the socket, with the kernel's own first one.
const WITH_SOCKET: usize = 5;

/// What is to be known of a kernel.
#[derive(Debug)]
pub(super) struct Kernel {
    /// The program's globals.
    pub(super) globals: Vec<(&'static str, u32)>,
    /// The names of its reasons.
    pub(super) reasons: Reasons,
}

/// Reads it out of the kernel's description at `path`, of which nothing is kept: it has megabytes.
pub(super) fn read(path: &Path) -> Result<Kernel, DropsError> {
    let described = fs::read(path).map_err(|source| DropsError::Undescribed {
        path: path.to_owned(),
        source,
    })?;
    Ok(kernel(&Btf::parse(&described)?)?)
}

fn kernel(btf: &Btf<'_>) -> Result<Kernel, BtfError> {
    let reasons = btf.enumerators("skb_drop_reason")?;
    let offset = |(global, structure, members): (_, &str, &[&str])| {
        Ok((global, btf.offset(structure, members)?))
    };
    let mut globals: Vec<_> = OFFSETS.into_iter().map(offset).collect::<Result<_, _>>()?;
    let parameters = btf.parameters("btf_trace_kfree_skb")?;
    globals.push((HAS_SOCKET, u32::from(parameters >= WITH_SOCKET)));
    globals.extend(NO_REASONS.map(|(global, name)| {
        let found = reasons.iter().find(|(known, _)| *known == name);
        // No reason has this number.
        (global, found.map_or(u32::MAX, |(_, number)| *number))
    }));
    Ok(Kernel {
        globals,
        reasons: Reasons::new(reasons),
    })
}
