//! `pal run`: a Deployment and a NodePort Service for one Wasm component.

use std::path::{Path, PathBuf};

use pal_engine::ProgramKind;
use pal_image::Reference;
use serde_json::{Value, json};

use crate::api::Api;
use crate::apply;
use crate::args::{ClientArgs, RunArgs};
use crate::error::CliError;
use crate::images::{Images, inspect};
use crate::manifest::{Document, Origin};
use crate::out;
use crate::paths::as_name;
use crate::progress::Progress;
use crate::up::{port_trouble, service_urls};
use crate::wait;

pub async fn run(client: &ClientArgs, args: RunArgs) -> Result<(), CliError> {
    let mut plan = plan(&args, &|path| path.is_file())?;
    let api = Api::connect(client).await?;
    let progress = Progress::new();
    let step = progress.step(format!("running {}", plan.name));
    let folder = std::env::current_dir().map_err(CliError::file("."))?;
    // A file that is not there or no component leaves nothing behind. It is read once: it may be a pipe, or change.
    let serves = match local_file(&plan.image)? {
        Some(LocalFile { path, bytes, serves }) => {
            // A push that reaches nobody would tell of the registry's paths.
            api.get("/version").await?;
            plan.image = Images::new(api.registry()?).push_bytes(&path, bytes).await?;
            serves
        }
        None => true,
    };
    let documents: Vec<Document> = objects(&plan, &args, serves)
        .into_iter()
        .map(|object| Document {
            origin: Origin { file: "the command line".to_owned(), document: 1, folder: folder.clone() },
            object,
        })
        .collect();
    let applied = apply::apply(&api, documents, false, |_| {}).await?;
    wait::ready(&api, &applied, args.timeout, |text| step.note(text)).await?;
    step.done(format!("deployment/{} is ready", plan.name));
    if !serves {
        progress.say(&format!("it serves nothing; what it prints is shown by: pal logs deploy/{}", plan.name));
    }
    for url in service_urls(&api, &applied).await? {
        out::line(format_args!("{url}"))?;
    }
    for trouble in port_trouble(&api, &applied).await? {
        eprintln!("warning: {trouble}");
    }
    Ok(())
}

/// What is to be run under which name.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    name: String,
    image: String,
}

/// Decides what the arguments mean: `pal run app.wasm`, `pal run NAME --image IMAGE`, `pal run --image IMAGE`.
fn plan(args: &RunArgs, is_file: &dyn Fn(&Path) -> bool) -> Result<Plan, CliError> {
    let (name, image) = match (&args.name, &args.image) {
        (name, Some(image)) => (name.clone(), image.clone()),
        (Some(file), None) => (None, file.clone()),
        (None, None) => return Err(CliError::other("say what to run: `pal run ./app.wasm`, or --image IMAGE")),
    };
    let image = local(image, args.image.is_none(), is_file)?;
    let name = match name {
        Some(name) => name,
        None => name_of(&image).ok_or_else(|| {
            CliError::other(format!("no name can be made of {image:?}: give one, as `pal run NAME --image …`"))
        })?,
    };
    Ok(Plan { name, image })
}

/// A file's path in the form that marks a local file.
fn local(image: String, must_be_file: bool, is_file: &dyn Fn(&Path) -> bool) -> Result<String, CliError> {
    if image.contains("://") {
        return Err(CliError::other(format!(
            "{image} is a URL: fetch the file and name it, or name an image in a registry, as --image HOST/NAME:TAG"
        )));
    }
    if Reference::local_file(&image).is_some() {
        return Ok(image);
    }
    if is_file(Path::new(&image)) {
        return Ok(format!("./{image}"));
    }
    if must_be_file {
        return Err(CliError::other(format!(
            "{image} is no Wasm file that is there; an image in a registry is named with --image"
        )));
    }
    if image.ends_with(".wasm") {
        return Err(CliError::other(format!("{image}: no such file")));
    }
    Ok(image)
}

fn name_of(image: &str) -> Option<String> {
    if let Some(file) = Reference::local_file(image) {
        return as_name(file.file_stem()?.to_str()?);
    }
    let path = image.split(['@']).next()?.rsplit('/').next()?;
    as_name(path.split(':').next()?)
}

/// A component that is to be pushed.
struct LocalFile {
    path: PathBuf,
    bytes: Vec<u8>,
    /// Whether there is something to put a Service in front of; of an image in a registry that is not known.
    serves: bool,
}

