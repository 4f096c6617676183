//! Checks that speak HTTP/2: a ping, and the health service of gRPC.

use super::{critical, is_no_verdict};
use bytes::{BufMut as _, Bytes, BytesMut};
use h2::{Ping, client::SendRequest};
use http::{HeaderMap, Request};
use mesh::{
    health::Outcome,
    model::{Http2Probe, Status},
};
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::{error::Error, io, sync::Arc};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinHandle,
};
use tokio_rustls::TlsConnector;

/// Longest answer of a health service, bytes.
const ANSWER_BYTES_MAX: usize = 4096;
/// What an answer of gRPC begins with: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;
/// First and only field of the question and of the answer of a health service.
const TEXT_FIELD: u8 = 0x0a;
/// As [`TEXT_FIELD`], for a number.
const NUMBER_FIELD: u8 = 0x08;
/// What a service says that is well.
const SERVING: u8 = 1;

type Failure = Box<dyn Error + Send + Sync>;

/// Passing when a ping is answered; none when this process could not try.
pub(super) async fn ping(probe: &Http2Probe) -> Option<Outcome> {
    told(
        pinged(probe).await,
        "HTTP2 ping was successful",
        "HTTP2 ping failed",
    )
}

/// Passing when the health service says that the service is well; none when this process could not
/// try.
pub(super) async fn grpc(probe: &Http2Probe) -> Option<Outcome> {
    let slash = if probe.service.is_empty() { "" } else { "/" };
    let target = format!("{}{slash}{}", probe.address, probe.service);
    let success = format!("gRPC check {target}: success");
    told(
        asked(probe).await,
        &success,
        &format!("gRPC check {target}"),
    )
}

fn told(done: Result<(), Failure>, success: &str, failure: &str) -> Option<Outcome> {
    match done {
        Ok(()) => Some(Outcome {
            status: Status::Passing,
            output: success.to_owned(),
        }),
        Err(error) if is_no_verdict(error.as_ref()) => None,
        Err(error) => Some(critical(&format!("{failure}: {error}"))),
    }
}

/// A connection whose frames are carried as long as this lives.
struct Connected {
    requests: SendRequest<Bytes>,
    carried: JoinHandle<()>,
    pings: Option<h2::PingPong>,
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.carried.abort();
    }
}

async fn connect(probe: &Http2Probe) -> Result<Connected, Failure> {
    let stream = TcpStream::connect(&probe.address).await?;
    if !probe.tls {
        return greet(stream).await;
    }
    let name = server_name(&probe.address, &probe.tls_server_name)?;
    let connector = connector(probe.tls_skip_verify, &[b"h2"])?;
    greet(connector.connect(name, stream).await?).await
}

/// The name that a certificate must be for: `name`, or the host of `address`.
pub(super) fn server_name(address: &str, name: &str) -> Result<ServerName<'static>, Failure> {
    let host = address.rsplit_once(':').map_or("", |(host, _)| host);
    let named = match name {
        "" => host.trim_start_matches('[').trim_end_matches(']'),
        name => name,
    };
    Ok(ServerName::try_from(named.to_owned())?)
}

async fn greet<S>(stream: S) -> Result<Connected, Failure>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (requests, mut connection) = h2::client::handshake(stream).await?;
    let pings = connection.ping_pong();
    // Its end is noticed by whoever waits for an answer.
    let carried = tokio::spawn(async move { drop(connection.await) });
    Ok(Connected {
        requests,
        carried,
        pings,
    })
}

/// What encrypts connections on which one of `protocols` is spoken.
pub(super) fn connector(skip_verify: bool, protocols: &[&[u8]]) -> Result<TlsConnector, Failure> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous();
    let verifier: Arc<dyn ServerCertVerifier> = if skip_verify {
        Arc::new(AnyCertificate(provider))
    } else {
        Arc::new(rustls_platform_verifier::Verifier::new(provider)?)
    };
    let mut config = builder
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn pinged(probe: &Http2Probe) -> Result<(), Failure> {
    let mut connected = connect(probe).await?;
    let pings = connected.pings.as_mut();
    let pings = pings.ok_or_else(|| io::Error::other("the connection takes no pings"))?;
    pings.ping(Ping::opaque()).await?;
    Ok(())
}

