use super::*;

#[test]
fn a_mirror_is_found_in_both_formats_of_apt() {
    let check = |text, expected: Option<&str>| assert_eq!(mirror_in(text).as_deref(), expected);
    let deb822 =
        "Types: deb\n# URIs: http://old.test/debian\nURIs: http://mirror.test/debian\nSuites: x\n";
    check(deb822, Some("http://mirror.test/debian"));
    check(
        "deb [arch=amd64] https://mirror.test/debian/ x main\n",
        Some("https://mirror.test/debian/"),
    );
    check("# deb http://mirror.test/debian x main\n", None);
    check("deb https://other.test/apt stable main\n", None);
    check("URIs: http://mirror.test/debian-security\n", None);
}

#[test]
fn only_the_package_of_the_compiler_will_do() {
    let offered =
        " rust-src | 1.96.1+dfsg1-2~bpo13+1 | x\n rust-src | 1.95.0+dfsg1-2~bpo13+1 | x\n";
    assert_eq!(version(offered, "1.95.0"), Some("1.95.0+dfsg1-2~bpo13+1"));
    assert_eq!(version(offered, "1.95"), None);
    assert_eq!(version(offered, "1.94.0"), None);
    assert_eq!(version("", "1.95.0"), None);
}
