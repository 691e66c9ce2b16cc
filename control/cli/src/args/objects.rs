//! The arguments of the commands that are about objects: `run`, `apply`, `get`, `logs` and `delete`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, ValueEnum};

use super::{parse_duration, parse_pair};

#[derive(ClapArgs, Debug)]
pub struct RunArgs {
    /// The name, or the Wasm file itself
    #[arg(value_name = "NAME|FILE.wasm")]
    pub name: Option<String>,
    /// A Wasm file or an image in a registry
    #[arg(long)]
    pub image: Option<String>,
    /// The port on which the component serves
    #[arg(long, default_value_t = 8080, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
    /// How many
    #[arg(short, long, default_value_t = 1)]
    pub replicas: u32,
    /// An environment variable; may be given again
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    pub env: Vec<(String, String)>,
    /// How long to wait until it is ready
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
    pub timeout: Duration,
    /// The component's arguments
    #[arg(last = true)]
    pub args: Vec<String>,
}

#[derive(ClapArgs, Debug)]
pub struct ApplyArgs {
    /// A manifest, a folder of them, or - for standard input; may be given again
    #[arg(short, long, value_name = "FILE", required = true)]
    pub filename: Vec<PathBuf>,
    /// Go into folders below a folder
    #[arg(short = 'R', long)]
    pub recursive: bool,
    /// Have the server check everything and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Wait until what was applied is ready
    #[arg(long)]
    pub wait: bool,
    /// How long to wait
    #[arg(long, value_name = "TIME", default_value = "120s", value_parser = parse_duration)]
    pub timeout: Duration,
}

#[derive(ClapArgs, Debug)]
pub struct GetArgs {
    /// What: a resource (pods, deploy, svc, ...) or several with commas, or RESOURCE/NAME
    #[arg(required = true, value_name = "RESOURCE")]
    pub resource: String,
    /// Which
    pub names: Vec<String>,
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Only those with these labels
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub selector: Option<String>,
    /// Only those with these fields
    #[arg(long, value_name = "FIELDS")]
    pub field_selector: Option<String>,
    /// How to show them
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Output>,
    /// Go on showing them as they change
    #[arg(short, long)]
    pub watch: bool,
    /// Leave the heading out
    #[arg(long)]
    pub no_headers: bool,
    /// Show the labels too
    #[arg(long)]
    pub show_labels: bool,
}

/// How `get` shows objects.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    Wide,
    Yaml,
    Json,
    Name,
}

#[derive(ClapArgs, Debug)]
pub struct LogsArgs {
    /// POD, or deploy/NAME for the pods of a Deployment
    #[arg(required_unless_present = "selector")]
    pub target: Option<String>,
    /// The container, where a pod has several
    #[arg(short, long)]
    pub container: Option<String>,
    /// Go on as more is printed
    #[arg(short, long)]
    pub follow: bool,
    /// Of the container's run before this one
    #[arg(short, long)]
    pub previous: bool,
    /// The last so many lines
    #[arg(long, value_name = "LINES", allow_negative_numbers = true)]
    pub tail: Option<i64>,
    /// What was printed within the last time, as 5s, 2m or 3h
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub since: Option<Duration>,
    /// Show when each line was printed
    #[arg(long)]
    pub timestamps: bool,
    /// Of the pods with these labels
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub selector: Option<String>,
}

#[derive(ClapArgs, Debug)]
pub struct DeleteArgs {
    /// What: a resource, or several with commas, or RESOURCE/NAME
    #[arg(value_name = "RESOURCE", required_unless_present = "filename")]
    pub resource: Option<String>,
    /// Which
    pub names: Vec<String>,
    /// What these manifests name
    #[arg(short, long, value_name = "FILE", conflicts_with = "resource")]
    pub filename: Vec<PathBuf>,
    /// Those with these labels
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub selector: Option<String>,
    /// All of that resource in the namespace
    #[arg(long)]
    pub all: bool,
    /// What happens to what the object owns
    #[arg(long, default_value = "background")]
    pub cascade: Cascade,
    /// How long a pod may take to end, in seconds
    #[arg(long, value_name = "SECONDS")]
    pub grace_period: Option<i64>,
    /// Do not wait until they are gone
    #[arg(long)]
    pub no_wait: bool,
    /// It is no error when there is no such object
    #[arg(long)]
    pub ignore_not_found: bool,
}

/// What happens to what a deleted object owns.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cascade {
    Background,
    Foreground,
    Orphan,
}
