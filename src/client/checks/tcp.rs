use super::{critical, is_no_verdict};
use mesh::{health::Outcome, model::Status};
use tokio::net::TcpStream;

/// Passing when a connection opens; none when this process could not try.
pub(super) async fn check(address: &str) -> Option<Outcome> {
    match TcpStream::connect(address).await {
        Ok(_) => Some(Outcome {
            status: Status::Passing,
            output: format!("TCP connect {address}: Success"),
        }),
        Err(error) if is_no_verdict(&error) => None,
        Err(error) => Some(critical(&format!("TCP connect {address}: {error}"))),
    }
}
