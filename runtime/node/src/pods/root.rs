//! A container's own files: what is not in a volume, fresh for each run.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, Volume};
use pal_engine::{Mount, open_beneath};
use rustix::fs::{AtFlags, Mode, OFlags, openat, renameat, unlinkat};
use rustix::io::Errno;

use super::env::hostname;
use super::user::{self, User};
use super::volumes::{self, Shown};
use crate::disk;

/// Directories that programs expect.
const DIRS: [&str; 8] = ["tmp", "root", "home", "etc", "dev", "proc/self", "var/tmp", "var/run"];
/// Files whose permissions are told.
const MAX_MODES: usize = 1000;

/// Makes the files anew, with a place for each of the container's mounts, and says how the container sees them.
pub(super) fn set_up(
    dir: &Path,
    pod: &Pod,
    container: &Container,
    ip: IpAddr,
    files: Option<&BTreeMap<String, String>>,
    shown: &Shown,
) -> Result<Mount, String> {
    let told = |error: io::Error| format!("the container's own files: {error}");
    make(dir, pod, container, ip, shown).map_err(told)?;
    for (path, text) in files.into_iter().flatten() {
        let file = dir.join(inside(Path::new(path)));
        file.parent().map_or(Ok(()), disk::private_dir).and_then(|()| fs::write(&file, text)).map_err(told)?;
    }
    for file in &shown.files {
        file.put_below(dir).map_err(|error| format!("file for {}: {error}", file.guest.display()))?;
    }
    fs::write(dir.join("proc/mounts"), mount_table(pod, container)).map_err(told)?;
    fs::write(dir.join("proc/modes"), mode_table(pod, container, shown)).map_err(told)?;
    let user = pod.spec.as_ref().map(|spec| User::of(spec, container)).unwrap_or_default();
    fs::write(dir.join("proc/self/status"), user.status()).map_err(told)?;
    let own = Mount {
        host: dir.to_owned(),
        sub_path: PathBuf::new(),
        guest: "/".to_owned(),
        read_only: own_read_only(container),
    };
    let all: Vec<Mount> = shown.mounts.iter().chain([&own]).cloned().collect();
    tell_sizes(&all);
    Ok(own)
}

fn own_read_only(container: &Container) -> bool {
    container.security_context.as_ref().and_then(|s| s.read_only_root_filesystem) == Some(true)
}

/// Writes `/proc/sizes`, for the tools that show them: each mount's place, and in KiB how large it is, how much of that is
/// taken and how much a user may take. A component is not told of them otherwise. They are those of the disk below.
pub(crate) fn tell_sizes(mounts: &[Mount]) {
    let Some(own) = mounts.iter().find(|mount| mount.guest == "/") else { return };
    if let Err(error) = put_in_proc(&own.host, "sizes", &sizes(mounts)) {
        tracing::debug!(%error, path = %own.host.display(), "the sizes of a container's mounts are not shown");
    }
}

