//! Requests that are absurd, or lie of themselves.

use http::{Method, Request};
use http_body_util::Full;
use pal_tests::Access;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{CONFIGS, JSON, Victim};
use crate::LIMIT;

#[tokio::test]
async fn parameters_and_paths_that_are_absurd_are_told() {
    let mut victim = Victim::new().await;
    let times = |text: &str, count: usize| text.repeat(count);
    for (query, code, part) in [
        (format!("labelSelector={}", times("(", 50_000)), 400, "found '('"),
        (format!("labelSelector={}", times("!", 50_000)), 400, "found '!'"),
        (format!("labelSelector=a+in+({}b)", times("b,", 25_000)), 200, ""),
        (format!("labelSelector={}", times("a", 50_000)), 400, "must be no more than 63"),
        ("labelSelector=%ff%fe%00".to_owned(), 400, "unable to parse requirement"),
        (format!("fieldSelector={}", times("%3D", 15_000)), 400, "invalid field selector"),
        (format!("fieldSelector={}metadata.name%3Da", times("metadata.name%3Da,", 2_000)), 200, ""),
        ("limit=99999999999999999999".to_owned(), 400, "strconv.ParseInt"),
        ("limit=-1".to_owned(), 200, ""),
        (format!("continue={}", times("A", 50_000)), 400, "continue key is not valid"),
        ("resourceVersion=99999999999999999999999".to_owned(), 400, "strconv.ParseUint"),
        ("resourceVersion=18446744073709551615".to_owned(), 504, "Too large resource version"),
        ("watch=1&timeoutSeconds=-99999999999999999999".to_owned(), 400, "strconv.ParseInt"),
        (times("%", 50_000), 200, ""),
        (times("a=1&", 15_000), 200, ""),
    ] {
        victim.check(Method::GET, &format!("{CONFIGS}?{query}"), JSON, "", code, part).await;
    }
    for (path, code) in [
        (format!("{CONFIGS}/{}", times("a", 50_000)), 404),
        (format!("/{}", times("a/", 30_000)), 404),
        ("/api/v1/namespaces/%00/pods/%2e%2e%2f%ff".to_owned(), 400),
        ("/api/v1/../../etc/passwd".to_owned(), 404),
    ] {
        victim.check(Method::GET, &path, JSON, "", code, "").await;
    }
    for (name, value, code) in [
        ("accept", times(";", 30_000), 406),
        ("accept", times("application/json;q=0.1,", 2_000), 200),
        ("impersonate-user", times("a", 30_000), 403),
    ] {
        let request = Request::get(CONFIGS).header(name, value).body(Full::default()).expect("a request");
        let answer = victim.api.send(request, LIMIT).await.expect("an answer");
        assert_eq!(answer.status, code, "{name}: {answer}");
    }
    let request = Request::get(CONFIGS).header("x-large", times("a", 200_000)).body(Full::default());
    // A client that is still sending may find the connection closed before it reads why.
    if let Ok(answer) = victim.api.send(request.expect("a request"), LIMIT).await {
        assert_eq!(answer.status, 431, "{answer}");
    }
    victim.end().await;
}

/// What comes on a connection on which those bytes were sent, to its end.
async fn spoken(access: &Access, bytes: &str) -> String {
    let mut stream = access.stream(b"http/1.1").await.expect("a connection");
    stream.write_all(bytes.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    let read = tokio::time::timeout(LIMIT, stream.read_to_end(&mut answer)).await;
    // A connection that breaks has ended too.
    let _ = read.expect("the connection ends");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn bodies_whose_length_is_a_lie_end_the_connection() {
    let victim = Victim::new().await;
    let post = |rest: &str| format!("POST {CONFIGS} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{rest}");
    for (request, code) in [
        (post("content-length: 2\r\n\r\n{\"metadata\":{\"name\":\"a\"}}"), "HTTP/1.1 400"),
        (post("content-length: 99999999999999999999999\r\n\r\n{}"), "HTTP/1.1 400"),
        (post("content-length: -1\r\n\r\n{}"), "HTTP/1.1 400"),
        (post("content-length: 2\r\ncontent-length: 3\r\n\r\n{}"), "HTTP/1.1 400"),
        (post("transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n"), "HTTP/1.1 400"),
        (post("expect: 100-continue\r\ncontent-length: 99999999\r\n\r\n"), "HTTP/1.1 413"),
        (format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(100_000)), "HTTP/1.1 4"),
        ("GET / HTTP/9.9\r\n\r\n".to_owned(), "HTTP/1.1 400"),
        ("\0\0\0\0\r\n\r\n".to_owned(), "HTTP/1.1 400"),
    ] {
        let answer = spoken(&victim.access, &request).await;
        let shown: String = request.chars().take(200).collect();
        assert!(answer.starts_with(code), "{shown:?}: {code}, not {answer:?}");
    }
    victim.end().await;
}

#[tokio::test]
async fn a_request_that_is_refused_before_its_body_comes_leaves_the_connection_to_the_next() {
    let mut victim = Victim::new().await;
    for (line, kind, code) in [
        (format!("POST {CONFIGS}"), "text/x", "HTTP/1.1 415"),
        (format!("POST {CONFIGS}?fieldValidation=Loud"), JSON, "HTTP/1.1 422"),
        (format!("PUT {CONFIGS}"), JSON, "HTTP/1.1 405"),
        ("POST /apis/authentication.k8s.io/v1/tokenreviews?dryRun=x".to_owned(), JSON, "HTTP/1.1 422"),
    ] {
        let mut stream = victim.access.stream(b"http/1.1").await.expect("a connection");
        let head = format!("{line} HTTP/1.1\r\nhost: a\r\ncontent-type: {kind}\r\ncontent-length: 2\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("sent");
        // As long as this takes, an answer would take too.
        victim.ask(Method::GET, "/version", JSON, "").await;
        let rest = b"{}GET /version HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        stream.write_all(rest).await.unwrap_or_else(|error| panic!("{line}: {error}"));
        let mut answers = Vec::new();
        let read = tokio::time::timeout(LIMIT, stream.read_to_end(&mut answers)).await;
        // A connection that breaks has ended too.
        let _ = read.expect("in time");
        let answers = String::from_utf8_lossy(&answers);
        assert!(answers.starts_with(code) && answers.contains("HTTP/1.1 200"), "{line}: {answers}");
    }
    victim.end().await;
}
