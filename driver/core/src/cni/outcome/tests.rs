use std::time::Duration;

use super::*;
use crate::cni::{Command, PluginFailure};

fn ended(exit: Exit, stdout: &str, stderr: &str) -> Finished {
    Finished {
        exit,
        stdout: stdout.into(),
        stderr: stderr.into(),
    }
}

#[track_caller]
fn check(finished: Finished, code: &str, message: &str) {
    let fault = finished
        .success()
        .and_then(|out| read_result(&out))
        .unwrap_err();
    assert_eq!((fault.code(), fault.to_string().as_str()), (code, message));
}

#[test]
fn a_plugin_that_succeeds_has_a_result() {
    let result = r#"{"cniVersion": "0.4.0", "code": 0, "interfaces": [{"name": "net1"}]}"#;
    let out = ended(Exit::Code(0), result, "a warning").success().unwrap();
    assert_eq!(read_result(&out).unwrap().interfaces[0].name, "net1");
}

#[test]
fn a_plugin_that_fails_says_why() {
    let failed = Exit::Code(1);
    check(
        ended(
            failed,
            r#"{"cniVersion": "1.0.0", "code": 7, "msg": "no master", "details": "eth9"}"#,
            "",
        ),
        "plugin_reported_error",
        "it reports code 7 (invalid network configuration): no master: eth9; correct the plugin's fields in the network configuration",
    );
    check(
        ended(failed, r#"{"code": 11, "msg": "busy"}"#, ""),
        "plugin_asks_to_retry",
        "it reports code 11 (try again later): busy; it is tried again with the pod's next sandbox",
    );
    check(
        ended(failed, "", r#"{"code": 110, "msg": "own"}"#),
        "plugin_reported_error",
        "it reports code 110 (the plugin's own code): own; look for these words in the plugin's documentation and the node's kernel log",
    );
    check(
        ended(failed, r#"{"code": 0, "msg": "old"}"#, ""),
        "plugin_reported_error",
        "it reports code 0 (unknown error): old; look for these words in the plugin's documentation and the node's kernel log",
    );
    // An error object counts whatever the exit status says.
    check(
        ended(Exit::Code(0), r#"{"code": 5, "msg": "disk"}"#, ""),
        "plugin_reported_error",
        "it reports code 5 (I/O failure): disk; look for these words in the plugin's documentation and the node's kernel log",
    );
}

#[test]
fn a_plugin_that_breaks_the_rules_is_told_apart() {
    check(
        ended(Exit::Code(127), " \n", "libc.so.6: cannot open\nnext"),
        "plugin_failed_silently",
        "it exited with 127 and printed no error object; run it by hand, or look at its own log; it said: libc.so.6: cannot open | next",
    );
    check(
        ended(Exit::Code(2), "panic: nil", ""),
        "plugin_output_invalid",
        "its output is invalid (no error object, although it exited with 2): \"panic: nil\"; look for another program under this name",
    );
    check(
        ended(Exit::Code(0), "hello", ""),
        "plugin_output_invalid",
        "its output is invalid (expected value at line 1 column 1): \"hello\"; look for another program under this name",
    );
    check(
        ended(Exit::Code(0), "[]", ""),
        "plugin_output_invalid",
        "its output is invalid (not a JSON object): \"[]\"; look for another program under this name",
    );
    check(
        ended(Exit::Code(0), "\n", ""),
        "plugin_output_missing",
        "it succeeded but printed nothing, where a plugin of CNI 0.3.1 or later prints a result; look for another program under this name",
    );
    check(
        ended(Exit::Code(0), r#"{"cniVersion": "2.0.0"}"#, ""),
        "plugin_version_unsupported",
        "its result is of CNI version 2.0.0, expected one of 0.3.1, 0.4.0, 1.0.0, 1.1.0; change cniVersion or the plugin",
    );
    check(
        ended(Exit::Signal(9), "", ""),
        "plugin_died",
        "it died by signal 9 (SIGKILL, perhaps out of memory); look for the reason in the node's kernel log",
    );
}

#[test]
fn a_failure_names_network_plugin_and_command() {
    let failure = |network: Option<&str>| PluginFailure {
        network: network.map(str::to_owned),
        plugin: "macvlan".into(),
        command: Command::Add,
        fault: Fault::Hung {
            after: Duration::from_millis(1500),
            stderr: "waiting".into(),
        },
    };
    assert_eq!(
        failure(Some("storage")).to_string(),
        "CNI ADD by plugin `macvlan` for network `storage`: it did not end within 1.5s and was killed \
         with its children; look for what it waits for (a lock, an IPAM daemon); it said: waiting"
    );
    assert!(
        failure(None)
            .to_string()
            .starts_with("CNI ADD by plugin `macvlan`: it did not end")
    );
}

/// One of each kind.
fn faults() -> Vec<Fault> {
    let reported = |code| Fault::Reported {
        error: CniError {
            code,
            msg: "no master".into(),
            details: String::new(),
        },
    };
    let path = || "/opt/cni/bin/macvlan".to_owned();
    vec![
        reported(7),
        reported(11),
        Fault::Hung {
            after: Duration::from_secs(2),
            stderr: "waiting\n".into(),
        },
        Fault::OutOfTime,
        Fault::Garbage {
            head: "hello".into(),
            why: "expected value".into(),
        },
        Fault::Flooded { limit: 1_024 },
        Fault::Died {
            signal: 11,
            stderr: "boom".into(),
        },
        Fault::Silent {
            exit: 1,
            stderr: String::new(),
        },
        Fault::NoOutput,
        Fault::UnsupportedVersion {
            found: "2.0.0".into(),
        },
        Fault::NotFound {
            searched: "/opt/cni/bin".into(),
        },
        Fault::NotExecutable { path: path() },
        Fault::NoLoader {
            path: path(),
            loader: Some("/lib/ld-musl.so".into()),
        },
        Fault::WrongFormat { path: path() },
        Fault::Busy {
            path: path(),
            tries: 6,
        },
        Fault::NoRoot {
            root: "/host".into(),
            errno: 1,
        },
        Fault::NotRun {
            path: path(),
            errno: 12,
        },
    ]
}

#[test]
fn every_fault_has_one_reason_one_code_and_words() {
    let mut seen = std::collections::BTreeSet::new();
    let mut table = Vec::new();
    for fault in faults() {
        let (reason, code) = (fault.reason(), fault.code());
        assert!(seen.insert(reason) && seen.insert(code), "{reason} twice");
        let snake = reason.chars().fold(String::new(), |mut snake, c| {
            if c.is_uppercase() && !snake.is_empty() {
                snake.push('_');
            }
            snake.extend(c.to_lowercase());
            snake
        });
        assert_eq!(snake, code);
        table.push(format!("{reason}\n  {fault}"));
    }
    insta::assert_snapshot!(table.join("\n\n"));
}

#[test]
fn versions_are_read() {
    let out = br#"{"cniVersion": "1.1.0", "supportedVersions": ["0.3.1", "1.1.0", "9.9.9"]}"#;
    assert_eq!(
        read_versions(out).unwrap().versions,
        ["0.3.1", "1.1.0", "9.9.9"]
    );
    assert_eq!(
        read_versions(b"{}").unwrap_err().code(),
        "plugin_output_invalid"
    );
    assert_eq!(
        read_versions(b"").unwrap_err().code(),
        "plugin_output_missing"
    );
}