/// The file that the image is, if it is one, with what there is to run.
fn local_file(image: &str) -> Result<Option<LocalFile>, CliError> {
    let Some(path) = Reference::local_file(image).map(Path::to_owned) else { return Ok(None) };
    let bytes = std::fs::read(&path).map_err(CliError::file(&path))?;
    let serves = match inspect(&path, &bytes)?.kind {
        ProgramKind::HttpService { .. } => true,
        ProgramKind::Command => false,
        ProgramKind::Library => {
            return Err(CliError::other(format!(
                "{image}: there is nothing to run: it exports neither wasi:cli/run nor a wasi:http handler (`pal inspect {image}` shows what it has)"
            )));
        }
    };
    Ok(Some(LocalFile { path, bytes, serves }))
}

fn objects(plan: &Plan, args: &RunArgs, serves: bool) -> Vec<Value> {
    let labels = json!({ "app": plan.name });
    let env: Vec<Value> = args.env.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    let mut container = json!({ "name": plan.name, "image": plan.image });
    if serves {
        container["ports"] = json!([{ "containerPort": args.port }]);
    }
    if !env.is_empty() {
        container["env"] = Value::Array(env);
    }
    if !args.args.is_empty() {
        container["args"] = json!(args.args);
    }
    let mut objects = vec![json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": plan.name, "labels": labels },
        "spec": {
            "replicas": args.replicas,
            "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": { "containers": [container] } },
        },
    })];
    if serves {
        objects.push(json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": plan.name, "labels": labels },
            "spec": {
                "type": "NodePort", "selector": labels,
                "ports": [{ "port": 80, "targetPort": args.port }],
            },
        }));
    }
    objects
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Args, Command};
    use clap::Parser;

    fn check(words: &[&str], expected: Result<(&str, &str), &str>) {
        let args = Args::try_parse_from(["pal", "run"].iter().chain(words)).unwrap();
        let Command::Run(args) = args.command else { panic!("not a run") };
        match (plan(&args, &|path| path == Path::new("there.wasm")), expected) {
            (Ok(plan), Ok((name, image))) => assert_eq!((plan.name.as_str(), plan.image.as_str()), (name, image)),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (result, _) => panic!("{words:?}: {result:?}"),
        }
    }

    #[test]
    fn a_service_stands_in_front_of_what_serves_and_what_does_nothing_is_not_run() {
        let dir = tempfile::tempdir().unwrap();
        let check = |bytes: &[u8], expected: Result<bool, &str>| {
            let file = dir.path().join("app.wasm");
            std::fs::write(&file, bytes).unwrap();
            match (local_file(file.to_str().unwrap()), expected) {
                (Ok(Some(found)), Ok(expected)) => {
                    assert_eq!((found.serves, found.bytes.as_slice()), (expected, bytes))
                }
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
                (found, _) => panic!("{:?}", found.map(|found| found.map(|file| file.serves))),
            }
        };
        check(include_bytes!("../../../examples/hello/hello.wasm"), Ok(true));
        check(include_bytes!("../../../examples/ticker/ticker.wasm"), Ok(false));
        check(include_bytes!("../../../examples/greeter-c/greeter.wasm"), Ok(false));
        check(b"\0asm\x0d\0\x01\0", Err("there is nothing to run"));
        check(b"text", Err("not WebAssembly"));
        assert!(local_file("ghcr.io/me/app:v1").unwrap().is_none());
        assert!(local_file("./none.wasm").is_err());
    }

    #[test]
    fn the_arguments_say_what_is_run_under_which_name() {
        check(&["./My_App.wasm"], Ok(("my-app", "./My_App.wasm")));
        check(&["there.wasm"], Ok(("there", "./there.wasm")));
        check(&["web", "--image", "./a.wasm"], Ok(("web", "./a.wasm")));
        check(&["--image", "ghcr.io/me/app:v1"], Ok(("app", "ghcr.io/me/app:v1")));
        check(&["missing.wasm"], Err("missing.wasm is no Wasm file that is there; an image in a registry"));
        check(&["."], Err(". is no Wasm file that is there"));
        check(&["web", "--image", "https://example.com/a.wasm"], Err("is a URL: fetch the file"));
        check(&["oci://example.com/a:1"], Err("as --image HOST/NAME:TAG"));
        check(&["web", "--image", "missing.wasm"], Err("missing.wasm: no such file"));
        check(&[], Err("say what to run"));
        assert!(Args::try_parse_from(["pal", "run", "there.wasm", "--port", "0"]).is_err());
    }
}
