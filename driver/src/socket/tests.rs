use super::*;

#[tokio::test]
async fn a_dead_socket_is_replaced_and_ours_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.sock");
    drop(UnixListener::bind(&path).unwrap());
    let (_listener, socket) = Socket::listen(&path, 0o660).await.unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    drop(socket);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_socket_that_is_served_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.sock");
    let _other = UnixListener::bind(&path).unwrap();
    let error = Socket::listen(&path, 0o600).await.unwrap_err();
    assert!(matches!(error, SocketError::InUse { .. }), "{error}");
    assert!(path.exists());
}

#[tokio::test]
async fn the_socket_of_a_successor_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.sock");
    let (_listener, socket) = Socket::listen(&path, 0o600).await.unwrap();
    // A link to the old inode, so that the new one cannot get its number.
    fs::hard_link(&path, folder.path().join("kept")).unwrap();
    fs::remove_file(&path).unwrap();
    let _successor = UnixListener::bind(&path).unwrap();
    drop(socket);
    assert!(path.exists());
}

#[tokio::test]
async fn what_is_no_socket_and_what_is_too_long_is_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.sock");
    fs::write(&file, "").unwrap();
    let error = Socket::listen(&file, 0o600).await.unwrap_err();
    assert!(
        error.to_string().ends_with("is no socket: move it away"),
        "{error}"
    );
    let below = file.join("b.sock");
    let error = Socket::listen(&below, 0o600).await.unwrap_err();
    let words = format!(
        "cannot make the folder of socket {}: File exists (os error 17); its folder must be there \
         for netclaim to write, as a mount that is not read-only",
        below.display()
    );
    assert_eq!(error.to_string(), words);
    let long = Path::new("/run").join("x".repeat(103));
    let error = Socket::listen(&long, 0o600).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("has 108 bytes, the kernel takes 107"),
        "{error}"
    );
}
