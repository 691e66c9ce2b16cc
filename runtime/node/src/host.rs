//! Pods that show what runs on the node beside its pods: nobody starts them through the API, and what they show is the
//! process that the agent is part of. The node answers for its log, and says why the rest does not go.

use std::sync::Arc;

use pal_engine::LogSink;
use pal_resources::Status;

use crate::config::HostPod;
use crate::logs::{ContainerLog, LogFile, LogStore, Stream};

/// In the logs' directory; no pod's is called so.
const DIR: &str = "host";
const LOG: &str = "process";

/// The process and the pods that show it, which have its log in common.
pub(crate) struct Host {
    pods: Vec<HostPod>,
    /// How many starts were before this one.
    attempt: u32,
    log: Arc<ContainerLog>,
    logs: Arc<LogStore>,
}

impl Host {
    /// Begins the log of this start.
    pub(crate) fn begin(pods: Vec<HostPod>, logs: Arc<LogStore>) -> Self {
        let dir = logs.host_dir(DIR);
        let attempt = logs.last(&dir, LOG).map_or(0, |last| last.saturating_add(1));
        let log = logs.begin(&dir, LOG, attempt);
        Self { pods, attempt, log, logs }
    }

    /// Where the process writes its log.
    pub(crate) fn sink(&self) -> Arc<dyn LogSink> {
        self.log.sink(Stream::Stderr)
    }

    /// Comes to the end of the log.
    pub(crate) fn close(&self) {
        self.log.close();
    }

    /// The pod, if it is one of these.
    pub(crate) fn find(&self, namespace: &str, pod: &str) -> Option<&HostPod> {
        self.pods.iter().find(|of| of.namespace == namespace && of.name == pod)
    }

    /// The log of one of these pods.
    pub(crate) fn log(&self, pod: &HostPod, container: &str, previous: bool) -> Result<LogFile, Status> {
        let HostPod { name, container: own, .. } = pod;
        if container != own {
            return Err(Status::bad_request(format!("container {container} is not valid for pod {name}")));
        }
        let dir = self.logs.host_dir(DIR);
        if !previous {
            return Ok(self.logs.find(&dir, LOG, self.attempt));
        }
        let before = self.attempt.checked_sub(1).map(|before| self.logs.find(&dir, LOG, before));
        before.filter(|(path, _)| path.exists()).ok_or_else(|| {
            Status::bad_request(format!("previous terminated container {container:?} in pod {name:?} not found"))
        })
    }
}

/// No program can be started in such a pod, and none joined.
pub(crate) fn no_programs(pod: &HostPod) -> Status {
    refused(format!(
        "container {:?} of pod {:?} is the process of pal on this node and runs no other programs, but has a log",
        pod.container, pod.name
    ))
}

/// It has no ports of its own.
pub(crate) fn no_ports(pod: &HostPod) -> Status {
    refused(format!(
        "pod {:?} is the process of pal on this node and listens on the machine itself, so there is nothing to forward to",
        pod.name
    ))
}

fn refused(message: String) -> Status {
    Status { code: 500, reason: None, message, details: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::LogLimits;

    #[test]
    fn the_process_has_a_log_for_each_start() {
        let dir = tempfile::tempdir().unwrap();
        let start = |line: &str| {
            let pod = HostPod { namespace: "kube-system".into(), name: "pal-n1".into(), container: "pal".into() };
            let host = Host::begin(vec![pod], LogStore::new(dir.path().to_owned(), LogLimits::default()));
            host.sink().write(line.as_bytes());
            host
        };
        let check = |host: &Host, container: &str, previous: bool, expected: Result<&str, &str>| {
            let pod = host.find("kube-system", "pal-n1").unwrap();
            match (host.log(pod, container, previous), expected) {
                (Ok((path, _)), Ok(part)) => assert!(std::fs::read_to_string(path).unwrap().contains(part)),
                (Err(status), Err(message)) => assert_eq!(status.message, message),
                (found, _) => panic!("{:?}", found.map(|(path, _)| path)),
            }
        };
        let host = start("first\n");
        assert!(host.find("default", "pal-n1").is_none() && host.find("kube-system", "other").is_none());
        check(&host, "pal", false, Ok("first"));
        check(&host, "pal", true, Err("previous terminated container \"pal\" in pod \"pal-n1\" not found"));
        check(&host, "x", false, Err("container x is not valid for pod pal-n1"));
        let host = start("second\n");
        check(&host, "pal", false, Ok("second"));
        check(&host, "pal", true, Ok("first"));
        let host = start("third\n");
        check(&host, "pal", true, Ok("second"));
    }
}
