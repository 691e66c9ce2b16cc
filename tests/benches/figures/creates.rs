//! Objects created over TLS, by 1, 16 and 64 clients, each on its own connection. The pods name a scheduler nobody runs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pal_tests::Pal;
use tokio::sync::Mutex;

use crate::Row;
use crate::connection::Entrance;
use crate::load::run;
use crate::resources::cpu;

const TIME: Duration = Duration::from_secs(5);
const CLIENTS: [usize; 3] = [1, 16, 64];
/// Kubernetes 1.36.2 on two cores, by those clients.
const KUBERNETES: [Creates; 3] = [creates(215.0, 8.4), creates(597.0, 77.0), creates(789.0, 217.0)];
/// ConfigMaps there, with 16 clients. Their latency is not known.
const KUBERNETES_CONFIG_MAPS: Creates = creates(533.0, f64::NAN);

/// What a load of creates measured.
#[derive(Clone, Copy)]
struct Creates {
    per_second: f64,
    p99_ms: f64,
    /// Processor time of all servers for each, in milliseconds.
    cpu_ms: f64,
}

/// Where objects are created.
struct Side {
    entrance: Entrance,
    processes: Vec<u32>,
}

const fn creates(per_second: f64, p99_ms: f64) -> Creates {
    Creates { per_second, p99_ms, cpu_ms: 2.2 }
}

pub async fn rows(pal: &Pal) -> Vec<Row> {
    let server = pal.server(&[]).await;
    let ours = Side { entrance: Entrance::of(&server).await, processes: vec![server.process.id()] };
    let theirs = Side::kubernetes().await;
    let mut rows = Vec::new();
    for (clients, known) in CLIENTS.into_iter().zip(KUBERNETES) {
        rows.extend(compared("Pod", clients, &ours, theirs.as_ref(), known, pod).await);
    }
    rows.extend(compared("ConfigMap", 16, &ours, theirs.as_ref(), KUBERNETES_CONFIG_MAPS, config_map).await);
    server.stop().await;
    rows
}

async fn compared(
    kind: &str,
    clients: usize,
    ours: &Side,
    theirs: Option<&Side>,
    known: Creates,
    body: fn(&str) -> String,
) -> [Row; 2] {
    let ours = ours.load(clients, kind, body).await;
    let theirs = match theirs {
        Some(side) => side.load(clients, kind, body).await,
        None => known,
    };
    let shown = |side: &Creates| format!("{:.0}/s, p99 {:.2} ms", side.per_second, side.p99_ms);
    [
        Row::new(
            format!("{kind} creates over TLS, {clients} clients"),
            shown(&ours),
            format!("{} (kube-apiserver)", shown(&theirs)),
            format!("{:.1}, p99 {:.2}", ours.per_second / theirs.per_second, ours.p99_ms / theirs.p99_ms),
        ),
        Row::new(
            "processor time of the server for each of these",
            format!("{:.3} ms", ours.cpu_ms),
            format!("{:.2} ms (four processes)", theirs.cpu_ms),
            format!("{:.3} (must be at most 0.1)", ours.cpu_ms / theirs.cpu_ms),
        ),
    ]
}

impl Side {
    /// The Kubernetes on this machine that is to be measured beside, if one is named.
    async fn kubernetes() -> Option<Self> {
        let named = std::env::var("PAL_BENCH_KUBERNETES").ok()?;
        let mut words = named.split(',');
        let kubeconfig = words.next().unwrap_or_default();
        let processes = words.map(|word| word.parse().expect("the number of a process")).collect();
        Some(Self { entrance: Entrance::by(Path::new(kubeconfig)).await, processes })
    }

    async fn load(&self, clients: usize, kind: &str, body: fn(&str) -> String) -> Creates {
        let path: Arc<str> = format!("/api/v1/namespaces/default/{}s", kind.to_lowercase()).into();
        let begun = self.cpu();
        let measured = run(clients, TIME, async |client| {
            let connection = Arc::new(Mutex::new(self.entrance.open().await));
            let path = path.clone();
            move |count| {
                let (connection, path) = (connection.clone(), path.clone());
                let body = body(&format!("p{clients}-{client}-{count}"));
                async move { connection.lock().await.create(&path, body).await }
            }
        })
        .await;
        assert_eq!(measured.failures, 0, "creates fail with {clients} clients");
        let used = self.cpu() - begun;
        let cpu_ms = used.as_secs_f64() * 1e3 / (measured.per_second * TIME.as_secs_f64());
        Creates { per_second: measured.per_second, p99_ms: measured.p99.as_secs_f64() * 1e3, cpu_ms }
    }

    fn cpu(&self) -> Duration {
        self.processes.iter().map(|process| cpu(*process)).sum()
    }
}

pub fn pod(name: &str) -> String {
    format!(
        r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{name}","labels":{{"app":"bench"}}}},"spec":{{"schedulerName":"nobody","containers":[{{"name":"app","image":"pal.local/none:v1","env":[{{"name":"A","value":"1"}}],"resources":{{"requests":{{"cpu":"10m","memory":"16Mi"}}}}}}]}}}}"#
    )
}

fn config_map(name: &str) -> String {
    format!(r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}"}},"data":{{"key":"value"}}}}"#)
}
