//! Any server answers any request.

use pal_store::{Guard, Outcome, Revision, Role, StoreError, Txn};
use tokio::task::JoinSet;

use crate::cluster::{Cluster, commit, eventually, put, read};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_servers_form_by_joining_and_each_takes_writes_that_it_reads_back_at_once() {
    let cluster = Cluster::of(3).await;
    for (which, key) in ["x/0", "x/1", "x/2"].into_iter().enumerate() {
        let store = cluster.store(which);
        let revision = commit(store, key, key).await;
        let entry = store.applied().get(key).cloned().unwrap();
        assert_eq!((entry.modified(), entry.value().as_ref()), (revision, key.as_bytes()));
        for other in 0..3 {
            assert_eq!(read(cluster.store(other), key).await.as_deref(), Some(key), "server {other}");
        }
    }
    let leaders = cluster.running().filter(|store| store.role() == Role::Leader).count();
    assert_eq!(leaders, 1);
    let leader = cluster.leader().await;
    let mut expected: Vec<_> = cluster.servers.iter().map(|server| server.member.clone()).collect();
    expected.sort_by_key(|member| member.id);
    for which in 0..3 {
        let membership = eventually("all are known", || {
            let membership = cluster.store(which).membership();
            let members: Vec<_> = membership.members.iter().map(|status| status.member.clone()).collect();
            if members == expected { Ok(membership) } else { Err(members) }
        })
        .await;
        assert_eq!((membership.me, membership.leader), (cluster.id(which), Some(cluster.id(leader))));
        let known = membership.members.iter().filter(|status| status.progress.is_some()).count();
        assert_eq!(known, if which == leader { 3 } else { 0 }, "only the leader knows how far the others are");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guards_hold_through_a_follower_and_its_errors_come_back() {
    let cluster = Cluster::of(3).await;
    let follower = cluster.store(cluster.follower().await);
    let created = Txn { guards: vec![Guard::Absent("x/1".into())], ops: vec![put("x/1", "first")] };
    let Ok(Outcome::Committed { revision, entries }) = follower.commit(created.clone()).await else {
        panic!("not committed")
    };
    assert_eq!(entries[0].as_ref().map(|entry| entry.modified()), Some(revision));
    let Ok(Outcome::Refused { guard: 0, current: Some(current) }) = follower.commit(created).await else {
        panic!("not refused")
    };
    assert_eq!(current.modified(), revision);
    let twice = Txn::of(vec![put("x/1", ""), put("x/1", "")]);
    assert!(matches!(follower.commit(twice).await, Err(StoreError::Invalid(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_through_all_servers_at_once_are_each_done_once() {
    const CLIENTS: usize = 12;
    const WRITES: usize = 30;
    let cluster = Cluster::of(3).await;
    let mut writers = JoinSet::new();
    for client in 0..CLIENTS {
        let store = cluster.store(client % 3).clone();
        writers.spawn(async move {
            for turn in 0..WRITES {
                let (key, value) = (format!("x/{client}"), turn.to_string());
                commit(&store, &key, &value).await;
                assert_eq!(read(&store, &key).await, Some(value));
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    let revision = cluster.agree(&[0, 1, 2]).await;
    assert_eq!(revision, Revision((CLIENTS * WRITES) as u64));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_goes_on_at_another_server_without_a_gap_or_a_repeat() {
    const EVENTS: u64 = 60;
    let cluster = Cluster::of(3).await;
    let writer = cluster.store(0).clone();
    let writing = tokio::spawn(async move {
        for turn in 0..EVENTS {
            commit(&writer, &format!("x/{}", turn % 7), "v").await;
        }
    });
    let (mut seen, mut after) = (Vec::new(), Revision(0));
    // Each server delivers a few events, then the next one goes on from there.
    for turn in 0.. {
        let mut watcher = cluster.store(turn % 3).watch("x/", after).unwrap();
        for _ in 0..5 {
            if seen.len() as u64 == EVENTS {
                break;
            }
            seen.push(watcher.next().await.unwrap().revision.0);
        }
        after = watcher.revision();
        if seen.len() as u64 == EVENTS {
            break;
        }
    }
    assert_eq!(seen, (1..=EVENTS).collect::<Vec<_>>());
    writing.await.unwrap();
}
