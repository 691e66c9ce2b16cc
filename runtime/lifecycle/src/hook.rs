//! `lifecycle` of a container: what is done after its start and before its end.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerPort, Lifecycle, LifecycleHandler};

use crate::plan::{ProbeAction, http_get, seconds};

/// Which hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HookKind {
    /// After the start; until it is through, the container does not count as running.
    PostStart,
    /// Before the end, within the grace.
    PreStop,
}

impl HookKind {
    /// The field of the manifest.
    fn field(self) -> &'static str {
        match self {
            Self::PostStart => "lifecycle.postStart",
            Self::PreStop => "lifecycle.preStop",
        }
    }
}

/// What a hook does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hook {
    /// `httpGet` of the pod itself.
    Http(ProbeAction),
    /// `sleep`.
    Sleep(Duration),
    /// `exec`: a program in the container, by its name and arguments.
    Exec(Vec<String>),
}

/// Both hooks of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hooks {
    post_start: Option<Box<Hook>>,
    pre_stop: Option<Box<Hook>>,
}

impl Hooks {
    /// Reads them, or says what of them cannot be done.
    pub(crate) fn new(lifecycle: Option<&Lifecycle>, ports: &[ContainerPort]) -> Result<Self, String> {
        let Some(lifecycle) = lifecycle else { return Ok(Self::default()) };
        let read = |kind: HookKind, handler: &Option<LifecycleHandler>| match handler {
            Some(handler) => match hook(handler, ports) {
                Ok(hook) => Ok(Some(Box::new(hook))),
                Err(why) => Err(format!("{}: {why}", kind.field())),
            },
            None => Ok(None),
        };
        Ok(Self {
            post_start: read(HookKind::PostStart, &lifecycle.post_start)?,
            pre_stop: read(HookKind::PreStop, &lifecycle.pre_stop)?,
        })
    }

    pub(crate) fn get(&self, kind: HookKind) -> Option<&Hook> {
        match kind {
            HookKind::PostStart => self.post_start.as_deref(),
            HookKind::PreStop => self.pre_stop.as_deref(),
        }
    }
}

fn hook(handler: &LifecycleHandler, ports: &[ContainerPort]) -> Result<Hook, String> {
    if let Some(get) = &handler.http_get {
        Ok(Hook::Http(http_get(get, ports)?))
    } else if let Some(sleep) = &handler.sleep {
        Ok(Hook::Sleep(seconds(sleep.seconds)))
    } else if let Some(exec) = &handler.exec {
        Ok(Hook::Exec(exec.command.clone().unwrap_or_default()))
    } else if handler.tcp_socket.is_some() {
        Err("tcpSocket is not supported; use exec, httpGet or sleep".to_owned())
    } else {
        Err("it has no handler".to_owned())
    }
}
