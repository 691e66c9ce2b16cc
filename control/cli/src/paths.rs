//! Where things lie on this machine.

use std::fs::{File, TryLockError};
use std::net::{IpAddr, ToSocketAddrs, UdpSocket};
use std::path::{Path, PathBuf};

use crate::error::CliError;

/// The folder of a cluster: `palinurus` in the user's data directory (XDG).
pub fn data_dir(given: Option<&Path>) -> Result<PathBuf, CliError> {
    below_data("palinurus", given)
}

/// The folder of a node that runs apart from its server.
pub fn node_dir(given: Option<&Path>) -> Result<PathBuf, CliError> {
    below_data("palinurus-node", given)
}

fn below_data(name: &str, given: Option<&Path>) -> Result<PathBuf, CliError> {
    let dir = match given {
        Some(dir) => dir.to_owned(),
        None => dirs::data_dir()
            .ok_or_else(|| CliError::other("this user has no home directory: say where with --data-dir"))?
            .join(name),
    };
    std::path::absolute(&dir).map_err(CliError::file(dir))
}

/// The kubeconfig that `up` and `server` write.
pub fn kubeconfig(data_dir: &Path) -> PathBuf {
    data_dir.join("kubeconfig")
}

/// Makes a folder that only its owner can enter.
pub fn make_private(dir: &Path) -> Result<(), CliError> {
    use std::os::unix::fs::DirBuilderExt;
    if dir.exists() && !dir.is_dir() {
        return Err(CliError::other(format!("{} is no directory; choose another with --data-dir", dir.display())));
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| {
        CliError::other(format!(
            "the data directory {} cannot be made: {error}; choose another with --data-dir",
            dir.display()
        ))
    })
}

/// Holds a folder against another process of its kind for as long as the file is open.
pub fn lock(dir: &Path, name: &str) -> Result<File, CliError> {
    let path = dir.join(name);
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(CliError::file(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(CliError::InUse { dir: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(CliError::file(path)(source)),
    }
}

/// Writes a file that only its owner can read, whole or not at all. One that says the same already is left as it is, so
/// that a start on a full disk gets as far as serving what there is.
pub fn write_private(path: &Path, text: &str) -> Result<(), CliError> {
    use std::io::Write;
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let is_private = std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 == 0);
    if is_private && std::fs::read(path).is_ok_and(|there| there == text.as_bytes()) {
        return Ok(());
    }
    let temporary = path.with_extension("new");
    let write = || {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_data()?;
        std::fs::rename(&temporary, path)
    };
    write().map_err(CliError::file(path))
}

/// This machine's address on the way to a server, which is named as `https://HOST:PORT`.
pub fn address_towards(server: &str) -> Result<IpAddr, String> {
    let url =
        url::Url::parse(server).map_err(|_| "this is no URL; a server is named as https://HOST:PORT".to_owned())?;
    let host = url.host_str().ok_or_else(|| "the URL names no host".to_owned())?;
    let port = url.port_or_known_default().unwrap_or(443);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let mut addresses = (host, port).to_socket_addrs().map_err(|error| error.to_string())?;
    let address = addresses.next().ok_or_else(|| "the name has no address".to_owned())?;
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    // No packet is sent: connecting a datagram socket only looks up which address would be the sender's.
    let socket = UdpSocket::bind(any).and_then(|socket| socket.connect(address).map(|()| socket));
    let local = socket.and_then(|socket| socket.local_addr()).map_err(|error| error.to_string())?;
    Ok(local.ip())
}

/// This machine's name in the form that a Node's name may have (RFC 1123 subdomain).
pub fn node_name() -> String {
    let raw = std::fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| std::env::var("HOSTNAME"));
    as_name(raw.unwrap_or_default().trim()).unwrap_or_else(|| "node".to_owned())
}

/// The text as an RFC 1123 label, where anything of it is left: `My_App.v2` is `my-app-v2`.
pub fn as_name(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let mapped: String = lower.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let name: String = mapped.trim_matches('-').chars().take(63).collect();
    let name = name.trim_end_matches('-').to_owned();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_directory_that_is_a_file_is_said_to_be_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let why = make_private(&file).unwrap_err().to_string();
        assert_eq!(why, format!("error: {} is no directory; choose another with --data-dir", file.display()));
        make_private(&dir.path().join("a/b")).unwrap();
        make_private(dir.path()).unwrap();
    }

    #[test]
    fn a_file_that_says_the_same_already_needs_no_room() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("listen-address");
        write_private(&file, "127.0.0.1:6443").unwrap();
        // Nothing new can be written here any more.
        std::fs::create_dir(dir.path().join("listen-address.new")).unwrap();
        write_private(&file, "127.0.0.1:6443").unwrap();
        assert!(write_private(&file, "127.0.0.1:6444").is_err());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "127.0.0.1:6443");
    }

    #[test]
    fn names_are_made_of_what_a_name_may_hold() {
        let check = |text: &str, expected: Option<&str>| assert_eq!(as_name(text).as_deref(), expected, "{text:?}");
        check("hello", Some("hello"));
        check("My_App.v2", Some("my-app-v2"));
        check("--x--", Some("x"));
        check("", None);
        check("///", None);
        check(&"a".repeat(80), Some(&"a".repeat(63)));
    }
}
