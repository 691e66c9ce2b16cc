//! One pass over a body, of whatever encoding, that checks it against the schema and builds the canonical value: unknown
//! and null fields are gone, so are empty ones that mean the same as absent ones, and formatted text is in its one form.

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::problem::{Context, Step, Target};
use super::raw::{KeySeed, RawSeed};
use super::scalar;
use crate::duration;
use crate::schema::{Field, Many, Message, Shape, Type};

/// A value of a type, as one, a list or a map of it. `None`: it was null.
pub(super) struct ValueSeed<'c> {
    pub(super) cx: &'c mut Context,
    pub(super) target: Target,
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        if let (Many::One, Type::Message(id)) = (self.target.many, self.target.ty)
            && matches!(id.get().shape, Shape::RawObject | Shape::RawJson)
        {
            let value = RawSeed { cx: self.cx }.deserialize(deserializer)?;
            return Ok((!value.is_null()).then_some(value));
        }
        deserializer.deserialize_any(self)
    }
}

impl ValueSeed<'_> {
    fn shape(&self) -> Option<Shape> {
        match (self.target.many, self.target.ty) {
            (Many::One, Type::Message(id)) => Some(id.get().shape),
            _ => None,
        }
    }

    fn scalar(&self) -> Option<Type> {
        (self.target.many == Many::One).then_some(self.target.ty)
    }

    fn checked<E: serde::de::Error>(self, result: Result<String, String>) -> Result<Option<Value>, E> {
        match result {
            Ok(text) => Ok(Some(Value::String(text))),
            Err(words) => Err(self.cx.fail(words)),
        }
    }

    fn integer<E: serde::de::Error>(self, number: Number, value: Option<i64>) -> Result<Option<Value>, E> {
        let fits = match (self.scalar(), self.shape(), value) {
            (Some(Type::Int64), _, Some(_)) | (Some(Type::Double), _, _) => true,
            (Some(Type::Int32), _, Some(value)) | (_, Some(Shape::IntOrString), Some(value)) => {
                i32::try_from(value).is_ok()
            }
            (_, Some(Shape::Quantity), _) => return self.checked(scalar::quantity(&number.to_string())),
            _ => false,
        };
        if fits { Ok(Some(Value::Number(number))) } else { Err(self.not_a_number(&number)) }
    }

    fn not_a_number<E: serde::de::Error>(self, number: &Number) -> E {
        match (self.scalar(), self.shape()) {
            (Some(Type::Int32 | Type::Int64), _) => self.cx.mismatch(&format!("number {number}"), &self.target),
            (_, Some(Shape::IntOrString)) => {
                self.cx.fail(format!("json: cannot unmarshal number {number} into Go value of type int32"))
            }
            _ => self.wrong("number"),
        }
    }

    /// The value has a JSON type that does not belong here.
    fn wrong<E: serde::de::Error>(self, got: &str) -> E {
        let plain = match self.shape() {
            Some(Shape::Time | Shape::MicroTime | Shape::Duration) => "string",
            Some(Shape::IntOrString) => "int32",
            Some(Shape::Quantity) => {
                return match scalar::quantity(got) {
                    Err(words) => self.cx.fail(words),
                    Ok(_) => self.cx.mismatch(got, &self.target),
                };
            }
            _ => return self.cx.mismatch(got, &self.target),
        };
        self.cx.fail(format!("json: cannot unmarshal {got} into Go value of type {plain}"))
    }

    /// The message whose objects are decoded here.
    fn object(&self) -> Option<&'static Message> {
        let (Many::One, Type::Message(id)) = (self.target.many, self.target.ty) else { return None };
        let message = id.get();
        match message.shape {
            Shape::Object => Some(message),
            Shape::SchemaOrBool | Shape::SchemaOrArray | Shape::SchemaOrStrings => {
                message.fields.iter().find_map(Field::message)
            }
            _ => None,
        }
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Self::Value, E> {
        match (self.scalar(), self.shape()) {
            (Some(Type::Bool), _) | (_, Some(Shape::SchemaOrBool)) => Ok(Some(Value::Bool(value))),
            _ => Err(self.wrong("bool")),
        }
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Self::Value, E> {
        self.integer(value.into(), Some(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Self::Value, E> {
        self.integer(value.into(), i64::try_from(value).ok())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Self::Value, E> {
        let Some(number) = Number::from_f64(value) else { return Err(self.wrong("number")) };
        match (self.scalar(), self.shape()) {
            (Some(Type::Double), _) => Ok(Some(Value::Number(number))),
            (_, Some(Shape::Quantity)) => self.checked(scalar::quantity(&number.to_string())),
            _ => Err(self.not_a_number(&number)),
        }
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        self.visit_string(text.to_owned())
    }

    fn visit_string<E: serde::de::Error>(self, text: String) -> Result<Self::Value, E> {
        match (self.scalar(), self.shape()) {
            (Some(Type::String), _) | (_, Some(Shape::IntOrString)) => Ok(Some(Value::String(text))),
            (Some(Type::Bytes), _) => self.checked(scalar::base64(text)),
            (_, Some(Shape::Time)) => self.checked(scalar::time(text)),
            (_, Some(Shape::MicroTime)) => self.checked(scalar::micro_time(&text)),
            (_, Some(Shape::Duration)) => self.checked(scalar::duration(&text).map(duration::show)),
            (_, Some(Shape::Quantity)) => self.checked(scalar::quantity(&text)),
            _ => Err(self.wrong("string")),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let item = match (self.target.many, self.shape()) {
            (Many::List, _) => self.target.item(),
            (_, Some(Shape::Strings)) => Target { ty: Type::String, ..self.target },
            (_, Some(Shape::SchemaOrStrings)) => Target { ty: Type::String, ..self.target },
            (_, Some(Shape::SchemaOrArray)) => match schema_of(self.target.ty) {
                Some(ty) => Target { ty, ..self.target },
                None => return Err(self.wrong("array")),
            },
            _ => return Err(self.wrong("array")),
        };
        // The hint comes from the body: it is not trusted with more than a little memory.
        let mut list = Vec::with_capacity(items.size_hint().unwrap_or(0).min(64));
        loop {
            self.cx.enter(Step::Index(list.len()))?;
            let Some(value) = items.next_element_seed(ValueSeed { cx: &mut *self.cx, target: item })? else { break };
            self.cx.leave();
            if matches!(item.ty, Type::Message(_)) {
                self.cx.list()?;
            }
            list.push(value.unwrap_or_else(|| zero(item)));
        }
        self.cx.leave();
        Ok(Some(Value::Array(list)))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        if self.target.many == Many::Map {
            return visit_plain_map(self.cx, self.target.item(), map);
        }
        match self.object() {
            Some(message) => ObjectVisitor { cx: self.cx, message, root: false }
                .visit_map(map)
                .map(|object| Some(Value::Object(object))),
            None => Err(self.wrong("object")),
        }
    }
}

/// The type of the schema in a message that is a schema or something else.
fn schema_of(ty: Type) -> Option<Type> {
    let Type::Message(id) = ty else { return None };
    id.get().fields.iter().map(|field| field.ty).find(|ty| matches!(ty, Type::Message(_)))
}

/// What Go has in a list or map in the place of a null.
fn zero(target: Target) -> Value {
    match target.ty {
        Type::String | Type::Bytes => Value::String(String::new()),
        Type::Int32 | Type::Int64 | Type::Double => Value::from(0),
        Type::Bool => Value::Bool(false),
        Type::Message(id) => match id.get().shape {
            Shape::Object => Value::Object(Map::new()),
            Shape::Quantity => Value::String("0".to_owned()),
            Shape::IntOrString => Value::from(0),
            Shape::Strings => Value::Array(Vec::new()),
            _ => Value::Null,
        },
    }
}

fn visit_plain_map<'de, A: MapAccess<'de>>(
    cx: &mut Context,
    item: Target,
    mut entries: A,
) -> Result<Option<Value>, A::Error> {
    let mut map = Map::new();
    while let Some(key) = entries.next_key_seed(KeySeed)? {
        if map.contains_key(&*key) {
            cx.duplicate(&key);
        }
        cx.enter(Step::Key(key.to_string()))?;
        let value = entries.next_value_seed(ValueSeed { cx: &mut *cx, target: item })?;
        cx.leave();
        map.insert(key.into_owned(), value.unwrap_or_else(|| zero(item)));
    }
    Ok(Some(Value::Object(map)))
}

/// An object with a message's fields.
pub(super) struct ObjectVisitor<'c> {
    pub(super) cx: &'c mut Context,
    pub(super) message: &'static Message,
    /// Whether it is the whole body: then it may have `kind` and `apiVersion`, whatever the message says.
    pub(super) root: bool,
}

impl<'de> DeserializeSeed<'de> for ObjectVisitor<'_> {
    type Value = Map<String, Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// The two fields that objects have beside their message's.
const TYPE_META: [&str; 2] = ["kind", "apiVersion"];

impl<'de> Visitor<'de> for ObjectVisitor<'_> {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let Self { cx, message, root } = self;
        let mut object = Map::new();
        // One bit a field; a test holds that no message has more fields than there are bits.
        let mut seen = 0u128;
        while let Some(key) = entries.next_key_seed(KeySeed)? {
            let Some(at) = message.position(&key) else {
                if (message.root || root) && TYPE_META.contains(&&*key) {
                    type_meta(cx, message, &key, &mut object, &mut entries)?;
                } else {
                    cx.unknown(&key);
                    entries.next_value::<IgnoredAny>()?;
                }
                continue;
            };
            let field = &message.fields[at];
            if seen & (1 << at) != 0 {
                cx.duplicate(field.name);
            }
            seen |= 1 << at;
            cx.enter(Step::Field(field.name))?;
            let target = Target::field(message, field);
            let value = entries.next_value_seed(ValueSeed { cx: &mut *cx, target })?;
            cx.leave();
            // An object's own managers are reset by an empty list.
            let resets = cx.depth() == 1 && field.name == "managedFields";
            match value.filter(|value| !is_absent(field, value) || resets && value.is_array()) {
                Some(value) => drop(object.insert(field.name.to_owned(), value)),
                None => drop(object.remove(field.name)),
            }
        }
        Ok(object)
    }
}

fn type_meta<'de, A: MapAccess<'de>>(
    cx: &mut Context,
    message: &'static Message,
    key: &str,
    object: &mut Map<String, Value>,
    entries: &mut A,
) -> Result<(), A::Error> {
    let name = if key == TYPE_META[0] { TYPE_META[0] } else { TYPE_META[1] };
    if object.get(name).is_some_and(|value| !value.is_null()) {
        cx.duplicate(name);
    }
    cx.enter(Step::Field(name))?;
    let target = Target { owner: Some(message), ty: Type::String, many: Many::One };
    let value = entries.next_value_seed(ValueSeed { cx: &mut *cx, target })?;
    cx.leave();
    if let Some(value) = value {
        object.insert(name.to_owned(), value);
    }
    Ok(())
}

/// Whether a value means the same as none.
fn is_absent(field: &Field, value: &Value) -> bool {
    if field.required {
        return false;
    }
    match value {
        Value::Null => true,
        Value::Array(list) => field.many == Many::List && list.is_empty() && !field.pointer,
        Value::Object(map) => field.many == Many::Map && map.is_empty(),
        _ if field.pointer || field.many != Many::One || matches!(field.ty, Type::Message(_)) => false,
        Value::String(text) => text.is_empty(),
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
    }
}
