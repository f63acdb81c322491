use kube::core::Status;

use super::*;

fn answer(code: u16) -> kube::Error {
    kube::Error::Api(Status::failure("no", "").with_code(code).boxed())
}

#[track_caller]
fn check(error: kube::Error, expected: &str) {
    let claim = ClaimRef {
        namespace: "shop".parse().unwrap(),
        name: "cart".parse().unwrap(),
        uid: "uid-1".parse().unwrap(),
    };
    let error = refused(&claim, error);
    let said = format!("{} ({}): {error}", error.reason(), error.code());
    assert_eq!(said, expected);
}

#[test]
fn each_way_not_to_get_a_claim_has_its_words() {
    check(
        answer(404),
        "ClaimGone (claim_gone): claim shop/cart does not exist any more: the pod that uses it has \
         to be made anew, with its claim",
    );
    check(
        answer(403),
        "ClaimReadDenied (claim_read_denied): the API server does not let netclaim read claim \
         shop/cart: no; grant get on resourceclaims.resource.k8s.io to netclaim's service account",
    );
    check(
        kube::Error::LinesCodecMaxLineLengthExceeded,
        "APIServerUnreachable (api_server_unreachable): the API server did not give claim \
         shop/cart: Error finding newline character; the kubelet tries again",
    );
}

#[test]
fn a_pod_names_its_claims_however_it_came_to_them() {
    let metadata = serde_json::json!({"namespace": "shop", "uid": "one"});
    let claims = |pod| serde_json::from_value::<pod::Pod>(pod).unwrap().claims();
    let pod = serde_json::json!({
        "metadata": metadata,
        "spec": {"resourceClaims": [
            {"name": "a", "resourceClaimName": "own"}, {"name": "b", "resourceClaimTemplateName": "t"}
        ]},
        "status": {
            "resourceClaimStatuses": [
                {"name": "b", "resourceClaimName": "made"}, {"name": "c"}
            ],
            "extendedResourceClaimStatus": {"resourceClaimName": "extended", "requestMappings": []}
        }
    });
    assert_eq!(
        claims(pod).iter().collect::<Vec<_>>(),
        ["extended", "made", "own"]
    );
    assert!(claims(serde_json::json!({"metadata": metadata})).is_empty());
}
