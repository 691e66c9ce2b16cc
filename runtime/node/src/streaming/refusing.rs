//! Where nothing can be run.

use async_trait::async_trait;
use pal_resources::Status;

use super::{Exec, Session, Target};

/// Refuses all, and says so.
pub(crate) struct Refusing;

fn refused(what: &str) -> Status {
    Status { code: 501, reason: None, message: format!("{what} is not supported by this node"), details: None }
}

#[async_trait]
impl Exec for Refusing {
    async fn exec(&self, _target: &Target, _command: Vec<String>) -> Result<Box<dyn Session>, Status> {
        Err(refused("exec"))
    }

    async fn attach(&self, _target: &Target) -> Result<Box<dyn Session>, Status> {
        Err(refused("attach"))
    }
}
