//! Servers that go, come back, fall behind, or lose what they had.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pal_store::{Role, Store, StoreConfig, StoreError, Timing, Txn, WatchError};

use crate::cluster::{Cluster, LIMIT, commit, eventually, put, read};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_go_on_when_the_leader_goes_while_they_are_written() {
    let mut cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    let others: Vec<usize> = (0..3).filter(|which| *which != leader).collect();
    let enough = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = others
        .iter()
        .map(|which| {
            let (store, enough, which) = (cluster.store(*which).clone(), enough.clone(), *which);
            tokio::spawn(async move {
                let mut turn = 0;
                while !enough.load(Ordering::Relaxed) {
                    commit(&store, &format!("x/{which}"), &turn.to_string()).await;
                    turn += 1;
                }
                turn
            })
        })
        .collect();
    let before = cluster.store(others[0]).applied().revision();
    cluster.close(leader).await;
    let next = cluster.leader_among(&others).await;
    let moved = cluster.store(next).applied().revision();
    assert!(moved >= before);
    eventually("writes behind the old leader's", || {
        let revision = cluster.store(next).applied().revision();
        if revision.0 > moved.0 + 20 { Ok(()) } else { Err(revision) }
    })
    .await;
    enough.store(true, Ordering::Relaxed);
    let mut written = Vec::new();
    for writer in writers {
        written.push(writer.await.unwrap());
    }
    for (which, turns) in others.iter().zip(written) {
        let last: u64 = turns - 1;
        assert_eq!(read(cluster.store(next), &format!("x/{which}")).await, Some(last.to_string()));
    }
    cluster.start(leader).await;
    cluster.agree(&[0, 1, 2]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_steps_down_and_neither_writes_nor_reads() {
    let cluster = Cluster::of(3).await;
    commit(cluster.store(0), "x/1", "before").await;
    let leader = cluster.leader().await;
    let others: Vec<usize> = (0..3).filter(|which| *which != leader).collect();
    cluster.isolate(leader);
    let next = cluster.leader_among(&others).await;
    commit(cluster.store(next), "x/1", "after").await;
    eventually("the old leader steps down", || match cluster.store(leader).role() {
        Role::Leader => Err("it leads"),
        _ => Ok(()),
    })
    .await;
    let stale = tokio::time::timeout(LIMIT, cluster.store(leader).consistent()).await.unwrap();
    assert!(matches!(stale, Err(StoreError::NoLeader)), "{:?}", stale.map(|snapshot| snapshot.revision()));
    assert_eq!(cluster.store(leader).applied().get("x/1").unwrap().value(), b"before".as_ref());
    cluster.net.heal();
    assert_eq!(read(cluster.store(leader), "x/1").await.as_deref(), Some("after"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_held_back_one_way_is_given_up_and_dialled_anew() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    let follower = (leader + 1) % 3;
    cluster.net.cut(cluster.id(leader), cluster.id(follower));
    let others: Vec<usize> = (0..3).filter(|which| *which != follower).collect();
    let revision = commit(cluster.store(others[0]), "x/1", "v").await;
    assert!(cluster.store(follower).applied().revision() < revision);
    cluster.net.heal();
    cluster.agree(&[0, 1, 2]).await;
    assert_eq!(read(cluster.store(follower), "x/1").await.as_deref(), Some("v"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_was_away_for_long_is_sent_the_whole_state() {
    let mut cluster = Cluster::with(3, |config| StoreConfig { persist_bytes: 1, segment_bytes: 0, ..config }).await;
    let leader = cluster.leader().await;
    let away = (leader + 1) % 3;
    commit(cluster.store(leader), "x/before", "v").await;
    cluster.close(away).await;
    // More than a leader keeps for those that are behind.
    let value = "x".repeat(4 << 20);
    for turn in 0..20 {
        commit(cluster.store(leader), &format!("x/{}", turn % 3), &value).await;
    }
    commit(cluster.store(leader), "x/last", "v").await;
    let store = cluster.start(away).await;
    let watch = store.watch("x/", store.applied().revision());
    cluster.agree(&[0, 1, 2]).await;
    let watched = match watch {
        Ok(mut watcher) => watcher.next().await,
        Err(error) => Err(error),
    };
    let replaced = matches!(watched, Err(WatchError::Lagged | WatchError::Compacted { .. }));
    assert!(replaced, "it was sent the log: {:?}", watched.map(|event| event.revision));
    let content = |which: usize| -> Vec<_> {
        let snapshot = cluster.store(which).applied();
        snapshot
            .range("", None)
            .map(|entry| (entry.key().to_string(), entry.value().clone(), entry.modified()))
            .collect()
    };
    assert_eq!(content(away), content(leader));
    assert_eq!(read(cluster.store(away), "x/last").await.as_deref(), Some("v"));
    commit(cluster.store(away), "x/after", "v").await;
    cluster.close(away).await;
    cluster.start(away).await;
    assert_eq!(read(cluster.store(away), "x/after").await.as_deref(), Some("v"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_writes_are_not_acknowledged_and_reads_are_refused() {
    let mut cluster = Cluster::of(3).await;
    commit(cluster.store(0), "x/1", "v").await;
    cluster.close(2).await;
    cluster.close(1).await;
    let store = cluster.store(0).clone();
    // For a moment after the others went, a leader may still know that nobody else leads.
    let refused = async {
        while store.consistent().await.is_ok() {
            tokio::task::yield_now().await;
        }
        store.consistent().await
    };
    let refused = tokio::time::timeout(LIMIT, refused).await.unwrap();
    assert!(matches!(refused, Err(StoreError::NoLeader)), "{:?}", refused.map(|snapshot| snapshot.revision()));
    let writing = tokio::spawn({
        let store = store.clone();
        async move { store.commit(Txn::of(vec![put("x/2", "v")])).await }
    });
    assert_eq!(store.applied().get("x/1").unwrap().value(), b"v".as_ref());
    let ended = tokio::time::timeout(LIMIT, writing).await.unwrap().unwrap();
    assert!(matches!(ended, Err(StoreError::NoLeader | StoreError::Unknown)), "{ended:?}");
    cluster.start(1).await;
    commit(&store, "x/3", "v").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_whose_data_is_gone_is_refused_under_its_old_identity() {
    let mut cluster = Cluster::of(3).await;
    commit(cluster.store(0), "x/1", "v").await;
    let wiped = cluster.follower().await;
    let others: Vec<usize> = (0..3).filter(|which| *which != wiped).collect();
    cluster.close(wiped).await;
    std::fs::remove_dir_all(cluster.dir(wiped)).unwrap();
    // Whoever starts it says that it joins, as at its first start.
    cluster.servers[wiped].member.name = format!("{}-again", cluster.servers[wiped].member.name);
    let blank = cluster.start(wiped).await.clone();
    for turn in 0..30 {
        commit(cluster.store(others[0]), &format!("x/{turn}"), "v").await;
    }
    eventually("it knows", || match blank.failure() {
        Some(StoreError::Wiped) => Ok(()),
        other => Err(other),
    })
    .await;
    // Its vote would be needed now, and it does not give it.
    let leader = cluster.leader_among(&others).await;
    let left = others.iter().copied().find(|which| *which != leader).unwrap();
    cluster.close(leader).await;
    let refused = tokio::time::timeout(LIMIT, cluster.store(left).consistent()).await.unwrap();
    assert!(matches!(refused, Err(StoreError::NoLeader)), "{:?}", refused.map(|snapshot| snapshot.revision()));
    assert_eq!(blank.applied().revision().0, 0);
    assert_ne!(cluster.store(left).role(), Role::Leader);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_has_moved_is_found_again() {
    let mut cluster = Cluster::of(3).await;
    let moved = cluster.follower().await;
    cluster.close(moved).await;
    cluster.servers[moved].member.address = "elsewhere:1".to_owned();
    cluster.start(moved).await;
    commit(cluster.store(moved), "x/1", "v").await;
    eventually("the new address", || {
        let seen: Vec<_> = cluster.running().map(Store::membership).collect();
        let knows = |membership: &pal_store::Membership| {
            membership.members.iter().any(|known| known.member == cluster.servers[moved].member)
        };
        if seen.iter().all(knows) { Ok(()) } else { Err(seen) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_whose_log_is_gone_does_not_start() {
    let mut cluster = Cluster::of(3).await;
    commit(cluster.store(0), "x/1", "v").await;
    // The founder among them, which must not found anew.
    for which in 0..3 {
        cluster.close(which).await;
        for part in ["log", "state"] {
            std::fs::remove_dir_all(cluster.dir(which).join(part)).unwrap();
            let refused = cluster.try_start(which).await.err().map(|error| error.to_string()).unwrap_or_default();
            let expected = format!("{}: the log is missing; ", cluster.dir(which).join("log").display());
            assert!(refused.starts_with(&expected), "{refused:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_clock_is_kept() {
    let cluster = Cluster::with(3, |config| StoreConfig {
        timing: Timing { tick: Duration::from_millis(50), heartbeat_ticks: 3, election_ticks: 12 },
        ..config
    })
    .await;
    commit(cluster.store(1), "x/1", "v").await;
    assert_eq!(read(cluster.store(2), "x/1").await.as_deref(), Some("v"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_vanishes_is_replaced_soon() {
    const ROUNDS: usize = 12;
    let cluster = Cluster::of(3).await;
    let mut waits = Vec::new();
    for round in 0..ROUNDS {
        let leader = cluster.leader().await;
        let others: Vec<usize> = (0..3).filter(|which| *which != leader).collect();
        commit(cluster.store(others[round % 2]), "x/1", "v").await;
        cluster.isolate(leader);
        let cut = Instant::now();
        commit(cluster.store(others[round % 2]), "x/1", "v").await;
        waits.push(cut.elapsed());
        cluster.net.heal();
        cluster.agree(&[0, 1, 2]).await;
    }
    waits.sort();
    println!("written again after {waits:.0?}");
    // With the default clock it takes 300 to 600 ms and an election; the rest is for a machine that is busy.
    assert!(waits[ROUNDS / 2] < Duration::from_millis(1500), "{waits:.0?}");
}
