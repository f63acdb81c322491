use netclaim_core::{
    attachment::Key,
    fact::Refused,
    failure::{Failure, Step},
};

use super::*;

const BOOT: &str = "boot-1";

fn refused(n: usize) -> Fact {
    Fact::Refused(Refused {
        claim: netclaim_core::claim::ClaimRef {
            namespace: "default".parse().unwrap(),
            name: format!("claim-{n}").parse().unwrap(),
            uid: format!("uid-{n}").parse().unwrap(),
        },
        pod: None,
        devices: vec![],
        failure: Failure {
            step: Step::Prepare,
            reason: "NotAllowed".into(),
            code: "not_allowed".into(),
            message: "no".to_owned(),
        },
    })
}

fn append(journal: &mut Journal, ledger: &mut Ledger, fact: &Fact) {
    ledger.apply(Timestamp(7), fact);
    journal.append(Timestamp(7), fact, ledger).unwrap();
}

fn written(folder: &Path, facts: usize) -> Ledger {
    let Opened {
        mut journal,
        mut ledger,
        ..
    } = Journal::open(folder, BOOT).unwrap();
    for n in 0..facts {
        append(&mut journal, &mut ledger, &refused(n));
    }
    ledger
}

#[test]
fn what_was_appended_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = written(folder.path(), 3);
    let opened = Journal::open(folder.path(), BOOT).unwrap();
    assert_eq!(opened.ledger, ledger);
    assert_eq!((opened.dropped, opened.rebooted), (0, false));
}

#[test]
fn a_line_that_a_crash_cut_short_is_dropped_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = written(folder.path(), 3);
    let path = folder.path().join(JOURNAL_FILE);
    let whole = fs::read(&path).unwrap();
    let last = whole[..whole.len() - 1]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .unwrap()
        + 1;
    for cut in last + 1..whole.len() {
        let copy = tempfile::tempdir().unwrap();
        fs::copy(
            folder.path().join(LEDGER_FILE),
            copy.path().join(LEDGER_FILE),
        )
        .unwrap();
        fs::write(copy.path().join(JOURNAL_FILE), &whole[..cut]).unwrap();
        let opened = Journal::open(copy.path(), BOOT).unwrap();
        assert_eq!(opened.dropped, cut - last);
        assert_eq!(opened.ledger.generation(), ledger.generation() - 1);
    }
}

#[test]
fn facts_that_stand_in_the_snapshot_and_in_the_journal_count_once() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = written(folder.path(), 3);
    let journal = fs::read(folder.path().join(JOURNAL_FILE)).unwrap();
    drop(Journal::open(folder.path(), BOOT).unwrap());
    fs::write(folder.path().join(JOURNAL_FILE), journal).unwrap();
    assert_eq!(Journal::open(folder.path(), BOOT).unwrap().ledger, ledger);
}

#[test]
fn a_long_journal_is_folded() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = written(folder.path(), FOLD_AFTER as usize + 5);
    let lines = fs::read_to_string(folder.path().join(JOURNAL_FILE))
        .unwrap()
        .lines()
        .count();
    assert_eq!(lines, 1 + 4);
    assert_eq!(Journal::open(folder.path(), BOOT).unwrap().ledger, ledger);
}

/// An attachment of the claims that the tests refuse.
fn attaching() -> Fact {
    let attachment = serde_json::from_value(serde_json::json!({
        "key": {"sandbox": "s", "if_name": "net1"},
        "claim": {"namespace": "default", "name": "claim", "uid": "uid-1"},
        "pod": {"namespace": "default", "name": "pod", "uid": "pod-uid"},
        "netns": "/run/netns/s",
        "device": {
            "allocated": {"request": "nic", "pool": "node", "device": "eth1"},
            "link": "eth1", "mode": "shared", "if_name": "net1",
            "network": {"cniVersion": "1.0.0", "name": "n", "plugins": [{"type": "macvlan"}]},
        },
        "slot": 0,
    }));
    Fact::Attaching(attachment.unwrap())
}

/// A ledger that has an attachment, and the fact that it is in the pod, which is not on the disk for
/// sure.
fn attached(folder: &Path) -> (Journal, Ledger, Fact) {
    let Opened {
        mut journal,
        mut ledger,
        ..
    } = Journal::open(folder, BOOT).unwrap();
    append(&mut journal, &mut ledger, &attaching());
    let attached = Fact::Attached {
        key: ledger.attachments().next().unwrap().attachment.key.clone(),
        result: netclaim_core::cni::AddResult::default(),
        probe: None,
        late: false,
        timings: vec![],
    };
    assert!(!attached.must_be_durable());
    (journal, ledger, attached)
}

