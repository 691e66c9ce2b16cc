//! The command line.

mod access;
mod flags;
mod objects;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

pub use self::access::AccessArgs;
pub use self::objects::{ApplyArgs, Cascade, DeleteArgs, GetArgs, LogsArgs, Output, RunArgs};

/// What every command takes stands apart from what is its own.
const EVERYWHERE: &str = "Options of all commands";

/// Kubernetes for WebAssembly components, in one program.
#[derive(Parser, Debug)]
#[command(name = "pal", version, max_term_width = 120)]
pub struct Args {
    /// What to log to standard error: off, error, warn, info, debug, or by module (trace: builds for development alone)
    #[arg(long, env = "PAL_LOG", default_value = "warn", global = true, hide_default_value = true, help_heading = EVERYWHERE)]
    pub log: String,
    #[command(flatten)]
    pub client: ClientArgs,
    #[command(subcommand)]
    pub command: Command,
}

/// Where the cluster is, for the commands that are its clients.
#[derive(ClapArgs, Debug, Clone)]
pub struct ClientArgs {
    /// The kubeconfig to use [default: $KUBECONFIG, then the one in the data directory]
    #[arg(long, global = true, value_name = "FILE", help_heading = EVERYWHERE)]
    pub kubeconfig: Option<PathBuf>,
    /// The namespace [default: the kubeconfig's, then "default"]
    #[arg(short, long, global = true, help_heading = EVERYWHERE)]
    pub namespace: Option<String>,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Start a cluster of one node here, in the foreground
    Up(UpArgs),
    /// Start a server (the API, the store, the controllers and the scheduler), or look after the servers there are
    Server(ServerArgs),
    /// Start a node, joining a cluster where it has not yet
    Agent(AgentArgs),
    /// Make and list the tokens by which machines join
    Token(TokenArgs),
    /// Save the cluster to a file, and restore it
    Snapshot(SnapshotArgs),
    /// Run a Wasm component as a Deployment, with a Service in front of it if it serves HTTP
    Run(RunArgs),
    /// Make the cluster hold what manifests say
    Apply(ApplyArgs),
    /// Show objects
    Get(GetArgs),
    /// Show what a pod's container has printed
    Logs(LogsArgs),
    /// Delete objects
    Delete(DeleteArgs),
    /// Show what a Wasm file is and what it needs
    Inspect(InspectArgs),
    /// Show the versions of this program and of the cluster
    Version(VersionArgs),
    /// Print a completion script for a shell
    Completion { shell: clap_complete::Shell },
    /// Compile one component (the node starts this itself)
    #[command(hide = true)]
    CompileWorker,
}

/// What `up` and `server` have in common.
#[derive(ClapArgs, Debug, Clone)]
pub struct ServeArgs {
    /// Where everything is kept [default: palinurus below $XDG_DATA_HOME or ~/.local/share]
    #[arg(long, value_name = "DIR", env = "PAL_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where the API listens; port 0 takes a free one, once, and keeps it [default: where it listened the last time, else
    /// 127.0.0.1:6443]
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,
    /// A name or address under which others reach this server; may be given again
    #[arg(long, value_name = "NAME_OR_ADDR")]
    pub advertise: Vec<String>,
    /// How long pods tolerate a node that is not ready or not reachable, unless they say, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3)]
    pub default_toleration_seconds: i64,
    /// How long a node may be silent before it is not ready, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 6)]
    pub node_grace_seconds: u64,
    /// How long the certificates of nodes are valid; they renew them after two thirds of it
    #[arg(long, value_name = "TIME", default_value = "8760h", value_parser = parse_duration)]
    pub cluster_signing_duration: Duration,
    #[command(flatten)]
    pub access: AccessArgs,
    /// All options of the command, as others are told them
    #[arg(skip)]
    pub flags: BTreeMap<String, String>,
}

#[derive(ClapArgs, Debug)]
pub struct UpArgs {
    #[command(flatten)]
    pub serve: ServeArgs,
    /// A manifest, a folder of them, or - for standard input; may be given again
    #[arg(short, long, value_name = "FILE")]
    pub filename: Vec<PathBuf>,
    /// Where the ports of Services listen
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub node_ip: IpAddr,
    /// How long to wait for what the manifests name
    #[arg(long, value_name = "TIME", default_value = "120s", value_parser = parse_duration)]
    pub timeout: Duration,
}

#[derive(ClapArgs, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct ServerArgs {
    #[command(subcommand)]
    pub command: Option<ServerCommand>,
    #[command(flatten)]
    pub serve: ServeArgs,
    #[command(flatten)]
    pub join: JoinArgs,
}

/// How a server becomes one of several.
#[derive(ClapArgs, Debug, Clone, Default)]
pub struct JoinArgs {
    /// A server of the cluster to join, as https://HOST:PORT; needed once
    #[arg(long, value_name = "URL")]
    pub join: Option<String>,
    /// The token that `pal token create --role server` printed; needed once
    #[arg(long, env = "PAL_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// What the server is called [default: what it was called the last time, else this machine's name and four digits]
    #[arg(long)]
    pub name: Option<String>,
}

