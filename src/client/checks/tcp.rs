use super::{authority, critical};
use crate::registration::InstanceCheck;
use mesh::{health::Outcome, model::Status};
use tokio::net::TcpStream;

/// Passing when a connection opens.
pub(super) async fn check(check: &InstanceCheck) -> Outcome {
    let address = authority(check);
    match TcpStream::connect(&address).await {
        Ok(_) => Outcome {
            status: Status::Passing,
            output: format!("TCP connect {address}: Success"),
        },
        Err(error) => critical(&format!("TCP connect {address}: {error}")),
    }
}
