//! Whether a connection is of any use: the requests under way on it.

use std::time::Duration;

use http::Response;
use http_body::Body as _;
use tokio::sync::watch;

use crate::Body;
use crate::wire::Held;

/// Shorter answers are done with once they are there. A peer that does not take such a one keeps no request under way,
/// and all that strangers are answered is as short.
const SHORT: u64 = 64 * 1024;

/// The requests under way on a connection.
pub(super) struct Activity(watch::Sender<usize>);

impl Activity {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(0))
    }

    /// Counts a request until what is returned is dropped.
    pub(super) fn begin(&self) -> UnderWay {
        self.0.send_modify(|count| *count += 1);
        UnderWay(self.0.clone())
    }

    /// Returns when no request was under way for that long. It holds nothing of the connection.
    pub(super) fn idle(&self, limit: Duration) -> impl Future<Output = ()> + Send + use<> {
        // The sender too, so that the count cannot end before the wait for it.
        let (sender, mut count) = (self.0.clone(), self.0.subscribe());
        async move {
            let _sender = sender;
            loop {
                if count.wait_for(|count| *count == 0).await.is_err() {
                    return;
                }
                // Any request at all begins the time anew.
                if tokio::time::timeout(limit, count.changed()).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// A request under way.
pub(super) struct UnderWay(watch::Sender<usize>);

impl UnderWay {
    /// Keeps the request under way until its answer was taken, when that is more than a short one.
    pub(super) fn until_taken(self, response: Response<Body>) -> Response<Body> {
        if response.body().size_hint().exact().is_some_and(|size| size <= SHORT) {
            return response;
        }
        response.map(|body| Held::with(self, body))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body::Frame;
    use http_body_util::{BodyExt as _, Full, StreamBody};

    use super::*;
    use crate::BoxError;

    const LIMIT: Duration = Duration::from_millis(20);

    fn whole(size: usize) -> Body {
        Full::new(Bytes::from(vec![b'x'; size])).map_err(|never| match never {}).boxed_unsync()
    }

    fn endless() -> Body {
        StreamBody::new(futures::stream::pending::<Result<Frame<Bytes>, BoxError>>()).boxed_unsync()
    }

    /// Whether the connection counts as idle within several times the limit.
    async fn is_idle(activity: &Activity) -> bool {
        tokio::time::timeout(LIMIT * 5, activity.idle(LIMIT)).await.is_ok()
    }

    #[tokio::test]
    async fn a_connection_is_idle_when_nothing_is_under_way() {
        let activity = Activity::new();
        assert!(is_idle(&activity).await, "never used");
        let (first, second) = (activity.begin(), activity.begin());
        assert!(!is_idle(&activity).await, "two requests");
        drop(first);
        assert!(!is_idle(&activity).await, "one request");
        drop(second);
        assert!(is_idle(&activity).await, "no request any more");
    }

    #[tokio::test]
    async fn a_stream_is_under_way_until_it_ends_and_a_short_answer_until_it_is_there() {
        let check = async |body: Body, idle: bool| {
            let activity = Activity::new();
            let response = activity.begin().until_taken(Response::new(body));
            assert_eq!(is_idle(&activity).await, idle, "{:?}", response.body().size_hint());
            drop(response);
            assert!(is_idle(&activity).await, "after its end");
        };
        check(whole(100), true).await;
        check(whole(100_000), false).await;
        check(endless(), false).await;
    }
}
