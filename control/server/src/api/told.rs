//! What many watchers are told, made once.
//!
//! Watchers that ask the same are told the same, and where much happens they have come equally far as often as not. So the
//! lines that one of them made are kept for a moment, for those that stand where it stood. Who is somewhere between goes only
//! as far as the lines do, and stands with the others from then on.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use pal_store::Stand;
use tokio::time::Instant;

/// So many pieces are kept, whoever they are for: about as many as there are groups that look at different times.
const KEPT: usize = 32;
/// What was made longer ago is of no use: much may have come since.
const FRESH: Duration = Duration::from_millis(1);

/// Lines that led from one place of a history to another.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) from: Stand,
    pub(super) to: Stand,
    pub(super) lines: Bytes,
    /// How many they are.
    pub(super) count: usize,
    pub(super) made: Instant,
}

/// What is known of what comes next for a watcher.
#[derive(Debug)]
pub(super) enum Known {
    Nothing,
    /// All that others were told in one piece.
    Piece(Piece),
    /// Others have come to there, from somewhere before.
    Until(Stand),
}

/// The pieces that were made last.
#[derive(Default)]
pub(crate) struct Told(Mutex<VecDeque<Piece>>);

impl Told {
    /// What others were told just now who stood there.
    pub(super) fn behind(&self, stand: &Stand, now: Instant) -> Known {
        let pieces = self.pieces();
        let mut fresh = pieces.iter().take_while(|piece| now.saturating_duration_since(piece.made) < FRESH);
        if let Some(piece) = fresh.clone().find(|piece| piece.from.is(stand)) {
            return Known::Piece(piece.clone());
        }
        let within = fresh.find(|piece| piece.from.is_before(stand) && stand.is_before(&piece.to));
        within.map_or(Known::Nothing, |piece| Known::Until(piece.to.clone()))
    }

    /// Keeps a piece for others.
    pub(super) fn keep(&self, piece: Piece) {
        let mut pieces = self.pieces();
        pieces.truncate(KEPT - 1);
        pieces.push_front(piece);
    }

    fn pieces(&self) -> MutexGuard<'_, VecDeque<Piece>> {
        // What a panic leaves are whole pieces.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use pal_store::{Op, Store, StoreConfig, Txn, Watcher};

    use super::*;

    /// Three changes of `a/`, and watchers of them.
    async fn watchers() -> (tempfile::TempDir, Store, [Watcher; 4]) {
        let dir = tempfile::tempdir().expect("a directory");
        let store =
            Store::open(StoreConfig { dir: dir.path().into(), ..StoreConfig::default() }).await.expect("a store");
        let before = store.applied().revision();
        for key in ["a/1", "a/2", "a/3"] {
            let put = Op::Put { key: key.into(), value: Bytes::from_static(b"v"), revision_at: None };
            store.commit(Txn { ops: vec![put], ..Txn::default() }).await.expect("it is stored");
        }
        let watchers = ["a/", "a/", "a/", "b/"].map(|prefix| store.watch(prefix, before).expect("a watch"));
        (dir, store, watchers)
    }

    fn stand(watcher: &Watcher) -> Stand {
        watcher.stand().expect("others stand there too").clone()
    }

    /// Shows it so many and makes a piece of them.
    fn piece(watcher: &mut Watcher, most: usize, made: Instant) -> Piece {
        let (from, mut count) = (stand(watcher), 0);
        watcher.visit(most, |_| count += 1).expect("events");
        Piece { from, to: stand(watcher), lines: format!("{count}").into(), count, made }
    }

    #[tokio::test]
    async fn who_stands_where_another_stood_is_told_the_same_and_who_is_between_comes_along() {
        let (_dir, _store, [mut first, mut second, third, other]) = watchers().await;
        let (told, now) = (Told::default(), Instant::now());
        assert!(matches!(told.behind(&stand(&third), now), Known::Nothing));
        let made = piece(&mut first, 10, now);
        told.keep(made.clone());
        piece(&mut second, 1, now);
        let check = |watcher: &Watcher, now: Instant, expected: &str| {
            let known = match told.behind(&stand(watcher), now) {
                Known::Nothing => "nothing".to_owned(),
                Known::Piece(piece) => format!("{} lines", piece.count),
                Known::Until(end) => format!("until: {}", end.is(&made.to)),
            };
            assert_eq!(known, expected);
        };
        check(&third, now, "3 lines");
        check(&second, now, "until: true");
        check(&first, now, "nothing");
        check(&other, now, "nothing");
        check(&third, now + FRESH, "nothing");
        check(&second, now + FRESH, "nothing");
    }

    #[tokio::test]
    async fn few_pieces_are_kept() {
        let (_dir, _store, [mut first, _, third, mut other]) = watchers().await;
        let (told, now) = (Told::default(), Instant::now());
        told.keep(piece(&mut first, 10, now));
        for kept in 1..=KEPT {
            assert!(matches!(told.behind(&stand(&third), now), Known::Piece(_)), "{kept}");
            told.keep(piece(&mut other, 10, now));
        }
        assert!(matches!(told.behind(&stand(&third), now), Known::Nothing));
    }
}
