//! What a container may use, changed while it runs.

use super::*;
use crate::ResizeFailure;

fn using(memory: &str, policy: &str) -> Value {
    let resources = json!({"requests": {"memory": memory}, "limits": {"memory": "1Gi", "cpu": "1"}});
    let policies = json!([{"resourceName": "memory", "restartPolicy": policy}]);
    json!({"containers": [{"name": "c", "image": "x", "resources": resources, "resizePolicy": policies}]})
}

impl Life {
    /// `allocatedResources` and `resources.limits` of memory, as the status has them.
    fn memory(&self) -> (String, String) {
        let status = self.status().container_statuses.unwrap().remove(0);
        let limits = status.resources.unwrap().limits.unwrap();
        (status.allocated_resources.unwrap()["memory"].0.clone(), limits["memory"].0.clone())
    }

    fn resizing(&self) -> Option<String> {
        let conditions = self.status().conditions.unwrap();
        let found = conditions.into_iter().find(|c| c.type_.starts_with("PodResize"))?;
        Some([found.type_, found.reason.unwrap(), found.message.unwrap()].join(" "))
    }
}

#[test]
fn what_runs_is_given_what_its_manifest_says_then() {
    let mut life = Life::run(using("1Mi", "NotRequired"));
    assert_eq!(life.memory(), ("1Mi".to_owned(), "1Gi".to_owned()));
    life.asked();
    life.tell(Event::Updated(plan(using("2Mi", "NotRequired"))));
    assert_eq!(life.asked(), [Effect::Resize(FIRST)]);
    assert_eq!(life.memory().0, "1Mi", "not before it has it");
    life.tell(Event::Resized { run: FIRST, outcome: Ok(()) });
    assert_eq!((life.memory().0.as_str(), life.resizing(), life.asked()), ("2Mi", None, vec![]));

    life.tell(Event::Updated(plan(using("9Ti", "NotRequired"))));
    let why = || "too much".to_owned();
    life.tell(Event::Resized { run: FIRST, outcome: Err(ResizeFailure::Infeasible(why())) });
    assert_eq!(life.resizing().as_deref(), Some("PodResizePending Infeasible too much"));
    assert_eq!((life.memory().0.as_str(), life.container("c")), ("2Mi", "running".to_owned()));
    life.asked();
    life.at(100);
    assert_eq!(life.asked(), [], "only another manifest helps");
    life.tell(Event::Updated(plan(using("2Mi", "NotRequired"))));
    assert_eq!((life.asked(), life.resizing()), (vec![], None));

    life.tell(Event::Updated(plan(using("1Mi", "NotRequired"))));
    life.tell(Event::Resized { run: FIRST, outcome: Err(ResizeFailure::Failed(why())) });
    assert_eq!(life.resizing().as_deref(), Some("PodResizeInProgress Error too much"));
    life.asked();
    assert_eq!(life.at(105).asked(), [Effect::Resize(FIRST)], "it is tried again");
}

#[test]
fn what_cannot_change_in_a_run_restarts_the_container() {
    let mut life = Life::run(using("1Mi", "RestartContainer"));
    life.asked();
    life.tell(Event::Updated(plan(using("2Mi", "RestartContainer"))));
    life.tell(Event::Resized { run: FIRST, outcome: Ok(()) });
    assert!(life.notes().contains(&"Killing: Container c resize requires restart".to_owned()), "{:?}", life.notes());
    assert_eq!(life.memory().0, "1Mi");
    life.tell(Event::Exited(FIRST, exit(143)));
    let next = Run { container: 0, attempt: 1 };
    life.tell(Event::ImageFound { container: 0, image: image() }).tell(Event::Started(next));
    assert_eq!((life.memory().0.as_str(), life.container("c")), ("2Mi", "running".to_owned()));
}
