//! Certificates from files, directories, web servers and keys, read again while they are in use.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use config::{CertificatePlace, CertificateSource};
use proxy::certs::{Pair, Store};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::sleep;

/// The largest file of certificates, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// The most files of a source.
const FILES_MAX: usize = 10_000;
/// How deep directories are looked into.
const DEPTH_MAX: usize = 16;
/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a key-value store holds a request that waits for a change.
const WAIT: &str = "30s";
/// Between two tries of a source that cannot be read.
const RETRY: Duration = Duration::from_secs(3);

/// Names of files with their contents.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// What was read, and where a source that can wait for changes stands.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) files: Files,
    pub(super) index: Option<u64>,
}

/// Reads a source once.
pub(super) async fn read_once(name: &str, source: &CertificateSource, store: &Store) {
    match read(&source.place, None).await {
        Ok(read) => take(name, source, &read.files, store),
        Err(reason) => tracing::error!(source = name, reason, "certificates cannot be read yet"),
    }
}

/// Reads a source again and again, for ever: what was read last stays in use when it cannot be
/// read.
pub(super) async fn keep_fresh(
    name: String,
    source: CertificateSource,
    store: std::sync::Arc<Store>,
) {
    let mut before: Option<Files> = None;
    let mut index = None;
    let mut has_failed = false;
    loop {
        match read(&source.place, index).await {
            Ok(read) => {
                has_failed = false;
                index = read.index;
                if before.as_ref() != Some(&read.files) {
                    take(&name, &source, &read.files, &store);
                    before = Some(read.files);
                }
                match (index, source.refresh) {
                    // The store answers when something changes.
                    (Some(_), _) => {}
                    (None, Some(refresh)) => sleep(refresh).await,
                    (None, None) => return,
                }
            }
            Err(reason) => {
                if !has_failed {
                    tracing::error!(source = name, reason, "certificates stay as they are");
                }
                has_failed = true;
                index = None;
                sleep(source.refresh.unwrap_or(RETRY).max(RETRY)).await;
            }
        }
    }
}

/// Puts what was read into use, and names what cannot be.
fn take(name: &str, source: &CertificateSource, files: &Files, store: &Store) {
    let pairs = pairs(&source.place, files);
    let count = pairs.len();
    for unusable in store.replace(pairs) {
        tracing::error!(source = name, %unusable, "a certificate is left out");
    }
    tracing::info!(source = name, count, "certificates were read");
}

/// `X.pem` holds both, or `X-cert.pem` and `X-key.pem` one each.
fn pairs(place: &CertificatePlace, files: &Files) -> Vec<Pair> {
    if let CertificatePlace::File { .. } = place {
        let chain = files.get("cert").cloned().unwrap_or_default();
        return vec![Pair {
            name: "file".into(),
            key: files.get("key").cloned().unwrap_or_else(|| chain.clone()),
            chain,
        }];
    }
    let pair = |(name, text): (&String, &Vec<u8>)| {
        let stem = name.strip_suffix(".pem")?;
        if stem.ends_with("-key") {
            return None;
        }
        let key = match stem.strip_suffix("-cert") {
            Some(stem) => files.get(&format!("{stem}-key.pem"))?,
            None => text,
        };
        Some(Pair {
            name: name.clone(),
            chain: text.clone(),
            key: key.clone(),
        })
    };
    files.iter().filter_map(pair).collect()
}

async fn read(place: &CertificatePlace, index: Option<u64>) -> Result<Read, String> {
    let files = match place {
        CertificatePlace::File { certificate, key } => {
            let mut files = Files::from([("cert".to_owned(), file(certificate).await?)]);
            if let Some(key) = key {
                files.insert("key".to_owned(), file(key).await?);
            }
            files
        }
        CertificatePlace::Path(directory) => directory_files(directory).await?,
        CertificatePlace::Http(list) => listed(list).await?,
        CertificatePlace::Consul(prefix) => {
            let found = keys(prefix, index).await?;
            return found.ok_or_else(|| "there is no key below the prefix".to_owned());
        }
        // An issuer keeps them.
        CertificatePlace::Acme(_) => Files::new(),
    };
    Ok(Read { files, index: None })
}

async fn file(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("`{}`: {error}", path.display());
    let size = tokio::fs::metadata(path).await.map_err(failed)?.len();
    if size > FILE_BYTES_MAX {
        return Err(format!("`{}` is larger than 1 MiB", path.display()));
    }
    tokio::fs::read(path).await.map_err(failed)
}

