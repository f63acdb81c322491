use clap::Parser as _;

use super::*;
use crate::options::{Cli, Command};

const CLAIM: &str = "
apiVersion: resource.k8s.io/v1
kind: ResourceClaim
metadata: {name: media}
spec:
  devices:
    requests: []
    config: CONFIG
";

/// Files with these texts, checked by `netclaim validate`: the exit code and what was printed.
fn validated(texts: &[&str]) -> (u8, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut arguments = vec![
        "netclaim".to_owned(),
        "validate".to_owned(),
        "-f".to_owned(),
    ];
    for (at, text) in texts.iter().enumerate() {
        let file = folder.path().join(format!("{at}.yaml"));
        if !text.is_empty() {
            fs::write(&file, text).unwrap();
        }
        arguments.push(file.display().to_string());
    }
    let Command::Validate(options) = Cli::parse_from(arguments).command else {
        panic!("another command");
    };
    let mut out = Vec::new();
    let code = check_files(&options, &mut out).unwrap();
    let folder = folder.path().display().to_string();
    (code, String::from_utf8(out).unwrap().replace(&folder, ""))
}

#[test]
fn a_file_that_cannot_be_read_hides_no_other() {
    let good = CLAIM.replace("CONFIG", "[]");
    let refused = CLAIM.replace("CONFIG", "{}");
    let none = "no configuration for driver cni.dra.networking.x-k8s.io\n";
    assert_eq!(validated(&[&good]), (0, none.to_owned()));
    assert_eq!(validated(&[&good, &refused]).0, 1);

    let (code, text) = validated(&[&refused, "a: [", ""]);
    assert_eq!(code, 2);
    let lines: Vec<&str> = text.lines().collect();
    // Where YAML goes wrong is shown in lines of their own, under the first.
    let (more, lines): (Vec<&str>, Vec<&str>) = lines
        .into_iter()
        .partition(|line| line.starts_with("         "));
    assert!(more.iter().any(|line| line.contains("1 | a: [")), "{text}");
    assert_eq!(lines.len(), 4, "{text}");
    for (line, start) in lines.iter().zip([
        "refused  ResourceClaim default/media, spec.devices.config: found {}",
        "unread   /1.yaml: line 1, column 4: found what is no YAML, expected manifests",
        "unread   /2.yaml: cannot read it: No such file",
        "1 checked for driver cni.dra.networking.x-k8s.io, 1 refused",
    ]) {
        assert!(line.starts_with(start), "{line}");
    }
}
