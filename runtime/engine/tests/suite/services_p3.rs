//! HTTP services of WASI 0.3.

use crate::harness::{fetch, get, idle, logged, program, read};

#[tokio::test]
async fn hello_answers_with_the_pods_name_and_the_path() {
    let mut logged = logged();
    logged.spec.env = vec![("HOSTNAME".into(), "hello-p3-1".into())];
    let hello = program("examples/hello-p3/hello-p3").await;
    let service = hello.serve(logged.spec).await.unwrap();
    let response = service.handle(get("/a?b=c")).await;
    assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(read(response).await, (200, "Hello from hello-p3-1, you asked for /a?b=c (WASI 0.3)\n".into()));
    idle(&service).await;
}

#[tokio::test]
async fn many_requests_at_a_time_are_answered() {
    let hello = program("examples/hello-p3/hello-p3").await;
    let service = hello.serve(logged().spec).await.unwrap();
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let service = service.clone();
        requests.spawn(async move { fetch(&service, "/").await.0 });
    }
    while let Some(status) = requests.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
    idle(&service).await;
}
