//! On pseudo-terminals of their own: this test binary starts itself again as the program that
//! takes a terminal and ends.

use std::{
    env,
    fs::File,
    io::Read as _,
    os::fd::OwnedFd,
    process::{Command, ExitStatus},
    thread,
};

use rustix::{
    fs::{Mode, OFlags, open},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Termios, tcgetattr},
};

use super::*;

/// Says to the child how to end.
const ENDS: &str = "DRA_TOP_TEST_ENDS";

#[test]
fn taken_by_the_tests_below() {
    let Ok(ends) = env::var(ENDS) else { return };
    let screen = Screen::take().unwrap();
    match ends.as_str() {
        "well" => drop(screen),
        "by a panic" => panic!("it broke"),
        "by a panic of a thread" => {
            let _ended = thread::spawn(|| panic!("it broke")).join();
            loop {
                thread::park();
            }
        }
        other => panic!("nothing ends {other}"),
    }
}

/// A child with a terminal: how it ended, the terminal before and after, and what it wrote there.
fn run(ends: &str) -> (ExitStatus, [Termios; 2], String) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let theirs = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    let before = tcgetattr(&theirs).unwrap();
    let child = || -> OwnedFd { theirs.try_clone().unwrap() };
    let status = Command::new(env::current_exe().unwrap())
        .args(["--exact", "terminal::tests::taken_by_the_tests_below"])
        .arg("--nocapture")
        .env(ENDS, ends)
        .stdin(child())
        .stdout(child())
        .stderr(child())
        .status()
        .unwrap();
    let after = tcgetattr(&theirs).unwrap();
    drop(theirs);
    (status, [before, after], written(File::from(ours)))
}

/// All that was written: reading fails where nobody has the other side any more.
fn written(mut ours: File) -> String {
    let mut bytes = Vec::new();
    let _ended = ours.read_to_end(&mut bytes);
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_terminal_is_given_back_however_the_program_ends() {
    let check = |ends: &str, code: i32, last_words: Option<&str>| {
        let (status, [before, after], written) = run(ends);
        assert_eq!(status.code(), Some(code), "{ends}: {written:?}");
        assert_eq!(before.local_modes, after.local_modes, "{ends}");
        assert_eq!(before.input_modes, after.input_modes, "{ends}");
        let (_, taken) = written.split_once("\u{1b}[?1049h").expect("the screen");
        let parts = taken.split("\u{1b}[?1049l").collect::<Vec<_>>();
        let [_, left] = parts.as_slice() else {
            panic!("{ends}: given back {} times: {written:?}", parts.len() - 1)
        };
        assert!(left.contains("\u{1b}[?25h"), "{ends}: the cursor: {left:?}");
        if let Some(words) = last_words {
            assert!(left.contains(words), "{ends}: {left:?}");
        }
    };
    check("well", 0, None);
    check("by a panic", PANICKED, Some("it broke"));
    check("by a panic of a thread", PANICKED, Some("it broke"));
}
