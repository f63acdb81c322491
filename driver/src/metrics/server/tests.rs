use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::*;
use crate::{api::ApiCounters, observe::tests::Stage};

#[tokio::test]
async fn a_scraper_gets_the_format_it_asks_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stage = Stage::new();
    let (metrics, health) = (
        Arc::new(Metrics::new(ApiCounters::new())),
        Health::new(["kubelet"]),
    );
    let stop = CancellationToken::new();
    let served = serve(
        listener,
        metrics,
        stage.view(),
        Arc::clone(&health),
        stop.clone(),
    );
    let served = tokio::spawn(served);

    let newer = get(
        address,
        "metrics",
        "Accept: application/openmetrics-text; version=1.0.0",
    )
    .await;
    assert!(newer.starts_with("HTTP/1.0 200"), "{newer}");
    assert!(
        newer.contains(OPENMETRICS) && newer.ends_with("# EOF\n"),
        "{newer}"
    );
    let older = get(address, "metrics", "Accept: */*").await;
    assert!(older.contains(PLAIN) && !older.contains("# EOF"), "{older}");
    let series =
        "netclaim_interface_up{claim_uid=\"claim-uid-1\",pod_uid=\"pod-uid-1\",interface=\"net1\"}";
    assert!(
        !older.contains(series),
        "an unknown link is not down: {older}"
    );
    assert!(older.contains("netclaim_claim_interface_info{"), "{older}");

    assert!(
        get(address, "healthz", "Accept: */*")
            .await
            .ends_with("ok\n")
    );
    let starting = get(address, "readyz", "Accept: */*").await;
    assert!(starting.starts_with("HTTP/1.0 503"), "{starting}");
    health.set("kubelet", Ok(()));
    assert!(
        get(address, "readyz", "Accept: */*")
            .await
            .starts_with("HTTP/1.0 200")
    );

    stop.cancel();
    served.await.unwrap().unwrap();
}

async fn get(address: SocketAddr, page: &str, header: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET /{page} HTTP/1.0\r\n{header}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    reply
}
