use super::*;

#[tokio::test]
async fn an_instance_says_what_it_still_waits_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("health.sock");
    let error = ask(&path, true).await.unwrap_err().to_string();
    assert!(
        error.ends_with("does netclaim run on this node?"),
        "{error}"
    );

    let health = Health::new(["kubelet", "runtime"]);
    let stop = CancellationToken::new();
    let served = serve(&path, Arc::clone(&health), stop.clone())
        .await
        .unwrap();
    let served = tokio::spawn(served);
    assert!(ask(&path, false).await.unwrap().well);

    health.set("kubelet", Ok(()));
    health.set("runtime", Err("NRI is disconnected".to_owned()));
    let words = "[+] kubelet\n[-] runtime: NRI is disconnected\n".to_owned();
    assert_eq!(
        ask(&path, true).await.unwrap(),
        Answer { well: false, words }
    );

    health.set("runtime", Ok(()));
    assert!(ask(&path, true).await.unwrap().well);

    stop.cancel();
    served.await.unwrap().unwrap();
    assert!(!path.exists());
}
