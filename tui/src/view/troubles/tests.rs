use super::*;

#[test]
fn many_names_are_counted() {
    let check = |count: usize, expected: &str| {
        let all = ["a", "b", "c", "d", "e"];
        assert_eq!(names(&all[..count]), expected);
    };
    check(1, "a");
    check(2, "a and b");
    check(3, "a, b and c");
    check(5, "a, b, c and 2 more");
}