/// Puts a file into `/proc` of a container that runs: it can have made links of all that is there.
fn put_in_proc(root: &Path, name: &str, text: &str) -> io::Result<()> {
    use std::io::Write as _;
    let dir = open_beneath(root, Path::new("proc"), false)?;
    let new = format!("{name}.new");
    match unlinkat(&dir, &new, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::File::from(openat(&dir, &new, flags, Mode::RUSR | Mode::WUSR)?).write_all(text.as_bytes())?;
    Ok(renameat(&dir, &new, &dir, name)?)
}

fn sizes(mounts: &[Mount]) -> String {
    let line = |mount: &Mount| {
        let found = rustix::fs::statvfs(&mount.host).ok()?;
        let kib = |blocks: u64| u128::from(blocks) * u128::from(found.f_frsize) / 1024;
        let used = found.f_blocks.saturating_sub(found.f_bfree);
        Some(format!("{} {} {} {}\n", mount.guest, kib(found.f_blocks), kib(used), kib(found.f_bavail)))
    };
    mounts.iter().filter_map(line).collect()
}

/// `/proc/mounts`: of emptyDirs it says whether they are in memory, as far as pods ask for that.
fn mount_table(pod: &Pod, container: &Container) -> String {
    let volumes = pod.spec.as_ref().and_then(|s| s.volumes.as_deref()).unwrap_or_default();
    let in_memory = |volume: &Volume| match &volume.empty_dir {
        Some(dir) => dir.medium.as_deref() == Some("Memory"),
        // What shows objects is in memory with kubelet too.
        None => volume.config_map.is_none() && !volumes::is_theirs(volume),
    };
    let line = |guest: &str, kind: &str, read_only: bool| {
        format!("{kind} {guest} {kind} {},relatime 0 0\n", if read_only { "ro" } else { "rw" })
    };
    let mut table = line("/", "overlay", own_read_only(container));
    for mount in container.volume_mounts.iter().flatten() {
        let Some(volume) = volumes.iter().find(|volume| volume.name == mount.name) else { continue };
        let kind = if in_memory(volume) { "tmpfs" } else { "ext4" };
        // What shows objects is never written to.
        let read_only = mount.read_only == Some(true) || !volumes::is_theirs(volume);
        table.push_str(&line(&mount.mount_path, kind, read_only));
    }
    table
}

/// `/proc/modes`: the permissions of the volumes' files and whose they are (user and group), line by line, for the tools
/// that show them. A component is not told of them otherwise, and nothing hangs on them: all that a container sees it may
/// read.
fn mode_table(pod: &Pod, container: &Container, shown: &Shown) -> String {
    let volumes = pod.spec.as_ref().and_then(|s| s.volumes.as_deref()).unwrap_or_default();
    let of = |guest: &str| {
        let mut all = container.volume_mounts.iter().flatten();
        let name = all.find(|mount| mount.mount_path == guest).map(|mount| &mount.name);
        volumes.iter().find(|volume| Some(&volume.name) == name)
    };
    let group = pod.spec.as_ref().and_then(user::fs_group);
    let mut table = ModeTable { group, ..ModeTable::default() };
    for mount in &shown.mounts {
        let guest = mount.guest.trim_end_matches('/');
        table.line(0o777, 0, guest);
        // Where guests write, links may lead anywhere.
        let Some(volume) = of(&mount.guest).filter(|volume| !volumes::is_theirs(volume)) else { continue };
        let user = pod.spec.as_ref().and_then(user::fs_user);
        table.tokens = tokens(volume).map(|path| (format!("{guest}/{path}"), user)).collect();
        table.below(&mount.host.join(&mount.sub_path), guest);
    }
    table.tokens.clear();
    for file in &shown.files {
        let mode = rustix::fs::fstat(&file.file).map_or(0o644, |found| found.st_mode & 0o777);
        table.file(mode, &file.guest.to_string_lossy());
    }
    table.text
}

/// Where a volume shows tokens of the pod's service account.
fn tokens(volume: &Volume) -> impl Iterator<Item = &str> {
    let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    sources.filter_map(|source| source.service_account_token.as_ref()).map(|token| token.path.as_str())
}

/// The table of permissions in the making.
#[derive(Default)]
struct ModeTable {
    text: String,
    /// How many files were told of.
    found: usize,
    /// Whose all volumes are.
    group: Option<i64>,
    /// The tokens of the volume at hand, and whose they are.
    tokens: Vec<(String, Option<i64>)>,
}

impl ModeTable {
    fn line(&mut self, mode: u32, user: i64, guest: &str) {
        let group = self.group.unwrap_or_default();
        self.text.push_str(&format!("{mode:04o} {user}:{group} {guest}\n"));
    }

    /// As kubelet gives them: a token is its user's alone where somebody is named, and what belongs to a group its members
    /// may read.
    fn file(&mut self, mode: u32, guest: &str) {
        let token = self.tokens.iter().find(|(path, _)| path == guest).map(|(_, user)| *user);
        let (mode, user) = match token {
            Some(user) if user.is_some() || self.group.is_some() => (0o600, user.unwrap_or_default()),
            _ => (mode, 0),
        };
        self.line(if self.group.is_some() { mode | 0o440 } else { mode }, user, guest);
    }

    fn below(&mut self, dir: &Path, guest: &str) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let (Some(name), Ok(target)) = (name.to_str(), fs::metadata(entry.path())) else { continue };
            self.found += 1;
            if name.starts_with("..") || self.found > MAX_MODES {
                continue;
            }
            let guest = format!("{guest}/{name}");
            if target.is_dir() {
                self.below(&entry.path(), &guest);
            } else {
                self.file(target.permissions().mode() & 0o777, &guest);
            }
        }
    }
}

