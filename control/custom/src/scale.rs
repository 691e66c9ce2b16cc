//! The scale subresource: an `autoscaling/v1` Scale read out of a custom object, and written into it.

use pal_resources::go::type_of;
use pal_resources::{FieldError, FieldPath};
use serde_json::{Map, Value, json};

/// Where the numbers of a scale stand in an object, as `spec.replicas`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScalePaths {
    /// Below `.spec`: how many are wanted.
    pub spec_replicas: String,
    /// Below `.status`: how many there are.
    pub status_replicas: String,
    /// Below `.spec` or `.status`: the text of the label selector.
    pub label_selector: Option<String>,
}

impl ScalePaths {
    pub(crate) fn read(scale: &Value) -> Option<Self> {
        let path = |field: &str| scale[field].as_str().map(|path| path.trim_start_matches('.').to_owned());
        scale.as_object()?;
        Some(Self {
            spec_replicas: path("specReplicasPath").unwrap_or_default(),
            status_replicas: path("statusReplicasPath").unwrap_or_default(),
            label_selector: path("labelSelectorPath"),
        })
    }

    /// What is wrong with the numbers and the selector of an object.
    pub(crate) fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        for path in [&self.spec_replicas, &self.status_replicas] {
            let at_path = FieldPath::new(&format!(".{path}"));
            match at(object, path).filter(|value| !value.is_null()) {
                None => {}
                Some(value) => match value.as_i64() {
                    None => {
                        let why = format!(
                            ".{path} accessor error: {value} is of the type {}, expected int64",
                            type_of(value)
                        );
                        errors.push(FieldError::invalid(&at_path, 0, &why));
                    }
                    Some(number) if number < 0 => {
                        errors.push(FieldError::invalid(&at_path, number, "should be a non-negative integer"));
                    }
                    Some(number) if number > i64::from(i32::MAX) => {
                        let why = format!("should be less than or equal to {}", i32::MAX);
                        errors.push(FieldError::invalid(&at_path, number, &why));
                    }
                    Some(_) => {}
                },
            }
        }
        let selector = self.label_selector.as_deref().and_then(|path| Some((path, at(object, path)?)));
        if let Some((path, value)) = selector.filter(|(_, value)| !value.is_string() && !value.is_null()) {
            let why = format!(".{path} accessor error: {value} is of the type {}, expected string", type_of(value));
            errors.push(FieldError::invalid(&FieldPath::new(&format!(".{path}")), "", &why));
        }
        errors
    }

    /// Whether the object says how many are wanted.
    pub fn says_replicas(&self, object: &Value) -> bool {
        at(object, &self.spec_replicas).is_some_and(Value::is_i64)
    }

    /// The object's Scale. An error where no number of wanted replicas is set.
    pub fn scale_of(&self, object: &Value) -> Result<Value, String> {
        let Some(wanted) = at(object, &self.spec_replicas).and_then(Value::as_i64) else {
            return Err(format!("the spec replicas field {:?} does not exist", format!(".{}", self.spec_replicas)));
        };
        let there = at(object, &self.status_replicas).and_then(Value::as_i64).unwrap_or(0);
        let mut metadata = Map::new();
        for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
            if let Some(value) = object["metadata"].get(field) {
                metadata.insert(field.to_owned(), value.clone());
            }
        }
        let mut spec = Map::new();
        if wanted != 0 {
            spec.insert("replicas".to_owned(), wanted.into());
        }
        let mut status = json!({"replicas": there});
        let selector = self.label_selector.as_deref().and_then(|path| at(object, path)).and_then(Value::as_str);
        if let Some(selector) = selector.filter(|selector| !selector.is_empty()) {
            status["selector"] = selector.into();
        }
        Ok(
            json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec, "status": status}),
        )
    }

    /// Writes the number of wanted replicas; parts of the path that are missing are made.
    pub fn set_replicas(&self, object: &mut Value, replicas: i64) {
        let mut place = object;
        for name in self.spec_replicas.split('.') {
            if !place.is_object() {
                *place = Value::Object(Map::new());
            }
            place = &mut place[name];
        }
        *place = replicas.into();
    }
}

/// The value at a path of field names.
pub(crate) fn at<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(object, |value, name| value.get(name))
}
