//! The way to an authority of certificates, and the directory where what it issues is kept.

use bytes::Bytes;
use config::Authority;
use proxy::certs::{Answer, Challenges, Issuer, Shelf, Store, Web};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use sys::files::{self, Durability};

/// How long a request to an authority may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest answer of an authority, in bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// The directory of issued certificates in the data directory, for the agent's user only.
const DIRECTORY: &str = "ingress";

/// What has certificates of a source issued.
///
/// # Errors
/// If the certificates that the authority is known by cannot be read.
pub(super) fn issuer(
    (name, authority): (&str, &Authority),
    data_dir: &Path,
    store: &Arc<Store>,
    challenges: &Arc<Challenges>,
) -> Result<Issuer, String> {
    let mut client = reqwest::Client::builder()
        .timeout(REQUEST_TIMEOUT)
        .user_agent(concat!("trivet/", env!("CARGO_PKG_VERSION")));
    if let Some(path) = &authority.authorities {
        let failed = |reason: String| {
            format!(
                "the authorities of source `{name}` in `{}`: {reason}",
                path.display()
            )
        };
        let text = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
        let known = reqwest::Certificate::from_pem_bundle(&text);
        for known in known.map_err(|error| failed(error.to_string()))? {
            client = client.add_root_certificate(known);
        }
    }
    let client = client.build().map_err(|error| error.to_string())?;
    Ok(Issuer {
        directory: authority.directory.clone(),
        email: authority.email.clone(),
        hosts: authority.hosts.clone(),
        web: Arc::new(Http(client)),
        shelf: Arc::new(Kept(data_dir.join(DIRECTORY).join(name))),
        store: Arc::clone(store),
        challenges: Arc::clone(challenges),
    })
}

/// Requests over HTTP.
struct Http(reqwest::Client);

impl Web for Http {
    fn send(&self, request: http::Request<Bytes>) -> Answer {
        let client = self.0.clone();
        Box::pin(async move {
            let told = |error: reqwest::Error| format!("{:#}", anyhow::Error::from(error));
            let request = reqwest::Request::try_from(request).map_err(told)?;
            let mut answer = client.execute(request).await.map_err(told)?;
            let mut body = Vec::new();
            while let Some(part) = answer.chunk().await.map_err(told)? {
                body.extend_from_slice(&part);
                if body.len() > ANSWER_BYTES_MAX {
                    return Err(format!(
                        "its answer is larger than {ANSWER_BYTES_MAX} bytes"
                    ));
                }
            }
            let mut whole = http::Response::new(Bytes::from(body));
            *whole.status_mut() = answer.status();
            *whole.headers_mut() = std::mem::take(answer.headers_mut());
            Ok(whole)
        })
    }
}

/// A directory.
struct Kept(PathBuf);

impl Shelf for Kept {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match std::fs::read(self.0.join(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        for directory in [self.0.parent().unwrap_or(&self.0), &self.0] {
            files::create_dir(directory, 0o700)?;
        }
        files::write_atomic(&self.0.join(name), bytes, Durability::Power)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::ingress::served;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_issued_is_for_the_agent_only() {
        let data_dir = tempfile::tempdir().unwrap();
        let kept = Kept(data_dir.path().join(DIRECTORY).join("own"));
        assert_eq!(kept.read("web.io.pem").unwrap(), None);
        kept.write("web.io.pem", b"old and longer").unwrap();
        kept.write("web.io.pem", b"new").unwrap();
        assert_eq!(kept.read("web.io.pem").unwrap().unwrap(), b"new");
        for (path, mode) in [
            ("ingress", 0o700),
            ("ingress/own", 0o700),
            ("ingress/own/web.io.pem", 0o600),
        ] {
            let found = std::fs::metadata(data_dir.path().join(path)).unwrap();
            assert_eq!(found.permissions().mode() & 0o777, mode, "{path}");
        }
    }

    #[tokio::test]
    async fn requests_go_out_and_answers_are_bounded() {
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let address = served::serve(|path| async move {
            let size = path.trim_start_matches('/').parse().unwrap();
            (200, "Replay-Nonce: n\r\n".to_owned(), vec![b'x'; size])
        });
        let address = address.await;
        let web = Http(reqwest::Client::new());
        let send = |size: usize| {
            let request = http::Request::post(format!("http://{address}/{size}"));
            web.send(request.body(Bytes::from("{}")).unwrap())
        };
        let answer = send(3).await.unwrap();
        assert_eq!(
            (answer.status(), &answer.body()[..]),
            (http::StatusCode::OK, &b"xxx"[..])
        );
        assert_eq!(answer.headers()["replay-nonce"], "n");
        assert!(
            send(ANSWER_BYTES_MAX + 1)
                .await
                .unwrap_err()
                .contains("larger")
        );
    }
}
