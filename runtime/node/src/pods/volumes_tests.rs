use super::*;
use crate::pods::fields::Capacity;

struct Place {
    dir: tempfile::TempDir,
    pod: Pod,
}

impl Place {
    fn new(volumes: serde_json::Value, mounts: serde_json::Value) -> Self {
        let pod = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "p", "labels": {"a": "b"}},
            "spec": {"volumes": volumes, "containers": [{"name": "c", "volumeMounts": mounts}]},
        }))
        .unwrap();
        Self { dir: tempfile::tempdir().unwrap(), pod }
    }

    fn set_up(&self, sources: &Sources) -> Result<(), String> {
        let capacity = Capacity { cpu_millis: 1000, memory_bytes: 1 << 30 };
        let facts = Facts { pod: &self.pod, ip: None, host_ip: "10.0.0.1".parse().unwrap(), capacity };
        set_up(&self.volumes(), &facts, sources, &self.local())
    }

    fn local(&self) -> LocalVolumes {
        LocalVolumes::open(&self.dir.path().join("claims"), &[]).unwrap()
    }

    fn volumes(&self) -> PathBuf {
        self.dir.path().join("volumes")
    }

    fn shown(&self) -> Result<Shown, String> {
        let container = &self.pod.spec.as_ref().unwrap().containers[0];
        let env = [("DIR".to_owned(), "sub".to_owned())];
        show(&self.volumes(), &self.dir.path().join("files"), &self.pod, container, &env)
    }

    fn mounts(&self) -> Result<Vec<Mount>, String> {
        self.shown().map(|shown| shown.mounts)
    }

    /// What a guest sees: names and contents.
    fn listing(dir: &Path) -> Vec<(String, String)> {
        let names = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut all: Vec<_> = names
            .filter(|n| !n.starts_with(".."))
            .map(|n| (n.clone(), fs::read_to_string(dir.join(&n)).unwrap_or_else(|_| "(dir)".to_owned())))
            .collect();
        all.sort();
        all
    }
}

