use super::*;
use crate::error::WatchError;
use crate::key::Key;
use crate::store::StoreConfig;
use crate::txn::{Op, Outcome, Txn};

fn config(dir: &Path) -> StoreConfig {
    StoreConfig { dir: dir.to_owned(), ..StoreConfig::default() }
}

fn put(key: &str, value: &str) -> Op {
    Op::Put { key: key.into(), value: Bytes::copy_from_slice(value.as_bytes()), revision_at: None }
}

async fn commit(store: &Store, op: Op) -> Revision {
    match store.commit(Txn::of(vec![op])).await.unwrap() {
        Outcome::Committed { revision, .. } => revision,
        Outcome::Refused { .. } => panic!("refused without a guard"),
    }
}

fn names(dir: &Path) -> Vec<String> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// A store with something in it, and its backup.
async fn saved(dir: &Path) -> (Identity, BackupInfo, Vec<u8>) {
    let store = Store::open(config(dir)).await.unwrap();
    for turn in 0..100 {
        commit(&store, put(&format!("a/{}", turn % 40), "some value")).await;
    }
    commit(&store, Op::Delete { key: "a/39".into() }).await;
    let backup = store.save(std::time::Duration::from_secs(1_700_000_000)).await.unwrap();
    // What comes later is not in it.
    commit(&store, put("a/1", "later")).await;
    let (identity, info) = (store.identity().clone(), backup.info().clone());
    let bytes = backup.flatten().collect();
    store.close().await;
    (identity, info, bytes)
}

#[tokio::test]
async fn a_restored_cluster_is_a_new_one_with_the_same_objects() {
    let dir = tempfile::tempdir().unwrap();
    let (identity, info, backup) = saved(&dir.path().join("first")).await;
    assert_eq!((info.revision, info.objects, &info.cluster), (Revision(101), 39, &identity.cluster));
    assert_eq!(Store::inspect(&*backup).unwrap(), info);

    let second = dir.path().join("deep/second");
    assert_eq!(Store::restore(&second, "b", "b:1", &*backup).unwrap(), info);
    for _ in 0..2 {
        let store = Store::open(config(&second)).await.unwrap();
        assert_ne!(store.identity().cluster, identity.cluster);
        assert_ne!(store.identity().server, identity.server);
        let snapshot = store.consistent().await.unwrap();
        assert_eq!(snapshot.len(), 39);
        let entry = snapshot.get(Key::from("a/1")).unwrap();
        assert_eq!((entry.value().as_ref(), entry.modified()), (b"some value".as_ref(), Revision(82)));
        store.close().await;
    }
}

#[tokio::test]
async fn a_restored_cluster_gives_no_revision_again_and_old_watches_begin_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (_, info, backup) = saved(&dir.path().join("first")).await;
    let second = dir.path().join("second");
    fs::create_dir(&second).unwrap();
    Store::restore(&second, "", "", &*backup).unwrap();
    let floor = Revision(info.revision.0 + REVISIONS_AHEAD);
    for restart in 0..3 {
        let store = Store::open(config(&second)).await.unwrap();
        assert_eq!(store.applied().revision(), Revision(floor.0 + restart));
        for prefix in ["a/", "b/", "never/"] {
            for after in [Revision(0), info.revision, Revision(info.revision.0 + 500)] {
                let refused = store.watch(prefix, after).err();
                assert!(matches!(refused, Some(WatchError::Compacted { .. })), "{prefix} from {after}: {refused:?}");
            }
        }
        assert!(store.watch("never/", floor).is_ok());
        assert_eq!(commit(&store, put("b/1", "x")).await, Revision(floor.0 + restart + 1));
        store.close().await;
    }
}

#[tokio::test]
async fn what_cannot_be_restored_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (_, _, backup) = saved(&dir.path().join("first")).await;
    let second = dir.path().join("second");
    let refusal = |bytes: &[u8]| Store::restore(&second, "", "", bytes).err().map(|error| error.to_string());
    let check = |bytes: &[u8], expected: &str| {
        assert_eq!(refusal(bytes).as_deref(), Some(&*format!("the backup cannot be used: {expected}")));
        assert_eq!(names(dir.path()), ["first"]);
    };
    check(b"kind: Pod", "this is not an image of a store's state");
    let cut = backup.len() - 1;
    check(&backup[..cut], &format!("it ends at byte {cut}, before its trailer: the copy is incomplete"));
    let mut longer = backup.clone();
    longer.extend_from_slice(&backup[12..]);
    check(&longer, &format!("damaged at byte {}: something follows the trailer", backup.len()));
    let exchanged: Vec<u8> = Image::default().chunks().flatten().collect();
    check(&exchanged, "it is a state that servers exchange, and not a backup");
    // What an earlier try left is in nobody's way.
    fs::create_dir_all(dir.path().join("second.restoring/state")).unwrap();
    assert_eq!(refusal(&backup), None);
    let expected = format!(
        "{}: is not empty: a backup is restored into a directory that is empty or does not exist yet",
        second.display()
    );
    assert_eq!(refusal(&backup), Some(expected));
}
