//! From `--join` to a server that may open its store.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use pal_server::ClusterCa;
use pal_server::join::{Admission, Application, JoinError, host_and_port, join};
use pal_server::tokens::TokenText;
use pal_store::{ServerId, Start};
use tokio_util::sync::CancellationToken;

use super::record::{Asked, Begin, Found, Joining, Record};
use crate::args::JoinArgs;
use crate::error::CliError;

/// How long until a server that could not answer is asked again, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Where this server is.
pub struct Place {
    pub data_dir: PathBuf,
    /// What it listens on.
    pub local: SocketAddr,
    /// Names and addresses under which others reach it.
    pub advertise: Vec<String>,
    /// The first of those, or what it listens on: `host:port` for the others.
    pub address: String,
}

impl Place {
    /// Whether that leads back to this server.
    fn is_at(&self, url: &str) -> bool {
        url.strip_prefix("https://").is_some_and(|to| to == self.address || to == self.local.to_string())
    }
}

/// What this start means, as the directory and the command line say.
pub fn begin(record: &Record, args: &JoinArgs, data_dir: &Path) -> Result<Begin, CliError> {
    let token = match &args.token {
        Some(token) => Some(token.parse::<TokenText>().map_err(|_| CliError::other(JoinError::Malformed))?),
        None => None,
    };
    let pki = data_dir.join("pki");
    let root = if pki.join("ca.crt").exists() {
        let ca = ClusterCa::open(&pki, SystemTime::now()).map_err(CliError::other)?;
        Some(ca.fingerprint().to_owned())
    } else {
        None
    };
    let found = Found { has_store: data_dir.join("store/identity").exists(), root };
    let asked = Asked { join: args.join.as_deref(), root: token.as_ref().map(|token| token.ca.as_str()) };
    let begin = record.begin(data_dir, &found, &asked)?;
    if args.token.is_some() && args.join.is_none() && begin == Begin::Found {
        return Err(CliError::other("--token is for joining: say which server with --join https://HOST:PORT"));
    }
    Ok(begin)
}

/// Asks to be taken in until that is decided, and writes down what comes of it; `None` if `stop` came before.
pub async fn ask(
    record: &mut Record,
    place: &Place,
    args: &JoinArgs,
    id: ServerId,
    stop: &CancellationToken,
    say: &impl Fn(&str),
) -> Result<Option<Start>, CliError> {
    let url = args.join.as_deref().unwrap_or_default().trim_end_matches('/');
    let token = args.token.as_deref().ok_or_else(|| {
        CliError::other("joining needs a token: `pal token create --role server`, run where the cluster is, prints one")
    })?;
    if place.local.ip().is_unspecified() && place.advertise.is_empty() {
        return Err(CliError::other(format!(
            "this server listens on every address ({}), and the others need to know one: say which with --advertise HOST:PORT",
            place.local
        )));
    }
    host_and_port(&place.address).map_err(CliError::other)?;
    if place.is_at(url) {
        return Err(CliError::other(format!(
            "--join {url}: this server itself listens there; name one that is in the cluster"
        )));
    }
    // Before the cluster hears of the id: what it was told must not be forgotten here.
    record.joining = Some(Joining { id: id.to_string(), cluster: None });
    record.save(&place.data_dir)?;
    let application = Application { id: id.to_string(), name: record.name.clone(), address: place.address.clone() };
    say(&format!("joining {url} as {}, at {}", record.name, place.address));
    let mut pause = FIRST_PAUSE;
    let admission = loop {
        let trouble = tokio::select! {
            () = stop.cancelled() => return Ok(None),
            outcome = join(url, token, &application) => match outcome {
                Ok(admission) => break admission,
                Err(passing @ JoinError::Passing { .. }) => passing,
                Err(error) => return Err(CliError::other(error)),
            },
        };
        say(&format!("{trouble}; trying again"));
        tokio::select! {
            () = stop.cancelled() => return Ok(None),
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    };
    take_up(record, place, id, &admission).map(Some)
}

/// Writes the cluster's keys, and that it has taken this server in.
fn take_up(record: &mut Record, place: &Place, id: ServerId, admission: &Admission) -> Result<Start, CliError> {
    admission.keys.install(&place.data_dir.join("pki")).map_err(CliError::other)?;
    let cluster = admission.cluster.clone();
    record.joining = Some(Joining { id: id.to_string(), cluster: Some(cluster.clone()) });
    record.save(&place.data_dir)?;
    Ok(Start::Join { cluster, server: id })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_does_not_join_itself() {
        let place = Place {
            data_dir: PathBuf::new(),
            local: ([127, 0, 0, 2], 6443).into(),
            advertise: Vec::new(),
            address: "b.example:6443".to_owned(),
        };
        let check = |url: &str, expected: bool| assert_eq!(place.is_at(url), expected, "{url}");
        check("https://127.0.0.2:6443", true);
        check("https://b.example:6443", true);
        check("https://127.0.0.1:6443", false);
        check("https://127.0.0.2:6444", false);
    }
}
