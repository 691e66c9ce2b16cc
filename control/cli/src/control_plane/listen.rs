//! Where a server listens, and where others reach it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use pal_server::join::join_host;
use tokio::net::TcpListener;

use crate::error::CliError;
use crate::paths;

/// Where the address that the API listened on the last time is kept.
const LISTEN_FILE: &str = "listen-address";
const PORT: u16 = 6443;
const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT);

/// Listens, and keeps where. Port 0 is chosen once for a data directory, because nodes, kubeconfigs and the other servers
/// hold the address. Who joins and says nothing listens on the address that leads to the server that it joins.
pub async fn listen(
    given: Option<SocketAddr>,
    join: Option<&str>,
    data_dir: &Path,
) -> Result<(TcpListener, SocketAddr), CliError> {
    let wanted = match (address(given, data_dir)?, join) {
        (Some(address), _) => address,
        (None, Some(url)) => {
            let ip = paths::address_towards(url).map_err(|why| {
                CliError::other(format!("--join {url}: {why}; say where this server listens with --listen ADDR:PORT"))
            })?;
            SocketAddr::new(ip, PORT)
        }
        (None, None) => DEFAULT,
    };
    let listener = TcpListener::bind(wanted).await.map_err(|error| in_use(&error, wanted))?;
    let local = listener.local_addr().map_err(CliError::other)?;
    if local != DEFAULT || given.is_some() {
        paths::write_private(&data_dir.join(LISTEN_FILE), &local.to_string())?;
    }
    Ok((listener, local))
}

/// The address that was asked for, else where it was the last time.
fn address(given: Option<SocketAddr>, data_dir: &Path) -> Result<Option<SocketAddr>, CliError> {
    if let Some(given) = given
        && given.port() != 0
    {
        return Ok(Some(given));
    }
    let file = data_dir.join(LISTEN_FILE);
    match std::fs::read_to_string(&file) {
        Ok(text) => {
            let kept: SocketAddr = text.trim().parse().map_err(|_| {
                CliError::other(format!(
                    "{}: {text:?} is not an address; remove the file to choose a new port",
                    file.display()
                ))
            })?;
            Ok(Some(given.map_or(kept, |given| SocketAddr::new(given.ip(), kept.port()))))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(given),
        Err(error) => Err(CliError::file(file)(error)),
    }
}

/// The error of listening, with what to do where the port is taken.
fn in_use(error: &std::io::Error, listen: SocketAddr) -> CliError {
    if error.kind() == std::io::ErrorKind::AddrInUse {
        return CliError::other(format!(
            "{listen} is in use, perhaps by another cluster: stop that, or choose another with --listen (port 0 takes a free one)"
        ));
    }
    CliError::other(format!("cannot listen on {listen}: {error}"))
}

/// `host:port` under which the other servers, nodes and clients reach this one: the first that was advertised, else the
/// address that it listens on.
pub fn public_address(advertise: &[String], local: SocketAddr) -> String {
    match advertise.first() {
        Some(name) => with_port(name, local.port()),
        None => SocketAddr::new(reachable(local.ip()), local.port()).to_string(),
    }
}

/// The name or address with its port, or this one where it has none.
fn with_port(advertised: &str, port: u16) -> String {
    let bare = advertised.trim_start_matches("https://").trim_end_matches('/');
    if let Ok(ip) = bare.trim_matches(['[', ']']).parse::<IpAddr>() {
        return join_host(&ip.to_string(), port);
    }
    match bare.rsplit_once(':') {
        Some((_, own)) if own.parse::<u16>().is_ok() => bare.to_owned(),
        _ => format!("{bare}:{port}"),
    }
}

/// The address itself, or this machine's where it is "any".
fn reachable(ip: IpAddr) -> IpAddr {
    if !ip.is_unspecified() {
        return ip;
    }
    // No packet is sent: connecting a datagram socket only looks up which address would be the sender's.
    let probe = std::net::UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    });
    probe.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip())
}

/// Where this machine itself reaches the API.
pub fn local_url(local: SocketAddr) -> String {
    let ip = if local.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { local.ip() };
    format!("https://{}", SocketAddr::new(ip, local.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_listens_where_it_is_told_else_where_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let check = |given: Option<&str>, expected: Option<&str>| {
            let found = address(given.map(|text| text.parse().unwrap()), dir.path()).unwrap();
            assert_eq!(found.map(|address| address.to_string()).as_deref(), expected, "{given:?}");
        };
        check(None, None);
        check(Some("127.0.0.1:0"), Some("127.0.0.1:0"));
        check(Some("0.0.0.0:7000"), Some("0.0.0.0:7000"));
        std::fs::write(dir.path().join(LISTEN_FILE), "127.0.0.1:40123\n").unwrap();
        check(None, Some("127.0.0.1:40123"));
        check(Some("0.0.0.0:0"), Some("0.0.0.0:40123"));
        check(Some("127.0.0.1:7000"), Some("127.0.0.1:7000"));
        std::fs::write(dir.path().join(LISTEN_FILE), "nonsense").unwrap();
        let refused = address(None, dir.path()).unwrap_err().to_string();
        assert!(refused.contains(LISTEN_FILE), "{refused}");
    }

    #[test]
    fn others_reach_it_where_it_advertises_else_where_it_listens() {
        let check = |advertise: &[&str], local: &str, expected: &str| {
            let advertise: Vec<String> = advertise.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(public_address(&advertise, local.parse().unwrap()), expected);
        };
        check(&[], "127.0.0.2:7000", "127.0.0.2:7000");
        check(&["a.example", "b.example"], "0.0.0.0:7000", "a.example:7000");
        check(&["a.example:6443"], "0.0.0.0:7000", "a.example:6443");
        check(&["https://a.example:6443/"], "0.0.0.0:7000", "a.example:6443");
        check(&["192.0.2.7"], "0.0.0.0:7000", "192.0.2.7:7000");
        check(&["fd00::1"], "[::]:7000", "[fd00::1]:7000");
        check(&["[fd00::1]:1"], "[::]:7000", "[fd00::1]:1");
        assert!(!public_address(&[], "0.0.0.0:7000".parse().unwrap()).starts_with("0.0.0.0"));
    }
}
