//! What stands behind a pod's claim, asked of the API as kubelet asks.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::api::Api;
use pal_resources::volumes::{PROVISIONED_BY, PROVISIONER};

use super::sources::Data;

/// The key of where the volume is.
pub(crate) const PLACE: &str = "place";

/// Where the volume of a claim is on this node, if there is such a claim; an error says why it cannot be shown.
pub(super) async fn ask(client: &kube::Client, namespace: &str, name: &str) -> Result<Option<Data>, kube::Error> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
    let Some(claim) = claims.get_opt(name).await? else { return Ok(None) };
    let place = match volume_of(&claim) {
        Ok(volume) => {
            let volumes: Api<PersistentVolume> = Api::all(client.clone());
            match volumes.get_opt(volume).await? {
                Some(volume) => place(&claim, &volume),
                None => Err(format!("persistentvolume {volume:?} not found")),
            }
        }
        Err(why) => Err(why),
    };
    let (key, text) = match place {
        Ok(place) => (PLACE, place),
        Err(why) => (WHY_NOT, why),
    };
    Ok(Some(Data::from([(key.to_owned(), text.into_bytes())])))
}

/// The key of why the volume cannot be shown.
const WHY_NOT: &str = "why-not";

/// Where the volume is: a name of the node's own, or a path.
pub(crate) fn found(data: &Data) -> Result<String, String> {
    let text = |key: &str| data.get(key).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    text(PLACE).ok_or_else(|| text(WHY_NOT).unwrap_or_default())
}

fn volume_of(claim: &PersistentVolumeClaim) -> Result<&str, String> {
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
    let volume = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).unwrap_or_default();
    if phase == "Bound" && !volume.is_empty() {
        return Ok(volume);
    }
    let meta = &claim.metadata;
    let (namespace, name) = (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default());
    Err(format!("PVC {namespace}/{name} has non-bound phase ({phase:?}) or empty pvc.Spec.VolumeName ({volume:?})"))
}

fn place(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> Result<String, String> {
    let name = volume.metadata.name.as_deref().unwrap_or_default();
    let spec = volume.spec.as_ref().ok_or_else(|| format!("persistentvolume {name:?} has no spec"))?;
    if spec.claim_ref.as_ref().and_then(|claim| claim.uid.as_ref()) != claim.metadata.uid.as_ref() {
        return Err(format!("persistentvolume {name:?} is not bound to the claim"));
    }
    if spec.volume_mode.as_deref() == Some("Block") {
        return Err(format!("persistentvolume {name:?} is a block device, which components cannot use"));
    }
    let local = spec
        .local
        .as_ref()
        .ok_or_else(|| format!("persistentvolume {name:?} is of a kind that is not supported; local is"))?;
    let annotations = volume.metadata.annotations.as_ref();
    let made_here = annotations.and_then(|all| all.get(PROVISIONED_BY)).is_some_and(|by| by == PROVISIONER);
    // The node may have been moved to another directory, and its volumes with it.
    Ok(if made_here { name.to_owned() } else { local.path.clone() })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_claims_volume_is_shown_if_it_is_local_and_the_claims() {
        let check = |claim: Value, volume: Value, expected: Result<&str, &str>| {
            let mut whole = json!({"metadata": {"namespace": "ns", "name": "c", "uid": "u"},
                "spec": {"volumeName": "v"}, "status": {"phase": "Bound"}});
            whole.as_object_mut().unwrap().extend(claim.as_object().unwrap().clone());
            let claim: PersistentVolumeClaim = serde_json::from_value(whole).unwrap();
            let mut whole = json!({"metadata": {"name": "v"}, "spec": volume});
            if volume["made"] == true {
                whole["metadata"]["annotations"] = json!({PROVISIONED_BY: PROVISIONER});
            }
            let volume: PersistentVolume = serde_json::from_value(whole).unwrap();
            let found = volume_of(&claim).map(str::to_owned).and_then(|_| place(&claim, &volume));
            match (&found, expected) {
                (Ok(found), Ok(wanted)) => assert_eq!(found, wanted),
                (Err(why), Err(wanted)) => assert!(why.contains(wanted), "{why}"),
                _ => panic!("{found:?}, expected {expected:?}"),
            }
        };
        let of = |uid: &str| json!({"claimRef": {"uid": uid}, "local": {"path": "/disk"}});
        check(json!({}), of("u"), Ok("/disk"));
        let mut made = of("u");
        made["made"] = json!(true);
        check(json!({}), made, Ok("v"));
        check(json!({}), of("other"), Err("is not bound to the claim"));
        check(json!({"status": {"phase": "Pending"}}), of("u"), Err("PVC ns/c has non-bound phase (\"Pending\")"));
        check(json!({"spec": {}}), of("u"), Err("empty pvc.Spec.VolumeName (\"\")"));
        check(json!({}), json!({"claimRef": {"uid": "u"}, "nfs": {"path": "/", "server": "s"}}), Err("local is"));
        let mut block = of("u");
        block["volumeMode"] = json!("Block");
        check(json!({}), block, Err("is a block device"));
    }
}
