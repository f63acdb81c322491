use tokio::io::{AsyncReadExt as _, duplex};

use super::*;
use crate::api::{Container, PodSandbox};
use crate::{Refusal, Runtime};

struct Idle;

impl Plugin for Idle {
    async fn configure(&self, _: Runtime) -> Result<(), Refusal> {
        Ok(())
    }
    async fn synchronize(&self, _: Vec<PodSandbox>, _: Vec<Container>) -> Result<(), Refusal> {
        Ok(())
    }
    async fn run_pod_sandbox(&self, _: PodSandbox) -> Result<(), Refusal> {
        Ok(())
    }
    async fn stop_pod_sandbox(&self, _: PodSandbox) -> Result<(), Refusal> {
        Ok(())
    }
    async fn remove_pod_sandbox(&self, _: PodSandbox) -> Result<(), Refusal> {
        Ok(())
    }
    async fn create_container(&self, _: PodSandbox, _: Container) -> Result<(), Refusal> {
        Ok(())
    }
    async fn shutdown(&self) {}
}

#[test]
fn a_registration_is_what_every_runtime_accepts() {
    fn check(name: &str, index: u8, expected: Result<&str, RegistrationError>) {
        let registration = Registration::new(name, index).map(|valid| valid.to_string());
        assert_eq!(registration, expected.map(str::to_owned));
    }
    check("net-claim_0.1+x", 7, Ok("07-net-claim_0.1+x"));
    check("n", 99, Ok("99-n"));
    check("n", 100, Err(RegistrationError::Index(100)));
    for name in ["", "net/claim", "net claim", "nété"] {
        check(name, 10, Err(RegistrationError::Name(name.to_owned())));
    }
}

/// Written by hand from `mux.go`, `channel.go`, `request.proto` and `api.proto`, so that an error
/// that both of our sides share is seen.
#[tokio::test]
async fn the_first_bytes_of_a_session_are_a_registration() {
    let (ours, mut theirs) = duplex(4096);
    let registration = Registration::new("demo", 5).expect("valid");
    tokio::spawn(async move { serve(ours, Arc::new(Idle), &registration).await });
    let expected = [
        &b"\0\0\0\x02\0\0\0\x53"[..],
        b"\0\0\0\x49\0\0\0\x01\x01\0",
        b"\x0a\x1cnri.pkg.api.v1alpha1.Runtime",
        b"\x12\x0eRegisterPlugin",
        b"\x1a\x13\x0a\x04demo\x12\x0205\x1a\x07v0.12.2",
        b"\x20\x80\xe4\x97\xd0\x12", // 5 s
    ]
    .concat();
    let mut wire = vec![0; expected.len()];
    theirs.read_exact(&mut wire).await.expect("a registration");
    assert_eq!(wire, expected, "{}", wire.escape_ascii());
}

#[tokio::test]
async fn a_missing_socket_is_named() {
    let error = connect("/nonexistent/nri.sock")
        .await
        .expect_err("there is none");
    let text = error.to_string();
    assert!(
        text.contains("/nonexistent/nri.sock") && text.contains("NRI enabled"),
        "{text}"
    );
}
