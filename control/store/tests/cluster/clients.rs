//! Tools that write and read over a stream.

use bytes::Bytes;
use pal_store::peer::{Client, Committed};
use pal_store::{Guard, Key, Op, Peer, Revision, Store, StoreError, Txn};
use tokio::task::{JoinHandle, JoinSet};

use crate::cluster::{Cluster, put};

async fn connect(store: &Store) -> (Client, JoinHandle<()>) {
    let (near, far) = tokio::io::duplex(1 << 16);
    let store = store.clone();
    let serving = tokio::spawn(async move {
        // The client's end is the stream's.
        let _ = store.accept(Peer::Client("admin".to_owned()), far).await;
    });
    (Client::connect(near, None).await.unwrap(), serving)
}

#[tokio::test]
async fn a_tool_writes_and_reads_and_is_told_what_went_wrong() {
    let cluster = Cluster::of(1).await;
    let store = cluster.store(0);
    let (client, serving) = connect(store).await;
    assert_eq!((client.cluster(), client.server()), (store.identity().cluster.as_str(), store.identity().server));
    let txn = Txn { guards: vec![Guard::Absent("x/1".into())], ops: vec![put("x/1", "v")] };
    assert_eq!(client.commit(txn.clone()).await.unwrap(), Committed::At(Revision(1)));
    assert_eq!(client.commit(txn).await.unwrap(), Committed::Refused { guard: 0 });
    let found = client.get(Key::from("x/1")).await.unwrap().unwrap();
    assert_eq!((found.value, found.modified), (Bytes::from_static(b"v"), Revision(1)));
    assert_eq!(client.get(Key::from("x/2")).await.unwrap(), None);
    let twice = Txn::of(vec![put("x/1", ""), put("x/1", "")]);
    assert!(matches!(client.commit(twice).await, Err(StoreError::Invalid(_))));
    for (mebibytes, expected) in [(9, 8), (13, 12), (100, 12)] {
        let large = Op::Put { key: "x/1".into(), value: vec![0; mebibytes << 20].into(), revision_at: None };
        let refused = client.commit(Txn::of(vec![large])).await;
        assert!(matches!(refused, Err(StoreError::TooLarge { limit, .. }) if limit == expected << 20), "{refused:?}");
    }
    store.close().await;
    serving.await.unwrap();
    assert!(matches!(client.get(Key::from("x/1")).await, Err(StoreError::Unreachable(_))));
    assert!(client.ended().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_share_a_connection_to_each_server() {
    const TASKS: usize = 40;
    const WRITES: usize = 10;
    let cluster = Cluster::of(3).await;
    let mut tasks = JoinSet::new();
    for which in 0..3 {
        let (client, _serving) = connect(cluster.store(which)).await;
        for task in 0..TASKS {
            let client = client.clone();
            tasks.spawn(async move {
                let key = format!("x/{which}-{task}");
                let mut last = Revision(0);
                for turn in 0..WRITES {
                    let txn = Txn::of(vec![put(&key, &turn.to_string())]);
                    let Committed::At(revision) = client.commit(txn).await.unwrap() else { panic!("refused") };
                    assert!(revision > last);
                    last = revision;
                    let found = client.get(Key::from(key.as_str())).await.unwrap().unwrap();
                    assert_eq!((found.modified, found.value.as_ref()), (revision, turn.to_string().as_bytes()));
                }
            });
        }
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!(cluster.agree(&[0, 1, 2]).await, Revision((3 * TASKS * WRITES) as u64));
}

#[tokio::test]
async fn the_last_clone_closes_the_connection() {
    let cluster = Cluster::of(1).await;
    let (client, serving) = connect(cluster.store(0)).await;
    drop(client.clone());
    assert!(client.get(Key::from("x/1")).await.is_ok());
    drop(client);
    serving.await.unwrap();
}
