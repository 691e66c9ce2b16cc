//! What is wrong with probes and lifecycle handlers.

use k8s_openapi::api::core::v1::{ExecAction, HTTPGetAction, Lifecycle, LifecycleHandler, Probe, TCPSocketAction};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::kinds::kind::Errors;
use crate::kinds::names;
use crate::kinds::optional::{items, non_negative, one_of, plain};
use crate::{FieldError, FieldPath};

/// A probe; `once` where one success is all that counts.
pub(super) fn validate(probe: &Probe, once: bool, path: &FieldPath, errors: &mut Errors) {
    let grpc = probe.grpc.as_ref().map(|grpc| grpc.port);
    let handlers =
        Handlers { exec: probe.exec.as_ref(), http: probe.http_get.as_ref(), tcp: probe.tcp_socket.as_ref(), grpc };
    handlers.validate(path, errors);
    let numbers = [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ];
    for (field, value) in numbers {
        non_negative(i64::from(value.unwrap_or(0)), || path.child(field), errors);
    }
    let successes = probe.success_threshold.unwrap_or(1);
    if once && successes != 1 {
        errors.push(FieldError::invalid(&path.child("successThreshold"), successes, "must be 1"));
    }
    if let Some(grace) = probe.termination_grace_period_seconds {
        let path = path.child("terminationGracePeriodSeconds");
        if !once {
            errors.push(FieldError::invalid(&path, grace, "must not be set for readinessProbes"));
        } else if grace <= 0 {
            errors.push(FieldError::invalid(&path, grace, "must be greater than 0"));
        }
    }
}

/// What runs after the start and before the end of a container.
pub(super) fn validate_lifecycle(lifecycle: &Lifecycle, grace: Option<i64>, path: &FieldPath, errors: &mut Errors) {
    let handlers = [("postStart", &lifecycle.post_start), ("preStop", &lifecycle.pre_stop)];
    for (field, handler) in handlers {
        let Some(handler) = handler else { continue };
        let LifecycleHandler { exec, http_get, tcp_socket, sleep } = handler;
        let (http, tcp) = (http_get.as_ref(), tcp_socket.as_ref());
        if let Some(sleep) = sleep {
            let others = exec.is_some() || http.is_some() || tcp.is_some();
            let path = path.child(field).child("sleep");
            let longest = grace.unwrap_or(i64::MAX);
            if others {
                errors.push(FieldError::forbidden(&path, "may not specify more than 1 handler type"));
            } else if !(0..=longest).contains(&sleep.seconds) {
                let why = format!("must be non-negative and less than terminationGracePeriodSeconds ({longest})");
                errors.push(FieldError::invalid(&path, sleep.seconds, &why));
                continue;
            } else {
                continue;
            }
        }
        let handlers = Handlers { exec: exec.as_ref(), http, tcp, grpc: None };
        handlers.validate(&path.child(field), errors);
    }
}

struct Handlers<'a> {
    exec: Option<&'a ExecAction>,
    http: Option<&'a HTTPGetAction>,
    tcp: Option<&'a TCPSocketAction>,
    grpc: Option<i32>,
}

impl Handlers<'_> {
    /// Exactly one, and that one right.
    fn validate(&self, path: &FieldPath, errors: &mut Errors) {
        let given = [
            ("exec", self.exec.is_some()),
            ("httpGet", self.http.is_some()),
            ("tcpSocket", self.tcp.is_some()),
            ("grpc", self.grpc.is_some()),
        ];
        let mut given = given.iter().filter(|(_, given)| *given).map(|(field, _)| *field);
        if given.next().is_none() {
            errors.push(FieldError::required(path, "must specify a handler type"));
            return;
        }
        for field in given {
            let why = "may not specify more than 1 handler type";
            errors.push(FieldError::forbidden(&path.child(field), why));
        }
        if self.exec.is_some_and(|exec| items(&exec.command).is_empty()) {
            errors.push(FieldError::required(&path.child("exec").child("command"), ""));
        }
        if let Some(http) = self.http {
            validate_http(http, &path.child("httpGet"), errors);
        }
        if let Some(tcp) = self.tcp {
            validate_port(&tcp.port, &path.child("tcpSocket").child("port"), errors);
        }
        if let Some(port) = self.grpc {
            let port = IntOrString::Int(port);
            validate_port(&port, &path.child("grpc").child("port"), errors);
        }
    }
}

fn validate_http(http: &HTTPGetAction, path: &FieldPath, errors: &mut Errors) {
    if plain(&http.path).is_empty() {
        errors.push(FieldError::required(&path.child("path"), ""));
    }
    validate_port(&http.port, &path.child("port"), errors);
    one_of(plain(&http.scheme), &["HTTP", "HTTPS"], || path.child("scheme"), errors);
    for header in items(&http.http_headers) {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if header.name.is_empty() || !header.name.bytes().all(plain) {
            let why = names::regex_fault(
                "a valid HTTP header must consist of alphanumeric characters or '-'",
                "[-A-Za-z0-9]+",
                &["X-Header-Name"],
            );
            let path = path.child("httpHeaders");
            errors.push(FieldError::invalid(&path, header.name.as_str(), &why));
        }
    }
}

/// A port by number, or by the name that the container gives it.
pub(in crate::kinds) fn validate_port(port: &IntOrString, path: &FieldPath, errors: &mut Errors) {
    match port {
        IntOrString::Int(number) => {
            for fault in names::port_number(*number) {
                errors.push(FieldError::invalid(path, *number, &fault));
            }
        }
        IntOrString::String(name) => {
            for fault in names::port_name(name) {
                errors.push(FieldError::invalid(path, name.as_str(), &fault));
            }
        }
    }
}
