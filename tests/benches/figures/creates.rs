//! Pods created over TLS, by 1, 16 and 64 clients, each on its own connection. The pods name a scheduler nobody runs.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use kube::client::ConfigExt;
use pal_tests::{Cluster, Pal};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::Row;
use crate::load::{millis, run};

const TIME: Duration = Duration::from_secs(5);
/// Kubernetes 1.36.2 on two cores: clients, creates per second, p99 in milliseconds.
const KUBERNETES: [(usize, f64, f64); 3] = [(1, 215.0, 8.4), (16, 597.0, 77.0), (64, 789.0, 217.0)];

pub async fn rows(pal: &Pal) -> Vec<Row> {
    let server = pal.server(&[]).await;
    let mut rows = Vec::new();
    for (clients, peer, peer_p99) in KUBERNETES {
        let ours = creates(&server, clients).await;
        assert_eq!(ours.failures, 0, "creates fail with {clients} clients");
        rows.push(Row::new(
            format!("pod creates over TLS, {clients} clients"),
            format!("{:.0}/s, p99 {}", ours.per_second, millis(ours.p99)),
            format!("{peer:.0}/s, p99 {peer_p99:.2} ms (kube-apiserver)"),
            format!("{:.1}", ours.per_second / peer),
        ));
    }
    server.stop().await;
    rows
}

async fn creates(server: &Cluster, clients: usize) -> crate::load::Measured {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let kubeconfig = kube::config::Kubeconfig::read_from(server.kubeconfig()).expect("a kubeconfig");
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default())
        .await
        .expect("a usable kubeconfig");
    let mut tls = config.rustls_client_config().expect("TLS");
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let connector = TlsConnector::from(Arc::new(tls));
    let authority = config.cluster_url.authority().expect("an address").to_string();
    run(clients, TIME, async |client| {
        let stream = TcpStream::connect(&authority).await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        let name = ServerName::try_from("127.0.0.1").expect("a name");
        let stream = connector.connect(name, stream).await.expect("TLS");
        let (sender, connection) =
            hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.expect("HTTP");
        tokio::spawn(connection);
        let sender = Arc::new(tokio::sync::Mutex::new(sender));
        let authority = authority.clone();
        move |count| {
            let (sender, authority) = (sender.clone(), authority.clone());
            let body = pod(&format!("p{clients}-{client}-{count}"));
            async move {
                let request = Request::post("/api/v1/namespaces/default/pods")
                    .header("host", authority)
                    .header("content-type", "application/json")
                    .body(Full::new(Bytes::from(body)))
                    .expect("a request");
                let mut sender = sender.lock().await;
                let Ok(response) = sender.send_request(request).await else { return false };
                let good = response.status() == StatusCode::CREATED;
                response.into_body().collect().await.is_ok() && good
            }
        }
    })
    .await
}

fn pod(name: &str) -> String {
    format!(
        r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{name}","labels":{{"app":"bench"}}}},"spec":{{"schedulerName":"nobody","containers":[{{"name":"app","image":"pal.local/none:v1","env":[{{"name":"A","value":"1"}}],"resources":{{"requests":{{"cpu":"10m","memory":"16Mi"}}}}}}]}}}}"#
    )
}
