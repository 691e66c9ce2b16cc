//! `authorizer` and what it is narrowed down to.

use std::rc::Rc;

use pal_resources::kinds::names;

use super::super::authorizer::{About, Asking, Stage, Target};
use super::super::meter::{Fail, Meter};
use super::super::value::V;
use super::Outcome;

pub(super) fn call<'a>(name: &str, args: &[V<'a>], meter: &mut Meter) -> Option<Outcome<'a>> {
    let (V::Asking(of), rest) = args.split_first()? else { return None };
    let texts: Vec<&str> = rest.iter().filter_map(V::as_text).collect();
    Some(match (&of.stage, texts.as_slice()) {
        (Stage::Decided(answer), []) => match name {
            "allowed" => Ok(V::Bool(answer.allowed)),
            "errored" => Ok(V::Bool(answer.error.is_some())),
            "error" => Ok(V::text(answer.error.clone().unwrap_or_default())),
            "reason" => Ok(V::text(answer.reason.as_str())),
            _ => return None,
        },
        (Stage::Path | Stage::Resource, [verb]) if name == "check" => meter.charge(1).map(|()| {
            let asked = of.then(of.stage.clone(), |question| question.verb = (*verb).to_owned());
            let answer = asked.by.decide(&asked.question);
            V::Asking(asked.then(Stage::Decided(answer), |_| {}))
        }),
        (stage, texts) => narrowed(of, stage, name, texts)?.map(V::Asking),
    })
}

fn narrowed<'a>(of: &Asking<'a>, stage: &Stage, name: &str, texts: &[&str]) -> Option<Result<Rc<Asking<'a>>, Fail>> {
    let target = |change: &dyn Fn(&mut Target)| {
        of.then(Stage::Resource, |question| {
            if let About::Resource(target) = &mut question.about {
                change(target);
            }
        })
    };
    let empty = |what: &str| Some(Err(Fail::error(format!("{what} must not be empty"))));
    Some(Ok(match (stage, name, texts) {
        (Stage::Authorizer, "path", [path]) if path.trim().is_empty() => return empty("path"),
        (Stage::Authorizer, "path", [path]) => {
            of.then(Stage::Path, |question| question.about = About::Path((*path).to_owned()))
        }
        (Stage::Authorizer, "group", [group]) => of.then(Stage::Group, |question| {
            question.about = About::Resource(Target { group: (*group).to_owned(), ..Target::default() });
        }),
        (Stage::Authorizer, "serviceAccount", [namespace, name]) => {
            if !names::dns1123_subdomain(name).is_empty() {
                return Some(Err(Fail::error("Invalid service account name")));
            }
            if !names::dns1123_label(namespace).is_empty() {
                return Some(Err(Fail::error("Invalid service account namespace")));
            }
            let account = ((*namespace).to_owned(), (*name).to_owned());
            of.then(Stage::Authorizer, |question| question.account = Some(account))
        }
        (Stage::Group, "resource", [resource]) if resource.trim().is_empty() => return empty("resource"),
        (Stage::Group, "resource", [text]) => target(&|target| (*text).clone_into(&mut target.resource)),
        (Stage::Resource, "subresource", [text]) => target(&|target| (*text).clone_into(&mut target.subresource)),
        (Stage::Resource, "namespace", [text]) => target(&|target| (*text).clone_into(&mut target.namespace)),
        (Stage::Resource, "name", [text]) => target(&|target| (*text).clone_into(&mut target.name)),
        (Stage::Resource, "fieldSelector", [text]) => target(&|target| (*text).clone_into(&mut target.field_selector)),
        (Stage::Resource, "labelSelector", [text]) => target(&|target| (*text).clone_into(&mut target.label_selector)),
        _ => return None,
    }))
}
