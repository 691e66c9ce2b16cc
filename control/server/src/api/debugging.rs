//! `/statusz` and `/flagz`: what runs here and how it was started, for people who look for a fault (KEP-4827, KEP-4828).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use http::{HeaderMap, Response, StatusCode};
use jiff::Timestamp;
use pal_resources::Status;
use serde_json::{Value, json};

use super::accept::{self, Accepted, Encoding};
use super::wish::{Wish, wishes};
use super::{Call, discovery, reply};
use crate::Body;

const COMPONENT: &str = "kube-apiserver";
const GROUP: &str = "config.k8s.io";
/// The newest first; the others are on their way out.
const VERSIONS: [&str; 2] = ["v1beta1", "v1alpha1"];
/// What there is, as who takes nothing of it is told.
const TYPES: [&str; 4] = ["application/json", "application/yaml", accept::PROTOBUF, "text/plain"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Status,
    Flags,
}

/// How a page is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Text,
    Object { version: &'static str, encoding: Encoding },
}

/// What a server says of itself.
struct Facts<'a> {
    /// As `v1.36.2`.
    version: &'a str,
    started: Timestamp,
    now: Timestamp,
    flags: &'a BTreeMap<String, String>,
    paths: Vec<&'static str>,
}

impl Page {
    /// The page at a path.
    pub(super) fn at(path: &str) -> Option<Self> {
        match path {
            "/statusz" => Some(Self::Status),
            "/flagz" => Some(Self::Flags),
            _ => None,
        }
    }

    pub(super) fn answer(self, call: &Call<'_>) -> Result<Response<Body>, Status> {
        let shape = self.shape(&call.parts.headers).ok_or_else(|| accept::not_among(&TYPES))?;
        let config = &call.api.config;
        let paths = discovery::PAGES.iter().filter(|path| !path[1..].contains('/') && !path.starts_with("/api"));
        let facts = Facts {
            version: &config.version,
            started: call.api.started,
            now: Timestamp::now(),
            flags: &config.flags,
            paths: paths.copied().collect(),
        };
        let Shape::Object { version, encoding } = shape else {
            return Ok(reply::text(StatusCode::OK, self.text(&facts)));
        };
        let accepted = Accepted { encoding, ..call.accepted };
        let answer = reply::value(StatusCode::OK, &self.object(&facts, version), accepted)?;
        let deprecated = version != VERSIONS[0];
        let page = self.name();
        let warning = format!("This version of the {page} endpoint is deprecated. Please use a newer version.");
        Ok(if deprecated { reply::warn(answer, &[warning]) } else { answer })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Status => "statusz",
            Self::Flags => "flagz",
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Status => "Statusz",
            Self::Flags => "Flagz",
        }
    }

    /// The best of what the client takes: an object only for who names it.
    fn shape(self, headers: &HeaderMap) -> Option<Shape> {
        let Some(wishes) = wishes(headers) else { return Some(Shape::Text) };
        let mut wishes = wishes.iter().filter(|wish| wish.is_of_one_answer());
        wishes.find_map(|wish| self.object_wished(wish).or_else(|| is_text(wish).then_some(Shape::Text)))
    }

    fn object_wished(self, wish: &Wish<'_>) -> Option<Shape> {
        let target = wish.target.filter(|target| (target.group, target.kind) == (GROUP, self.kind()))?;
        let version = VERSIONS.into_iter().find(|version| *version == target.version)?;
        let encoding = [Encoding::Json, Encoding::Yaml].into_iter().find(|encoding| wish.means(*encoding))?;
        Some(Shape::Object { version, encoding })
    }

    fn object(self, facts: &Facts<'_>, version: &str) -> Value {
        let mut object = json!({
            "kind": self.kind(), "apiVersion": format!("{GROUP}/{version}"), "metadata": {"name": COMPONENT},
        });
        match self {
            Self::Status => {
                object["startTime"] = facts.started.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into();
                object["uptimeSeconds"] = facts.up().into();
                object["goVersion"] = discovery::GO.into();
                object["binaryVersion"] = facts.binary().into();
                object["emulationVersion"] = facts.emulated().into();
                object["paths"] = facts.paths.clone().into();
            }
            Self::Flags if facts.flags.is_empty() => {}
            Self::Flags => object["flags"] = json!(facts.flags),
        }
        object
    }

    fn text(self, facts: &Facts<'_>) -> String {
        let mut text = format!(
            "\n{COMPONENT} {}\nWarning: This endpoint is not meant to be machine parseable, has no formatting \
             compatibility guarantees and is for debugging purposes only.\n",
            self.name()
        );
        // Writing to a String cannot fail.
        match self {
            Self::Status => {
                let up = facts.up();
                let _ = write!(
                    text,
                    "\nStarted: {}\nUp: {} hr {:02} min {:02} sec\nGo version: {}\nBinary version: {}\n\
                     Emulation version: {}\nPaths: {}\n",
                    facts.started.strftime("%a %b %e %H:%M:%S UTC %Y"),
                    up / 3600,
                    up / 60 % 60,
                    up % 60,
                    discovery::GO,
                    facts.binary(),
                    facts.emulated(),
                    facts.paths.join(" "),
                );
            }
            Self::Flags => {
                for (name, value) in facts.flags {
                    let _ = writeln!(text, "{name}={value}");
                }
            }
        }
        text
    }
}

