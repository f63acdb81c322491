use std::collections::BTreeMap;

use super::*;

/// The variables that do not follow from the option's name, and the options that have none.
const EXCEPTIONS: [(&str, Option<&str>); 6] = [
    ("node-name", Some("NODE_NAME")),
    ("pod-uid", Some("POD_UID")),
    ("kubeconfig", Some("KUBECONFIG")),
    ("port", Some("NETCLAIM_RELAY_PORT")),
    ("filename", None),
    ("ready", None),
];

#[test]
fn every_option_can_be_set_by_environment_as_the_help_says() {
    let exceptions = BTreeMap::from(EXCEPTIONS);
    let mut met = BTreeMap::new();
    let command = Cli::command();
    for argument in command
        .get_subcommands()
        .flat_map(clap::Command::get_arguments)
    {
        let name = argument.get_long().unwrap();
        let found = argument.get_env().map(|env| env.to_str().unwrap());
        if let Some((name, exception)) = exceptions.get_key_value(name) {
            met.insert(*name, found);
            let said = exception.unwrap_or(name);
            assert!(ENVIRONMENT.contains(said), "{name} is not in the help");
            continue;
        }
        let rule = format!("NETCLAIM_{}", name.to_uppercase().replace('-', "_"));
        assert_eq!(found, Some(rule.as_str()), "--{name}");
    }
    assert_eq!(met, exceptions);
}

#[test]
fn what_is_mistyped_ends_at_the_command_line() {
    let check = |arguments: &str, words: &str| {
        let arguments = format!("netclaim run --node-name=n1 {arguments}");
        let parsed = Cli::try_parse_from(arguments.split_ascii_whitespace());
        match parsed {
            Ok(_) => assert_eq!(words, "", "{arguments}"),
            Err(error) => {
                let text = error.to_string();
                assert!(!words.is_empty() && text.contains(words), "{text}");
            }
        }
    };
    check("", "");
    check(
        "--device-filter=attributes.kind==",
        "is not a CEL expression",
    );
    check("--device-filter=attributes.kind=='veth'", "");
    check("--exclusive-devices=true)", "is not a CEL expression");
    check("--pod-uid=../x", "pod UID `../x` is not valid");
    check("--max-interfaces=0", "0 is not in 1..");
    check("--lease-patience=0", "");
    check("--lease-patience=soon", "invalid digit found in string");
    check("--cni-types=bridge,bandwidth", "");
    check(
        "--cni-types=bridge,../x",
        "expected the file name of a CNI plugin",
    );
}
