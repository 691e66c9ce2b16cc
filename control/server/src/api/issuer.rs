//! What others need to verify service accounts' tokens by themselves (OpenID Connect Discovery 1.0, RFC 7517).

use http::header::{CACHE_CONTROL, HeaderValue};
use http::{Response, StatusCode};
use serde_json::json;

use super::{Call, reply};
use crate::Body;
use crate::auth::ISSUER;

pub(super) const CONFIGURATION: &str = ".well-known/openid-configuration";
pub(super) const KEYS: &str = "openid/v1/jwks";

/// `/.well-known/openid-configuration`
pub(super) fn configuration(call: &Call<'_>) -> Response<Body> {
    let api = call.api;
    let own = api.local.to_string();
    let host = api.config.advertise.first().map_or(own.as_str(), String::as_str);
    let document = json!({
        "issuer": ISSUER,
        "jwks_uri": key_url(host, api.local.port()),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    });
    public(&document, "application/json")
}

/// `/openid/v1/jwks`
pub(super) fn keys(call: &Call<'_>) -> Response<Body> {
    public(&call.api.key.key_set(), "application/jwk-set+json")
}

fn public(document: &serde_json::Value, media: &'static str) -> Response<Body> {
    let body = reply::whole(document.to_string());
    let mut response = reply::answer(StatusCode::OK, HeaderValue::from_static(media), body);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    response
}

/// Where the keys are, by way of a host that may name its port.
fn key_url(host: &str, port: u16) -> String {
    let host = host.trim_start_matches("https://").trim_end_matches('/');
    let has_port = host
        .rsplit_once(':')
        .is_some_and(|(before, port)| port.parse::<u16>().is_ok() && (!before.contains(':') || before.ends_with(']')));
    match (has_port, host.contains(':')) {
        (true, _) => format!("https://{host}/{KEYS}"),
        (false, true) => format!("https://[{}]:{port}/{KEYS}", host.trim_matches(['[', ']'])),
        (false, false) => format!("https://{host}:{port}/{KEYS}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_are_where_the_server_is_reached() {
        let check = |host: &str, expected: &str| {
            assert_eq!(key_url(host, 6443), format!("https://{expected}/openid/v1/jwks"));
        };
        check("127.0.0.1:7000", "127.0.0.1:7000");
        check("example.com", "example.com:6443");
        check("https://example.com:443/", "example.com:443");
        check("::1", "[::1]:6443");
        check("[::1]:7000", "[::1]:7000");
    }
}
