//! `pal token`

use http::Method;
use jiff::Timestamp;
use pal_server::tokens::{self, Role};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::api::{self, Api, request};
use crate::args::{ClientArgs, JoinRole, TokenArgs, TokenCommand};
use crate::error::CliError;
use crate::out;

const SECRETS: &str = "/api/v1/namespaces/kube-system/secrets";
/// Where the cluster says how it is reached (kubeadm's convention).
pub const CLUSTER_INFO: &str = "/api/v1/namespaces/kube-public/configmaps/cluster-info";

pub async fn run(client: &ClientArgs, args: TokenArgs) -> Result<(), CliError> {
    let api = Api::connect(client).await?;
    match args.command {
        TokenCommand::Create { role, ttl, description, quiet } => {
            let fingerprint = match api.roots() {
                [root, ..] => Sha256::digest(root).iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
                [] => return Err(CliError::other("the kubeconfig names no certificate authority")),
            };
            let role = match role {
                JoinRole::Node => Role::Node,
                JoinRole::Server => Role::Server,
            };
            let token = tokens::generate(role, ttl, &description, &fingerprint, Timestamp::now());
            let mut body = serde_json::to_value(&token.secret).map_err(CliError::other)?;
            body["apiVersion"] = "v1".into();
            body["kind"] = "Secret".into();
            api.json(request(Method::POST, SECRETS, &[], Some(&body))?).await?;
            if quiet {
                out::line(format_args!("{}", token.text))?;
                return Ok(());
            }
            let url = join_url(&api).await?;
            match role {
                Role::Node => out::line(format_args!("pal agent --join {url} --token {}", token.text))?,
                Role::Server => {
                    out::line(format_args!("pal server --join {url} --token {}", token.text))?;
                    eprintln!(
                        "Run it on the machine that joins. It listens on port 6443 of the address that leads there, unless --listen ADDR:PORT says otherwise; --data-dir DIR says where its data lies."
                    );
                }
            }
            Ok(())
        }
        TokenCommand::List => list(&api).await,
        TokenCommand::Delete { id } => {
            let path = format!("{SECRETS}/bootstrap-token-{id}");
            match api.json(request(Method::DELETE, &path, &[], None)?).await {
                Err(error) if error.code() == Some(404) => {
                    return Err(CliError::other(format!(
                        "there is no token {id:?}; `pal token list` lists those there are"
                    )));
                }
                deleted => deleted?,
            };
            out::line(format_args!("token {id:?} deleted"))?;
            Ok(())
        }
    }
}

/// The address that other machines should use; the kubeconfig's own where the cluster does not say.
async fn join_url(api: &Api) -> Result<String, CliError> {
    match api.get(CLUSTER_INFO).await {
        Ok(info) => Ok(info["data"]["server"].as_str().map_or_else(|| api.url(), str::to_owned)),
        Err(error) if error.code() == Some(404) => Ok(api.url()),
        Err(error) => Err(error),
    }
}

async fn list(api: &Api) -> Result<(), CliError> {
    let parameters = api::query(&[("fieldSelector", "type=bootstrap.kubernetes.io/token".to_owned())]);
    let secrets = api.get(&format!("{SECRETS}{parameters}")).await?;
    out::line(format_args!("{:8} {:8} {:22} DESCRIPTION", "ID", "ROLE", "EXPIRES"))?;
    for secret in api::array(&secrets["items"]) {
        let field = |name: &str| decode(&secret["data"][name]);
        out::line(format_args!(
            "{:8} {:8} {:22} {}",
            field("token-id"),
            field("role"),
            field("expiration"),
            field("description")
        ))?;
    }
    Ok(())
}

/// The text of a Secret's value.
fn decode(value: &Value) -> String {
    let bytes: Option<k8s_openapi::ByteString> = serde_json::from_value(value.clone()).ok();
    bytes.map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned()).unwrap_or_default()
}
