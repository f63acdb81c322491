//! Plugins that break the rules.

use super::*;

#[tokio::test]
async fn a_plugin_that_hangs_is_killed_with_its_children() {
    let hangs = "echo $$ > parent; sleep 1000 & echo $! > child; echo waiting >&2; wait";
    let scripts = Scripts::new(&[("hangs", hangs)]);
    let started = Instant::now();
    let Fault::Hung { after, stderr } = scripts
        .fault("hangs", started + Duration::from_millis(500))
        .await
    else {
        panic!("it did not hang")
    };
    assert!(after >= Duration::from_millis(500) && started.elapsed() < Duration::from_secs(5));
    assert_eq!(stderr, "waiting");
    scripts.ended("parent").await;
    scripts.ended("child").await;
}

#[tokio::test]
async fn a_caller_that_gives_up_leaves_no_plugin_behind() {
    let hangs = "sleep 1000 & echo $! > child.new; mv child.new child; wait";
    let scripts = Scripts::new(&[("hangs", hangs)]);
    let subject = Subject::chain(&["hangs"]);
    let at = subject.at();
    let child = scripts.dir.path().join("child");
    let runs = async {
        while !child.exists() {
            time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::select! {
        _ = scripts.plugins.add(&at, soon()) => panic!("it did not hang"),
        () = runs => {}
    }
    scripts.ended("child").await;
}

#[tokio::test]
async fn a_child_left_behind_does_not_delay_the_answer() {
    let leaves = r#"sleep 1000 & echo $! > child; echo '{"cniVersion": "1.1.0"}'"#;
    let scripts = Scripts::new(&[("leaves", leaves)]);
    let deadline = Instant::now() + Duration::from_secs(5);
    scripts
        .plugins
        .add(&Subject::chain(&["leaves"]).at(), deadline)
        .await
        .unwrap();
    assert!(Instant::now() < deadline);
    scripts.ended("child").await;
}

#[tokio::test]
async fn a_flood_is_cut_off() {
    let scripts = Scripts::new(&[("floods", "echo $$ > parent; exec yes")]);
    let fault = scripts.fault("floods", soon()).await;
    assert_eq!(
        fault,
        Fault::Flooded {
            limit: netclaim_core::cni::STDOUT_LIMIT
        }
    );
    scripts.ended("parent").await;
}

#[tokio::test]
async fn only_the_end_of_standard_error_is_kept() {
    let scripts = Scripts::new(&[(
        "talks",
        "yes x | head -c 100000 >&2; echo reason >&2; exit 4",
    )]);
    let Fault::Silent { exit: 4, stderr } = scripts.fault("talks", soon()).await else {
        panic!("not silent")
    };
    assert!(
        stderr.ends_with("reason") && stderr.len() <= 1024,
        "{}",
        stderr.len()
    );
}

#[tokio::test]
async fn each_way_to_fail_is_told_apart() {
    let scripts = Scripts::new(&[
        ("garbage", "echo hello"),
        ("dies", "kill -9 $$"),
        ("silent", "exit 3"),
        ("empty", "exit 0"),
    ]);
    let path = scripts.write("plain", "#!/bin/sh\n");
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    scripts.write("loaderless", "#!/no/such/loader\n");
    scripts.write("foreign", b"\x7fELF\x02\x01\x01garbage");
    let fault = async |plugin| scripts.fault(plugin, soon()).await;
    assert_eq!(fault("garbage").await.code(), "plugin_output_invalid");
    assert_eq!(
        fault("dies").await,
        Fault::Died {
            signal: 9,
            stderr: String::new()
        }
    );
    assert_eq!(
        fault("silent").await,
        Fault::Silent {
            exit: 3,
            stderr: String::new()
        }
    );
    assert_eq!(fault("empty").await, Fault::NoOutput);
    let path = |name: &str| scripts.dir.path().join(name).display().to_string();
    assert_eq!(
        fault("plain").await,
        Fault::NotExecutable {
            path: path("plain")
        }
    );
    let loader = Some("/no/such/loader".to_owned());
    assert_eq!(
        fault("loaderless").await,
        Fault::NoLoader {
            path: path("loaderless"),
            loader
        }
    );
    assert_eq!(
        fault("foreign").await,
        Fault::WrongFormat {
            path: path("foreign")
        }
    );
    let searched = format!("{}, {}", path("none"), scripts.dir.path().display());
    assert_eq!(fault("absent").await, Fault::NotFound { searched });
    assert_eq!(
        scripts.fault("empty", Instant::now()).await,
        Fault::OutOfTime
    );
}

#[tokio::test]
async fn a_file_that_is_being_written_is_tried_again() {
    let scripts = Scripts::new(&[("one", HONEST)]);
    let writer = || {
        OpenOptions::new()
            .append(true)
            .open(scripts.dir.path().join("one"))
            .unwrap()
    };
    let (subject, open) = (Subject::chain(&["one"]), writer());
    // The first try has failed by the time that the second future is polled at all.
    let at = subject.at();
    let (added, ()) = tokio::join!(scripts.plugins.add(&at, soon()), async { drop(open) });
    added.unwrap();
    let _open = writer();
    let busy = scripts.fault("one", soon()).await;
    assert!(matches!(busy, Fault::Busy { tries: 6, .. }), "{busy}");
}

#[tokio::test]
async fn a_plugin_need_not_read_its_configuration() {
    let scripts = Scripts::new(&[("deaf", r#"echo '{"cniVersion": "1.1.0"}'"#)]);
    // More than a pipe holds.
    let pad = "x".repeat(1 << 18);
    let subject = Subject::new(&json!({
        "cniVersion": "1.1.0", "name": "storage", "plugins": [{"type": "deaf", "pad": pad}]
    }));
    scripts.plugins.add(&subject.at(), soon()).await.unwrap();
}

#[tokio::test]
async fn a_plugins_versions_are_asked_for() {
    let speaks = r#"[ $CNI_COMMAND = VERSION ] && echo '{"supportedVersions": ["1.0.0"]}'"#;
    let scripts = Scripts::new(&[("one", speaks)]);
    assert_eq!(
        scripts
            .plugins
            .versions("one", soon())
            .await
            .unwrap()
            .versions,
        ["1.0.0"]
    );
    for outside in ["./one", "", "/bin/sh"] {
        let failure = scripts.plugins.versions(outside, soon()).await.unwrap_err();
        assert_eq!(failure.code(), "plugin_not_found", "{outside}");
    }
}
