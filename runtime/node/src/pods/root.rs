//! A container's own files: what is not in a volume, fresh for each run.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, Pod};
use pal_engine::Mount;

use crate::disk;

/// Directories that programs expect.
const DIRS: [&str; 7] = ["tmp", "root", "home", "etc", "dev", "var/tmp", "var/run"];

/// Makes the files anew, with a place for each of the container's mounts, and says how the container sees them.
pub(super) fn set_up(dir: &Path, pod: &Pod, container: &Container, ip: IpAddr) -> Result<Mount, String> {
    make(dir, pod, container, ip).map_err(|error| format!("the container's own files: {error}"))?;
    let read_only = container.security_context.as_ref().and_then(|s| s.read_only_root_filesystem) == Some(true);
    Ok(Mount { host: dir.to_owned(), sub_path: PathBuf::new(), guest: "/".to_owned(), read_only })
}

fn make(dir: &Path, pod: &Pod, container: &Container, ip: IpAddr) -> io::Result<()> {
    // What the run before left there is gone with it.
    disk::remove_tree(dir)?;
    let mounts = container.volume_mounts.iter().flatten().map(|mount| mount.mount_path.as_str());
    let places = DIRS.into_iter().chain(mounts).chain(container.working_dir.as_deref());
    for place in places {
        let parts = Path::new(place).components();
        let inside = parts.filter(|part| matches!(part, std::path::Component::Normal(_)));
        disk::private_dir(&dir.join(inside.collect::<PathBuf>()))?;
    }
    let spec = pod.spec.as_ref();
    let name = spec.and_then(|s| s.hostname.as_deref()).or(pod.metadata.name.as_deref()).unwrap_or_default();
    let domain = spec.and_then(|s| s.subdomain.as_deref());
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let full = domain.map(|domain| format!("{name}.{domain}.{namespace}.svc.cluster.local\t"));
    let mut hosts = format!("127.0.0.1\tlocalhost\n{ip}\t{}{name}\n", full.unwrap_or_default());
    for alias in spec.and_then(|s| s.host_aliases.as_deref()).unwrap_or_default() {
        hosts.push_str(&format!("{}\t{}\n", alias.ip, alias.hostnames.as_deref().unwrap_or_default().join("\t")));
    }
    let search = format!("search {namespace}.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n");
    let files = [
        ("etc/hostname", format!("{name}\n")),
        ("etc/hosts", hosts),
        ("etc/resolv.conf", search),
        ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n".to_owned()),
        ("etc/group", "root:x:0:\nnogroup:x:65534:\n".to_owned()),
    ];
    for (path, text) in files {
        fs::write(dir.join(path), text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let mount = set_up(&root, &pod, container, ip).unwrap();
        assert_eq!((mount.guest.as_str(), mount.read_only), ("/", true));
        fs::write(root.join("tmp/left"), "x").unwrap();
        set_up(&root, &pod, container, ip).unwrap();
        assert!(!root.join("tmp/left").exists() && root.join("data/deep").is_dir() && root.join("x").is_dir());
        let hosts = fs::read_to_string(root.join("etc/hosts")).unwrap();
        let own = "100.64.0.7\tweb-0.web.ns.svc.cluster.local\tweb-0\n10.1.1.1\ta\tb\n";
        assert!(hosts.ends_with(own), "{hosts}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is made outside");
    }
}