impl Facts<'_> {
    /// For how many seconds the server has run.
    fn up(&self) -> i64 {
        self.now.duration_since(self.started).as_secs().max(0)
    }

    fn binary(&self) -> &str {
        self.version.trim_start_matches('v')
    }

    /// As `1.36`.
    fn emulated(&self) -> &str {
        let binary = self.binary();
        binary.match_indices('.').nth(1).map_or(binary, |(end, _)| &binary[..end])
    }
}

/// Whether a wish is for plain text as it is.
fn is_text(wish: &Wish<'_>) -> bool {
    wish.target.is_none() && matches!((wish.kind, wish.subkind), ("*" | "text", "*") | ("text", "plain"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(flags: &BTreeMap<String, String>) -> Facts<'_> {
        let started: Timestamp = "2026-02-03T04:05:06.7Z".parse().unwrap();
        let now = "2026-02-04T05:06:17Z".parse().unwrap();
        Facts { version: "v1.36.2+pal", started, now, flags, paths: vec!["/livez", "/readyz"] }
    }

    #[test]
    fn pages_are_text_but_for_who_asks_for_the_object() {
        let check = |accept: &str, expected: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(http::header::ACCEPT, accept.parse().unwrap());
            let found = Page::Status.shape(&headers).map(|shape| match shape {
                Shape::Text => "text".to_owned(),
                Shape::Object { version, encoding } => format!("{version} {}", encoding.media()),
            });
            assert_eq!(found.as_deref(), expected, "{accept}");
        };
        let named = |media: &str, version: &str| format!("{media};v={version};g=config.k8s.io;as=Statusz");
        let (beta, alpha) = (named("application/json", "v1beta1"), named("application/json", "v1alpha1"));
        check("", Some("text"));
        check("text/plain", Some("text"));
        check("text/*", Some("text"));
        check("*/*", Some("text"));
        check("application/json", None);
        check("application/xml", None);
        check("application/json;v=v1beta1;g=config.k8s.io", None);
        check("application/json;v=v1beta1;g=config.k8s.io;as=Flagz", None);
        check("text/plain;as=Statusz", None);
        check(&beta, Some("v1beta1 application/json"));
        check(&alpha, Some("v1alpha1 application/json"));
        check(&format!("{alpha},{beta}"), Some("v1alpha1 application/json"));
        check(&format!("{beta},{alpha}"), Some("v1beta1 application/json"));
        check(&format!("{},*/*", named("application/json", "v2")), Some("text"));
        check(&format!("{beta};stream=watch"), None);
        check(&named("application/yaml", "v1beta1"), Some("v1beta1 application/yaml"));
        check(&named("*/*", "v1beta1"), Some("v1beta1 application/json"));
        check(&named(accept::PROTOBUF, "v1beta1"), None);
        assert_eq!(Page::Flags.shape(&HeaderMap::new()), Some(Shape::Text));
    }

    #[test]
    fn pages_say_what_runs_and_how_it_was_started() {
        let flags =
            BTreeMap::from([("listen".to_owned(), "127.0.0.1:6443".to_owned()), ("join".into(), String::new())]);
        let facts = facts(&flags);
        let warning = "Warning: This endpoint is not meant to be machine parseable, has no formatting compatibility \
                       guarantees and is for debugging purposes only.";
        let text = format!(
            "\nkube-apiserver statusz\n{warning}\n\nStarted: Tue Feb  3 04:05:06 UTC 2026\nUp: 25 hr 01 min 10 sec\n\
             Go version: none\nBinary version: 1.36.2+pal\nEmulation version: 1.36\nPaths: /livez /readyz\n"
        );
        assert_eq!(Page::Status.text(&facts), text);
        assert_eq!(
            Page::Flags.text(&facts),
            format!("\nkube-apiserver flagz\n{warning}\njoin=\nlisten=127.0.0.1:6443\n")
        );
        let object = json!({
            "kind": "Statusz", "apiVersion": "config.k8s.io/v1beta1", "metadata": {"name": "kube-apiserver"},
            "startTime": "2026-02-03T04:05:06Z", "uptimeSeconds": 90070, "goVersion": "none",
            "binaryVersion": "1.36.2+pal", "emulationVersion": "1.36", "paths": ["/livez", "/readyz"],
        });
        assert_eq!(Page::Status.object(&facts, "v1beta1"), object);
        let object = json!({
            "kind": "Flagz", "apiVersion": "config.k8s.io/v1alpha1", "metadata": {"name": "kube-apiserver"},
            "flags": {"join": "", "listen": "127.0.0.1:6443"},
        });
        assert_eq!(Page::Flags.object(&facts, "v1alpha1"), object);
    }
}
