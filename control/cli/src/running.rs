//! The cluster that runs already where another was to be started: what a second `pal up` says.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::api::Api;
use crate::error::CliError;
use crate::paths;
use crate::up::all_service_urls;

/// How long a cluster that may just be starting is asked.
const LIMIT: Duration = Duration::from_secs(3);

/// What runs in a folder that another process has.
pub async fn there(dir: PathBuf) -> CliError {
    let kubeconfig = paths::kubeconfig(&dir);
    let asking = async {
        let api = Api::from_kubeconfig(kubeconfig.clone()).await?;
        let urls = all_service_urls(&api).await?;
        Ok::<_, CliError>(Running { api: api.url(), urls })
    };
    match tokio::time::timeout(LIMIT, asking).await {
        Ok(Ok(running)) => CliError::other(told(&dir, &kubeconfig, &running)),
        Ok(Err(_)) | Err(_) => CliError::InUse { dir },
    }
}

struct Running {
    api: String,
    urls: Vec<String>,
}

fn told(dir: &Path, kubeconfig: &Path, running: &Running) -> String {
    let mut parts = vec![format!("a cluster is running in {} already, at {}", dir.display(), running.api)];
    let urls: Vec<String> = running.urls.iter().map(|url| format!("  {url}")).collect();
    if !urls.is_empty() {
        parts.push(urls.join("\n"));
    }
    parts.push(format!("  kubectl --kubeconfig {} get pods -A", kubeconfig.display()));
    parts.push(
        "`pal apply -f FILE` brings it more; a second cluster needs a --data-dir and a --listen of its own.".to_owned(),
    );
    parts.join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_start_says_what_runs_and_how_to_get_there() {
        let check = |urls: &[&str], expected: &str| {
            let running =
                Running { api: "https://127.0.0.1:6443".into(), urls: urls.iter().map(|url| (*url).into()).collect() };
            assert_eq!(told(Path::new("/d"), Path::new("/d/kubeconfig"), &running), expected);
        };
        let rest = "  kubectl --kubeconfig /d/kubeconfig get pods -A\n\n`pal apply -f FILE` brings it more; a second cluster \
                    needs a --data-dir and a --listen of its own.";
        let first = "a cluster is running in /d already, at https://127.0.0.1:6443\n\n";
        check(&[], &format!("{first}{rest}"));
        let url = "http://127.0.0.1:30080  (service/hello)";
        check(&[url], &format!("{first}  {url}\n\n{rest}"));
    }
}