/// All files of a directory and those below whose names end in `.pem`, without hidden ones.
async fn directory_files(directory: &Path) -> Result<Files, String> {
    let mut files = Files::new();
    let mut open: Vec<(PathBuf, usize)> = vec![(directory.to_path_buf(), 0)];
    while let Some((path, depth)) = open.pop() {
        let failed = |error: std::io::Error| format!("`{}`: {error}", path.display());
        let mut entries = tokio::fs::read_dir(&path).await.map_err(failed)?;
        while let Some(entry) = entries.next_entry().await.map_err(failed)? {
            let name = entry.file_name().to_string_lossy().into_owned();
            let own = entry.path();
            if name.starts_with('.') {
                continue;
            }
            let kind = tokio::fs::metadata(&own).await.map_err(failed)?;
            if kind.is_dir() && depth < DEPTH_MAX {
                open.push((own, depth + 1));
            } else if kind.is_file() && name.ends_with(".pem") && files.len() < FILES_MAX {
                let within = own.strip_prefix(directory).unwrap_or(&own);
                let within = within.to_string_lossy().into_owned();
                match file(&own).await {
                    Ok(text) => drop(files.insert(within, text)),
                    Err(reason) => tracing::error!(reason, "a certificate is left out"),
                }
            }
        }
    }
    Ok(files)
}

fn client() -> Result<reqwest::Client, String> {
    reqwest::Client::builder()
        .build()
        .map_err(|error| error.to_string())
}

async fn get(
    client: &reqwest::Client,
    url: &str,
    most: Duration,
) -> Result<reqwest::Response, String> {
    let answer = client.get(url).timeout(most).send().await;
    // The URL may hold a token.
    let answer = answer.map_err(|error| error.without_url().to_string())?;
    let status = answer.status();
    if status.is_success() {
        Ok(answer)
    } else {
        Err(format!("the server answers {status}"))
    }
}

async fn body(answer: reqwest::Response) -> Result<Vec<u8>, String> {
    if answer
        .content_length()
        .is_some_and(|bytes| bytes > FILE_BYTES_MAX)
    {
        return Err("an answer is larger than 1 MiB".into());
    }
    let body = answer.bytes().await;
    let body = body.map_err(|error| error.without_url().to_string())?;
    Ok(body.to_vec())
}

/// The files that a list names, each beside the list.
async fn listed(list: &str) -> Result<Files, String> {
    let client = client()?;
    let text = body(get(&client, list, REQUEST_TIMEOUT).await?).await?;
    let text = String::from_utf8_lossy(&text);
    let (place, query) = match list.split_once('?') {
        Some((place, query)) => (place, format!("?{query}")),
        None => (list, String::new()),
    };
    let (folder, _) = place.rsplit_once('/').unwrap_or((place, ""));
    let mut files = Files::new();
    for name in text.lines().map(str::trim).filter(|name| !name.is_empty()) {
        let name = name.trim_start_matches('/');
        if files.len() == FILES_MAX {
            return Err(format!("the list has more than {FILES_MAX} names"));
        }
        let url = format!("{folder}/{name}{query}");
        let text = body(get(&client, &url, REQUEST_TIMEOUT).await?).await?;
        files.insert(name.to_owned(), text);
    }
    Ok(files)
}

/// A key as the store shows it.
#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Key {
    key: String,
    value: Option<String>,
}

