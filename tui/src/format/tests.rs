use super::*;

#[test]
fn numbers_take_three_digits() {
    let check = |number, expected: &str| assert_eq!(bytes(number), expected);
    check(0, "0 B");
    check(999, "999 B");
    check(1_000, "1.00 kB");
    check(1_234, "1.23 kB");
    check(45_678, "45.6 kB");
    check(456_789, "456 kB");
    check(999_999, "999 kB");
    check(1_000_000, "1.00 MB");
    check(u64::MAX, "18.4 EB");
    assert_eq!(count(8_710), "8.71k");
}

#[test]
fn times_take_two_parts() {
    let check = |seconds, expected: &str| assert_eq!(age(Duration::from_secs(seconds)), expected);
    check(0, "0s");
    check(72, "1m12s");
    check(3_600 * 3 + 300, "3h05m");
    check(86_400 * 12, "12d");
    assert_eq!(
        [took(840), took(12_430), took(1_204_000)],
        ["840 µs", "12.4 ms", "1.20 s"]
    );
    assert_eq!(clock(1_795_510_800_000), "09:00:00");
}

#[test]
fn names_are_cut_in_the_middle_and_sentences_at_the_end() {
    let check = |width, expected: [&str; 2]| {
        let text = "abcdefghij";
        assert_eq!([middle(text, width, "…"), end(text, width, "…")], expected);
    };
    check(10, ["abcdefghij", "abcdefghij"]);
    check(5, ["ab…ij", "abcd…"]);
    check(1, ["…", "…"]);
    check(0, ["", ""]);
}

#[test]
fn words_are_wrapped_whole_where_they_fit() {
    let check = |text: &str, width, expected: &[&str]| assert_eq!(wrap(text, width), expected);
    check("", 5, &[""]);
    check("one two", 7, &["one two"]);
    check("one two", 6, &["one", "two"]);
    check("a bcdefghij k", 4, &["a", "bcde", "fghi", "j k"]);
    check("abcdefgh", 4, &["abcd", "efgh"]);
    check("é é", 1, &["é", "é"]);
    check("日本 語", 5, &["日本", "語"]);
    check("日本語", 5, &["日本", "語"]);
    check("日本", 1, &["日", "本"]);
    check("a b", 1, &["a", "b"]);
}

#[test]
fn wide_and_silent_characters_count_as_the_screen_draws_them() {
    let check = |text: &str, columns, cut: &str| {
        assert_eq!((width(text), &*middle(text, 5, "…")), (columns, cut));
    };
    check("日本語です", 10, "日…す");
    check("de\u{301}f", 3, "de\u{301}f");
    check("\u{1b}[31m", 4, "\u{1b}[31m");
    assert_eq!(end("日本語", 4, "…"), "日…");
    assert_eq!([pad("日", 4, false), pad("日", 4, true)], ["日  ", "  日"]);
}
