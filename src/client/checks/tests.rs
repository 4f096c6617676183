//! Checks over TLS, by programs, and in containers.

use super::*;
use axum::{
    Json, Router,
    routing::{get, post},
};
use mesh::model::{DockerProbe, Http2Probe, TlsProbe};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde_json::json;
use std::sync::Arc;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, UnixListener},
};
use tokio_rustls::TlsAcceptor;

/// Nothing here takes longer on a loaded machine.
const LONG: Duration = Duration::from_secs(30);

/// A certificate for `health.example` that nobody vouches for, and its key.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\n\
     MIIBozCCAUqgAwIBAgIUDrVvFJvs2IBc2LZZjQAL+5EYwwowCgYIKoZIzj0EAwIw\n\
     GTEXMBUGA1UEAwwOaGVhbHRoLmV4YW1wbGUwIBcNMjYxMTIyMDQxMDE1WhgPMjEy\n\
     NjEwMjkwNDEwMTVaMBkxFzAVBgNVBAMMDmhlYWx0aC5leGFtcGxlMFkwEwYHKoZI\n\
     zj0CAQYIKoZIzj0DAQcDQgAE8MSWoZbFwlnGyc1w+c+TH7abiM9qt3lwlxCnO80i\n\
     7A81llFAZGhPQb82NU7wR2dQxU73Gat44W5zg9X7/w4WyaNuMGwwHQYDVR0OBBYE\n\
     FIy/TgNvKc4srgxrdwxv0DIrhllqMB8GA1UdIwQYMBaAFIy/TgNvKc4srgxrdwxv\n\
     0DIrhllqMA8GA1UdEwEB/wQFMAMBAf8wGQYDVR0RBBIwEIIOaGVhbHRoLmV4YW1w\n\
     bGUwCgYIKoZIzj0EAwIDRwAwRAIgDODzjGG/a28/pFFwPIOO5U5EytNGefL5rXSV\n\
     7pTAvfgCIGNhExFhEW+ku3fEOhAtx4ZDUKzV7/NmSYIDq5QR9SGO\n\
     -----END CERTIFICATE-----";
const KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
     MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgF8KUbiqWZJck4rmB\n\
     t//G2NYGkX2LQevx5wKFGV8E7z2hRANCAATwxJahlsXCWcbJzXD5z5MftpuIz2q3\n\
     eXCXEKc7zSLsDzWWUUBkaE9BvzY1TvBHZ1DFTvcZq3jhbnOD1fv/DhbJ\n\
     -----END PRIVATE KEY-----";

fn acceptor(protocol: Option<&str>) -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = protocol
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    TlsAcceptor::from(Arc::new(config))
}

/// A server over TLS that answers each request with the name that it was asked for in the
/// handshake and in the request.
async fn https() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let acceptor = acceptor(None);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let name = stream
                .get_ref()
                .1
                .server_name()
                .unwrap_or("none")
                .to_owned();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else {
                    break;
                };
                head.push(byte);
            }
            let head = String::from_utf8_lossy(&head).to_lowercase();
            let host = head.lines().find_map(|line| line.strip_prefix("host: "));
            let body = format!("{name} {}", host.unwrap_or("none"));
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).await.ok();
            stream.shutdown().await.ok();
        }
    });
    address
}

async fn probed(probe: Probe) -> Outcome {
    Checks::new().probed(&probe, LONG).await.unwrap()
}

