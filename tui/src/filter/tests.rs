use super::*;

#[test]
fn every_word_must_hold() {
    let cells = [
        ("namespace", "demo".to_owned()),
        ("pod", "app-x2".to_owned()),
        ("state", "failed".to_owned()),
        ("addresses", "10.10.1.2/24".to_owned()),
    ];
    let check = |text: &str, expected| {
        assert_eq!(Filter::parse(text).holds(&cells), expected, "{text}");
    };
    check("", true);
    check("  ", true);
    check("APP", true);
    check("app failed", true);
    check("app ready", false);
    check("!ready", true);
    check("!app", false);
    check("ns:demo pod:x2", true);
    check("ns:app", false);
    check("!pod:demo", true);
    check("state:", true);
    check("!", true);
    check("!pod:", true);
    // Not the name of a column: a plain word, as in an IPv6 address.
    check("fe80:1", false);
    check("10.10.1.2", true);
}
