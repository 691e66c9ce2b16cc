//! `pal snapshot`

use crate::args::{ClientArgs, SnapshotArgs};
use crate::error::CliError;

pub async fn run(_client: &ClientArgs, _args: SnapshotArgs) -> Result<(), CliError> {
    Err(CliError::other("not there yet"))
}