fn config_map(data: &[(&str, &str)]) -> Sources {
    Sources::default().with(SourceName::ConfigMap("cm".into()), data)
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

#[test]
fn a_config_map_is_a_directory_that_follows_it_all_at_once() {
    let place = Place::new(
        serde_json::json!([{"name": "v", "configMap": {"name": "cm", "defaultMode": 0o400}}]),
        serde_json::json!([{"name": "v", "mountPath": "/etc/app"}]),
    );
    place.set_up(&config_map(&[("a", "1"), ("b", "2")])).unwrap();
    let mounts = place.mounts().unwrap();
    assert_eq!((mounts.len(), mounts[0].guest.as_str(), mounts[0].read_only), (1, "/etc/app", true));
    assert_eq!(Place::listing(&mounts[0].host), pairs(&[("a", "1"), ("b", "2")]));
    assert_eq!(fs::metadata(mounts[0].host.join("a")).unwrap().permissions().mode() & 0o777, 0o400);
    let version = fs::read_link(mounts[0].host.join("..data")).unwrap();
    place.set_up(&config_map(&[("a", "1"), ("b", "2")])).unwrap();
    assert_eq!(fs::read_link(mounts[0].host.join("..data")).unwrap(), version, "nothing changed");
    place.set_up(&config_map(&[("a", "9"), ("c", "3")])).unwrap();
    assert_eq!(Place::listing(&mounts[0].host), pairs(&[("a", "9"), ("c", "3")]));
    assert!(!mounts[0].host.join(version).exists(), "the old version is gone");
}

#[test]
fn items_choose_keys_and_paths() {
    let volume = |optional: bool| {
        serde_json::json!([{"name": "v", "projected": {"sources": [
            {"configMap": {"name": "cm", "optional": optional, "items": [{"key": "a", "path": "x/y"}, {"key": "z", "path": "z"}]}},
            {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        ]}}])
    };
    let place = Place::new(volume(true), serde_json::json!([{"name": "v", "mountPath": "/v"}]));
    place.set_up(&config_map(&[("a", "1"), ("b", "2")])).unwrap();
    let host = place.mounts().unwrap().remove(0).host;
    assert_eq!(Place::listing(&host), pairs(&[("labels", "a=\"b\""), ("x", "(dir)")]));
    assert_eq!(fs::read_to_string(host.join("x/y")).unwrap(), "1");
    let place = Place::new(volume(false), serde_json::json!([]));
    let error = place.set_up(&config_map(&[("a", "1")])).unwrap_err();
    assert_eq!(error, "MountVolume.SetUp failed for volume \"v\" : references non-existent key of configmap \"cm\": z");
}

#[test]
fn what_is_missing_or_not_supported_is_named() {
    let check = |volume: serde_json::Value, expected: &str| {
        let place = Place::new(serde_json::json!([volume]), serde_json::json!([]));
        let error = place.set_up(&Sources::default()).unwrap_err();
        assert_eq!(error, format!("MountVolume.SetUp failed for volume \"v\" : {expected}"));
    };
    check(serde_json::json!({"name": "v", "secret": {"secretName": "s"}}), "secret \"s\" not found");
    check(
        serde_json::json!({"name": "v", "hostPath": {"path": "/"}}),
        "hostPath is not supported; emptyDir, persistentVolumeClaim, ephemeral, configMap, secret, downwardAPI and projected are",
    );
    let bad = serde_json::json!([{"name": "v", "configMap": {"name": "cm", "items": [{"key": "a", "path": "../a"}]}}]);
    let error = Place::new(bad, serde_json::json!([])).set_up(&config_map(&[("a", "1")])).unwrap_err();
    assert!(error.contains("leaves the volume"), "{error}");
}

#[test]
fn single_files_are_among_the_containers_own_unless_a_volume_is_there_or_they_are_only_to_be_read() {
    let place = Place::new(
        serde_json::json!([{"name": "v", "configMap": {"name": "cm"}}, {"name": "e", "emptyDir": {}}]),
        serde_json::json!([
            {"name": "v", "mountPath": "/etc/resolv.conf", "subPath": "a"},
            {"name": "v", "mountPath": "/data/one", "subPath": "a"},
            {"name": "v", "mountPath": "/data/two", "subPath": "b"},
            {"name": "e", "mountPath": "/data", "subPathExpr": "$(DIR)/x"},
            {"name": "e", "mountPath": "/log/own", "subPath": "log"},
            {"name": "e", "mountPath": "/read/own", "subPath": "log", "readOnly": true},
        ]),
    );
    place.set_up(&config_map(&[("a", "1"), ("b", "2")])).unwrap();
    fs::write(place.volumes().join("e/log"), "old").unwrap();
    let shown = place.shown().unwrap();
    let seen: Vec<_> = shown.mounts.iter().map(|m| (m.guest.as_str(), m.read_only)).collect();
    assert_eq!(seen, [("/data", false), ("/data", true), ("/read", true)]);
    assert!(shown.mounts[0].host.ends_with("e") && shown.mounts[0].sub_path == Path::new("sub/x"));
    assert!(place.volumes().join("e/sub/x").is_dir());
    assert_eq!(Place::listing(&shown.mounts[1].host), pairs(&[("one", "1"), ("two", "2")]));
    assert_eq!(Place::listing(&shown.mounts[2].host), pairs(&[("own", "old")]));
    let root = place.dir.path().join("root");
    fs::create_dir_all(root.join("etc")).unwrap();
    for name in ["hosts", "resolv.conf"] {
        fs::write(root.join("etc").join(name), name).unwrap();
    }
    for file in &shown.files {
        file.put_below(&root).unwrap();
    }
    assert_eq!(Place::listing(&root.join("etc")), pairs(&[("hosts", "hosts"), ("resolv.conf", "1")]));
    // What is written to a volume's file is the volume's; an object's files are the container's own.
    for (name, text) in [("etc/resolv.conf", "changed"), ("log/own", "new")] {
        fs::write(root.join(name), text).unwrap();
    }
    assert_eq!(fs::read_to_string(place.volumes().join("e/log")).unwrap(), "new");
    assert_eq!(fs::read_to_string(place.volumes().join("v/a")).unwrap(), "1");
    // A second start finds the same.
    assert_eq!(place.mounts().unwrap(), shown.mounts);
}

#[test]
fn a_link_that_a_guest_made_leads_nowhere() {
    let place = Place::new(
        serde_json::json!([{"name": "e", "emptyDir": {}}]),
        serde_json::json!([{"name": "e", "mountPath": "/data", "subPath": "out/x"}]),
    );
    place.set_up(&Sources::default()).unwrap();
    let outside = tempfile::tempdir().unwrap();
    symlink(outside.path(), place.volumes().join("e/out")).unwrap();
    let error = place.mounts().unwrap_err();
    assert!(error.contains("links are not followed"), "{error}");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    // Nor to a single file.
    fs::write(outside.path().join("x"), "secret").unwrap();
    assert!(place.mounts().unwrap_err().contains("links are not followed"));
    fs::remove_file(place.volumes().join("e/out")).unwrap();
    fs::create_dir(place.volumes().join("e/out")).unwrap();
    symlink(outside.path().join("x"), place.volumes().join("e/out/x")).unwrap();
    assert!(place.mounts().unwrap_err().contains("links are not followed"));
}

#[test]
fn a_claims_volume_is_the_directory_that_stays() {
    let place = Place::new(
        serde_json::json!([
            {"name": "v", "persistentVolumeClaim": {"claimName": "c"}},
            {"name": "r", "persistentVolumeClaim": {"claimName": "c", "readOnly": true}},
            {"name": "own", "ephemeral": {}},
        ]),
        serde_json::json!([
            {"name": "v", "mountPath": "/data"},
            {"name": "v", "mountPath": "/deep", "subPath": "a/b"},
            {"name": "r", "mountPath": "/read"},
            {"name": "own", "mountPath": "/own"},
        ]),
    );
    let claim = |name: &str, key: &str, text: &str| {
        Sources::default()
            .with(SourceName::Claim("c".into()), &[(claims::PLACE, "pvc-1")])
            .with(SourceName::Claim(name.into()), &[(key, text)])
    };
    let sources = claim("p-own", claims::PLACE, "pvc-2");
    let missing = place.set_up(&sources).unwrap_err();
    assert!(
        missing.starts_with("MountVolume.SetUp failed for volume \"v\" : path") && missing.ends_with("does not exist")
    );
    let stays = place.local().make("pvc-1").unwrap();
    place.local().make("pvc-2").unwrap();
    place.set_up(&sources).unwrap();
    place.set_up(&sources).unwrap();
    let mounts = place.mounts().unwrap();
    let read_only: Vec<bool> = mounts.iter().map(|mount| mount.read_only).collect();
    assert_eq!(read_only, [false, false, true, false]);
    fs::write(mounts[1].host.join(&mounts[1].sub_path).join("file"), "kept").unwrap();
    assert_eq!(fs::read_to_string(stays.join("a/b/file")).unwrap(), "kept");
    // The pod goes, and what is in its volumes stays.
    disk::remove_tree(&place.volumes()).unwrap();
    assert_eq!(fs::read_to_string(stays.join("a/b/file")).unwrap(), "kept");
    let refused = claim("c", "why-not", "PVC ns/c has non-bound phase");
    assert!(place.set_up(&refused).unwrap_err().ends_with(": PVC ns/c has non-bound phase"));
    assert!(place.set_up(&Sources::default()).unwrap_err().ends_with("persistentvolumeclaim \"c\" not found"));
}
