use kube::core::Status;

use super::*;

fn refused(code: u16) -> kube::Error {
    kube::Error::Api(Status::failure("no", "").with_code(code).boxed())
}

#[test]
fn requests_are_counted_by_how_they_end() {
    let counters = ApiCounters::new();
    let calls = &counters.statuses;
    calls.succeeded();
    for code in [401, 403, 404, 409, 422, 500, 429] {
        calls.failed("default/c", &refused(code));
    }
    calls.failed("default/c", &kube::Error::LinesCodecMaxLineLengthExceeded);
    let counts: Vec<_> = calls.counts().collect();
    assert_eq!(
        counts,
        [
            ("ok", 1),
            ("denied", 2),
            ("missing", 1),
            ("conflict", 1),
            ("invalid", 1),
            ("refused", 2),
            ("unreachable", 1),
        ]
    );
}

#[test]
fn errors_are_said_in_one_line() {
    assert_eq!(words(&refused(403)), "no (403)");
    let source = std::io::Error::other("connection refused");
    let error = kube::Error::Service(Box::new(source));
    assert_eq!(words(&error), "ServiceError: connection refused");
}
