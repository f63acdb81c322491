use tokio::{sync::oneshot, time::timeout};

use super::*;

/// Longer than a look at a seat takes, shorter than anybody's patience.
const SOON: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_seat_is_held_by_one_and_free_when_it_goes() {
    let folder = tempfile::tempdir().unwrap();
    let first = Seat::Active.take(folder.path()).await.unwrap();
    let mut second = Box::pin(Seat::Active.take(folder.path()));
    assert!(timeout(SOON, &mut second).await.is_err());
    drop(first);
    timeout(PATIENCE, second).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_kubelet_knows_the_next_before_the_first_leaves_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let first = Seats::try_take(&path).unwrap().unwrap();
    assert!(Seats::try_take(&path).unwrap().is_none());

    let (call, mut called) = oneshot::channel();
    let (registered, known) = oneshot::channel();
    let second = tokio::spawn(async move {
        let register = async move |standby| {
            call.send(()).unwrap();
            tokio::spawn(async {
                known.await.unwrap();
                drop(standby);
            });
        };
        Seats::take(&path, register).await.unwrap()
    });
    // It is not called as long as the first serves.
    assert!(timeout(SOON, &mut called).await.is_err());

    let mut leaving = Box::pin(first.call_next(PATIENCE));
    assert!(timeout(SOON, &mut leaving).await.is_err());
    called.await.unwrap();
    registered.send(()).unwrap();
    let active = timeout(PATIENCE / 2, leaving).await.unwrap();
    assert!(!second.is_finished());
    drop(active);
    timeout(PATIENCE, second).await.unwrap().unwrap();
}

#[tokio::test]
async fn nobody_is_waited_for_where_nobody_stands_by() {
    let folder = tempfile::tempdir().unwrap();
    let only = Seats::try_take(folder.path()).unwrap().unwrap();
    timeout(PATIENCE / 2, only.call_next(PATIENCE))
        .await
        .unwrap();
}

#[tokio::test]
async fn one_that_is_never_registered_is_not_waited_for_long() {
    let folder = tempfile::tempdir().unwrap();
    let only = Seats::try_take(folder.path()).unwrap().unwrap();
    let _standby = Seat::Standby.take(folder.path()).await.unwrap();
    timeout(PATIENCE, only.call_next(SOON)).await.unwrap();
}
