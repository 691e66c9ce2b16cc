//! Documents that are made once and kept, and how they are sent to clients that keep them too.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH, VARY};
use http::{Response, StatusCode};
use pal_resources::Status;
use pal_resources::discovery::Document;

use super::{Call, reply};
use crate::Body;

/// Documents that were asked for: they are made once, and anew when custom resources that they tell of have changed.
#[derive(Default)]
pub(super) struct Documents {
    kept: Mutex<HashMap<String, Kept>>,
    /// Held while one is made: many that ask for it at once want one document, not as many.
    making: Arc<tokio::sync::Mutex<()>>,
}

/// A document, and the number of the definitions that it tells of.
struct Kept {
    of: u64,
    document: Shown,
}

/// A document as it is sent: all who get it share its bytes, which end with a line end where they are JSON.
#[derive(Clone)]
pub(super) struct Shown {
    pub body: Bytes,
    pub hash: Arc<str>,
}

impl Documents {
    /// The document of that name, made by `make` the first time. `of` is the number of the definitions that it tells of, or
    /// `BUILT_IN`.
    pub(super) async fn get<F>(self: &Arc<Self>, name: &str, of: u64, make: F) -> Result<Option<Shown>, Status>
    where
        F: FnOnce() -> Option<Document> + Send + 'static,
    {
        if let Some(found) = self.find(name, of) {
            return Ok(Some(found));
        }
        let turn = self.making.clone().lock_owned().await;
        if let Some(found) = self.find(name, of) {
            return Ok(Some(found));
        }
        let (documents, name) = (self.clone(), name.to_owned());
        // A schema is large: it is not written on a thread that serves others. Who asked may go meanwhile: what was begun is
        // finished and kept, and only then is the next one's turn.
        let made = tokio::task::spawn_blocking(move || {
            let Document { mut body, hash } = make()?;
            if body.starts_with(b"{") {
                body.push(b'\n');
            }
            let document = Shown { body: body.into(), hash: hash.into() };
            documents.keep(name, Kept { of, document: document.clone() });
            drop(turn);
            Some(document)
        });
        made.await.map_err(Status::internal)
    }

    fn find(&self, name: &str, of: u64) -> Option<Shown> {
        self.lock().get(name).filter(|kept| kept.of == of).map(|kept| kept.document.clone())
    }

    fn keep(&self, name: String, made: Kept) {
        let mut kept = self.lock();
        // One that tells of older definitions may be ready later than one that tells of newer ones.
        if kept.get(&name).is_none_or(|before| before.of <= made.of) {
            kept.insert(name, made);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// No definitions have this number: of documents that tell of nothing custom.
pub(super) const BUILT_IN: u64 = 0;

/// A document that clients keep: they ask again with its tag, and hear that it is still the same.
pub(super) fn tagged(
    call: &Call<'_>,
    document: &Shown,
    headers: &[(HeaderName, &str)],
    whole: Result<Response<Body>, Status>,
) -> Result<Response<Body>, Status> {
    let tag = format!("\"{}\"", document.hash);
    let mut response = if matches_tag(&call.parts.headers, &tag) {
        let mut response = Response::new(reply::whole(""));
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        whole?
    };
    let unchanged = response.status() == StatusCode::NOT_MODIFIED;
    let target = response.headers_mut();
    target.insert(ETAG, HeaderValue::from_str(&tag).map_err(Status::internal)?);
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).map_err(Status::internal)?;
        match name {
            &CONTENT_TYPE if unchanged => {}
            // That it is compressed may have been said.
            &VARY if target.get_all(VARY).iter().any(|said| said == value) => {}
            &VARY => _ = target.append(VARY, value),
            name => _ = target.insert(name, value),
        }
    }
    Ok(response)
}

fn matches_tag(headers: &HeaderMap, tag: &str) -> bool {
    let values = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).any(|given| given == tag || given == "*")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn many_who_ask_at_once_have_one_document_made_even_when_the_first_goes() {
        let (documents, made) = (Arc::<Documents>::default(), Arc::<AtomicUsize>::default());
        let ask = |of: u64| {
            let (documents, made) = (documents.clone(), made.clone());
            async move {
                let make = move || {
                    let number = made.fetch_add(1, Ordering::SeqCst);
                    Some(Document { body: format!("{{{number}}}").into_bytes(), hash: String::new() })
                };
                documents.get("a", of, make).await.expect("it is made").expect("a document").body
            }
        };
        let mut first = Box::pin(ask(1));
        assert!(futures::poll!(&mut first).is_pending());
        drop(first);
        for (of, expected) in [(1, "{0}\n"), (2, "{1}\n")] {
            let bodies = futures::future::join_all((0..50).map(|_| ask(of))).await;
            assert!(bodies.iter().all(|body| *body == expected), "{of}: {bodies:?}");
        }
        assert_eq!(made.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn tags_are_compared_whole() {
        let check = |header: &str, expected: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(IF_NONE_MATCH, header.parse().expect("a header"));
            assert_eq!(matches_tag(&headers, "\"abc\""), expected, "{header}");
        };
        check("\"abc\"", true);
        check("\"x\", \"abc\"", true);
        check("*", true);
        check("\"abcd\"", false);
    }
}
