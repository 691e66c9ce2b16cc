//! How long nodes may go on with what they know of ConfigMaps and Secrets, by how many nodes there are: an annotation, as
//! kube-controller-manager's ttl controller keeps it.

use k8s_openapi::api::core::v1::Node;
use serde_json::json;

use crate::action::{Action, Target};
use crate::object::{annotation, is_deleting, same_object};

const ANNOTATION: &str = "node.alpha.kubernetes.io/ttl";

/// As long as a cluster has so many nodes, its nodes may have so many seconds.
struct Step {
    from: usize,
    to: usize,
    seconds: u32,
}

/// They overlap, so that a cluster between two sizes does not rewrite all nodes with each that comes or goes.
const STEPS: [Step; 5] = [
    Step { from: 0, to: 100, seconds: 0 },
    Step { from: 90, to: 500, seconds: 15 },
    Step { from: 450, to: 1000, seconds: 30 },
    Step { from: 900, to: 2000, seconds: 60 },
    Step { from: 1800, to: usize::MAX, seconds: 300 },
];

/// The write that says it on a node of a cluster of so many, if it does not say so.
pub fn annotate(node: &Node, nodes: usize) -> Option<Action> {
    let said = annotation(&node.metadata, ANNOTATION).and_then(|text| text.parse().ok());
    let wanted = seconds(nodes, said);
    if said == Some(wanted) || is_deleting(&node.metadata) {
        return None;
    }
    let target = Target::of(node);
    let mut metadata = same_object(&target);
    metadata["annotations"] = json!({ANNOTATION: wanted.to_string()});
    Some(Action::Patch { patch: json!({ "metadata": metadata }), target, subresource: None, announce: None })
}

fn seconds(nodes: usize, said: Option<u32>) -> u32 {
    let fits = |step: &&Step| (step.from..=step.to).contains(&nodes);
    let kept = STEPS.iter().filter(fits).find(|step| Some(step.seconds) == said);
    kept.or_else(|| STEPS.iter().find(fits)).map_or(0, |step| step.seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_nodes_there_are_the_longer_each_may_go_on() {
        for (nodes, said, expected) in [
            (1, None, 0),
            (100, Some(0), 0),
            (101, Some(0), 15),
            (95, Some(15), 15),
            (89, Some(15), 0),
            (95, None, 0),
            (2500, Some(60), 300),
            (20_000, Some(300), 300),
            (1900, Some(300), 300),
            (1900, None, 60),
            (50, Some(7), 0),
        ] {
            assert_eq!(seconds(nodes, said), expected, "{nodes} {said:?}");
        }
    }

    #[test]
    fn a_node_is_written_once() {
        let node = |annotations: serde_json::Value| -> Node {
            let metadata = json!({"name": "n", "uid": "u", "annotations": annotations});
            serde_json::from_value(json!({ "metadata": metadata })).expect("a node")
        };
        let Some(Action::Patch { patch, .. }) = annotate(&node(json!({})), 1) else { panic!("nothing is written") };
        assert_eq!(patch["metadata"]["annotations"], json!({ANNOTATION: "0"}));
        assert_eq!(patch["metadata"]["uid"], "u");
        assert!(annotate(&node(json!({ANNOTATION: "0"})), 1).is_none());
        assert!(annotate(&node(json!({ANNOTATION: "soon"})), 1).is_some());
    }
}
