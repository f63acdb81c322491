use super::*;

#[test]
fn an_interface_name_is_one_the_kernel_and_the_pod_accept() {
    for good in ["net1", "a", "net1.100", "data_0", "abcdefghijklmno"] {
        assert!(IfName::parse(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        "lo",
        "eth0",
        "all",
        "default",
        "1net",
        "Net1",
        "a/b",
        "net 1",
        "abcdefghijklmnop",
        "..",
        "net%d",
    ] {
        assert!(IfName::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_uid_cannot_leave_its_folder() {
    for bad in ["", "..", ".", "a/b", "-x", "a\0b"] {
        assert!(ClaimUid::parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_refused_name_says_what_is_expected() {
    insta::assert_snapshot!(IfName::parse("eth0").unwrap_err(), @"interface name `eth0` is not valid: expected 1 to 15 characters of a-z 0-9 . _ -, a letter first, and not lo, eth0, all or default");
}

#[test]
fn a_subrequest_belongs_to_its_request() {
    assert_eq!(RequestName::parse("nic/fast").unwrap().base(), "nic");
    assert_eq!(RequestName::parse("nic").unwrap().base(), "nic");
    assert!(RequestName::parse("a/b/c").is_err());
}
