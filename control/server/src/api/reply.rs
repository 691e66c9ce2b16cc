//! Answers: their headers, and the last steps from an object to bytes.

use bytes::Bytes;
use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, RETRY_AFTER, VARY, WARNING, X_CONTENT_TYPE_OPTIONS,
};
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use pal_resources::{Status, codec};
use serde::Serialize;
use serde_json::Value;

use super::accept::{Accepted, Encoding, PROTOBUF};
use crate::wire::compressed;
use crate::{Body, BoxError};

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
const YAML: HeaderValue = HeaderValue::from_static("application/yaml");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Smaller answers are sent faster than they are compressed.
const GZIP_FROM: u64 = 128 * 1024;

/// A body of these bytes.
pub(crate) fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// An answer of that type.
pub(crate) fn answer(code: StatusCode, content_type: HeaderValue, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// Plain text.
pub(crate) fn text(code: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    answer(code, TEXT, whole(text))
}

/// JSON that exists already, in the form that was agreed on. What protobuf has no message for stays JSON.
pub(crate) fn json(code: StatusCode, json: &[u8], accepted: Accepted) -> Result<Response<Body>, Status> {
    if accepted.encoding == Encoding::Yaml {
        let value: Value = serde_json::from_slice(json).map_err(Status::internal)?;
        let yaml = serde_saphyr::to_string(&value).map_err(Status::internal)?;
        return Ok(sized(answer(code, YAML, whole(yaml)), accepted));
    }
    if accepted.encoding == Encoding::Protobuf
        && let Some(bytes) = serde_json::from_slice(json).ok().as_ref().and_then(codec::to_protobuf)
    {
        return Ok(sized(answer(code, HeaderValue::from_static(PROTOBUF), whole(bytes)), accepted));
    }
    let bytes = if accepted.pretty {
        codec::indented(json)
    } else {
        let mut line = Vec::with_capacity(json.len() + 1);
        line.extend_from_slice(json);
        line.push(b'\n');
        line
    };
    Ok(sized(answer(code, JSON, whole(bytes)), accepted))
}

/// The same of JSON that is kept with its line end: where that is the form agreed on, its bytes are sent, and none are copied.
pub(crate) fn line(code: StatusCode, json: &Bytes, accepted: Accepted) -> Result<Response<Body>, Status> {
    if accepted.encoding == Encoding::Json && !accepted.pretty {
        return Ok(sized(answer(code, JSON, whole(json.clone())), accepted));
    }
    self::json(code, json.trim_ascii_end(), accepted)
}

/// A value in the form that was agreed on.
pub(crate) fn value(code: StatusCode, value: &Value, accepted: Accepted) -> Result<Response<Body>, Status> {
    json(code, &codec::to_json(value), accepted)
}

/// Compresses the answer if it is large and the client takes that.
pub(crate) fn sized(response: Response<Body>, accepted: Accepted) -> Response<Body> {
    let size = http_body::Body::size_hint(response.body()).lower();
    if !accepted.gzip || size < GZIP_FROM {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts.headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    Response::from_parts(parts, compressed(body).boxed_unsync())
}

/// A value as JSON for everybody, whatever they take.
pub(crate) fn raw(code: StatusCode, value: &impl Serialize) -> Result<Response<Body>, Status> {
    Ok(answer(code, JSON, whole(serde_json::to_vec_pretty(value).map_err(Status::internal)?)))
}

/// A failure in the form that was agreed on; who takes none gets JSON to read.
pub(crate) fn failure(status: &Status, accepted: Option<Accepted>) -> Response<Body> {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let text = status.to_json();
    let accepted = accepted.unwrap_or(Accepted { pretty: true, ..Accepted::default() });
    let mut response = json(code, &text, accepted).unwrap_or_else(|_| answer(code, JSON, whole(text)));
    let retry = status.details.as_ref().and_then(|details| details.retry_after_seconds);
    if let Some(seconds) = retry.filter(|_| matches!(status.code, 429 | 500..=599)) {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Where there is no object to tell of and no page.
pub(crate) fn no_page() -> Response<Body> {
    let mut response = text(StatusCode::NOT_FOUND, "404 page not found\n");
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Adds what the client is to be warned of.
pub(crate) fn warn(mut response: Response<Body>, warnings: &[String]) -> Response<Body> {
    for warning in fitting(warnings) {
        // Control characters cannot go into a header.
        let plain: String = warning.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        let quoted = plain.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_bytes(format!("299 - \"{quoted}\"").as_bytes()) {
            response.headers_mut().append(WARNING, value);
        }
    }
    response
}

/// As many characters as clients take in headers: where all warnings have more, each is cut, and the last are left out.
fn fitting(warnings: &[String]) -> impl Iterator<Item = &str> {
    const ALL: usize = 4096;
    const EACH: usize = 256;
    let is_long = warnings.iter().map(|warning| warning.chars().count()).sum::<usize>() > ALL;
    let mut told = 0;
    warnings.iter().map_while(move |warning| {
        if !is_long {
            return Some(warning.as_str());
        }
        let end = warning.char_indices().nth(EACH).map_or(warning.len(), |(end, _)| end);
        let cut = (told < ALL).then(|| &warning[..end])?;
        told += cut.chars().count();
        Some(cut)
    })
}

/// The answer to `HEAD`: what `GET` would answer, without the body. A body would break the connection's framing.
pub(crate) fn headless(mut response: Response<Body>) -> Response<Body> {
    let length = http_body::Body::size_hint(response.body()).exact();
    if let Some(length) = length.filter(|_| response.status() != StatusCode::NOT_MODIFIED) {
        response.headers_mut().entry(CONTENT_LENGTH).or_insert(HeaderValue::from(length));
    }
    *response.body_mut() = whole("");
    response
}

/// A body from any other.
pub(crate) fn boxed<B>(body: B) -> Body
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    body.map_err(Into::into).boxed_unsync()
}

/// A body that keeps something until it has ended.
pub(crate) fn held<T: Send + Unpin + 'static>(body: Body, kept: T) -> Body {
    let stream = futures::stream::unfold((body, kept), |(mut body, kept)| async move {
        let frame = body.frame().await?;
        Some((frame, (body, kept)))
    });
    http_body_util::StreamBody::new(stream).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_quoted_for_their_header() {
        let warn = |text: &str| {
            let response = warn(Response::new(whole("")), &[text.to_owned()]);
            response.headers()[WARNING].to_str().expect("text").to_owned()
        };
        assert_eq!(warn("unknown field \"dta\""), r#"299 - "unknown field \"dta\"""#);
        assert_eq!(warn("a\nb"), r#"299 - "a?b""#);
    }

    #[test]
    fn warnings_that_are_too_long_for_headers_are_cut() {
        let check = |lengths: &[usize], expected: &[usize]| {
            let warnings: Vec<String> = lengths.iter().map(|length| "ä".repeat(*length)).collect();
            let told: Vec<usize> = fitting(&warnings).map(|warning| warning.chars().count()).collect();
            assert_eq!(told, expected, "{lengths:?}");
        };
        check(&[4000, 96], &[4000, 96]);
        check(&[4000, 97], &[256, 97]);
        check(&[300; 20], &[256; 16]);
        check(&[200; 25], &[200; 21]);
    }

    #[test]
    fn heads_have_the_length_of_what_is_left_out() {
        let response = headless(text(StatusCode::OK, "twelve bytes"));
        assert_eq!(response.headers()[CONTENT_LENGTH], "12");
        assert_eq!(http_body::Body::size_hint(response.body()).exact(), Some(0));
    }

    #[tokio::test]
    async fn failures_end_with_one_newline_and_name_their_retry() {
        let response = failure(&Status::too_many_requests("wait", 1), Some(Accepted::default()));
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()[RETRY_AFTER], "1");
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        assert!(body.starts_with(br#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure""#));
        assert!(body.ends_with(b"}\n") && !body.ends_with(b"\n\n"));
    }
}
