//! Types that no definition tells: those of built-in kinds, and of what policies are given beside objects.

use std::rc::Rc;

use pal_resources::schema::{self, Field, Many, Message, Shape};

use super::ty::Ty;

/// A type that is made by hand, by the names of kube-apiserver (`admission/plugin/cel`).
#[derive(Debug)]
pub(super) struct Record {
    pub(super) name: &'static str,
    fields: &'static [(&'static str, Held)],
}

/// What a field of a record holds.
#[derive(Debug)]
enum Held {
    Any,
    Bool,
    Int,
    Text,
    Time,
    List(&'static Held),
    Map(&'static Held),
    One(&'static Record),
}

use Held::{Any, Bool, Int, List, Map, One, Text, Time};

impl Record {
    /// The type of a field; `None` where there is none.
    pub(super) fn field<'n>(&self, name: &str) -> Option<Ty<'n>> {
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, held)| held.ty())
    }
}

impl Held {
    fn ty<'n>(&self) -> Ty<'n> {
        match self {
            Any => Ty::Any,
            Bool => Ty::Bool,
            Int => Ty::Int,
            Text => Ty::Text,
            Time => Ty::Time,
            List(item) => Ty::List(Rc::new(item.ty())),
            Map(value) => Ty::Map(Rc::new(Ty::Text), Rc::new(value.ty())),
            One(record) => Ty::Record(record),
        }
    }
}

const TEXTS: Held = List(&Text);
const LABELS: Held = Map(&Text);

/// An object of which nothing is known.
static NOTHING: Record = Record { name: "object", fields: &[] };

static KIND: Record =
    Record { name: "kubernetes.GroupVersionKind", fields: &[("group", Text), ("version", Text), ("kind", Text)] };

static RESOURCE: Record = Record {
    name: "kubernetes.GroupVersionResource",
    fields: &[("group", Text), ("version", Text), ("resource", Text)],
};

static USER: Record = Record {
    name: "kubernetes.UserInfo",
    fields: &[("username", Text), ("uid", Text), ("groups", TEXTS), ("extra", Map(&TEXTS))],
};

/// What is known of a request.
pub(super) static REQUEST: Record = Record {
    name: "kubernetes.AdmissionRequest",
    fields: &[
        ("kind", One(&KIND)),
        ("resource", One(&RESOURCE)),
        ("subResource", Text),
        ("requestKind", One(&KIND)),
        ("requestResource", One(&RESOURCE)),
        ("requestSubResource", Text),
        ("name", Text),
        ("namespace", Text),
        ("operation", Text),
        ("userInfo", One(&USER)),
        ("dryRun", Bool),
        ("options", Any),
    ],
};

static NAMESPACE_METADATA: Record = Record {
    name: "kubernetes.NamespaceMetadata",
    fields: &[
        ("name", Text),
        ("generateName", Text),
        ("namespace", Text),
        ("labels", LABELS),
        ("annotations", LABELS),
        ("UID", Text),
        ("creationTimestamp", Time),
        ("deletionGracePeriodSeconds", Int),
        ("deletionTimestamp", Time),
        ("generation", Int),
        ("resourceVersion", Text),
        ("finalizers", TEXTS),
    ],
};

static NAMESPACE_SPEC: Record = Record { name: "kubernetes.NamespaceSpec", fields: &[("finalizers", TEXTS)] };

static CONDITION: Record = Record {
    name: "kubernetes.NamespaceCondition",
    fields: &[("status", Text), ("type", Text), ("lastTransitionTime", Time), ("message", Text), ("reason", Text)],
};

static NAMESPACE_STATUS: Record =
    Record { name: "kubernetes.NamespaceStatus", fields: &[("conditions", List(&One(&CONDITION))), ("phase", Text)] };

/// What is known of the namespace of a request.
pub(super) static NAMESPACE: Record = Record {
    name: "kubernetes.Namespace",
    fields: &[
        ("metadata", One(&NAMESPACE_METADATA)),
        ("spec", One(&NAMESPACE_SPEC)),
        ("status", One(&NAMESPACE_STATUS)),
    ],
};

/// The type of the metadata of all objects.
pub(super) fn metadata<'n>() -> Option<Ty<'n>> {
    schema::message("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta").and_then(message)
}

/// The type of a message; `None` where nothing can be said of it, and expressions see nothing.
pub(super) fn message<'n>(message: &'static Message) -> Option<Ty<'n>> {
    Some(match message.shape {
        Shape::Object => Ty::Message(message),
        Shape::Time | Shape::MicroTime => Ty::Time,
        Shape::Duration | Shape::Quantity => Ty::Text,
        Shape::IntOrString => Ty::Any,
        Shape::RawObject => Ty::Record(&NOTHING),
        Shape::Strings => Ty::List(Rc::new(Ty::Text)),
        Shape::RawJson | Shape::SchemaOrBool | Shape::SchemaOrArray | Shape::SchemaOrStrings => return None,
    })
}

/// The type of a message's field; `None` where there is none.
pub(super) fn field<'n>(message: &'static Message, name: &str) -> Option<Ty<'n>> {
    match message.field(name) {
        Some(field) => of(field),
        None => (message.root && matches!(name, "apiVersion" | "kind")).then_some(Ty::Text),
    }
}

fn of<'n>(field: &'static Field) -> Option<Ty<'n>> {
    let one = match field.ty {
        schema::Type::String => Ty::Text,
        schema::Type::Int32 | schema::Type::Int64 => Ty::Int,
        schema::Type::Double => Ty::Double,
        schema::Type::Bool => Ty::Bool,
        schema::Type::Bytes => Ty::Bytes,
        schema::Type::Message(id) => message(id.get())?,
    };
    Some(match field.many {
        Many::One => one,
        Many::List => Ty::List(Rc::new(one)),
        Many::Map => Ty::Map(Rc::new(Ty::Text), Rc::new(one)),
    })
}
