use super::*;

#[track_caller]
fn check(change: impl FnOnce(&mut Machine), expected: Option<&str>) {
    let mut machine = Machine {
        release: "6.18.0-1-amd64".to_owned(),
        filesystems: "nodev\tsysfs\nnodev\tbpf\n\text4\n".to_owned(),
        capabilities: Some(u64::MAX),
        programs: vec!["ip", "setpriv", "unshare", "sudo"],
    };
    change(&mut machine);
    let found = machine.lacks();
    match (found.as_deref(), expected) {
        (Some(found), Some(expected)) => assert!(found.contains(expected), "{found}"),
        (found, expected) => assert_eq!(found, expected),
    }
}

#[test]
fn each_thing_that_is_missing_has_a_sentence() {
    check(|_| (), None);
    check(|machine| machine.release = "6.6.0".to_owned(), None);
    check(
        |machine| machine.release = "5.15.0-91-generic".to_owned(),
        Some("the kernel here is 5.15.0-91-generic: try a machine with a newer one"),
    );
    check(
        |machine| machine.filesystems = "nodev\tsysfs\n".to_owned(),
        Some("it needs CONFIG_BPF_SYSCALL=y"),
    );
    check(
        |machine| machine.capabilities = Some(!(1 << 39)),
        Some("root lacks CAP_BPF here"),
    );
    check(
        |machine| machine.programs.retain(|program| *program != "unshare"),
        Some("the program `unshare`: install the package util-linux"),
    );
}

#[test]
fn a_user_needs_sudo_and_root_does_not() {
    let without = |machine: &mut Machine| machine.programs.retain(|program| *program != "sudo");
    check(without, None);
    check(|machine| machine.capabilities = None, None);
    check(
        |machine| {
            machine.capabilities = None;
            machine.programs.retain(|program| *program != "setpriv");
        },
        Some("the program `setpriv`"),
    );
    check(
        |machine| {
            machine.capabilities = None;
            without(machine);
        },
        Some("run it as root, or install sudo"),
    );
}
