use kube::core::{
    Status,
    response::{StatusCause, StatusDetails},
};

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

/// A 422 for these reasons.
fn invalid(reasons: &[&str]) -> kube::Error {
    let cause = |reason: &&str| StatusCause {
        reason: (*reason).to_owned(),
        message: String::new(),
        field: "status.devices".to_owned(),
    };
    let details = StatusDetails {
        name: "c".to_owned(),
        group: "resource.k8s.io".to_owned(),
        kind: "ResourceClaim".to_owned(),
        uid: String::new(),
        causes: reasons.iter().map(cause).collect(),
        retry_after_seconds: 0,
    };
    let status = Status::failure("no", "Invalid").with_code(422);
    kube::Error::Api(status.with_details(details).boxed())
}

#[test]
fn a_field_that_is_not_ours_to_write_is_a_right_that_is_missing() {
    let forbidden = "FieldValueForbidden";
    assert_eq!(Outcome::of(&invalid(&[forbidden])), Outcome::Denied);
    assert_eq!(Outcome::of(&invalid(&[])), Outcome::Invalid);
    let also_wrong = invalid(&[forbidden, "FieldValueInvalid"]);
    assert_eq!(Outcome::of(&also_wrong), Outcome::Invalid);
}

#[test]
fn errors_are_said_in_one_line() {
    assert_eq!(words(&refused(403)), "no (403)");
    let source = std::io::Error::other("connection refused");
    let error = kube::Error::Service(Box::new(source));
    assert_eq!(words(&error), "ServiceError: connection refused");
}
