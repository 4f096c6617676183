use super::{critical, http2, is_no_verdict};
use mesh::{
    health::Outcome,
    model::{Status, TlsProbe},
};
use std::error::Error;
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

/// As [`check`], when the connection is encrypted and the certificate fits.
pub(super) async fn check_tls(address: &str, tls: &TlsProbe) -> Option<Outcome> {
    match connect(address, tls).await {
        Ok(()) => Some(Outcome {
            status: Status::Passing,
            output: format!("TCP connect {address}: Success"),
        }),
        Err(error) if is_no_verdict(error.as_ref()) => None,
        Err(error) => Some(critical(&format!("TCP connect {address}: {error}"))),
    }
}

async fn connect(address: &str, tls: &TlsProbe) -> Result<(), Box<dyn Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    let connector = http2::connector(tls.skip_verify, &[])?;
    let name = http2::server_name(address, &tls.server_name)?;
    connector.connect(name, stream).await?;
    Ok(())
}
