//! The options that a server was started with, as it tells them.

use std::collections::BTreeMap;

use clap::{ArgMatches, CommandFactory, FromArgMatches};

use super::{Args, Command};

/// What is told in the place of a secret.
const SECRET: &str = "CLASSIFIED";

impl Args {
    /// What this process was started with; ends it when that is wrong, or only asks for help.
    pub fn read() -> Self {
        let matches = Self::command().get_matches();
        Self::of(&matches).unwrap_or_else(|error| error.exit())
    }

    fn of(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut args = Self::from_arg_matches(matches)?;
        match &mut args.command {
            Command::Up(up) => up.serve.flags = flags(matches),
            Command::Server(server) => server.serve.flags = flags(matches),
            _ => {}
        }
        Ok(args)
    }
}

/// All options of the command that is run, by name; empty where nothing was given and nothing holds instead.
fn flags(matches: &ArgMatches) -> BTreeMap<String, String> {
    let Some((name, matches)) = matches.subcommand() else { return BTreeMap::new() };
    let all = Args::command();
    let options = all.find_subcommand(name).into_iter().flat_map(clap::Command::get_arguments);
    let told = options.filter_map(|option| {
        let values = matches.try_get_raw(option.get_id().as_str()).ok().flatten().into_iter().flatten();
        let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
        let is_secret = option.is_hide_env_values_set() && !values.is_empty();
        let value = if is_secret { SECRET.to_owned() } else { values.join(",") };
        Some((option.get_long()?.to_owned(), value))
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_knows_its_options_but_for_secrets() {
        let check = |arguments: &[&str], option: &str, expected: Option<&str>| {
            let matches = Args::command().try_get_matches_from(arguments).unwrap();
            let args = Args::of(&matches).unwrap();
            let serve = match args.command {
                Command::Up(up) => up.serve,
                Command::Server(server) => server.serve,
                _ => panic!("{arguments:?}"),
            };
            assert_eq!(serve.flags.get(option).map(String::as_str), expected, "{arguments:?}");
        };
        let server = ["pal", "server", "--token", "x.y", "--advertise", "a", "--advertise", "b", "--listen", "[::1]:0"];
        check(&server, "token", Some("CLASSIFIED"));
        check(&server, "advertise", Some("a,b"));
        check(&server, "listen", Some("[::1]:0"));
        check(&server, "join", Some(""));
        check(&server, "audit-log-maxsize", Some("100"));
        check(&server, "cluster-signing-duration", Some("8760h"));
        check(&["pal", "server"], "token", Some(""));
        check(&["pal", "up", "-f", "x.yaml"], "filename", Some("x.yaml"));
        check(&["pal", "up"], "join", None);
    }
}
