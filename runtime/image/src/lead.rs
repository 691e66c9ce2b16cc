//! Where a registry may lead its clients, by a redirect or by naming who gives out tokens. A registry is not trusted with
//! the network that a node sees: it must not have the node ask the node's own services, nor show what those answer.

use std::net::IpAddr;
use std::time::Duration;

use http::Uri;
use tokio::time::timeout;

const LOOKUP_LIMIT: Duration = Duration::from_secs(10);

/// Whether the registry at `base` may lead to `target`: never from TLS to a place without, and never to this machine or its
/// link unless the registry is spoken to without TLS, as only the loopback's and configured ones are. The error says why.
pub(crate) async fn check(base: &str, target: &str) -> Result<(), String> {
    let uri: Uri = target.parse().map_err(|_| "the registry leads to something that is no URL".to_owned())?;
    if !base.starts_with("https:") || same_authority(base, target) && uri.scheme_str() == Some("https") {
        return Ok(());
    }
    if uri.scheme_str() != Some("https") {
        return Err("the registry leads from https to a place without TLS".to_owned());
    }
    let host = uri.host().ok_or_else(|| "the registry leads to a URL without a host".to_owned())?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = uri.port_u16().unwrap_or(443);
    let found = timeout(LOOKUP_LIMIT, tokio::net::lookup_host((host, port))).await;
    let mut addresses =
        found.map_err(|_| format!("no address of {host} in time"))?.map_err(|error| error.to_string())?;
    if addresses.any(|address| is_near(address.ip())) {
        return Err("the registry leads to this machine or its link".to_owned());
    }
    Ok(())
}

/// Whether two URLs name the same host and port.
pub(crate) fn same_authority(left: &str, right: &str) -> bool {
    let authority = |url: &str| Some(url.parse::<Uri>().ok()?.authority()?.as_str().to_ascii_lowercase());
    authority(left).is_some_and(|left| Some(left) == authority(right))
}

/// Addresses of this machine and of its link, where no registry sends anybody in good faith.
fn is_near(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local() || ip.is_unspecified(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unspecified(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_registry_leads_nobody_to_the_nodes_own_services() {
        let allowed = async |base: &str, target: &str, allowed: bool| {
            assert_eq!(check(base, target).await.is_ok(), allowed, "{base} to {target}");
        };
        allowed("https://a.example", "https://a.example/v2/x", true).await;
        allowed("https://a.example", "http://a.example/v2/x", false).await;
        allowed("https://a.example", "https://192.0.2.1/blob", true).await;
        allowed("https://a.example", "http://192.0.2.1/blob", false).await;
        allowed("https://a.example", "https://127.0.0.1/blob", false).await;
        allowed("https://a.example", "https://[::1]/blob", false).await;
        allowed("https://a.example", "https://[::ffff:127.0.0.1]/blob", false).await;
        allowed("https://a.example", "https://169.254.169.254/latest", false).await;
        allowed("https://a.example", "file:///etc/passwd", false).await;
        allowed("http://127.0.0.1:5000", "http://127.0.0.1:5001/blob", true).await;
    }

    #[test]
    fn a_host_whose_name_begins_alike_is_another_host() {
        assert!(same_authority("https://a.io/x", "https://A.io/y"));
        assert!(!same_authority("https://a.io", "https://a.io.evil/x"));
        assert!(!same_authority("/only/a/path", "/only/a/path"));
    }
}
