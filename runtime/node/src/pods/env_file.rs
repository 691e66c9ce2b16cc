//! Variables that a container reads from a file which another container left in a volume (KEP-3721).

use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::path::Path;

use k8s_openapi::api::core::v1::FileKeySelector;
use pal_engine::open_beneath;

/// How much of a file is read.
const MOST: u64 = 1 << 20;

/// The variable's value; nothing where there is none and need not be one. `volumes` is the folder of the pod's volumes.
pub(super) fn value(volumes: &Path, from: &FileKeySelector) -> Result<Option<String>, String> {
    let file = read(&volumes.join(&from.volume_name), &from.path);
    let found = file
        .and_then(|text| parse(&text, &from.key))
        .map_err(|error| format!("couldn't parse env file: {} in volume {:?}: {error}", from.path, from.volume_name))?;
    match found {
        Some(value) if !value.is_empty() => Ok(Some(value)),
        _ if from.optional == Some(true) => Ok(None),
        _ => Err(format!("environment variable key {:?} not found in file", from.key)),
    }
}

/// Links in the volume lead nowhere: a guest may have put them there.
fn read(volume: &Path, path: &str) -> Result<String, String> {
    let found = open_beneath(volume, Path::new(path), false).map_err(|error| error.to_string())?;
    // The descriptor stands for the place alone; this opens what it stands for.
    let file = File::open(format!("/proc/self/fd/{}", found.as_raw_fd())).map_err(|error| error.to_string())?;
    let mut text = String::new();
    file.take(MOST).read_to_string(&mut text).map_err(|error| error.to_string())?;
    Ok(text)
}

/// What the file says of a variable: lines `NAME='value'`, whose values may go over several lines, empty lines, and
/// comments from `#` to the end of a line. The first value counts, and what comes after it is not looked at.
fn parse(text: &str, key: &str) -> Result<Option<String>, String> {
    let mut rest = text;
    while !rest.is_empty() {
        let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
        let blank = [' ', '\t'];
        let line = line.trim_start_matches(blank).trim_end_matches('\r');
        if line.is_empty() || line.starts_with('#') {
            rest = after;
            continue;
        }
        let number = text[..text.len() - rest.len()].matches('\n').count() + 1;
        let wrong = |why: &str| Err(format!("line {number}: {why}"));
        let Some((name, value)) = line.split_once('=') else { return wrong("missing '='") };
        if name.is_empty() {
            return wrong("empty variable name");
        }
        if name.ends_with(blank) {
            return wrong("whitespace before '=' is not allowed");
        }
        // As in a shell, nothing is assigned then.
        if value.starts_with(blank) {
            if name == key {
                return Ok(None);
            }
            rest = after;
            continue;
        }
        if !value.starts_with('\'') {
            return wrong("value must be enclosed in single quotes");
        }
        // The text from the opening quote on: the value may go on in further lines.
        let Some((_, quoted)) = rest.split_once("='") else { return wrong("missing '='") };
        let Some((value, behind)) = quoted.split_once('\'') else { return wrong("unclosed single quote") };
        let (behind, after) = behind.split_once('\n').unwrap_or((behind, ""));
        let behind = behind.trim_start_matches(blank).trim_end_matches('\r');
        if !behind.is_empty() && !behind.starts_with('#') {
            return wrong("unexpected content after closing quote");
        }
        if name == key {
            return Ok(Some(value.to_owned()));
        }
        rest = after;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_of_variables_is_read_as_a_kubelet_reads_it() {
        let check = |text: &str, expected: Result<Option<&str>, &str>| {
            let found = parse(text, "A");
            assert_eq!(found.as_ref().map(Option::as_deref).map_err(String::as_str), expected, "{text}");
        };
        check("", Ok(None));
        check("A='x'", Ok(Some("x")));
        check("A='x'\r\n", Ok(Some("x")));
        check("# a comment\n\n  \t\nB='1'\n\tA='x y = z # \"'  # another\n", Ok(Some("x y = z # \"")));
        check("A='one\n\n# two\nthree'\nnonsense", Ok(Some("one\n\n# two\nthree")));
        check("B='A='\nA='x'\nA='y'", Ok(Some("x")));
        check("AA='x'", Ok(None));
        check("A= 'x'", Ok(None));
        check("B= 'x'\nA='y'", Ok(Some("y")));
        check("A=''", Ok(Some("")));
        check("B='1'\nnonsense", Err("line 2: missing '='"));
        check("='x'", Err("line 1: empty variable name"));
        check("A ='x'", Err("line 1: whitespace before '=' is not allowed"));
        check("A=x", Err("line 1: value must be enclosed in single quotes"));
        check("A=\"x\"", Err("line 1: value must be enclosed in single quotes"));
        check("B='1\n2'\nA='x' y", Err("line 3: unexpected content after closing quote"));
        check("A='x", Err("line 1: unclosed single quote"));
    }

    #[test]
    fn a_variable_that_is_not_there_is_missed_unless_it_is_optional() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("v/sub")).unwrap();
        std::fs::write(dir.path().join("secret"), "A='secret'").unwrap();
        std::fs::write(dir.path().join("v/sub/env"), "A='x'\nE=''").unwrap();
        symlink(dir.path().join("secret"), dir.path().join("v/link")).unwrap();
        let check = |path: &str, key: &str, optional: bool, expected: Result<Option<&str>, &str>| {
            let from = FileKeySelector {
                key: key.to_owned(),
                optional: Some(optional),
                path: path.to_owned(),
                volume_name: "v".to_owned(),
            };
            match (value(dir.path(), &from), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found.as_deref(), expected, "{path} {key}"),
                (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
                (found, _) => panic!("{path} {key}: {found:?}"),
            }
        };
        check("sub/env", "A", false, Ok(Some("x")));
        check("sub/env", "B", false, Err("environment variable key \"B\" not found in file"));
        check("sub/env", "B", true, Ok(None));
        check("sub/env", "E", false, Err("not found in file"));
        check("none", "A", true, Err("couldn't parse env file: none in volume \"v\""));
        check("link", "A", false, Err("couldn't parse env file"));
    }
}