#[tokio::test]
async fn certificates_are_looked_at_unless_any_will_do() {
    ring::default_provider().install_default().ok();
    let address = https().await;
    let http = |tls_skip_verify, name: &str| {
        Probe::Http(HttpProbe {
            url: format!("https://{address}/"),
            tls_skip_verify,
            tls_server_name: name.to_owned(),
            ..HttpProbe::default()
        })
    };
    let tcp = |skip_verify| Probe::Tcp {
        address: address.clone(),
        tls: Some(TlsProbe {
            skip_verify,
            server_name: "health.example".to_owned(),
        }),
    };
    for probe in [http(false, ""), http(false, "health.example"), tcp(false)] {
        let outcome = probed(probe).await;
        assert_eq!(outcome.status, Status::Critical);
        assert!(outcome.output.contains("certificate"), "{}", outcome.output);
    }
    let outcome = probed(tcp(true)).await;
    assert_eq!(outcome.status, Status::Passing, "{}", outcome.output);
    let outcome = probed(http(true, "")).await;
    assert!(
        outcome.output.ends_with(&format!("Output: none {address}")),
        "{}",
        outcome.output
    );
    let outcome = probed(http(true, "health.example")).await;
    assert!(
        outcome
            .output
            .ends_with(&format!("Output: health.example {address}")),
        "{}",
        outcome.output
    );
}

#[tokio::test]
async fn a_health_service_is_asked_over_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let acceptor = acceptor(Some("h2"));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else {
                continue;
            };
            let Ok(mut connection) = h2::server::handshake(stream).await else {
                continue;
            };
            // Pings are answered as long as it is driven.
            tokio::spawn(async move { while connection.accept().await.is_some() {} });
        }
    });
    let ping = |tls_skip_verify| {
        Probe::H2Ping(Http2Probe {
            address: address.clone(),
            tls: true,
            tls_skip_verify,
            tls_server_name: "health.example".to_owned(),
            ..Http2Probe::default()
        })
    };
    assert_eq!(probed(ping(true)).await.status, Status::Passing);
    assert_eq!(probed(ping(false)).await.status, Status::Critical);
}

fn script(text: &str) -> CheckDefinition {
    CheckDefinition {
        probe: Probe::Script {
            args: ["/bin/sh", "-c", text].map(str::to_owned).into(),
        },
        ..CheckDefinition::default()
    }
}

#[tokio::test]
async fn programs_say_how_something_stands_by_their_code() {
    let checks = Checks::new();
    for (code, status) in [
        (0, Status::Passing),
        (1, Status::Warning),
        (2, Status::Critical),
    ] {
        let definition = script(&format!("echo said; echo so >&2; exit {code}"));
        let outcome = checks.probe_once(&definition).await.unwrap();
        assert_eq!(outcome.status, status);
        assert_eq!(outcome.output, "said\nso\n");
    }
    let definition = CheckDefinition {
        output_bytes_max: Some(3),
        ..script("echo 12345")
    };
    assert_eq!(checks.probe_once(&definition).await.unwrap().output, "123");
    let outcome = probed(Probe::Script {
        args: vec!["/no/such/program".to_owned()],
    })
    .await;
    assert_eq!(outcome.status, Status::Critical);
    assert!(
        outcome
            .output
            .starts_with("could not run `/no/such/program`")
    );
    let definition = script("head -c 10000 /dev/zero | tr '\\0' x; exit 0");
    let long = checks.probe_once(&definition).await.unwrap();
    assert!(
        long.output
            .starts_with("Captured 4096 of 10000 bytes\n...\nxxx"),
        "{}",
        long.output
    );
}

#[tokio::test]
async fn the_service_manager_says_how_a_service_of_the_machine_is() {
    // It says the name of the service, which is its third argument.
    let manager = ["/bin/sh", "-c", "echo $3", "manager"];
    for (said, status, output) in [
        ("active", Status::Passing, "Service active is active"),
        (
            "reloading",
            Status::Passing,
            "Service reloading is reloading",
        ),
        (
            "activating",
            Status::Warning,
            "Service activating is activating",
        ),
        ("inactive", Status::Critical, "Service inactive is inactive"),
        ("failed", Status::Critical, "Service failed is failed"),
        ("not 1", Status::Critical, "Service not 1: not 1"),
    ] {
        let outcome = script::check_os_service(&manager, said, LONG)
            .await
            .unwrap();
        assert_eq!((outcome.status, outcome.output.as_str()), (status, output));
    }
    let outcome = script::check_os_service(&["/no/such/manager"], "x", LONG).await;
    let outcome = outcome.unwrap();
    assert_eq!(outcome.status, Status::Critical);
    assert!(
        outcome.output.contains("no `systemctl`"),
        "{}",
        outcome.output
    );
}

