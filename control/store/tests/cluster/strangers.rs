//! Streams that do not keep to the protocol are closed with a reason, and nobody else notices.

use std::time::Duration;

use pal_store::{Peer, PeerError, Store};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::cluster::{Cluster, LIMIT, commit, read};

/// What a stream with these bytes comes to, and what is sent back before it is closed.
async fn send(store: &Store, peer: Peer, bytes: &[u8], ends: bool) -> (Result<(), PeerError>, Vec<u8>) {
    let (mut near, far) = tokio::io::duplex(1 << 20);
    let serving = tokio::spawn({
        let store = store.clone();
        async move { store.accept(peer, far).await }
    });
    near.write_all(bytes).await.unwrap();
    if ends {
        near.shutdown().await.unwrap();
    }
    let mut answer = Vec::new();
    tokio::time::timeout(LIMIT, near.read_to_end(&mut answer)).await.unwrap().unwrap();
    (serving.await.unwrap(), answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_ends_its_own_stream_only() {
    let cluster = Cluster::of(3).await;
    let store = cluster.store(0);
    let server = || Peer::Server(cluster.id(1));
    let check = async |bytes: &[u8], ends: bool, expected: &str| {
        let (ended, answer) = send(store, server(), bytes, ends).await;
        let error = ended.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(expected), "{bytes:?}: {error}");
        assert!(answer.len() < 4096, "{bytes:?}: {} bytes came back", answer.len());
    };
    check(b"GET / HTTP/1.1\r\n\r\n", false, "over the limit of 4096").await;
    check(&[0; 100], false, "a frame without a kind").await;
    check(&[9, 0, 0, 0, 200], false, "the unknown kind 200").await;
    check(&[1, 0, 0, 0, 6], false, "does not belong here").await;
    check(&[9, 0, 0, 0, 1, 1], true, "ended within a frame").await;
    check(&[3, 0, 0, 0, 1, 1, 9], false, "an unknown purpose").await;
    check(&[5, 0, 0], false, "nothing came for").await;
    check(&[], true, "closed the stream").await;
    for which in 0..3 {
        commit(cluster.store(which), "x/1", &which.to_string()).await;
        assert_eq!(read(cluster.store(which), "x/1").await, Some(which.to_string()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_another_cluster_is_refused_with_the_reason() {
    let one = Cluster::of(1).await;
    let other = Cluster::of(1).await;
    let (near, far) = tokio::io::duplex(1 << 16);
    let store = one.store(0).clone();
    let serving = tokio::spawn(async move { store.accept(Peer::Client("admin".to_owned()), far).await });
    let cluster = other.store(0).identity().cluster.clone();
    let refused = pal_store::peer::Client::connect(near, Some(&cluster)).await.err().unwrap().to_string();
    assert!(refused.contains("another cluster"), "{refused}");
    let ended = tokio::time::timeout(Duration::from_secs(5), serving).await.unwrap().unwrap();
    assert!(matches!(ended, Err(PeerError::Refused(pal_store::Refused::OtherCluster))), "{ended:?}");
}