async fn asked(probe: &Http2Probe) -> Result<(), Failure> {
    let mut connected = connect(probe).await?;
    let scheme = if probe.tls { "https" } else { "http" };
    let request = Request::post(format!(
        "{scheme}://{}/grpc.health.v1.Health/Check",
        probe.address
    ))
    .header("content-type", "application/grpc")
    .header("te", "trailers")
    .body(())?;
    let (response, mut body) = connected.requests.send_request(request, false)?;
    body.send_data(question(&probe.service)?, true)?;
    let response = response.await?;
    refusal(response.headers())?;
    if !response.status().is_success() {
        return Err(format!("unexpected HTTP status {}", response.status()).into());
    }
    let mut stream = response.into_body();
    let mut answer = Vec::new();
    while let Some(piece) = stream.data().await {
        let piece = piece?;
        if answer.len() + piece.len() > ANSWER_BYTES_MAX {
            return Err("the answer is too long".into());
        }
        stream.flow_control().release_capacity(piece.len())?;
        answer.extend_from_slice(&piece);
    }
    if let Some(trailers) = stream.trailers().await? {
        refusal(&trailers)?;
    }
    match status(&answer) {
        SERVING => Ok(()),
        status => Err(format!("{}: {}", "not serving", word(status)).into()),
    }
}

fn word(status: u8) -> &'static str {
    match status {
        2 => "NOT_SERVING",
        3 => "SERVICE_UNKNOWN",
        _ => "UNKNOWN",
    }
}

/// The question about a service; an empty name is the server itself.
fn question(service: &str) -> Result<Bytes, Failure> {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(TEXT_FIELD);
        let mut length = service.len();
        while length >= 0x80 {
            message.put_u8(u8::try_from(length % 0x80)? | 0x80);
            length /= 0x80;
        }
        message.put_u8(u8::try_from(length)?);
        message.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len())?);
    framed.put_slice(&message);
    Ok(framed.freeze())
}

/// What the answer says; 0 when it says nothing.
fn status(answer: &[u8]) -> u8 {
    match answer.get(PREFIX_BYTES..) {
        Some([NUMBER_FIELD, status, ..]) => *status,
        _ => 0,
    }
}

/// What the server says that it could not do.
fn refusal(headers: &HeaderMap) -> Result<(), Failure> {
    let text = |name: &str| {
        let value = headers.get(name).map(|value| value.to_str());
        value.and_then(Result::ok)
    };
    match text("grpc-status") {
        None | Some("0") => Ok(()),
        Some(code) => {
            let message = text("grpc-message").unwrap_or_default();
            Err(format!("rpc error: code = {code} desc = {message}").into())
        }
    }
}

/// Takes any certificate, as the check was told to.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// A server that answers each request with `status` of the health service and each ping.
    async fn server(status: u8) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
                let response = http::Response::builder()
                    .header("content-type", "application/grpc")
                    .body(())
                    .unwrap();
                let mut body = respond.send_response(response, false).unwrap();
                let answer = [0, 0, 0, 0, 2, NUMBER_FIELD, status];
                body.send_data(Bytes::copy_from_slice(&answer), false)
                    .unwrap();
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", "0".parse().unwrap());
                body.send_trailers(trailers).unwrap();
            }
        });
        address
    }

    fn probe(address: String) -> Http2Probe {
        Http2Probe {
            address,
            service: "web".to_owned(),
            ..Http2Probe::default()
        }
    }

    #[tokio::test]
    async fn a_health_service_is_asked() {
        let well = probe(server(SERVING).await);
        let outcome = grpc(&well).await.unwrap();
        assert_eq!(outcome.status, Status::Passing, "{}", outcome.output);
        let expected = format!("gRPC check {}/web: success", well.address);
        assert_eq!(outcome.output, expected);
        let outcome = grpc(&probe(server(2).await)).await.unwrap();
        assert_eq!(outcome.status, Status::Critical);
        assert!(
            outcome.output.ends_with("NOT_SERVING"),
            "{}",
            outcome.output
        );
    }

    #[tokio::test]
    async fn a_ping_is_answered_or_not() {
        let outcome = ping(&probe(server(SERVING).await)).await.unwrap();
        assert_eq!(outcome.status, Status::Passing, "{}", outcome.output);
        assert_eq!(outcome.output, "HTTP2 ping was successful");
        let silent = tokio::net::TcpSocket::new_v4().unwrap();
        silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let nobody = silent.local_addr().unwrap().to_string();
        let outcome = ping(&probe(nobody)).await.unwrap();
        assert_eq!(outcome.status, Status::Critical);
        assert!(outcome.output.starts_with("HTTP2 ping failed: "));
    }

    #[test]
    fn questions_name_the_service() {
        assert_eq!(question("").unwrap().as_ref(), [0, 0, 0, 0, 0]);
        let named = question("ab").unwrap();
        assert_eq!(named.as_ref(), [0, 0, 0, 0, 4, TEXT_FIELD, 2, b'a', b'b']);
        let long = question(&"x".repeat(300)).unwrap();
        assert_eq!(long.get(5..8).unwrap(), [TEXT_FIELD, 0xac, 0x02]);
    }
}