#[test]
fn what_a_former_boot_had_is_still_to_be_undone_however_often_we_start() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, mut ledger, attached) = attached(folder.path());
    append(&mut journal, &mut ledger, &attached);
    assert_eq!(ledger.plan_recovery(), []);
    for rebooted in [true, false, false] {
        let opened = Journal::open(folder.path(), "boot-2").unwrap();
        assert_eq!(opened.rebooted, rebooted);
        assert_eq!(opened.ledger.plan_recovery().len(), 1);
    }
}

#[test]
fn a_boot_undoes_the_same_when_the_end_of_an_attach_is_lost_with_the_machine() {
    let folder = tempfile::tempdir().unwrap();
    let (_, mut ledger, attached) = attached(folder.path());
    ledger.apply(Timestamp(1), &attached);
    ledger.apply(Timestamp(1), &Fact::Rebooted);
    let opened = Journal::open(folder.path(), "boot-2").unwrap();
    let undone = opened.ledger.plan_recovery();
    assert_eq!(undone, ledger.plan_recovery());
    assert_eq!(undone.len(), 1);
}

#[test]
fn a_ledger_that_was_lost_is_so_until_it_is_rebuilt() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Journal::open(folder.path(), BOOT).unwrap().ledger.is_lost());
    let Opened {
        mut journal,
        mut ledger,
        ..
    } = Journal::open(folder.path(), BOOT).unwrap();
    assert!(ledger.is_lost());
    append(&mut journal, &mut ledger, &Fact::Rebuilt);
    assert!(!Journal::open(folder.path(), BOOT).unwrap().ledger.is_lost());
}

#[test]
fn a_newer_format_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(LEDGER_FILE);
    fs::write(
        &path,
        r#"{"format":2,"boot_id":"x","claims":{"entirely":"different"}}"#,
    )
    .unwrap();
    let error = Journal::open(folder.path(), BOOT).unwrap_err();
    assert_eq!(error.reason(), "JournalTooNew");
    assert!(error.to_string().contains("has format 2"), "{error}");
    assert!(fs::read_to_string(&path).unwrap().contains("different"));
}

#[test]
fn a_format_that_nobody_ever_wrote_is_not_taken_for_ours() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path(), 1);
    let path = folder.path().join(LEDGER_FILE);
    let text = fs::read_to_string(&path).unwrap();
    let text = text.replacen("\"format\":1", "\"format\":0", 1);
    fs::write(&path, &text).unwrap();
    let error = Journal::open(folder.path(), BOOT).unwrap_err();
    assert_eq!(error.reason(), "JournalGarbled");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn a_garbled_line_in_the_middle_is_named_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path(), 2);
    let path = folder.path().join(JOURNAL_FILE);
    let text = fs::read_to_string(&path)
        .unwrap()
        .replacen("refused", "invented", 1);
    fs::write(&path, &text).unwrap();
    let error = Journal::open(folder.path(), BOOT).unwrap_err();
    assert!(error.to_string().contains("at line 2"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn a_disk_that_refuses_loses_nothing_that_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let Opened {
        mut journal,
        mut ledger,
        ..
    } = Journal::open(folder.path(), BOOT).unwrap();
    append(&mut journal, &mut ledger, &refused(1));
    let good = journal.break_disk();
    let key = Key {
        sandbox: "s".parse().unwrap(),
        if_name: "net1".parse().unwrap(),
    };
    let error = journal
        .append(Timestamp(8), &Fact::Cleared { key }, &ledger)
        .unwrap_err();
    assert_eq!(error.code(), "journal_not_writable");
    journal.file = good;
    append(&mut journal, &mut ledger, &refused(2));
    assert_eq!(Journal::open(folder.path(), BOOT).unwrap().ledger, ledger);
}

#[test]
fn a_disk_that_refuses_is_told_with_the_next_step() {
    let error = JournalError::Disk {
        path: "/var/lib/netclaim/x/journal.jsonl".into(),
        verb: "written",
        source: io::Error::from_raw_os_error(28),
    };
    assert_eq!(
        error.to_string(),
        "/var/lib/netclaim/x/journal.jsonl cannot be written: No space left on device (os error \
         28); nothing was changed in the pod: make room on the disk or mend its permissions, the \
         kubelet then tries again"
    );
}
