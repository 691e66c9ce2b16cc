//! The store's directory: who holds it, which format it has, whose it is.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::error::StoreError;
use crate::files::{replace, sync_dir};
use crate::membership::ServerId;
use crate::store::{Identity, Start};

/// The directory's format. 2 brought numbered folders for the applied state, and servers that joined; 3 the checksum of
/// the identity.
const FORMAT: u32 = 3;

const IDENTITY: &str = "identity";
const STATE: &str = "state";

/// The file that says that there is a log.
const BEGUN: &str = "begun";

/// What damage leaves to do.
pub(crate) const ADVICE: &str = "the disk may be failing. For a server that is alone, restore a backup into an empty \
    directory (pal snapshot restore); for a member of a cluster, move this directory away, run `pal server remove NAME` \
    on another server, and join again (pal server --join)";

/// The directory, locked for as long as this lives.
pub(crate) struct Directory {
    path: PathBuf,
    /// Unlocked when it is closed.
    _lock: File,
    pub cluster: String,
    pub server: u64,
    /// The server was to join a cluster. Until it has been brought up to date there is no applied state here.
    pub joined: bool,
}

/// What the identity file says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    cluster: String,
    server: u64,
    joined: bool,
}

impl Directory {
    /// Makes the directory if need be, and locks it. An empty one becomes what `start` says.
    pub fn open(path: &Path, start: &Start) -> Result<Directory, StoreError> {
        fs::create_dir_all(path).map_err(|error| StoreError::io(path, &error))?;
        // Secrets lie here as they are: what is in it is its owner's alone, whatever the mode of the files.
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(|error| StoreError::io(path, &error))?;
        let lock_path = path.join("lock");
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(|error| StoreError::io(&lock_path, &error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Locked { dir: path.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(StoreError::io(&lock_path, &error)),
        }
        let file = path.join(IDENTITY);
        let Record { cluster, server, joined } = match fs::read(&file) {
            Ok(bytes) => {
                let (format, record) = parse(&file, &String::from_utf8_lossy(&bytes))?;
                if format < FORMAT {
                    // Before anything of the later format is there, so that no earlier program works on it.
                    replace(&file, record.text().as_bytes()).map_err(|error| StoreError::io(&file, &error))?;
                }
                record
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => begin(path, &file, start)?,
            Err(error) => return Err(StoreError::io(&file, &error)),
        };
        Ok(Directory { path: path.to_owned(), _lock: lock, cluster, server, joined })
    }

    /// Where the log lies.
    pub fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// Where the applied state lies.
    pub fn state(&self) -> PathBuf {
        self.path.join(STATE)
    }

    /// Notes that there is a log now, so that its loss is noticed: without it a founder would found anew, and a voter would
    /// have forgotten its votes.
    pub fn note_log(&self) -> Result<(), StoreError> {
        let file = self.path.join(BEGUN);
        if file.exists() {
            return Ok(());
        }
        replace(&file, b"the log was begun\n").map_err(|error| StoreError::io(&file, &error))
    }

    /// Refuses a log without segments where there was one.
    pub fn check_log(&self, segments: usize) -> Result<(), StoreError> {
        if segments == 0 && self.path.join(BEGUN).exists() {
            return Err(StoreError::Corrupt { file: self.log(), why: format!("the log is missing; {ADVICE}") });
        }
        Ok(())
    }
}

impl Record {
    fn new(start: &Start) -> Record {
        match start {
            Start::Found => Record::of(&Identity::founded()),
            Start::Join { cluster, server } => Record { cluster: cluster.clone(), server: server.0, joined: true },
        }
    }

    fn of(identity: &Identity) -> Record {
        Record { cluster: identity.cluster.clone(), server: identity.server.0, joined: false }
    }

    fn text(&self) -> String {
        let Record { cluster, server, joined } = self;
        let said =
            format!("palinurus-store\nformat = {FORMAT}\ncluster = {cluster}\nserver = {server}\njoined = {joined}\n");
        let checksum = crc32fast::hash(said.as_bytes());
        format!("{said}checksum = {checksum:08x}\n")
    }
}

impl Identity {
    /// A cluster and a server that nobody ever heard of.
    pub(crate) fn founded() -> Identity {
        Identity { cluster: uuid::Uuid::new_v4().to_string(), server: ServerId::random() }
    }
}

/// Makes a directory for this server, which may not exist yet, and says where its state goes. It is whole when that has
/// been put there.
pub(crate) fn create(dir: &Path, identity: &Identity) -> Result<PathBuf, StoreError> {
    fs::create_dir(dir).map_err(|error| StoreError::io(dir, &error))?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(|error| StoreError::io(dir, &error))?;
    let file = dir.join(IDENTITY);
    replace(&file, Record::of(identity).text().as_bytes()).map_err(|error| StoreError::io(&file, &error))?;
    Ok(dir.join(STATE))
}

/// Gives an empty directory its identity.
fn begin(dir: &Path, file: &Path, start: &Start) -> Result<Record, StoreError> {
    for leftover in ["log", "state", "state.migrating"] {
        let leftover = dir.join(leftover);
        if leftover.exists() {
            let why = format!("missing, although {} exists; {ADVICE}", leftover.display());
            return Err(StoreError::Corrupt { file: file.to_owned(), why });
        }
    }
    let identity = Record::new(start);
    replace(file, identity.text().as_bytes()).map_err(|error| StoreError::io(file, &error))?;
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        // The directory's own name must last too. Some parents cannot be opened; then the system decides when.
        let _ = sync_dir(parent);
    }
    Ok(identity)
}

/// The file's format and what it says.
fn parse(file: &Path, text: &str) -> Result<(u32, Record), StoreError> {
    let corrupt = |why: &str| StoreError::Corrupt { file: file.to_owned(), why: format!("{why}; {ADVICE}") };
    let mut lines = text.lines();
    if lines.next() != Some("palinurus-store") {
        return Err(corrupt("this is not a store's identity file: is the directory the right one? If it is"));
    }
    let mut field = |name: &str| {
        let line = lines.next().and_then(|line| line.strip_prefix(name)?.strip_prefix(" = "));
        line.ok_or_else(|| corrupt(&format!("the line \"{name} = …\" is missing")))
    };
    let format: u32 = field("format")?.parse().map_err(|_| corrupt("the format is not a number"))?;
    if format > FORMAT {
        return Err(StoreError::TooNew { file: file.to_owned(), found: format, known: FORMAT });
    }
    let cluster = field("cluster")?.to_owned();
    let server = field("server")?.parse().map_err(|_| corrupt("the server's id is not a number"))?;
    if server == 0 {
        return Err(corrupt("the server's id is 0"));
    }
    let joined = format >= 2 && field("joined")?.parse().map_err(|_| corrupt("joined is neither true nor false"))?;
    let record = Record { cluster, server, joined };
    // A digit that fell over would make this another server, or one of another cluster, which waits for it in vain.
    let is_whole = if format >= 3 { text == record.text() } else { lines.next().is_none() };
    if !is_whole {
        return Err(corrupt("it does not match its checksum"));
    }
    Ok((format, record))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_was_there_becomes_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let _held = Directory::open(dir.path(), &Start::Found).unwrap();
        assert_eq!(fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn the_identity_is_founded_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let first = Directory::open(&path, &Start::Found).unwrap();
        let (cluster, server) = (first.cluster.clone(), first.server);
        assert!(matches!(Directory::open(&path, &Start::Found), Err(StoreError::Locked { dir }) if dir == path));
        drop(first);
        let again = Directory::open(&path, &Start::Found).unwrap();
        assert_eq!((again.cluster.clone(), again.server), (cluster, server));
    }

    #[test]
    fn a_server_that_joins_has_the_identity_that_it_was_given() {
        let dir = tempfile::tempdir().unwrap();
        let start = Start::Join { cluster: "c".to_owned(), server: ServerId(7) };
        for start in [start, Start::Found] {
            let held = Directory::open(dir.path(), &start).unwrap();
            assert_eq!((held.cluster.as_str(), held.server, held.joined), ("c", 7, true));
        }
    }

    #[test]
    fn the_formats_before_this_one_are_read_and_raised() {
        for joined in ["", "joined = false\n"] {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("identity");
            let format = if joined.is_empty() { 1 } else { 2 };
            let text = format!("palinurus-store\nformat = {format}\ncluster = c\nserver = 7\n{joined}");
            fs::write(&file, text).unwrap();
            let held = Directory::open(dir.path(), &Start::Found).unwrap();
            assert_eq!((held.cluster.as_str(), held.server, held.joined), ("c", 7, false));
            let raised = fs::read_to_string(&file).unwrap();
            let expected = "palinurus-store\nformat = 3\ncluster = c\nserver = 7\njoined = false\nchecksum = ";
            assert!(raised.starts_with(expected), "{raised}");
        }
    }

    #[test]
    fn an_identity_in_which_a_bit_fell_over_is_refused_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        drop(Directory::open(dir.path(), &Start::Found).unwrap());
        let file = dir.path().join("identity");
        let whole = fs::read(&file).unwrap();
        for (at, bit) in (0..whole.len()).flat_map(|at| [(at, 0x01), (at, 0x80)]) {
            let mut damaged = whole.clone();
            damaged[at] ^= bit;
            fs::write(&file, damaged).unwrap();
            let error = Directory::open(dir.path(), &Start::Found).err().map(|error| error.to_string());
            let told = error.as_ref().is_some_and(|error| error.contains("pal server remove"));
            let newer = error.as_ref().is_some_and(|error| error.contains("is newer"));
            assert!(told || newer, "byte {at}: {error:?}");
        }
    }

    #[test]
    fn a_foreign_or_newer_identity_is_refused_by_name() {
        fn check(text: &str, expected: &str) {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("identity");
            fs::write(&file, text).unwrap();
            let error =
                Directory::open(dir.path(), &Start::Found).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.starts_with(&format!("{}: {expected}", file.display())), "{error}");
        }
        check("", "this is not a store's identity file: is the directory the right one?");
        check("palinurus-store\nformat = x\n", "the format is not a number");
        check("palinurus-store\nformat = 1\n", "the line \"cluster = …\" is missing");
        check("palinurus-store\nformat = 1\ncluster = c\nserver = 0\n", "the server's id is 0");
        let joined = "palinurus-store\nformat = 2\ncluster = c\nserver = 7\n";
        check(joined, "the line \"joined = …\" is missing");
        check(&format!("{joined}joined = maybe\n"), "joined is neither true nor false");
        check(
            "palinurus-store\nformat = 9\n",
            "format 9 is newer than this program's (3); use the version that wrote it, or a later one",
        );
    }

    #[test]
    fn a_lost_log_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let held = Directory::open(dir.path(), &Start::Found).unwrap();
        held.check_log(0).unwrap();
        held.note_log().unwrap();
        held.note_log().unwrap();
        held.check_log(1).unwrap();
        assert!(matches!(held.check_log(0), Err(StoreError::Corrupt { file, .. }) if file == held.log()));
    }

    #[test]
    fn a_lost_identity_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("log")).unwrap();
        assert!(matches!(Directory::open(dir.path(), &Start::Found), Err(StoreError::Corrupt { .. })));
    }
}
