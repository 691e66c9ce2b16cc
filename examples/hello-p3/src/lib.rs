//! The same as `hello` for WASI 0.3, where the handler is an async function and bodies are streams. Its bindings are
//! generated from the world that Palinurus offers; the crate `wasip3` has them ready made.

wit_bindgen::generate!({
    path: "../../wit/p3",
    world: "palinurus:guest/service",
    generate_all,
});

use exports::wasi::http::handler::Guest;
use wasi::http::types::{ErrorCode, Fields, Request, Response};

struct Hello;

export!(Hello);

impl Guest for Hello {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let pod = std::env::var("HOSTNAME").unwrap_or_else(|_| "somewhere".into());
        let path = request.get_path_with_query().unwrap_or_else(|| "/".to_owned());
        let text = format!("Hello from {pod}, you asked for {path} (WASI 0.3)\n");

        let headers = Fields::new();
        headers.append("content-type", b"text/plain; charset=utf-8").expect("a new list of headers takes a valid one");
        let (mut writer, reader) = wit_stream::new();
        let (trailers, no_trailers) = wit_future::new(|| Ok(None));
        drop(trailers);
        let (response, _sent) = Response::new(headers, Some(reader), no_trailers);
        wit_bindgen::spawn_local(async move {
            // What is left over was not wanted any more.
            let _ = writer.write_all(text.into_bytes()).await;
        });
        Ok(response)
    }
}
