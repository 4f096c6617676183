//! Certificates that an authority issues: the authority is one of the test, which asks the running
//! proxy for its answers.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use proxy::Config;
use proxy::certs::{Answer, Challenges, Issuer, Pair, Shelf, Store, Web};
use proxy::route::Table;
use rcgen::{CertificateParams, KeyPair, PublicKeyData, SignatureAlgorithm};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::time::timeout;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use crate::client::Client;
use crate::running::Running;

const PATIENCE: Duration = Duration::from_secs(60);
const URL: &str = "https://authority.test";

/// An authority that issues certificates for so many seconds, one after the other.
struct Authority {
    /// The proxy, under whatever host.
    ingress: SocketAddr,
    key: KeyPair,
    state: Mutex<State>,
    issued: watch::Sender<usize>,
}

#[derive(Default)]
struct State {
    /// How long the next certificates are valid, the last one first.
    lifetimes: Vec<i64>,
    nonces: usize,
    accounts: Vec<Value>,
    /// Host, status and certificate.
    orders: Vec<(String, &'static str, String)>,
    refuses: bool,
}

/// The key of a request for a certificate.
struct Key(Vec<u8>);

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

fn decoded(text: &Value) -> Vec<u8> {
    BASE64.decode(text.as_str().unwrap()).unwrap()
}

/// The digest of a public key that answers are made of (RFC 7638).
fn thumbprint(key: &Value) -> String {
    let text = |name: &str| key[name].as_str().unwrap();
    let (curve, kind) = (text("crv"), text("kty"));
    let (x, y) = (text("x"), text("y"));
    let whole = format!(r#"{{"crv":"{curve}","kty":"{kind}","x":"{x}","y":"{y}"}}"#);
    BASE64.encode(Sha256::digest(whole))
}

impl Authority {
    fn new(ingress: SocketAddr, lifetimes: &[i64]) -> Arc<Authority> {
        let state = State {
            lifetimes: lifetimes.iter().rev().copied().collect(),
            ..State::default()
        };
        Arc::new(Authority {
            ingress,
            key: KeyPair::generate().unwrap(),
            state: Mutex::new(state),
            issued: watch::channel(0).0,
        })
    }

    /// What a request says, if it is signed by the account that it names.
    fn payload(&self, body: &[u8], path: &str) -> Option<(Value, Value)> {
        let body: Value = serde_json::from_slice(body).ok()?;
        let head: Value = serde_json::from_slice(&decoded(&body["protected"])).ok()?;
        assert_eq!(head["url"], format!("{URL}{path}"));
        let mut state = self.state.lock().unwrap();
        // Each is good once.
        assert_eq!(head["nonce"], format!("nonce-{}", state.nonces));
        state.nonces += 1;
        let key = match head["kid"].as_str() {
            Some(account) => {
                let number = account.rsplit('/').next()?;
                state.accounts.get(number.parse::<usize>().ok()?)?.clone()
            }
            None => head["jwk"].clone(),
        };
        let point = [vec![4], decoded(&key["x"]), decoded(&key["y"])].concat();
        let signed = format!(
            "{}.{}",
            body["protected"].as_str()?,
            body["payload"].as_str()?
        );
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .verify(signed.as_bytes(), &decoded(&body["signature"]))
            .ok()?;
        let payload = decoded(&body["payload"]);
        Some((serde_json::from_slice(&payload).unwrap_or_default(), key))
    }

    async fn answer(self: Arc<Self>, request: Request<Bytes>) -> Response<Bytes> {
        let path = request.uri().path().to_owned();
        let said = (request.method() == Method::POST)
            .then(|| self.payload(request.body(), &path).expect("it is signed"));
        let (said, key) = said.unwrap_or_default();
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let number = parts.get(1).and_then(|number| number.parse::<usize>().ok());
        let mut location = None;
        let mut status = StatusCode::OK;
        let body = match parts[0] {
            "directory" => json!({
                "newNonce": format!("{URL}/nonce"), "newAccount": format!("{URL}/account"),
                "newOrder": format!("{URL}/order"),
            }),
            "nonce" => Value::Null,
            "account" => {
                let mut state = self.state.lock().unwrap();
                assert_eq!(said["contact"], json!(["mailto:admin@web.io"]));
                location = Some(format!("{URL}/account/{}", state.accounts.len()));
                state.accounts.push(key);
                status = StatusCode::CREATED;
                json!({"status": "valid"})
            }
            "order" => {
                let number = number.unwrap_or_else(|| {
                    let mut state = self.state.lock().unwrap();
                    let host = said["identifiers"][0]["value"].as_str().unwrap();
                    let order = (host.to_owned(), "pending", String::new());
                    state.orders.push(order);
                    status = StatusCode::CREATED;
                    state.orders.len() - 1
                });
                location = Some(format!("{URL}/order/{number}"));
                self.order(number)
            }
            "authorization" => {
                let state = self.state.lock().unwrap();
                let (host, status, _) = &state.orders[number.unwrap()];
                let status = if *status == "pending" {
                    "pending"
                } else {
                    "valid"
                };
                json!({"status": status, "identifier": {"type": "dns", "value": host}, "challenges": [
                    {"type": "dns-01", "url": format!("{URL}/none"), "token": "t", "status": "pending"},
                    {"type": "http-01", "url": format!("{URL}/challenge/{}", number.unwrap()),
                     "token": format!("token-{}", number.unwrap()), "status": "pending"},
                ]})
            }
            "challenge" => {
                self.look(number.unwrap(), &key).await;
                json!({"type": "http-01", "url": format!("{URL}{path}"), "token": "t", "status": "processing"})
            }
            "finalize" => {
                self.issue(number.unwrap(), &decoded(&said["csr"]));
                self.order(number.unwrap())
            }
            "certificate" => {
                let chain = self.state.lock().unwrap().orders[number.unwrap()].2.clone();
                return self.with_nonce(Response::new(Bytes::from(chain)));
            }
            other => unreachable!("nobody asks for {other}"),
        };
        let mut answer = Response::new(Bytes::from(body.to_string()));
        *answer.status_mut() = status;
        if let Some(location) = location {
            let location = location.parse().unwrap();
            answer.headers_mut().insert("location", location);
        }
        self.with_nonce(answer)
    }

    fn with_nonce(&self, mut answer: Response<Bytes>) -> Response<Bytes> {
        let nonce = format!("nonce-{}", self.state.lock().unwrap().nonces);
        let nonce = nonce.parse().unwrap();
        answer.headers_mut().insert("replay-nonce", nonce);
        answer
    }

    fn order(&self, number: usize) -> Value {
        let state = self.state.lock().unwrap();
        let (host, status, _) = &state.orders[number];
        let mut order = json!({
            "status": status, "identifiers": [{"type": "dns", "value": host}],
            "authorizations": [format!("{URL}/authorization/{number}")],
            "finalize": format!("{URL}/finalize/{number}"),
        });
        if *status == "valid" {
            order["certificate"] = json!(format!("{URL}/certificate/{number}"));
        }
        order
    }

    /// Asks the host for its answer.
    async fn look(&self, number: usize, key: &Value) {
        let host = self.state.lock().unwrap().orders[number].0.clone();
        let mut client = Client::connect(self.ingress).await;
        let head = format!(
            "GET /.well-known/acme-challenge/token-{number} HTTP/1.1\r\nHost: {host}\r\n\r\n"
        );
        client.send(&head).await;
        let found = client.receive().await.unwrap();
        let expected = format!("token-{number}.{}", thumbprint(key));
        let mut state = self.state.lock().unwrap();
        let is_right = found.status() == 200 && found.text() == expected && !state.refuses;
        state.orders[number].1 = if is_right { "ready" } else { "invalid" };
    }

    fn issue(&self, number: usize, csr: &[u8]) {
        let (_, csr) = X509CertificationRequest::from_der(csr).unwrap();
        let wanted = &csr.certification_request_info;
        let key = Key(wanted.subject_pki.subject_public_key.data.to_vec());
        let mut state = self.state.lock().unwrap();
        let lifetime = state.lifetimes.pop().expect("another certificate");
        let host = state.orders[number].0.clone();
        let mut params = CertificateParams::new(vec![host]).unwrap();
        let now = time::OffsetDateTime::now_utc();
        params.not_before = now;
        params.not_after = now + time::Duration::seconds(lifetime);
        let issuer = rcgen::Issuer::new(CertificateParams::default(), &self.key);
        let certificate = params.signed_by(&key, &issuer).unwrap();
        state.orders[number].1 = "valid";
        state.orders[number].2 = certificate.pem();
        self.issued.send_modify(|count| *count += 1);
    }
}

/// The way to an authority in this process.
struct Direct(Arc<Authority>);

impl Web for Direct {
    fn send(&self, request: Request<Bytes>) -> Answer {
        let authority = self.0.clone();
        Box::pin(async move { Ok(authority.answer(request).await) })
    }
}

/// A shelf in memory.
#[derive(Default)]
struct Kept(Mutex<BTreeMap<String, Vec<u8>>>);

impl Shelf for Kept {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.lock().unwrap().get(name).cloned())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.0
            .lock()
            .unwrap()
            .insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }
}