#[tokio::test]
async fn a_program_that_takes_too_long_is_ended_with_all_that_it_started() {
    let (writer, mut reader) = tokio::net::unix::pipe::pipe().unwrap();
    let held = writer.into_blocking_fd().unwrap();
    let path = format!(
        "/proc/{}/fd/{}",
        std::process::id(),
        std::os::fd::AsRawFd::as_raw_fd(&held)
    );
    // The child of the script holds the pipe until it is killed.
    let definition = CheckDefinition {
        timeout: Duration::from_secs(1),
        ..script(&format!("echo begun; exec 9>{path}; sleep 600 & wait"))
    };
    let outcome = Checks::new().probe_once(&definition).await.unwrap();
    assert_eq!(outcome.status, Status::Critical);
    assert!(
        outcome
            .output
            .starts_with("Timed out (1s) running check\n\n"),
        "{}",
        outcome.output
    );
    drop(held);
    let mut rest = Vec::new();
    let ended = timeout(LONG, reader.read_to_end(&mut rest)).await;
    ended.expect("nobody holds the pipe any more").unwrap();
}

/// An engine whose programs write to both streams and end with `code`.
fn engine(dir: &Path, code: i32) -> std::path::PathBuf {
    let socket = dir.join(format!("engine-{code}.sock"));
    let listener = UnixListener::bind(&socket).unwrap();
    let output = [
        [1, 0, 0, 0, 0, 0, 0, 4].as_slice(),
        b"out\n",
        &[2, 0, 0, 0, 0, 0, 0, 4],
        b"err\n",
    ]
    .concat();
    let router = Router::new()
        .route(
            "/containers/{id}/exec",
            post(
                async |axum::extract::Path(id): axum::extract::Path<String>, body: String| {
                    if id == "f97" && body.contains(r#""Cmd":["/bin/sh","-c","echo x"]"#) {
                        Ok(Json(json!({"Id": "e1"})))
                    } else {
                        let message = Json(json!({"message": "No such container"}));
                        Err((axum::http::StatusCode::NOT_FOUND, message))
                    }
                },
            ),
        )
        .route("/exec/e1/start", post(async move || output))
        .route(
            "/exec/e1/json",
            get(async move || Json(json!({"ExitCode": code}))),
        );
    tokio::spawn(async move { axum::serve(listener, router).await });
    socket
}

#[tokio::test]
async fn a_program_in_a_container_counts_by_its_code() {
    let dir = tempfile::tempdir().unwrap();
    let probe = |container: &str| DockerProbe {
        container: container.to_owned(),
        shell: "/bin/sh".to_owned(),
        args: vec!["echo".to_owned(), "x".to_owned()],
    };
    for (code, status) in [
        (0, Status::Passing),
        (1, Status::Warning),
        (9, Status::Critical),
    ] {
        let socket = engine(dir.path(), code);
        let outcome = docker::check(&socket, &probe("f97"), LONG).await.unwrap();
        assert_eq!(
            (outcome.status, outcome.output.as_str()),
            (status, "out\nerr\n")
        );
    }
    let socket = dir.path().join("engine-0.sock");
    let outcome = docker::check(&socket, &probe("none"), LONG).await.unwrap();
    assert_eq!(outcome.status, Status::Critical);
    assert!(
        outcome.output.contains("No such container"),
        "{}",
        outcome.output
    );
    let nobody = dir.path().join("nobody.sock");
    let outcome = docker::check(&nobody, &probe("f97"), LONG).await.unwrap();
    assert!(
        outcome.output.contains("cannot be reached at"),
        "{}",
        outcome.output
    );
}
