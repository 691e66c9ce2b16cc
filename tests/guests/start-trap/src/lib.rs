//! A service that traps while it is being instantiated.

use wasip2::http::types::{IncomingRequest, ResponseOutparam};

struct Service;

wasip2::http::proxy::export!(Service);

impl wasip2::exports::http::incoming_handler::Guest for Service {
    fn handle(_request: IncomingRequest, _out: ResponseOutparam) {}
}

/// Runs as a constructor, before anything is called.
#[used]
#[unsafe(link_section = ".init_array")]
static AT_START: extern "C" fn() = {
    extern "C" fn at_start() {
        core::arch::wasm32::unreachable()
    }
    at_start
};
