//! Manifests: from files, folders and standard input to objects, each with where it stands.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::CliError;

/// Documents in one file beyond this number are refused; a larger deployment is a folder.
const MAX_DOCUMENTS: usize = 10_000;

/// Where a document stands, for messages and for the files that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file as the user named it, or `standard input`.
    pub file: String,
    /// Counted from one.
    pub document: usize,
    /// The folder against which the document's local files are resolved.
    pub folder: PathBuf,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.document {
            1 => f.write_str(&self.file),
            n => write!(f, "{} (document {n})", self.file),
        }
    }
}

/// One object of a manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    pub origin: Origin,
    pub object: Value,
}

impl Document {
    /// `apps/v1`
    pub fn api_version(&self) -> &str {
        self.object["apiVersion"].as_str().unwrap_or_default()
    }

    /// `Deployment`
    pub fn kind(&self) -> &str {
        self.object["kind"].as_str().unwrap_or_default()
    }

    /// `metadata.name`
    pub fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// `metadata.namespace`
    pub fn namespace(&self) -> Option<&str> {
        self.object["metadata"]["namespace"].as_str()
    }
}

/// Reads all objects that these paths name; `-` is standard input. In a folder, the files that end in .yaml, .yml and
/// .json are read in the order of their names.
pub fn read(paths: &[PathBuf], recursive: bool) -> Result<Vec<Document>, CliError> {
    let mut documents = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map_err(CliError::file("standard input"))?;
            let folder = std::env::current_dir().map_err(CliError::file("."))?;
            documents.extend(parse("standard input", &folder, &text)?);
        } else {
            let metadata = std::fs::metadata(path).map_err(CliError::file(path))?;
            let files = if metadata.is_dir() { files_in(path, recursive)? } else { vec![path.clone()] };
            for file in files {
                let text = std::fs::read_to_string(&file).map_err(CliError::file(&file))?;
                let folder = file.parent().unwrap_or(Path::new(".")).to_owned();
                documents.extend(parse(&file.display().to_string(), &folder, &text)?);
            }
        }
    }
    if documents.is_empty() {
        let names: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
        return Err(CliError::other(format!("no objects in {}", names.join(", "))));
    }
    Ok(documents)
}

fn files_in(folder: &Path, recursive: bool) -> Result<Vec<PathBuf>, CliError> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(CliError::file(&folder))? {
            let path = entry.map_err(CliError::file(&folder))?.path();
            if path.is_dir() {
                if recursive {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The objects of one text; a `List` is its items.
pub fn parse(file: &str, folder: &Path, text: &str) -> Result<Vec<Document>, CliError> {
    let broken = |why: &str| CliError::other(format!("parsing {file}: {why}"));
    // The modes of files are written `0644`.
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    let values: Vec<Value> =
        serde_saphyr::from_multiple_with_options(text, options).map_err(|error| broken(&of_file(&error, file)))?;
    let mut documents = Vec::new();
    for (index, value) in values.into_iter().enumerate() {
        let origin = Origin { file: file.to_owned(), document: index + 1, folder: folder.to_owned() };
        if value.is_null() {
            continue;
        }
        let is_list = value["kind"].as_str().is_some_and(|kind| kind.ends_with("List")) && value["items"].is_array();
        let objects = match value {
            Value::Object(mut list) if is_list => match list.remove("items") {
                Some(Value::Array(items)) => items,
                _ => Vec::new(),
            },
            other => vec![other],
        };
        for object in objects {
            documents.push(checked(Document { origin: origin.clone(), object })?);
            if documents.len() > MAX_DOCUMENTS {
                return Err(broken(&format!("it holds more than {MAX_DOCUMENTS} objects")));
            }
        }
    }
    Ok(documents)
}

/// What the parser says, which knows its input by no name and begins as every error here begins.
fn of_file(error: &serde_saphyr::Error, file: &str) -> String {
    let said = error.to_string();
    said.strip_prefix("error: ").unwrap_or(&said).replacen("<input>", file, 1)
}

fn checked(document: Document) -> Result<Document, CliError> {
    let missing = |what: &str| Err(CliError::other(format!("{}: {what}", document.origin)));
    if !document.object.is_object() {
        return missing("a manifest is a map of fields, as \"kind: Pod\"");
    }
    if document.kind().is_empty() {
        return missing("Object 'Kind' is missing");
    }
    if document.api_version().is_empty() {
        return missing("apiVersion is not set");
    }
    let generated = document.object["metadata"]["generateName"].is_string();
    if document.name().is_empty() && !generated {
        return missing(&format!("{}: metadata.name is not set", document.kind()));
    }
    Ok(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&[&str], &str>) {
        match (parse("x.yaml", Path::new("."), text), expected) {
            (Ok(documents), Ok(names)) => {
                let found: Vec<&str> = documents.iter().map(Document::name).collect();
                assert_eq!(found, names, "{text}");
            }
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (result, _) => panic!("{text}: {result:?}"),
        }
    }

    #[test]
    fn documents_and_lists_are_taken_apart() {
        let pod = |name: &str| format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\n");
        check(&format!("{}---\n{}", pod("a"), pod("b")), Ok(&["a", "b"]));
        check(&format!("---\n{}---\n---\n# nothing\n", pod("a")), Ok(&["a"]));
        check(r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"j"}}"#, Ok(&["j"]));
        check(
            r#"{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"Pod","metadata":{"name":"i"}}]}"#,
            Ok(&["i"]),
        );
    }

    #[test]
    fn what_the_parser_says_names_the_file_and_is_one_error() {
        let error = parse("x.yaml", Path::new("."), "a: b: c").unwrap_err().to_string();
        assert!(error.starts_with("error: parsing x.yaml: line 1 column 5: mapping values are not allowed"), "{error}");
        assert!(error.contains("--> x.yaml:1:5") && !error.contains("<input>"), "{error}");
    }

    #[test]
    fn what_is_no_manifest_is_refused_with_file_and_document() {
        check("a: [", Err("parsing x.yaml"));
        check("kind: Pod", Err("x.yaml: apiVersion is not set"));
        check("apiVersion: v1\nmetadata: {name: a}", Err("x.yaml: Object 'Kind' is missing"));
        check("apiVersion: v1\nkind: Pod", Err("Pod: metadata.name is not set"));
        check("just text", Err("a manifest is a map of fields"));
        check("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\n[]", Err("document 2"));
    }
}
