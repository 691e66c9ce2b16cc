//! `GET /cluster/snapshot`

use http::Response;
use pal_resources::Status;

use super::super::Call;
use super::super::subresources::not_built;
use crate::Body;

pub(super) async fn save(_call: &Call<'_>) -> Result<Response<Body>, Status> {
    Err(not_built("a snapshot"))
}