/// The keys below a prefix, if there are any; with an index, as soon as one of them has changed.
pub(super) async fn keys(url: &str, index: Option<u64>) -> Result<Option<Read>, String> {
    let (place, query) = url.split_once('?').unwrap_or((url, ""));
    let separator = if query.is_empty() { "" } else { "&" };
    let waiting = match index {
        Some(index) => format!("&index={index}&wait={WAIT}"),
        None => String::new(),
    };
    let url = format!("{place}?{query}{separator}recurse{waiting}");
    let answer = client()?
        .get(&url)
        .timeout(REQUEST_TIMEOUT * 6)
        .send()
        .await;
    let answer = answer.map_err(|error| error.without_url().to_string())?;
    let now = answer.headers().get("x-consul-index");
    let now = now.and_then(|now| now.to_str().ok()?.parse().ok());
    // Without an index that moves on, waiting would not wait.
    let now = now.filter(|now: &u64| *now > 0);
    if answer.status() == reqwest::StatusCode::NOT_FOUND {
        return Ok(None);
    }
    if !answer.status().is_success() {
        return Err(format!("the key-value store answers {}", answer.status()));
    }
    let keys: Vec<Key> = answer
        .json()
        .await
        .map_err(|error| error.without_url().to_string())?;
    let mut files = Files::new();
    for key in keys.into_iter().take(FILES_MAX) {
        let name = key.key.rsplit('/').next().unwrap_or_default().to_owned();
        let text = STANDARD.decode(key.value.unwrap_or_default());
        let text = text.map_err(|_| format!("the key `{}` has no readable value", key.key))?;
        files.insert(name, text);
    }
    Ok(Some(Read { files, index: now }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::ingress::served;
    use std::net::SocketAddr;
    use tokio::sync::watch;

    fn names(place: &CertificatePlace, files: &[(&str, &str)]) -> Vec<(String, String)> {
        let files = files
            .iter()
            .map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec()))
            .collect();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        pairs(place, &files)
            .iter()
            .map(|pair| {
                (
                    pair.name.clone(),
                    format!("{} {}", text(&pair.chain), text(&pair.key)),
                )
            })
            .collect()
    }

    #[test]
    fn files_are_paired_by_their_names() {
        let place = CertificatePlace::Path("/certs".into());
        let files = [
            ("a.pem", "A"),
            ("b-cert.pem", "B"),
            ("b-key.pem", "b"),
            ("c-cert.pem", "C"),
            ("d-key.pem", "d"),
            ("e.txt", "E"),
            ("sub/f.pem", "F"),
        ];
        let expected = [
            ("a.pem", "A A"),
            ("b-cert.pem", "B b"),
            ("sub/f.pem", "F F"),
        ];
        let expected: Vec<(String, String)> = expected
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect();
        assert_eq!(names(&place, &files), expected);
    }

    #[tokio::test]
    async fn a_directory_is_read_with_those_below() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str| std::fs::write(directory.path().join(name), name).unwrap();
        std::fs::create_dir_all(directory.path().join("sub/.hidden")).unwrap();
        for name in ["a.pem", ".b.pem", "c.txt", "sub/d.pem", "sub/.hidden/e.pem"] {
            write(name);
        }
        let read = read(&CertificatePlace::Path(directory.path().into()), None)
            .await
            .unwrap();
        let names: Vec<&String> = read.files.keys().collect();
        assert_eq!(names, ["a.pem", "sub/d.pem"]);
        let gone = CertificatePlace::Path(directory.path().join("gone"));
        assert!(super::read(&gone, None).await.is_err());
    }

    /// A certificate for a host with its key, in one text.
    fn pem(host: &str) -> String {
        let made = rcgen::generate_simple_self_signed(vec![host.to_owned()]).unwrap();
        made.cert.pem() + &made.signing_key.serialize_pem()
    }

    /// What a server has: names with texts, and how often that changed.
    #[derive(Clone, Default)]
    struct Served {
        files: BTreeMap<String, String>,
        index: u64,
    }

    /// A server of files with a list of them, which is a key-value store too.
    async fn server(served: watch::Receiver<Served>) -> SocketAddr {
        served::serve(move |target| {
            let mut served = served.clone();
            async move {
                let (path, query) = target.split_once('?').unwrap_or((&target, ""));
                let waits = query
                    .split('&')
                    .find_map(|pair| pair.strip_prefix("index="));
                if let Some(index) = waits.and_then(|index| index.parse::<u64>().ok()) {
                    let newer = served.wait_for(|served: &Served| served.index > index);
                    drop(newer.await);
                }
                let now = served.borrow().clone();
                let lines = format!("X-Consul-Index: {}\r\n", now.index);
                let (status, text) = answer(path, query, now.files);
                (status, lines, text.into_bytes())
            }
        })
        .await
    }

    fn answer(path: &str, query: &str, files: BTreeMap<String, String>) -> (u16, String) {
        if path == "/certs/list" {
            let names: Vec<String> = files.into_keys().collect();
            return (200, names.join("\n"));
        }
        if path == "/v1/kv/certs" && query.contains("recurse") {
            let status = if files.is_empty() { 404 } else { 200 };
            let keys = files.iter().map(|(name, text)| {
                serde_json::json!({"Key": format!("certs/{name}"), "Value": STANDARD.encode(text)})
            });
            let keys: Vec<serde_json::Value> = keys.collect();
            return (status, serde_json::Value::from(keys).to_string());
        }
        let name = path.strip_prefix("/certs/").unwrap_or_default();
        match files.get(name) {
            Some(text) => (200, text.clone()),
            None => (404, String::new()),
        }
    }

    /// Waits until a store has certificates for exactly these hosts.
    async fn has(store: &Store, hosts: &[&str]) {
        let has = async {
            loop {
                let certificates = store.certificates();
                let own = certificates.iter().flat_map(|own| &own.hosts);
                if own.eq(hosts) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(60), has).await;
        assert!(waited.is_ok(), "{hosts:?}: {:?}", store.certificates());
    }

    #[tokio::test]
    async fn certificates_of_servers_are_replaced_while_they_are_in_use() {
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        for (kind, refresh) in [("http", Some(Duration::from_millis(10))), ("consul", None)] {
            let (serve, served) = watch::channel(Served::default());
            let address = server(served).await;
            let source = CertificateSource {
                place: match kind {
                    "http" => CertificatePlace::Http(format!("http://{address}/certs/list?t=1")),
                    _ => CertificatePlace::Consul(format!("http://{address}/v1/kv/certs?t=1")),
                },
                refresh,
                client_authorities: None,
            };
            let put = |files: &[(&str, String)]| {
                let files = files
                    .iter()
                    .map(|(name, text)| ((*name).to_owned(), text.clone()));
                let files = files.collect();
                serve.send_modify(|served| {
                    served.files = files;
                    served.index += 1;
                });
            };
            let store = std::sync::Arc::new(Store::default());
            put(&[("a.pem", pem("a.io"))]);
            read_once("own", &source, &store).await;
            has(&store, &["a.io"]).await;
            let fresh = tokio::spawn(keep_fresh("own".into(), source, store.clone()));
            let (b, c) = (pem("b.io"), pem("c.io"));
            put(&[
                ("b-cert.pem", b.clone()),
                ("b-key.pem", b.clone()),
                ("c.pem", c.clone()),
            ]);
            has(&store, &["b.io", "c.io"]).await;
            // What cannot be used is left out, and nothing but that.
            put(&[("b.pem", b), ("c.pem", "nonsense".into())]);
            has(&store, &["b.io"]).await;
            put(&[("c.pem", c)]);
            has(&store, &["c.io"]).await;
            assert!(!fresh.is_finished(), "{kind}");
            fresh.abort();
        }
    }

    /// One file with both, two files, and a directory, each written anew.
    #[tokio::test]
    async fn certificates_of_files_are_replaced_while_they_are_in_use() {
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        for kind in ["file", "file with a key", "path"] {
            let directory = tempfile::tempdir().unwrap();
            let at = |name: &str| directory.path().join(name);
            let write = |name: &str, text: &str| {
                // Whole at once: it is read at any time.
                std::fs::write(at("new"), text).unwrap();
                std::fs::rename(at("new"), at(name)).unwrap();
            };
            let source = CertificateSource {
                place: match kind {
                    "path" => CertificatePlace::Path(directory.path().into()),
                    _ => CertificatePlace::File {
                        certificate: at("own.pem"),
                        key: (kind != "file").then(|| at("own.key")),
                    },
                },
                refresh: Some(Duration::from_millis(10)),
                client_authorities: None,
            };
            let put = |text: &str| {
                // A pair that does not fit together in between is left out.
                write("own.key", text);
                write("own.pem", text);
            };
            let store = std::sync::Arc::new(Store::default());
            put(&pem("a.io"));
            read_once("own", &source, &store).await;
            has(&store, &["a.io"]).await;
            let fresh = tokio::spawn(keep_fresh("own".into(), source, store.clone()));
            put(&pem("b.io"));
            has(&store, &["b.io"]).await;
            if kind == "path" {
                write("z.pem", &pem("z.io"));
                has(&store, &["b.io", "z.io"]).await;
            } else {
                put(&pem("c.io"));
                has(&store, &["c.io"]).await;
            }
            assert!(!fresh.is_finished(), "{kind}");
            fresh.abort();
        }
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_said() {
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let (_serve, served) = watch::channel(Served::default());
        let address = server(served).await;
        let (http, consul) = (CertificatePlace::Http, CertificatePlace::Consul);
        for (place, expected) in [
            (http(format!("http://{address}/nothing")), "404"),
            (
                consul(format!("http://{address}/v1/kv/certs")),
                "no key below the prefix",
            ),
            (
                http("http://127.0.0.1:1/list?token=secret".into()),
                "error sending request",
            ),
        ] {
            let reason = read(&place, None).await.err().unwrap_or_default();
            assert!(reason.contains(expected), "{place:?}: {reason}");
            assert!(!reason.contains("secret"), "{reason}");
        }
    }
}
