//! Lists in pages: the token that asks for the next one, and the snapshots that are kept so that all pages of a list
//! show one version.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};
use pal_resources::{Status, codec};
use pal_store::{Revision, Snapshot};
use serde::{Deserialize, Serialize};

const TOKEN_VERSION: &str = "meta.k8s.io/v1";

/// As Go's decoder reads, which does not mind bits that are left over.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Where the next page begins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Position {
    v: String,
    /// The version of the list; -1 for whatever is there.
    pub rv: i64,
    /// The last key that was shown, behind the resource's prefix.
    pub start: String,
}

impl Position {
    pub(crate) fn after(revision: Revision, start: &str) -> Self {
        Self { v: TOKEN_VERSION.to_owned(), rv: i64::try_from(revision.0).unwrap_or(-1), start: start.to_owned() }
    }

    /// The same place in whatever is there by then.
    pub(crate) fn of_any_version(self) -> Self {
        Self { rv: -1, ..self }
    }

    pub(crate) fn to_token(&self) -> String {
        // A struct of strings and a number has no way to fail.
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    pub(crate) fn from_token(token: &str) -> Result<Self, Status> {
        let wrong = |why: &dyn std::fmt::Display| {
            Status::bad_request(format!("invalid continue token: continue key is not valid: {why}"))
        };
        let bytes = LENIENT.decode(token);
        let bytes =
            bytes.map_err(|_| wrong(&format_args!("illegal base64 data at input byte {}", misplaced(token))))?;
        codec::check_json(&bytes).map_err(|why| wrong(&why))?;
        let position: Self = serde_json::from_slice(&bytes).map_err(|error| wrong(&error))?;
        if position.v != TOKEN_VERSION {
            return Err(wrong(&format_args!("server does not recognize this encoded version {}", position.v)));
        }
        if position.rv == 0 {
            return Err(wrong(&"incorrect encoded start resourceVersion (version meta.k8s.io/v1)"));
        }
        if position.start.is_empty() {
            return Err(wrong(&"encoded start key empty (version meta.k8s.io/v1)"));
        }
        // A key that leads out of its resource is nobody's.
        let key = position.start.strip_prefix('/').unwrap_or(&position.start);
        if key.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(wrong(&position.start));
        }
        Ok(position)
    }
}

/// Where Go's decoder stops reading text that is not base64.
fn misplaced(token: &str) -> usize {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    token.bytes().position(|byte| !fits(byte)).unwrap_or(token.len())
}

/// A continue token: what is one says the same when it is written again.
#[cfg(feature = "fuzzing")]
pub fn fuzz(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    for token in [text.to_owned(), URL_SAFE_NO_PAD.encode(text)] {
        if let Ok(position) = Position::from_token(&token) {
            assert_eq!(Position::from_token(&position.to_token()), Ok(position), "{token}");
        }
    }
}

/// The snapshots that later pages are served from: a bounded number, for a bounded time.
pub(crate) struct Pages {
    /// By the revision, and by the prefix of the keys that the snapshot is right for; empty where it is for all.
    kept: Mutex<BTreeMap<(u64, String), Kept>>,
    most: usize,
    ttl: Duration,
}

struct Kept {
    snapshot: Snapshot,
    used: Instant,
}

impl Pages {
    pub(crate) fn new(most: usize, ttl: Duration) -> Self {
        Self { kept: Mutex::default(), most: most.max(1), ttl }
    }

    /// Keeps a snapshot of which pages are left to show, for lists of that prefix if it is right for no others.
    pub(crate) fn keep(&self, snapshot: &Snapshot, only: Option<&str>, now: Instant) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, one| now.saturating_duration_since(one.used) < self.ttl);
        let place = (snapshot.revision().0, only.unwrap_or_default().to_owned());
        kept.insert(place, Kept { snapshot: snapshot.clone(), used: now });
        while kept.len() > self.most {
            let oldest = kept.iter().min_by_key(|(_, one)| one.used).map(|(place, _)| place.clone());
            match oldest {
                Some(place) => kept.remove(&place),
                None => break,
            };
        }
    }

    /// The snapshot at that revision for lists of that prefix, if it is still kept, and whether it is right for those alone.
    pub(crate) fn at(&self, revision: u64, prefix: &str, now: Instant) -> Option<(Snapshot, bool)> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        for only in ["", prefix] {
            let place = (revision, only.to_owned());
            let Some(one) = kept.get_mut(&place) else { continue };
            if now.saturating_duration_since(one.used) < self.ttl {
                one.used = now;
                return Some((one.snapshot.clone(), !only.is_empty()));
            }
            kept.remove(&place);
        }
        None
    }

    /// Lets go of what nobody has asked for in time.
    pub(crate) fn expire(&self, now: Instant) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, one| now.saturating_duration_since(one.used) < self.ttl);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back() {
        let position = Position::after(Revision(42), "default/web-0");
        assert_eq!(Position::from_token(&position.to_token()), Ok(position));
    }

    #[test]
    fn a_token_that_is_none_is_refused() {
        fn check(token: &str) {
            let status = Position::from_token(token).expect_err(token);
            assert_eq!(status.code, 400);
            assert!(
                status.message.starts_with("invalid continue token: continue key is not valid: "),
                "{}",
                status.message
            );
        }
        let told = |token: &str, expected: &str| {
            let status = Position::from_token(token).expect_err(token);
            assert_eq!(status.message, format!("invalid continue token: continue key is not valid: {expected}"));
        };
        told("%%%", "illegal base64 data at input byte 0");
        told("invalid", "invalid character '\\u008a' looking for beginning of value");
        told(
            &URL_SAFE_NO_PAD.encode(r#"{"v":"v2","rv":1,"start":"a"}"#),
            "server does not recognize this encoded version v2",
        );
        told(&URL_SAFE_NO_PAD.encode(r#"{"v":"meta.k8s.io/v1","rv":1,"start":"../a"}"#), "../a");
        check("");
        check("%%%");
        check("e30");
        for json in [
            r#"{"v":"meta.k8s.io/v2","rv":1,"start":"a"}"#,
            r#"{"v":"meta.k8s.io/v1","rv":0,"start":"a"}"#,
            r#"{"v":"meta.k8s.io/v1","rv":1,"start":""}"#,
            r#"{"v":"meta.k8s.io/v1","rv":1.5,"start":"a"}"#,
        ] {
            check(&URL_SAFE_NO_PAD.encode(json));
        }
    }

    #[test]
    fn a_snapshot_is_kept_for_its_time_from_when_it_was_last_used() {
        let pages = Pages::new(2, Duration::from_secs(10));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        pages.keep(&Snapshot::default(), None, at(0));
        assert!(pages.at(0, "a/", at(9)).is_some());
        assert!(pages.at(0, "a/", at(18)).is_some());
        assert!(pages.at(0, "a/", at(28)).is_none());
        assert!(pages.at(1, "a/", at(0)).is_none());
    }
}
