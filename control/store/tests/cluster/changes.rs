//! Servers that come and go for good.

use pal_store::{Member, Role, ServerId, Standing, StoreError};

use crate::cluster::{Cluster, commit, eventually, read};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_joins_under_load_ends_with_the_same_content() {
    let mut cluster = Cluster::of(1).await;
    let store = cluster.store(0).clone();
    let writer = tokio::spawn({
        let store = store.clone();
        async move {
            for turn in 0..300 {
                commit(&store, &format!("x/{}", turn % 50), &turn.to_string()).await;
            }
        }
    });
    cluster.join().await;
    cluster.join().await;
    writer.await.unwrap();
    cluster.agree(&[0, 1, 2]).await;
    let digest = |which: usize| -> Vec<_> {
        let snapshot = cluster.store(which).applied();
        snapshot.range("", None).map(|entry| (entry.key().clone(), entry.modified())).collect()
    };
    assert_eq!(digest(0).len(), 50);
    assert!(digest(1) == digest(0) && digest(2) == digest(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_server_says_so_and_the_others_go_on() {
    let mut cluster = Cluster::of(3).await;
    for removed in [cluster.follower().await, cluster.leader().await] {
        let gone = cluster.store(removed).clone();
        let others: Vec<usize> =
            (0..3).filter(|which| *which != removed && cluster.servers[*which].store.is_some()).collect();
        cluster.store(others[0]).remove_member(cluster.id(removed)).await.unwrap();
        let mut roles = gone.roles();
        tokio::time::timeout(crate::cluster::LIMIT, roles.wait_for(|role| *role == Role::Removed))
            .await
            .unwrap()
            .unwrap();
        assert!(matches!(gone.commit(Default::default()).await, Err(StoreError::Removed)));
        commit(cluster.store(others[0]), "x/1", "v").await;
        let again = Member { id: cluster.id(removed), name: "z".to_owned(), address: "z:1".to_owned() };
        assert!(cluster.store(others[0]).add_member(again).await.is_err(), "an id never comes back");
        cluster.close(removed).await;
        if others.len() == 1 {
            let last = cluster.store(others[0]);
            let refused = last.remove_member(cluster.id(others[0])).await;
            assert!(matches!(refused, Err(StoreError::LastVoter(_))), "{refused:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_server_goes_on_alone_each_time_another_is_removed() {
    let mut cluster = Cluster::of(1).await;
    for turn in 0..5 {
        let joined = cluster.join().await;
        let gone = cluster.store(joined).clone();
        cluster.store(0).remove_member(cluster.id(joined)).await.unwrap();
        // As a server stops that knows that it was removed.
        let mut roles = gone.roles();
        let told = roles.wait_for(|role| *role == Role::Removed);
        tokio::time::timeout(crate::cluster::LIMIT, told).await.unwrap().unwrap();
        cluster.close(joined).await;
        commit(cluster.store(0), "x/1", &turn.to_string()).await;
        assert_eq!(cluster.store(0).membership().members.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_removed_while_it_was_away_learns_of_it_when_it_comes_back() {
    let mut cluster = Cluster::of(3).await;
    let away = cluster.follower().await;
    let id = cluster.id(away);
    cluster.close(away).await;
    let leader = cluster.leader().await;
    let removed = cluster.store(leader).remove_member(id).await;
    assert!(removed.is_ok(), "{removed:?}: {:#?}", cluster.store(leader).membership());
    let store = cluster.start(away).await;
    eventually("the removal is known", || match store.role() {
        Role::Removed => Ok(()),
        role => Err(role),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_makes_no_sense_is_refused_wherever_it_is_asked() {
    let cluster = Cluster::of(3).await;
    let nobody = ServerId::random();
    for which in 0..3 {
        let store = cluster.store(which);
        let member =
            |name: &str, address: &str| Member { id: nobody, name: name.to_owned(), address: address.to_owned() };
        let refused = store.add_member(member("a", "z:1")).await;
        assert!(matches!(refused, Err(StoreError::MemberExists { .. })), "{refused:?}");
        let refused = store.add_member(member("z", "b:1")).await;
        assert!(matches!(refused, Err(StoreError::MemberExists { .. })), "{refused:?}");
        let refused = store.remove_member(nobody).await;
        assert!(matches!(refused, Err(StoreError::NotMember(id)) if id == nobody), "{refused:?}");
        let refused = store.transfer_leader(nobody).await;
        assert!(matches!(refused, Err(StoreError::NotMember(id)) if id == nobody), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_goes_where_it_is_sent_by_any_server() {
    let cluster = Cluster::of(3).await;
    for to in [1, 2, 0] {
        let asked = cluster.store((to + 1) % 3);
        asked.transfer_leader(cluster.id(to)).await.unwrap();
        eventually("it leads", || match cluster.store(to).role() {
            Role::Leader => Ok(()),
            role => Err(role),
        })
        .await;
        commit(cluster.store((to + 2) % 3), "x/1", &to.to_string()).await;
        assert_eq!(read(cluster.store(to), "x/1").await, Some(to.to_string()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_servers_can_be_replaced_one_after_the_other() {
    let mut cluster = Cluster::of(3).await;
    commit(cluster.store(0), "x/1", "v").await;
    for old in 0..3 {
        let new = cluster.join().await;
        let id = cluster.id(old);
        cluster.store(new).remove_member(id).await.unwrap();
        cluster.close(old).await;
        commit(cluster.store(new), "x/new", &new.to_string()).await;
    }
    let members = cluster.store(5).membership().members;
    assert_eq!(members.len(), 3);
    assert!(members.iter().all(|member| member.standing == Standing::Voter));
    assert_eq!(read(cluster.store(4), "x/1").await.as_deref(), Some("v"));
}
