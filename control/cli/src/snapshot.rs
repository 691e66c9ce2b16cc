//! `pal snapshot`: a cluster into a file, and a file into a cluster.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use futures::AsyncReadExt;
use http::Method;
use jiff::Timestamp;
use pal_server::backup::{self, Opened};
use pal_store::{BackupInfo, Store};
use tokio::io::AsyncWriteExt;

use crate::api::{Api, request};
use crate::args::{ClientArgs, SnapshotArgs, SnapshotCommand};
use crate::control_plane::Record;
use crate::error::CliError;
use crate::get::align;
use crate::{out, paths};

const SNAPSHOT: &str = "/cluster/snapshot";
const CHUNK: usize = 64 << 10;

pub async fn run(client: &ClientArgs, args: SnapshotArgs) -> Result<(), CliError> {
    match args.command {
        SnapshotCommand::Save { file } => save(&Api::connect(client).await?, &file).await,
        SnapshotCommand::Restore { file, data_dir } => {
            let dir = paths::data_dir(data_dir.as_deref())?;
            on_a_thread(move || restore(&file, &dir)).await
        }
        SnapshotCommand::Status { file } => on_a_thread(move || status(&file)).await,
    }
}

/// Files of any size are read apart from what waits for the network.
async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CliError> + Send + 'static,
) -> Result<T, CliError> {
    tokio::task::spawn_blocking(work).await.map_err(CliError::other)?
}

/// What a file holds, every part of it checked.
struct Checked {
    opened: Opened,
    info: BackupInfo,
}

fn check(file: &Path) -> Result<Checked, CliError> {
    let mut opened = backup::open(file).map_err(CliError::other)?;
    let info = Store::inspect(&mut opened.store).map_err(|error| at(file, &error))?;
    Ok(Checked { opened, info })
}

fn at(file: &Path, error: &dyn std::fmt::Display) -> CliError {
    CliError::other(format!("{}: {error}", file.display()))
}

async fn save(api: &Api, file: &Path) -> Result<(), CliError> {
    // What is there already is replaced only by what is whole.
    let partial = Partial::beside(file)?;
    let mut target = tokio::fs::File::from_std(partial.create()?);
    let mut stream = Box::pin(api.stream(request(Method::GET, SNAPSHOT, &[], None)?).await?);
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = stream.read(&mut chunk).await.map_err(|error| {
            CliError::other(format!("the snapshot was cut off ({error}): nothing was written to {}", file.display()))
        })?;
        if read == 0 {
            break;
        }
        target.write_all(&chunk[..read]).await.map_err(CliError::file(&partial.path))?;
    }
    target.sync_all().await.map_err(CliError::file(&partial.path))?;
    drop(target);
    let path = partial.path.clone();
    let Checked { opened, info } = on_a_thread(move || check(&path)).await.map_err(|error| {
        CliError::other(format!("what came is no whole snapshot, and {} was not written: {error}", file.display()))
    })?;
    partial.becomes(file)?;
    out::line(format_args!(
        "saved {}: revision {}, {} objects, {} bytes",
        file.display(),
        info.revision,
        info.objects,
        opened.size
    ))?;
    eprintln!("It holds the cluster's keys and Secrets: keep it as safe as those. Images are not in it.");
    Ok(())
}

fn status(file: &Path) -> Result<(), CliError> {
    let Checked { opened, info } = check(file)?;
    let saved = Timestamp::UNIX_EPOCH.checked_add(info.saved_at).map_err(CliError::other)?;
    let servers: Vec<String> =
        info.members.iter().map(|member| format!("{} ({})", member.name, member.address)).collect();
    let rows = [
        ("saved", saved.to_string()),
        ("cluster", info.cluster.clone()),
        ("servers", servers.join(", ")),
        ("revision", info.revision.to_string()),
        ("objects", info.objects.to_string()),
        ("size", format!("{} bytes", opened.size)),
        ("checksum", "holds".to_owned()),
    ];
    out::block(&align(rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect()))
}

/// Builds the data directory beside its place and moves it there when it is whole.
fn restore(file: &Path, dir: &Path) -> Result<(), CliError> {
    if dir.exists() && std::fs::read_dir(dir).map_err(CliError::file(dir))?.next().is_some() {
        return Err(CliError::other(format!(
            "{} is not empty: a snapshot is restored into a directory of its own; choose another with --data-dir, or move that one away",
            dir.display()
        )));
    }
    // All of it is checked before anything is written.
    let Checked { opened: Opened { head, .. }, info } = check(file)?;
    let partial = Partial::beside(dir)?;
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&partial.path);
    made.map_err(CliError::file(&partial.path))?;
    head.keys.install(&partial.path.join("pki")).map_err(|error| at(file, &error))?;
    let mut record = Record::default();
    record.call(None)?;
    record.save(&partial.path)?;
    let mut opened = backup::open(file).map_err(CliError::other)?;
    Store::restore(&partial.path.join("store"), &record.name, "", &mut opened.store)
        .map_err(|error| at(file, &error))?;
    if dir.exists() {
        std::fs::remove_dir(dir).map_err(CliError::file(dir))?;
    }
    partial.becomes(dir)?;
    out::line(format_args!(
        "restored {} into {}: revision {}, {} objects",
        file.display(),
        dir.display(),
        info.revision,
        info.objects
    ))?;
    let addresses: Vec<&str> = info.members.iter().map(|server| server.address.as_str()).collect();
    eprintln!(
        "It is a new cluster of one server, with the keys of the old one, whose servers must not run any more. Start it with `pal server --data-dir {} --listen ADDR:PORT`; nodes and kubeconfigs find it by themselves at an address of before ({}). Images are not in a snapshot: nodes keep those that they have, others are pushed again.",
        dir.display(),
        addresses.join(", ")
    );
    Ok(())
}

/// Something under a name of its own until it is whole; removed if it never is.
struct Partial {
    path: PathBuf,
    done: bool,
}

impl Partial {
    fn beside(target: &Path) -> Result<Self, CliError> {
        let name = target.file_name().ok_or_else(|| CliError::other(format!("{} names no file", target.display())))?;
        let mut name = name.to_owned();
        name.push(format!(".partial-{}", std::process::id()));
        Ok(Self { path: target.with_file_name(name), done: false })
    }

    fn create(&self) -> Result<File, CliError> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600).open(&self.path).map_err(CliError::file(&self.path))
    }

    fn becomes(mut self, target: &Path) -> Result<(), CliError> {
        std::fs::rename(&self.path, target).map_err(CliError::file(target))?;
        self.done = true;
        let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // The new name must outlast a crash too.
        File::open(parent).and_then(|dir| dir.sync_all()).map_err(CliError::file(parent))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let gone =
            if self.path.is_dir() { std::fs::remove_dir_all(&self.path) } else { std::fs::remove_file(&self.path) };
        if let Err(error) = gone
            && error.kind() != std::io::ErrorKind::NotFound
        {
            eprintln!("{} could not be removed: {error}", self.path.display());
        }
    }
}
