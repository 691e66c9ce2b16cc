//! A service that traps while it is being instantiated.

use wasip2::http::types::{IncomingRequest, ResponseOutparam};

struct Service;

wasip2::http::proxy::export!(Service);

impl wasip2::exports::http::incoming_handler::Guest for Service {
    fn handle(_request: IncomingRequest, _out: ResponseOutparam) {}
}

/// What a component's instantiation calls in the module.
#[unsafe(no_mangle)]
pub extern "C" fn _initialize() {
    core::arch::wasm32::unreachable()
}
