//! Tells the binary which revision it was built from.

use std::{env, process::Command};

fn main() {
    println!("cargo:rerun-if-env-changed=NETCLAIM_REVISION");
    let told = env::var("NETCLAIM_REVISION").ok();
    // A development build would be made anew at every commit.
    let released = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let revision = told.or_else(|| released.then(git_revision).flatten());
    let revision = revision.unwrap_or_else(|| "development".to_owned());
    println!("cargo:rustc-env=NETCLAIM_REVISION={revision}");
}

fn git_revision() -> Option<String> {
    // In a worktree it is elsewhere than in `.git`, and a file that is missing always counts as new.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo:rerun-if-changed={log}");
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let asked = Command::new("git").args(arguments).output().ok()?;
    let said = String::from_utf8(asked.stdout).ok()?.trim().to_owned();
    (asked.status.success() && !said.is_empty()).then_some(said)
}
