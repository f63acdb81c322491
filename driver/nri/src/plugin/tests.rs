use super::*;

#[test]
fn a_refusal_fits_the_queue_of_a_go_runtime() {
    fn check(text: &str, expected: usize) {
        let status = Status::from(Refusal::new(text));
        assert_eq!(status.message, text[..expected]);
    }
    check("no eth1", 7);
    check(&"x".repeat(REFUSAL_LEN), REFUSAL_LEN);
    check(&"x".repeat(5 << 20), REFUSAL_LEN);
    check(&format!("x{}", "é".repeat(REFUSAL_LEN)), REFUSAL_LEN - 1);
}

#[test]
fn a_timeout_that_is_not_positive_is_the_default() {
    fn check(value: i64, expected: Duration) {
        assert_eq!(millis(value, REQUEST_TIMEOUT), expected);
    }
    check(0, REQUEST_TIMEOUT);
    check(-1, REQUEST_TIMEOUT);
    check(1, Duration::from_millis(1));
    check(4_000, Duration::from_secs(4));
}
