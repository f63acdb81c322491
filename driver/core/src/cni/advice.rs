//! What to do about the error object of a plugin.
//!
//! Owns the next step for who reads it. It never changes the plugin's own words, which stand before.

use super::CniError;

/// Next steps by words of the message. The reference plugins report nearly everything under
/// libcni's 999, so that their words tell more than the code. The first that is found counts.
///
/// Source of the words: <https://github.com/containernetworking/plugins> v1.9.1, and the kernel's
/// error texts as Go prints them.
const BY_WORDS: &[(&str, &str)] = &[
    (
        "no IP addresses available in range set",
        "every address of the range is in use: delete a pod that holds one, or widen the range",
    ),
    (
        "is not available in range set",
        "another pod holds that address: delete it, or ask for another address",
    ),
    (
        "invalid MTU",
        "correct or remove `mtu`: it cannot exceed the device's",
    ),
    (
        "failed to find plugin",
        "install that plugin there, or name its folder with --cni-path",
    ),
    (
        "dhcp.sock",
        "start the daemon of the dhcp plugin on the node, and see that the driver reaches its socket",
    ),
    (
        "Link not found",
        "the link that it names is not on the node: look for it with `ip link`",
    ),
    (
        "file exists",
        "the name, address or route is there already: look for it in the pod with `ip address`",
    ),
    (
        "operation not supported",
        "the node's kernel cannot do this: load the module of that link kind, or use another type",
    ),
    (
        "device or resource busy",
        "the device carries interfaces of another kind: select another device, or free this one",
    ),
    (
        "no space left on device",
        "free space on the node's disk; leases and results are kept below /var/lib/cni",
    ),
    (
        "read-only file system",
        "give the driver a writable mount of that folder, and look at the node's disk",
    ),
    (
        "operation not permitted",
        "see that the driver runs with the privileges that its DaemonSet asks for",
    ),
];

/// What to do about an error.
pub(super) fn advice(error: &CniError) -> &'static str {
    match error.code {
        1 => "set cniVersion to one that the plugin's VERSION command lists",
        2 | 6 | 7 => "correct the plugin's fields in the network configuration",
        3 | 8 => "the pod's sandbox is going away; the kubelet makes another",
        CniError::TRY_AGAIN_LATER => "it is tried again with the pod's next sandbox",
        50 | 51 => "look at the daemon that the plugin relies on",
        _ => by_words(error).unwrap_or(
            "look for these words in the plugin's documentation and the node's kernel log",
        ),
    }
}

fn by_words(error: &CniError) -> Option<&'static str> {
    let has = |words: &str| error.msg.contains(words) || error.details.contains(words);
    let mut known = BY_WORDS.iter();
    known
        .find(|(words, _)| has(words))
        .map(|(_, advice)| *advice)
}

#[cfg(test)]
mod tests;
