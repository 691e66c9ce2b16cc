//! Disks that are full or that rot.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use http::{Method, StatusCode};
use pal_tests::{Forming, Load, Much, Seed, Servers, wait_until};
use serde_json::json;

use super::{SOME, loaded};
use crate::{LIMIT, pal};

/// A file system in memory, of a size of its own.
struct Small {
    dir: PathBuf,
}

impl Small {
    /// Mounts one; only root can.
    fn mount(dir: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(dir).unwrap();
        let options = format!("size={size},mode=700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(dir).output();
        if mounted.as_ref().is_ok_and(|output| output.status.success()) {
            return Some(Self { dir: dir.to_owned() });
        }
        // Past the test runner's capture, which would keep it from whoever runs the suites.
        let _ = writeln!(std::io::stderr(), "not run: a small file system cannot be mounted: {mounted:?}");
        None
    }

    fn ballast(&self) -> PathBuf {
        self.dir.join("ballast")
    }

    /// Writes until there is no room.
    fn fill(&self) {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(self.ballast()).unwrap();
        for size in [1 << 20, 4096, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn make_room(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily, for the server may still be on it.
        let _ = Command::new("umount").arg("-l").arg(&self.dir).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_disk_is_full_holds_nobody_up_and_catches_up_when_there_is_room() {
    let mut seed = Seed::of_this_run("full");
    let mut servers = Servers::form(&pal(), 2, Forming::default()).await;
    let Some(small) = Small::mount(&servers.next_dir(), "96m") else { return };
    let place = servers.join().await;
    servers.until_voters(3).await;
    let load = Load::start(servers.endpoints(), &mut seed, Much::default()).await;
    load.goes_on(SOME).await;
    small.fill();
    load.goes_on(4 * SOME).await;
    load.turn();
    // It leads, for an operator said so, and cannot write.
    let name = servers.all()[place].name.clone();
    servers.pal_elsewhere_may_fail(place, &["server", "transfer-leader", &name]).await;
    load.goes_on(4 * SOME).await;
    small.make_room();
    load.goes_on(SOME).await;
    load.check().await;
}

/// A server alone has nobody who writes for it: it says so, and goes on with what needs no writing.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_writes_with_a_reason_serves_reads_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let Some(small) = Small::mount(dir.path(), "64m") else { return };
    let server = pal().server_in(dir, &[]).await;
    let access = pal_tests::Access::from_kubeconfig(&server.kubeconfig()).await.unwrap();
    let mut api = access.api();
    let path = "/api/v1/namespaces/default/configmaps";
    let body = |name: &str, size: usize| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "v": "x".repeat(size) } });
    assert_eq!(
        api.call(Method::POST, path, Some(&body("before", 1)), LIMIT).await.unwrap().status,
        StatusCode::CREATED
    );
    small.fill();
    let mut written = 0;
    // What the log had room for already is still taken.
    let refused = wait_until(LIMIT, "a write is refused", async || {
        written += 1;
        let answer = api.call(Method::POST, path, Some(&body(&format!("full-{written}"), 100_000)), LIMIT).await;
        match answer.unwrap() {
            answer if answer.status == StatusCode::CREATED => Err(format!("{written} were taken")),
            answer => Ok(answer),
        }
    })
    .await;
    assert!(refused.status.is_server_error(), "{refused}");
    assert!(refused.to_string().contains("full"), "{refused}");
    let read = api.call(Method::GET, &format!("{path}/before"), None, LIMIT).await.unwrap();
    assert_eq!(read.status, StatusCode::OK, "{read}");
    small.make_room();
    wait_until(LIMIT, "writes are taken again", async || {
        let answer = api.call(Method::POST, path, Some(&body("after", 1)), LIMIT).await.map_err(|e| e.to_string())?;
        if answer.status == StatusCode::CREATED { Ok(()) } else { Err(answer.to_string()) }
    })
    .await;
    drop(server);
}

/// The largest file of the log.
fn log_file(data: &Path) -> PathBuf {
    let files = std::fs::read_dir(data.join("store/log")).unwrap().map(|entry| entry.unwrap().path());
    files.max_by_key(|file| std::fs::metadata(file).unwrap().len()).expect("the log has a file")
}

/// Turns over one bit of a byte that is not 0, in the middle of what was written.
fn rot(file: &Path) {
    let mut file = std::fs::OpenOptions::new().read(true).write(true).open(file).unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("something was written");
    let middle = end / 2;
    file.seek(SeekFrom::Start(middle as u64)).unwrap();
    file.write_all(&[bytes[middle] ^ 0x10]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_log_has_rotted_stops_with_what_to_do_and_is_rebuilt_by_joining_anew() {
    let (mut servers, load, _seed) = loaded("rot", 3, Forming::default()).await;
    load.goes_on(4 * SOME).await;
    let leader = servers.leader().await;
    let place = (leader + 1) % 3;
    servers.kill(place).await;
    rot(&log_file(&servers.all()[place].dir));
    servers.start(place);
    let said = servers.until_ended(place).await;
    assert!(said.contains("damaged"), "{said}");
    assert!(said.contains("remove") && said.contains("join"), "it says what to do:\n{said}");
    load.goes_on(SOME).await;
    servers.remove(place).await;
    servers.join().await;
    servers.until_voters(3).await;
    load.goes_on(SOME).await;
    load.check().await;
}

/// An empty directory is no way back in: what the server promised its peers was in it.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lost_its_data_is_refused_under_its_old_name_until_it_is_removed() {
    let mut servers = Servers::form(&pal(), 3, Forming::default()).await;
    servers.kill(2).await;
    std::fs::remove_dir_all(&servers.all()[2].dir).unwrap();
    let said = servers.join_refused(2).await;
    assert!(said.contains("pal server remove"), "it says what to do:\n{said}");
    let name = servers.all()[2].name.clone();
    servers.pal_elsewhere(2, &["server", "remove", &name]).await;
    servers.join_as(2).await;
    servers.until_voters(3).await;
    let list = servers.pal_elsewhere(0, &["server", "list"]).await;
    assert!(list.contains(&name), "{list}");
    let limit = Duration::from_secs(10);
    wait_until(LIMIT, "it serves", async || servers.all()[2].access().api().get("/api/v1/nodes", limit).await).await;
}