/// The path below the container's own files, out of which none leads.
pub(super) fn inside(path: &Path) -> PathBuf {
    path.components().filter(|part| matches!(part, std::path::Component::Normal(_))).collect()
}

fn make(dir: &Path, pod: &Pod, container: &Container, ip: IpAddr, shown: &Shown) -> io::Result<()> {
    // What the run before left there is gone with it.
    disk::remove_tree(dir)?;
    let mounts = shown.mounts.iter().map(|mount| mount.guest.as_str());
    let places = DIRS.into_iter().chain(mounts).chain(container.working_dir.as_deref());
    for place in places {
        disk::private_dir(&dir.join(inside(Path::new(place))))?;
    }
    let spec = pod.spec.as_ref();
    let (name, domain) = hostname(pod);
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let full = domain.map(|domain| format!("{name}.{domain}.{namespace}.svc.cluster.local\t"));
    let mut hosts = format!("127.0.0.1\tlocalhost\n{ip}\t{}{name}\n", full.unwrap_or_default());
    for alias in spec.and_then(|s| s.host_aliases.as_deref()).unwrap_or_default() {
        hosts.push_str(&format!("{}\t{}\n", alias.ip, alias.hostnames.as_deref().unwrap_or_default().join("\t")));
    }
    let files = [
        ("etc/hostname", format!("{name}\n")),
        ("etc/hosts", hosts),
        ("etc/resolv.conf", resolv_conf(spec, namespace)),
        ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n".to_owned()),
        ("etc/group", "root:x:0:\nnogroup:x:65534:\n".to_owned()),
    ];
    for (path, text) in files {
        fs::write(dir.join(path), text)?;
    }
    Ok(())
}

