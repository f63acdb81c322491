use super::*;

fn parse(arguments: &str) -> Options {
    Options::parse_from(std::iter::once("kubectl-dra_top").chain(arguments.split_whitespace()))
}

#[test]
fn a_node_is_a_unix_socket() {
    let check = |node: &str, expected: Result<&str, &str>| {
        let origin = parse(&format!("--node {node}")).origin();
        match (origin, expected) {
            (Ok(Origin::Live { node, cluster }), Ok(path)) => {
                assert_eq!((node, cluster.is_none()), (vec![PathBuf::from(path)], true));
            }
            (Err(error), Err(words)) => assert!(error.to_string().contains(words), "{error}"),
            (found, _) => panic!("{node}: {found:?}"),
        }
    };
    check("unix:/run/x.sock", Ok("/run/x.sock"));
    check("unix:///run/x.sock", Ok("/run/x.sock"));
    check("unix:x.sock", Ok("x.sock"));
    check("unix:", Err("expected unix:PATH"));
    check("worker-1", Err("--node worker-1: expected unix:PATH"));
}

#[test]
fn a_node_and_a_cluster_may_be_looked_at_together() {
    let origin = parse("--node unix:/x -n demo claims")
        .origin()
        .expect("valid");
    assert_eq!(origin.to_string(), "unix:/x and the API server");
    assert_eq!(parse("rc").view, ViewName::Claims);
    assert!(Options::try_parse_from(["dra-top", "-A", "-n", "x"]).is_err());
    assert!(Options::try_parse_from(["dra-top", "--input-file", "x", "--node", "unix:y"]).is_err());
}

#[test]
fn a_locale_that_is_not_utf_8_means_ascii() {
    let check = |locale, utf8| assert_eq!(is_utf8(locale), utf8, "{locale:?}");
    check(None, true);
    check(Some("C.UTF-8"), true);
    check(Some("de_CH.utf8"), true);
    check(Some("C"), false);
    check(Some("POSIX"), false);
    check(Some("en_US.ISO-8859-1"), false);
}
