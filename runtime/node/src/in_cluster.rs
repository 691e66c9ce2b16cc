//! The API as pods reach it, by the Service `kubernetes`: what they ask goes to a server under their own name, that of the
//! token they show, and nothing of the node's goes along.

use std::sync::Arc;

use futures::future::BoxFuture;
use http::request::Parts;
use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::BodyExt as _;
use pal_proxy::{Body, BoxError, SharedBackend, refusal, strip_hop_by_hop};

use crate::api::{API_ALPN, api_client};
use crate::error::NodeError;
use crate::servers::Servers;
use crate::tls::client_config;

/// What a request's body may have; the API takes no more than three MiB.
const MOST: usize = 4 << 20;

/// What answers for the API on this node.
pub(crate) fn backend(servers: &Servers, ca_pem: &str) -> Result<SharedBackend, NodeError> {
    let client = api_client(servers, client_config(ca_pem, None, API_ALPN)?, None)?;
    Ok(Arc::new(move |request: Request<Body>| -> BoxFuture<'static, Response<Body>> {
        Box::pin(answer(client.clone(), request))
    }))
}

async fn answer(client: kube::Client, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = match whole(body).await {
        Ok(body) => body,
        Err((status, why)) => return refusal(status, &why),
    };
    match client.send(Request::from_parts(passed_on(parts), body.into())).await {
        Ok(mut response) => {
            strip_hop_by_hop(response.headers_mut());
            response.map(|body| body.map_err(|error: kube::Error| BoxError::from(error)).boxed_unsync())
        }
        Err(error) => refusal(StatusCode::BAD_GATEWAY, &format!("no server answers: {error}")),
    }
}

async fn whole(mut body: Body) -> Result<Vec<u8>, (StatusCode, String)> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
        whole.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
        if whole.len() > MOST {
            return Err((StatusCode::PAYLOAD_TOO_LARGE, "the request is too large".to_owned()));
        }
    }
    Ok(whole)
}

/// The request as any server gets it: which one is asked is not in it yet.
fn passed_on(mut parts: Parts) -> Parts {
    strip_hop_by_hop(&mut parts.headers);
    parts.headers.remove(header::HOST);
    parts.uri = parts.uri.path_and_query().cloned().map_or(Uri::from_static("/"), Uri::from);
    parts.extensions = http::Extensions::new();
    parts.version = http::Version::default();
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_pod_asks_goes_on_without_the_way_it_came() {
        let check = |url: &str, expected: &str| {
            let request = Request::get(url).header("host", "kubernetes").header("connection", "x").header("x", "1");
            let request = request.header("authorization", "Bearer t").body(()).unwrap();
            let parts = passed_on(request.into_parts().0);
            assert_eq!(parts.uri.to_string(), expected);
            let kept: Vec<&str> = parts.headers.keys().map(http::HeaderName::as_str).collect();
            assert_eq!(kept, ["authorization"], "{url}");
        };
        check("https://kubernetes.default.svc/api/v1/pods?limit=1", "/api/v1/pods?limit=1");
        check("https://10.96.0.1", "/");
    }
}