#[derive(Subcommand, Debug)]
pub enum ServerCommand {
    /// List the cluster's servers
    List {
        /// How to show them
        #[arg(short, long, value_name = "FORMAT")]
        output: Option<ServerOutput>,
    },
    /// Take a server out of the cluster; it stops by itself, and its data stay where they are
    Remove {
        /// Its name or its id
        name: String,
    },
    /// Have another server lead
    TransferLeader {
        /// Its name or its id
        name: String,
    },
}

/// How `server list` shows servers.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerOutput {
    Json,
}

#[derive(ClapArgs, Debug)]
pub struct SnapshotArgs {
    #[command(subcommand)]
    pub command: SnapshotCommand,
}

#[derive(Subcommand, Debug)]
pub enum SnapshotCommand {
    /// Save the cluster's objects and its keys to a file, while it serves. Images are not in it
    Save {
        /// The file; one that is there is replaced when the new one is whole
        file: PathBuf,
    },
    /// Make a new cluster of one server from a file; `pal server --data-dir DIR` then serves it
    Restore {
        /// The file
        file: PathBuf,
        /// Where to, which must be empty [default: palinurus below $XDG_DATA_HOME or ~/.local/share]
        #[arg(long, value_name = "DIR", env = "PAL_DATA_DIR")]
        data_dir: Option<PathBuf>,
    },
    /// Check a file and show what it holds
    Status {
        /// The file
        file: PathBuf,
    },
}

#[derive(ClapArgs, Debug)]
pub struct AgentArgs {
    /// A server of the cluster, as https://HOST:PORT; kept, so that it is needed once. Several may be given, with commas or
    /// by giving it again; the cluster's others are found out
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    pub join: Vec<String>,
    /// The token that `pal token create --role node` printed; needed once
    #[arg(long, env = "PAL_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// The node's name [default: this machine's]
    #[arg(long)]
    pub name: Option<String>,
    /// The address at which Services' ports listen and other nodes reach this one
    /// [default: the one that leads to the server]
    #[arg(long, value_name = "IP")]
    pub node_ip: Option<IpAddr>,
    /// Where everything is kept [default: palinurus-node below $XDG_DATA_HOME or ~/.local/share]
    #[arg(long, value_name = "DIR", env = "PAL_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// A label for the node, as KEY=VALUE; may be given again
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    pub label: Vec<(String, String)>,
    /// A directory below which PersistentVolumes of kind `local` may be, for pods to read and write; may be given again.
    /// Those that are made for claims need none
    #[arg(long, value_name = "DIR", value_parser = parse_absolute)]
    pub local_volumes: Vec<PathBuf>,
}

#[derive(ClapArgs, Debug)]
pub struct TokenArgs {
    #[command(subcommand)]
    pub command: TokenCommand,
}

#[derive(Subcommand, Debug)]
pub enum TokenCommand {
    /// Make a token and print the line that joins with it
    Create {
        /// What joins with it
        #[arg(long, default_value = "node")]
        role: JoinRole,
        /// How long it is good for
        #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_duration)]
        ttl: Duration,
        /// A word on what it is for
        #[arg(long, default_value = "")]
        description: String,
        /// Print the token alone
        #[arg(long)]
        quiet: bool,
    },
    /// List the tokens
    List,
    /// Take a token back
    Delete {
        /// The six characters behind "pal_"
        id: String,
    },
}

/// What a token lets a machine become.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinRole {
    Node,
    Server,
}

#[derive(ClapArgs, Debug)]
pub struct InspectArgs {
    /// Wasm files
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(ClapArgs, Debug)]
pub struct VersionArgs {
    /// Of this program alone
    #[arg(long)]
    pub client: bool,
}

/// Reads `90`, `90s`, `5m`, `2h`, `1m30s`, `500ms`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a time such as 30s, 5m or 2h");
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|n| *n > 0).ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        let millis = number.checked_mul(millis).ok_or_else(wrong)?;
        total = total.checked_add(Duration::from_millis(millis)).ok_or_else(wrong)?;
        rest = tail;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total) }
}

fn parse_absolute(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() { Ok(path) } else { Err(format!("{text:?} is not an absolute path")) }
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not of the form KEY=VALUE")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_commands_own_options_stand_before_those_of_all() {
        for name in ["get", "apply", "logs", "run", "up"] {
            let mut all = Args::command();
            all.build();
            let help = all.find_subcommand_mut(name).expect("a command").render_help().to_string();
            let (own, of_all) = help.split_once(EVERYWHERE).expect("both parts");
            assert!(!own.contains("--kubeconfig") && !own.contains("--log "), "{help}");
            assert!(of_all.contains("--kubeconfig") && of_all.contains("--log "), "{help}");
        }
    }

    #[test]
    fn the_version_is_told_by_the_flag_too() {
        let told = Args::try_parse_from(["pal", "--version"]).unwrap_err();
        assert_eq!(told.kind(), clap::error::ErrorKind::DisplayVersion);
        assert_eq!(told.to_string(), format!("pal {}\n", env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn times_are_read_as_go_writes_them() {
        let check = |text: &str, millis: Option<u128>| {
            assert_eq!(parse_duration(text).ok().map(|d| d.as_millis()), millis, "{text:?}");
        };
        check("90", Some(90_000));
        check("90s", Some(90_000));
        check("1m30s", Some(90_000));
        check("2h", Some(7_200_000));
        check("500ms", Some(500));
        for text in ["", "s", "5x", "-5s", "5m-", "99999999999999999999h"] {
            check(text, None);
        }
    }
}
