//! Fields that Kubernetes' objects have whether they are written or not, because of how Go holds them.

use super::{Implied, Message};

type Row = (&'static str, &'static [&'static str]);

/// Structs that Go holds by value. The message's name without its package, then fields. `metadata`, `spec` and `status` of
/// kinds are such without being listed.
const OBJECTS: &[Row] = &[
    ("Container", &["resources"]),
    ("CronJobSpec", &["jobTemplate"]),
    ("CustomResourceDefinitionSpec", &["names"]),
    ("CustomResourceDefinitionStatus", &["acceptedNames"]),
    ("DaemonSetSpec", &["template", "updateStrategy"]),
    ("DeploymentSpec", &["strategy", "template"]),
    ("EphemeralContainer", &["resources"]),
    ("Event", &["source"]),
    ("HorizontalPodAutoscalerSpec", &["scaleTargetRef"]),
    ("IngressStatus", &["loadBalancer"]),
    ("JobSpec", &["template"]),
    ("JobTemplateSpec", &["metadata", "spec"]),
    ("NetworkPolicySpec", &["podSelector"]),
    ("NodeStatus", &["daemonEndpoints", "nodeInfo"]),
    ("PersistentVolumeClaimSpec", &["resources"]),
    ("PodTemplate", &["template"]),
    ("PodTemplateSpec", &["metadata", "spec"]),
    ("ReplicaSetSpec", &["template"]),
    ("ServiceStatus", &["loadBalancer"]),
    ("StatefulSetSpec", &["template", "updateStrategy"]),
];

/// Lists that Go writes as `null` when they are empty.
const LISTS: &[Row] = &[
    ("CSINodeSpec", &["drivers"]),
    ("ClusterRole", &["rules"]),
    ("EndpointSlice", &["endpoints", "ports"]),
    ("HorizontalPodAutoscalerStatus", &["currentMetrics"]),
    ("LimitRangeSpec", &["limits"]),
    ("PodSpec", &["containers"]),
    ("Role", &["rules"]),
];

const ROOT: [&str; 3] = ["metadata", "spec", "status"];

/// Notes them in the messages.
pub(super) fn note(messages: &mut [Message]) {
    for message in messages {
        let (short, root) = (message.go_name(), message.root);
        let listed =
            |table: &[Row], field: &str| table.iter().any(|(of, fields)| *of == short && fields.contains(&field));
        for field in &mut message.fields {
            if root && ROOT.contains(&field.name) || listed(OBJECTS, field.name) {
                field.implied = Some(Implied::Object);
            } else if listed(LISTS, field.name) {
                field.implied = Some(Implied::Null);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema;

    #[test]
    fn the_tables_name_fields_that_are() {
        for (message, fields) in OBJECTS.iter().chain(LISTS) {
            let named: Vec<&Message> = schema::messages().iter().filter(|m| m.go_name() == *message).collect();
            for field in *fields {
                let found =
                    named.iter().any(|message| message.field(field).is_some_and(|field| field.implied.is_some()));
                assert!(found, "{message}.{field}");
            }
        }
    }
}
