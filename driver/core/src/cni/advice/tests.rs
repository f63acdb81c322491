use super::*;

fn check(code: u32, message: &str, expected: &str) {
    let error = CniError {
        code,
        msg: message.to_owned(),
        details: String::new(),
    };
    let advice = advice(&error);
    assert!(
        advice.contains(expected),
        "{message}: {advice}, not {expected}"
    );
}

#[test]
fn words_of_the_reference_plugins_have_their_next_step() {
    let internal = 999;
    check(
        internal,
        "failed to allocate for range 0: no IP addresses available in range set: 10.62.1.5-10.62.1.5",
        "widen the range",
    );
    check(
        internal,
        "failed to allocate for range 0: requested IP address 10.1.0.5 is not available in range set 10.1.0.1-10.1.0.9",
        "another pod holds that address",
    );
    check(
        internal,
        "invalid MTU 9000, must be [0, master MTU(1500)]",
        "cannot exceed the device's",
    );
    check(
        internal,
        "failed to create ipvlan: operation not supported",
        "load the module",
    );
    check(
        internal,
        r#"failed to lookup master "eth7": Link not found"#,
        "`ip link`",
    );
    check(
        internal,
        r#"failed to find plugin "host-local" in path [/opt/cni/bin]"#,
        "install that plugin",
    );
    check(
        internal,
        "failed to create macvlan: device or resource busy",
        "another kind",
    );
    check(
        internal,
        "open /var/lib/cni/networks/a/lock: no space left on device",
        "free space",
    );
}

#[test]
fn the_code_counts_where_it_says_more() {
    check(7, "invalid MTU 9000", "correct the plugin's fields");
    check(999, "something else", "documentation");
}

#[test]
fn no_words_hide_behind_others() {
    for (at, (words, _)) in BY_WORDS.iter().enumerate() {
        let hidden = BY_WORDS[..at]
            .iter()
            .any(|(before, _)| words.contains(before));
        assert!(!hidden, "{words}");
    }
}