fn issuer(
    authority: &Arc<Authority>,
    challenges: &Arc<Challenges>,
    (shelf, store): (&Arc<Kept>, &Arc<Store>),
) -> Issuer {
    Issuer {
        directory: format!("{URL}/directory"),
        email: Some("admin@web.io".to_owned()),
        hosts: vec!["web.io".to_owned()],
        web: Arc::new(Direct(authority.clone())),
        shelf: shelf.clone(),
        store: store.clone(),
        challenges: challenges.clone(),
    }
}

async fn proxy(challenges: &Arc<Challenges>) -> Running {
    let config = Config {
        challenges: challenges.clone(),
        ..Config::default()
    };
    Running::start(config).await
}

#[tokio::test]
async fn certificates_are_issued_kept_and_renewed() {
    let challenges = Arc::new(Challenges::default());
    let proxy = proxy(&challenges).await;
    let authority = Authority::new(proxy.address, &[3, 90_000]);
    let (shelf, store) = (Arc::new(Kept::default()), Arc::new(Store::default()));
    let own = issuer(&authority, &challenges, (&shelf, &store));
    own.load().await;
    assert_eq!(store.certificates(), []);
    let running = tokio::spawn(own.run());
    let mut issued = authority.issued.subscribe();
    // The second one comes when a third of the time of the first one is left.
    let second = issued.wait_for(|count| *count == 2);
    drop(timeout(PATIENCE, second).await.expect("in time").unwrap());
    let long = async {
        loop {
            let certificates = store.certificates();
            if let [one] = certificates.as_slice()
                && one.not_after - one.not_before > 1000
            {
                assert_eq!(one.hosts, ["web.io"]);
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, long).await.expect("it is put in use");
    running.abort();
    // The account is one and the same, and so is what is on the shelf.
    assert_eq!(authority.state.lock().unwrap().accounts.len(), 1);
    let names: Vec<String> = shelf.0.lock().unwrap().keys().cloned().collect();
    assert_eq!(names, ["account.json", "web.io.pem"]);
    // Nothing is asked of the host any more.
    let path = "/.well-known/acme-challenge/token-1";
    assert_eq!(crate::client::get(proxy.address, path).await.status(), 404);
    // Another process begins with what is there, and asks for nothing.
    let other = Arc::new(Store::default());
    let own = issuer(&authority, &challenges, (&shelf, &other));
    own.load().await;
    assert_eq!(other.certificates(), store.certificates());
}

#[tokio::test]
async fn a_host_that_is_refused_keeps_what_it_has() {
    let challenges = Arc::new(Challenges::default());
    let proxy = proxy(&challenges).await;
    drop(proxy.handle.swap(Table::default()));
    let authority = Authority::new(proxy.address, &[]);
    authority.state.lock().unwrap().refuses = true;
    let (shelf, store) = (Arc::new(Kept::default()), Arc::new(Store::default()));
    // What is in use ends soon.
    let mut params = CertificateParams::new(vec!["web.io".to_owned()]).unwrap();
    params.not_after = time::OffsetDateTime::now_utc();
    let key = KeyPair::generate().unwrap();
    let old = Pair {
        name: "web.io".to_owned(),
        chain: params.self_signed(&key).unwrap().pem().into_bytes(),
        key: key.serialize_pem().into_bytes(),
    };
    assert_eq!(store.replace(vec![old]), []);
    let before = store.certificates();
    let running = tokio::spawn(issuer(&authority, &challenges, (&shelf, &store)).run());
    let asked = async {
        let is_refused = || {
            let state = authority.state.lock().unwrap();
            state.orders.iter().any(|order| order.1 == "invalid")
        };
        while !is_refused() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, asked).await.expect("it is asked for");
    assert_eq!(store.certificates(), before);
    assert!(!running.is_finished());
    running.abort();
    let names: Vec<String> = shelf.0.lock().unwrap().keys().cloned().collect();
    assert_eq!(names, ["account.json"]);
}
