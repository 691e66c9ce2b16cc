//! Streams that do not keep to the protocol are closed with a reason, and nobody else notices.

use std::time::Duration;

use pal_store::{Peer, PeerError, ServerId, Store};
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

/// A frame.
fn frame(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = (content.len() as u32 + 1).to_le_bytes().to_vec();
    bytes.push(kind);
    bytes.extend_from_slice(content);
    bytes
}

fn number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// The greeting of a server, or of a tool.
fn hello(version: u64, purpose: u8, cluster: &str, from: ServerId, to: ServerId) -> Vec<u8> {
    let mut content = Vec::new();
    number(&mut content, version);
    content.push(purpose);
    number(&mut content, cluster.len() as u64);
    content.extend_from_slice(cluster.as_bytes());
    number(&mut content, from.0);
    content.extend_from_slice(&[0, 0]);
    number(&mut content, to.0);
    content.push(0);
    frame(1, &content)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_greets_well_and_goes_on_badly_is_told_so_and_the_cluster_goes_on() {
    const MEMBER: u8 = 0;
    const SNAPSHOT: u8 = 1;
    const CLIENT: u8 = 2;
    let cluster = Cluster::of(3).await;
    let store = cluster.store(0);
    let (me, other) = (cluster.id(0), cluster.id(1));
    let name = store.identity().cluster.as_str();
    let check = async |peer: Peer, hello: Vec<u8>, rest: &[u8], expected: &str| {
        let (ended, answer) = send(store, peer, &[hello.as_slice(), rest].concat(), false).await;
        let error = ended.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(expected), "{error}");
        // Its last frame says why.
        let kinds: Vec<u8> = frames(&answer).into_iter().filter(|kind| *kind != 4).collect();
        assert!(matches!(kinds.as_slice(), [2, 5] | [3]), "{kinds:?}: {error}");
    };
    let server = || Peer::Server(other);
    let tool = || Peer::Client("admin".to_owned());
    let good = |purpose: u8| hello(2, purpose, name, other, me);
    let long = [&(17u32 << 20).to_le_bytes()[..], &[6]].concat();
    check(server(), good(MEMBER), &long, "over the limit of 16777216").await;
    check(server(), good(MEMBER), &frame(6, &[0xff; 20]), "a message makes no sense").await;
    check(server(), good(MEMBER), &frame(6, &[]), "does not belong here").await;
    check(server(), good(MEMBER), &frame(12, &[]), "does not belong here").await;
    check(server(), good(MEMBER), &frame(7, &[9, 9]), "at odds with the protocol").await;
    check(server(), good(SNAPSHOT), &frame(9, &[1]), "does not belong here").await;
    check(server(), good(SNAPSHOT), &frame(6, &[]), "this is no snapshot for this server").await;
    check(tool(), good(CLIENT), &frame(6, &[]), "does not belong here").await;
    check(tool(), good(CLIENT), &frame(12, &[]), "at odds with the protocol").await;
    check(tool(), good(MEMBER), &[], "its certificate does not allow this").await;
    check(server(), good(CLIENT), &[], "its certificate does not allow this").await;
    check(Peer::Server(cluster.id(2)), good(MEMBER), &[], "its certificate does not allow this").await;
    check(server(), hello(9, MEMBER, name, other, me), &[], "another version of the protocol").await;
    check(server(), hello(2, MEMBER, name, other, other), &[], "not known here").await;
    for which in 0..3 {
        commit(cluster.store(which), "x/1", &which.to_string()).await;
        assert_eq!(read(cluster.store(which), "x/1").await, Some(which.to_string()));
    }
}

/// The kinds of the frames.
fn frames(mut bytes: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        kinds.push(rest[0]);
        bytes = &rest[u32::from_le_bytes(*length) as usize..];
    }
    kinds
}
