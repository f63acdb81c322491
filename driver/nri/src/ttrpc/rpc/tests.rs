use prost::Message as _;

use super::*;

#[test]
fn the_bytes_are_those_of_request_proto() {
    let request = Request {
        service: "s".into(),
        method: "m".into(),
        payload: Bytes::from_static(b"p"),
        timeout_nano: 300,
        metadata: vec![KeyValue {
            key: "k".into(),
            value: "v".into(),
        }],
    };
    let expected = b"\x0a\x01s\x12\x01m\x1a\x01p\x20\xac\x02\x2a\x06\x0a\x01k\x12\x01v";
    assert_eq!(request.encode_to_vec(), expected);

    let response = Response::from(Err(Status::new(Code::Unimplemented, "no")));
    assert_eq!(response.encode_to_vec(), b"\x0a\x06\x08\x0c\x12\x02no");
}

#[test]
fn only_a_status_other_than_ok_is_a_failure() {
    fn check(status: Option<Status>, succeeds: bool) {
        let payload = Bytes::from_static(b"reply");
        let outcome = Result::from(Response {
            status: status.clone(),
            payload: payload.clone(),
        });
        let expected = if succeeds {
            Ok(payload)
        } else {
            Err(status.expect("a failure has one"))
        };
        assert_eq!(outcome, expected);
    }
    check(None, true);
    check(Some(Status::new(Code::Ok, "")), true);
    check(Some(Status::new(Code::Unknown, "no")), false);
    let unlisted = Status {
        code: 99,
        message: "new".into(),
        details: Vec::new(),
    };
    assert_eq!(unlisted.to_string(), "new (code 99)");
    check(Some(unlisted), false);
}

#[test]
fn a_timeout_that_is_not_positive_is_none() {
    fn check(timeout_nano: i64, expected: Option<Duration>) {
        let request = Request {
            timeout_nano,
            ..Request::default()
        };
        assert_eq!(request.timeout(), expected);
    }
    check(0, None);
    check(-1, None);
    check(2_000_000_000, Some(Duration::from_secs(2)));
}