/// What programs may read of how names are found: what the pod's policy says, and then its own settings. Names are found
/// by the network, whatever is here.
fn resolv_conf(spec: Option<&PodSpec>, namespace: &str) -> String {
    let policy = spec.and_then(|spec| spec.dns_policy.as_deref()).unwrap_or("ClusterFirst");
    let (mut searches, mut options) = (Vec::new(), Vec::new());
    if policy.starts_with("ClusterFirst") {
        searches.extend([format!("{namespace}.svc.cluster.local"), "svc.cluster.local".into(), "cluster.local".into()]);
        options.push(("ndots".to_owned(), Some("5".to_owned())));
    }
    let config = spec.and_then(|spec| spec.dns_config.as_ref());
    for search in config.iter().flat_map(|config| config.searches.iter().flatten()) {
        if !searches.contains(search) {
            searches.push(search.clone());
        }
    }
    for option in config.iter().flat_map(|config| config.options.iter().flatten()) {
        let name = option.name.clone().unwrap_or_default();
        options.retain(|(known, _)| *known != name);
        options.push((name, option.value.clone()));
    }
    let mut text = String::new();
    if !searches.is_empty() {
        text.push_str(&format!("search {}\n", searches.join(" ")));
    }
    for server in config.iter().flat_map(|config| config.nameservers.iter().flatten()) {
        text.push_str(&format!("nameserver {server}\n"));
    }
    if !options.is_empty() {
        let word =
            |(name, value): (String, Option<String>)| value.map_or(name.clone(), |value| format!("{name}:{value}"));
        text.push_str(&format!("options {}\n", options.into_iter().map(word).collect::<Vec<_>>().join(" ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_names_are_found_is_told_by_policy_and_settings() {
        let check = |spec: serde_json::Value, expected: &str| {
            let mut spec = spec;
            spec["containers"] = serde_json::json!([]);
            let spec: PodSpec = serde_json::from_value(spec).unwrap();
            assert_eq!(resolv_conf(Some(&spec), "ns"), expected);
        };
        let cluster = "search ns.svc.cluster.local svc.cluster.local cluster.local";
        check(serde_json::json!({}), &format!("{cluster}\noptions ndots:5\n"));
        let own = serde_json::json!({"nameservers": ["1.1.1.1"], "searches": ["a.b"], "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]});
        check(
            serde_json::json!({"dnsConfig": own}),
            &format!("{cluster} a.b\nnameserver 1.1.1.1\noptions ndots:2 edns0\n"),
        );
        check(
            serde_json::json!({"dnsPolicy": "None", "dnsConfig": own}),
            "search a.b\nnameserver 1.1.1.1\noptions ndots:2 edns0\n",
        );
        check(serde_json::json!({"dnsPolicy": "Default"}), "");
    }

    #[test]
    fn a_run_begins_with_fresh_files_and_a_place_for_each_mount() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "web-0", "namespace": "ns"},
            "spec": {"subdomain": "web", "hostAliases": [{"ip": "10.1.1.1", "hostnames": ["a", "b"]}], "containers": [
                {"name": "c", "volumeMounts": [{"name": "v", "mountPath": "/data/deep"}, {"name": "w", "mountPath": "/../x"}],
                    "securityContext": {"readOnlyRootFilesystem": true}},
            ]},
        }))
        .unwrap();
        let container = &pod.spec.as_ref().unwrap().containers[0];
        let ip = "100.64.0.7".parse().unwrap();
        let page =
            BTreeMap::from([("srv/www/index.html".to_owned(), "page".to_owned()), ("../y".to_owned(), "z".to_owned())]);
        let at = |guest: &str| Mount {
            host: dir.path().to_owned(),
            sub_path: PathBuf::new(),
            guest: guest.to_owned(),
            read_only: false,
        };
        let shown = Shown { mounts: vec![at("/data/deep"), at("/../x")], files: Vec::new() };
        let mount = set_up(&root, &pod, container, ip, Some(&page), &shown).unwrap();
        let read = |file: &str| fs::read_to_string(root.join(file)).unwrap();
        assert_eq!((read("srv/www/index.html"), read("y")), ("page".to_owned(), "z".to_owned()));
        assert_eq!((mount.guest.as_str(), mount.read_only), ("/", true));
        fs::write(root.join("tmp/left"), "x").unwrap();
        set_up(&root, &pod, container, ip, None, &shown).unwrap();
        assert!(!root.join("tmp/left").exists() && root.join("data/deep").is_dir() && root.join("x").is_dir());
        let hosts = fs::read_to_string(root.join("etc/hosts")).unwrap();
        let own = "100.64.0.7\tweb-0.web.ns.svc.cluster.local\tweb-0\n10.1.1.1\ta\tb\n";
        assert!(hosts.ends_with(own), "{hosts}");
        let mut renamed = pod.clone();
        renamed.spec.as_mut().unwrap().hostname_override = Some("other.example".to_owned());
        set_up(&root, &renamed, container, ip, None, &shown).unwrap();
        let read = |file: &str| fs::read_to_string(root.join(file)).unwrap();
        assert_eq!(read("etc/hostname"), "other.example\n");
        assert!(read("etc/hosts").contains("\n100.64.0.7\tother.example\n"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is made outside");
    }

    #[test]
    fn tools_are_told_how_volumes_are_mounted_and_what_their_files_permit() {
        let dir = tempfile::tempdir().unwrap();
        let volume = dir.path().join("v");
        fs::create_dir_all(volume.join("..v0/deep")).unwrap();
        for (name, mode) in [("..v0/a", 0o400), ("..v0/deep/b", 0o640)] {
            fs::write(volume.join(name), "x").unwrap();
            fs::set_permissions(volume.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        for name in ["a", "deep"] {
            std::os::unix::fs::symlink(Path::new("..v0").join(name), volume.join(name)).unwrap();
        }
        let pod: Pod = serde_json::from_value(serde_json::json!({"spec": {
            "volumes": [
                {"name": "m", "emptyDir": {"medium": "Memory"}}, {"name": "d", "emptyDir": {}},
                {"name": "s", "secret": {"secretName": "s"}},
            ],
            "containers": [{"name": "c", "volumeMounts": [
                {"name": "m", "mountPath": "/m"}, {"name": "d", "mountPath": "/d", "readOnly": true},
                {"name": "s", "mountPath": "/s"},
            ]}],
        }}))
        .unwrap();
        let container = &pod.spec.as_ref().unwrap().containers[0];
        let at = |guest: &str| Mount {
            host: volume.clone(),
            sub_path: PathBuf::new(),
            guest: guest.to_owned(),
            read_only: true,
        };
        let shown = |guests: &[&str]| Shown { mounts: guests.iter().copied().map(at).collect(), files: Vec::new() };
        let table = mode_table(&pod, container, &shown(&["/s", "/d"]));
        let mut lines: Vec<&str> = table.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["0400 0:0 /s/a", "0640 0:0 /s/deep/b", "0777 0:0 /d", "0777 0:0 /s"]);
        let check = |context: serde_json::Value, expected: [&str; 3]| {
            let mut pod = pod.clone();
            let spec = pod.spec.as_mut().unwrap();
            spec.security_context = serde_json::from_value(context).unwrap();
            let token = serde_json::json!({"sources": [{"serviceAccountToken": {"path": "deep/b"}}]});
            let volume = &mut spec.volumes.as_mut().unwrap()[2];
            (volume.secret, volume.projected) = (None, serde_json::from_value(token).unwrap());
            let table = mode_table(&pod, container, &shown(&["/s"]));
            let mut lines: Vec<&str> = table.lines().collect();
            lines.sort_unstable();
            assert_eq!(lines, expected);
        };
        check(serde_json::json!({"runAsUser": 7}), ["0400 0:0 /s/a", "0600 7:0 /s/deep/b", "0777 0:0 /s"]);
        check(serde_json::json!({"fsGroup": 9}), ["0440 0:9 /s/a", "0640 0:9 /s/deep/b", "0777 0:9 /s"]);
        let expected = "overlay / overlay rw,relatime 0 0\ntmpfs /m tmpfs rw,relatime 0 0\next4 /d ext4 ro,relatime 0 0\n\
                        tmpfs /s tmpfs ro,relatime 0 0\n";
        assert_eq!(mount_table(&pod, container), expected);
        let mut fixed = container.clone();
        fixed.security_context.get_or_insert_default().read_only_root_filesystem = Some(true);
        assert!(mount_table(&pod, &fixed).starts_with("overlay / overlay ro,relatime 0 0\n"));
        let root = Mount { guest: "/".to_owned(), ..at("/m") };
        disk::private_dir(&volume.join("proc")).unwrap();
        let (outside, link) = (dir.path().join("outside"), volume.join("proc/sizes"));
        fs::write(&outside, "x").unwrap();
        std::os::unix::fs::symlink(&outside, &link).unwrap();
        std::os::unix::fs::symlink(&outside, link.with_extension("new")).unwrap();
        tell_sizes(&[at("/m"), root]);
        assert_eq!(fs::read_to_string(&outside).unwrap(), "x", "no link that the container made is followed");
        let told = fs::read_to_string(volume.join("proc/sizes")).unwrap();
        let places: Vec<&str> = told.lines().map(|line| line.rsplitn(4, ' ').last().unwrap()).collect();
        assert_eq!(places, ["/m", "/"]);
        let numbers: Vec<u64> = told.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        assert!(numbers.len() == 6 && numbers[0] >= numbers[1] && numbers[0] > 0, "{told}");
    }
}
