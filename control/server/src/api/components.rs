//! ComponentStatus: how the parts of the control plane are. They are all in this process, so that an answer says as much
//! of each as there is to be known; the store alone can fail on its own. Nothing of it is stored.

use http::{Response, StatusCode};
use pal_registry::{List, Object};
use pal_resources::selector::FieldSelector;
use pal_resources::{Resource, ResourceVersion, Status, codec, kinds};
use serde_json::{Value, json};

use super::{At, Call, health, read, reply};
use crate::Body;

/// The store goes by the name that clients know.
const STORE: &str = "etcd-0";
const NAMES: &[&str] = &["scheduler", "controller-manager", STORE];
const DEPRECATED: &str = "v1 ComponentStatus is deprecated in v1.19+";

/// Whether the resource is that of the components.
pub(super) fn are(resource: &Resource) -> bool {
    resource.group.is_empty() && resource.plural == "componentstatuses"
}

/// `GET` of one component, or of those that are selected.
pub(super) async fn answer(call: &Call<'_>, at: &At) -> Result<Response<Body>, Status> {
    let store = health::store_answers(call.api).await;
    let response = match &at.name {
        Some(name) => {
            let known =
                NAMES.iter().find(|known| *known == name).ok_or_else(|| Status::not_found(&at.resource, name))?;
            read::one(call, at, StatusCode::OK, &object(component(known, store)))?
        }
        None => {
            let options = call.query.list()?;
            let items =
                select(&at.resource, &options)?.into_iter().map(|name| object(component(name, store))).collect();
            let list = List { version: ResourceVersion(0), items, continue_token: None, remaining: None };
            call.shown(at)?.list(list, call.accepted)?
        }
    };
    Ok(reply::warn(response, &[DEPRECATED.to_owned()]))
}

/// The components that a list shows. They have no labels.
fn select(resource: &Resource, options: &pal_registry::ListOptions) -> Result<Vec<&'static str>, Status> {
    let requirements = options.field.iter().flat_map(FieldSelector::requirements);
    if let Some(other) = requirements.map(|requirement| &requirement.field).find(|field| *field != "metadata.name") {
        return Err(kinds::unselectable(resource, other));
    }
    let labelled = options.label.as_ref().is_none_or(|label| label.matches(&Default::default()));
    let named = |name: &str| {
        options.field.as_ref().is_none_or(|field| field.matches(|of| (of == "metadata.name").then_some(name)))
    };
    Ok(NAMES.iter().copied().filter(|name| labelled && named(name)).collect())
}

fn component(name: &str, store: bool) -> Value {
    let condition = if name != STORE || store {
        json!({"type": "Healthy", "status": "True", "message": "ok"})
    } else {
        json!({"type": "Healthy", "status": "False", "error": "the store does not answer"})
    };
    json!({"metadata": {"name": name}, "conditions": [condition]})
}

fn object(mut component: Value) -> Object {
    component["kind"] = "ComponentStatus".into();
    component["apiVersion"] = "v1".into();
    Object::made(codec::to_json(&component).into(), ResourceVersion(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pal_registry::ListOptions;
    use pal_resources::resource;
    use pal_resources::selector::LabelSelector;

    #[test]
    fn components_are_selected_by_name() {
        let resource = resource::find("", "v1", "componentstatuses").expect("a resource");
        let check = |field: Option<&str>, label: Option<&str>, expected: Result<&[&str], u16>| {
            let field = field.map(|text| FieldSelector::parse(text).expect("a selector"));
            let label = label.map(|text| LabelSelector::parse(text).expect("a selector"));
            let found = select(&resource, &ListOptions { field, label, ..ListOptions::default() });
            assert_eq!(found.map_err(|status| status.code), expected.map(<[&str]>::to_vec));
        };
        check(None, None, Ok(NAMES));
        check(Some("metadata.name=etcd-0"), None, Ok(&["etcd-0"]));
        check(Some("metadata.name=none"), None, Ok(&[]));
        check(Some("spec.x=y"), None, Err(400));
        check(None, Some("a=b"), Ok(&[]));
        check(None, Some("!a"), Ok(NAMES));
    }

    #[test]
    fn a_store_that_does_not_answer_is_unhealthy() {
        assert_eq!(component(STORE, false)["conditions"][0]["status"], "False");
        assert_eq!(component(STORE, true)["conditions"][0]["status"], "True");
        assert_eq!(component("scheduler", false)["conditions"][0]["status"], "True");
    }
}
