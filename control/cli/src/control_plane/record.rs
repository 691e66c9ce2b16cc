//! Which server a data directory is, and what a start of it means: founding a cluster, joining one, or going on.

use std::path::{Path, PathBuf};

use pal_store::ServerId;
use serde::{Deserialize, Serialize};

use crate::error::CliError;
use crate::paths;

const FILE: &str = "server.json";
/// Of a name, what is left of it when a dash and four digits are to follow.
const HOST_LENGTH: usize = 58;

/// What is kept of a server beside its store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    /// What people call it.
    pub name: String,
    /// The names and addresses under which others reach it, as they were given the last time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub advertise: Vec<String>,
    /// A join that has not led to a store yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joining: Option<Joining>,
    /// What the store is, so that a lost one is not mistaken for one that never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<Member>,
}

/// A join under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Joining {
    /// The id to join under.
    pub id: String,
    /// The cluster, once it has taken this server in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
}

/// A server of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Member {
    pub cluster: String,
    pub id: String,
}

/// What the directory holds beside the record.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub has_store: bool,
    /// The hash of the root certificate.
    pub root: Option<String>,
}

/// What the command line says of joining.
#[derive(Clone, Debug, Default)]
pub struct Asked<'a> {
    pub join: Option<&'a str>,
    /// The hash of the root that the token names.
    pub root: Option<&'a str>,
}

/// What a start means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begin {
    /// Going on with the store that is there.
    GoOn,
    /// A new cluster.
    Found,
    /// Asking to be taken in, under this id.
    Ask(ServerId),
    /// The cluster has taken this server in already.
    Join { cluster: String, id: ServerId },
}

impl Record {
    /// The record in the directory; an empty one where there is none yet.
    pub fn load(data_dir: &Path) -> Result<Self, CliError> {
        let file = file(data_dir);
        match std::fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| {
                CliError::other(format!(
                    "{}: {error}; restore the file from a copy, or remove the data directory and join anew",
                    file.display()
                ))
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(CliError::file(file)(error)),
        }
    }

    /// Keeps it.
    pub fn save(&self, data_dir: &Path) -> Result<(), CliError> {
        let text = serde_json::to_string_pretty(self).map_err(CliError::other)?;
        paths::write_private(&file(data_dir), &format!("{text}\n"))
    }

    /// Takes over the name that was given; without one, the name of before or a new one of this machine's.
    pub fn call(&mut self, given: Option<&str>) -> Result<(), CliError> {
        match given {
            Some(name) => {
                pal_server::join::check_name(name).map_err(CliError::other)?;
                self.name = name.to_owned();
            }
            None if self.name.is_empty() => {
                let host: String = paths::node_name().chars().take(HOST_LENGTH).collect();
                let id = ServerId::random().to_string();
                self.name = format!("{}-{}", host.trim_end_matches('-'), &id[..4]);
            }
            None => {}
        }
        Ok(())
    }

    /// Decides what a start means.
    pub fn begin(&self, data_dir: &Path, found: &Found, asked: &Asked<'_>) -> Result<Begin, CliError> {
        let dir = data_dir.display();
        if let (Some(_), Some(wanted), Some(own)) = (asked.join, asked.root, found.root.as_deref())
            && wanted != own
        {
            return Err(CliError::other(format!(
                "{dir} holds the keys of another cluster than the token's: choose another --data-dir"
            )));
        }
        if found.has_store {
            return Ok(Begin::GoOn);
        }
        if let Some(member) = &self.member {
            return Err(CliError::other(format!(
                "{dir} was server {} ({}) of a cluster, and its store is gone. It cannot come back under that identity, because what it promised to the others is lost with its log: remove it by `pal server remove {}`, run where the cluster is, move {dir} away, and join anew; where it was the only server, `pal snapshot restore` brings a backup back",
                self.name, member.id, self.name
            )));
        }
        let id = |text: &str| {
            text.parse::<ServerId>().map_err(|error| CliError::other(format!("{}: {error}", file(data_dir).display())))
        };
        match (&self.joining, asked.join) {
            (Some(Joining { id: joined, cluster: Some(cluster) }), _) => {
                Ok(Begin::Join { cluster: cluster.clone(), id: id(joined)? })
            }
            (Some(joining), Some(_)) => Ok(Begin::Ask(id(&joining.id)?)),
            (None, Some(_)) => Ok(Begin::Ask(ServerId::random())),
            (Some(_), None) => Err(CliError::other(format!(
                "{dir} began to join a cluster and did not get there: run the line with --join and --token again, or choose another --data-dir to start a new cluster"
            ))),
            (None, None) => Ok(Begin::Found),
        }
    }
}

fn file(data_dir: &Path) -> PathBuf {
    data_dir.join(FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_founds_joins_or_goes_on_and_never_forgets_who_it_was() {
        let id = "00000000000000ab";
        let joining = |cluster: Option<&str>| Record {
            joining: Some(Joining { id: id.to_owned(), cluster: cluster.map(str::to_owned) }),
            ..Record::default()
        };
        let member = Record {
            name: "a".to_owned(),
            member: Some(Member { cluster: "c".to_owned(), id: id.to_owned() }),
            ..Record::default()
        };
        let check = |record: &Record, store: bool, own: &str, join: Option<&str>, expected: Result<Begin, &str>| {
            let found = Found { has_store: store, root: (!own.is_empty()).then(|| own.to_owned()) };
            let asked = Asked { join, root: join.map(|_| "root") };
            match (record.begin(Path::new("/d"), &found, &asked), expected) {
                // A new id is random.
                (Ok(Begin::Ask(_)), Ok(Begin::Ask(ServerId(0)))) => {}
                (Ok(found), Ok(expected)) => assert_eq!(found, expected),
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
                (outcome, expected) => panic!("{outcome:?}, not {expected:?}"),
            }
        };
        let url = Some("https://a:6443");
        let new = Record::default();
        let own = ServerId(0xab);
        check(&new, false, "", None, Ok(Begin::Found));
        check(&new, false, "", url, Ok(Begin::Ask(ServerId(0))));
        check(&new, true, "root", None, Ok(Begin::GoOn));
        check(&new, true, "root", url, Ok(Begin::GoOn));
        check(&new, true, "other", url, Err("another cluster"));
        check(&new, false, "other", url, Err("another cluster"));
        check(&joining(None), false, "", url, Ok(Begin::Ask(own)));
        check(&joining(None), false, "", None, Err("did not get there"));
        check(&joining(Some("c")), false, "root", None, Ok(Begin::Join { cluster: "c".to_owned(), id: own }));
        check(&joining(Some("c")), true, "root", None, Ok(Begin::GoOn));
        check(&member, true, "root", None, Ok(Begin::GoOn));
        check(&member, false, "root", None, Err("pal server remove a"));
        check(&member, false, "root", url, Err("cannot come back"));
    }

    #[test]
    fn names_are_kept_and_two_servers_of_one_machine_have_two() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = Record::load(dir.path()).unwrap();
        first.call(None).unwrap();
        first.save(dir.path()).unwrap();
        let mut again = Record::load(dir.path()).unwrap();
        again.call(None).unwrap();
        assert_eq!(again, first);
        let mut second = Record::default();
        second.call(None).unwrap();
        assert_ne!(second.name, first.name);
        pal_server::join::check_name(&second.name).unwrap();
        again.call(Some("chosen")).unwrap();
        assert_eq!(again.name, "chosen");
        assert!(again.call(Some("No!")).unwrap_err().to_string().contains("No!"));
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        assert!(Record::load(dir.path()).unwrap_err().to_string().contains(FILE));
    }
}
