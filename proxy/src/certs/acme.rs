//! Certificates that an authority issues for hosts, by ACME (RFC 8555) with the challenge of HTTP.
//!
//! The only place that names the library of the protocol. Requests to the authority go out by
//! [`Web`], and what has to outlive the process goes to a [`Shelf`]: an authority of a test, and a
//! shelf in memory, take their places. What the authority asks of a host is answered by the ingress
//! itself, from [`Challenges`].

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ::http::{Request, Response};
use arc_swap::ArcSwap;
use bytes::Bytes;
use http_body_util::BodyExt;
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, BodyWrapper, BytesResponse, ChallengeType,
    Error as AcmeError, HttpClient, Identifier, NewAccount, NewOrder, OrderStatus, RetryPolicy,
};
use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};

use super::store::{Certificate, Pair, Store};

/// Where answers to challenges stand on a host.
const CHALLENGE_PATH: &str = "/.well-known/acme-challenge/";
/// The most challenges that are answered at once.
const CHALLENGES_MAX: usize = 1000;
/// How long the authority may take to look at a host, and to issue a certificate.
const ORDER_TIMEOUT: Duration = Duration::from_mins(2);
/// How long all of it may take.
const ISSUE_TIMEOUT: Duration = Duration::from_mins(5);
/// Between a failure and the next try for the same host: twice as long each time, up to the second.
const RETRY: (Duration, Duration) = (Duration::from_mins(1), Duration::from_hours(6));
/// The shortest and the longest pause between two looks at what is due.
const LOOK: (Duration, Duration) = (Duration::from_millis(200), Duration::from_hours(1));
/// The name of the account on its shelf.
const ACCOUNT: &str = "account.json";

/// What becomes of a request to the authority: its answer, or why there is none.
pub type Answer = Pin<Box<dyn Future<Output = Result<Response<Bytes>, String>> + Send>>;

/// The way to the authority.
pub trait Web: Send + Sync + 'static {
    /// Sends a request. Answers are bounded by whoever reads them.
    fn send(&self, request: Request<Bytes>) -> Answer;
}

/// Where account and certificates are kept. Calls may block.
pub trait Shelf: Send + Sync + 'static {
    /// What stands under a name; none if there is nothing.
    ///
    /// # Errors
    /// If it cannot be read.
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>>;

    /// Puts something under a name, readable for nobody else.
    ///
    /// # Errors
    /// If it cannot be written.
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()>;
}

/// Answers to what authorities ask of hosts, by the path that they ask for.
#[derive(Debug, Default)]
pub struct Challenges {
    by_path: ArcSwap<BTreeMap<String, String>>,
}

impl Challenges {
    /// Whether a path is one that authorities ask for.
    pub(crate) fn are_at(path: &str) -> bool {
        path.starts_with(CHALLENGE_PATH)
    }

    /// The answer at a path.
    pub(crate) fn answer(&self, path: &str) -> Option<String> {
        self.by_path.load().get(path).cloned()
    }

    fn change(&self, change: impl Fn(&mut BTreeMap<String, String>)) {
        self.by_path.rcu(|by_path| {
            let mut next = BTreeMap::clone(by_path);
            change(&mut next);
            next
        });
    }
}

/// An answer to a challenge for as long as this lives.
struct Told {
    challenges: Arc<Challenges>,
    path: String,
}

impl Told {
    fn new(challenges: &Arc<Challenges>, token: &str, answer: &str) -> Told {
        let path = format!("{CHALLENGE_PATH}{token}");
        challenges.change(|by_path| {
            if by_path.len() < CHALLENGES_MAX {
                by_path.insert(path.clone(), answer.to_owned());
            }
        });
        Told {
            challenges: challenges.clone(),
            path,
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.challenges.change(|by_path| {
            by_path.remove(&self.path);
        });
    }
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0}")]
    Protocol(#[from] AcmeError),
    #[error("the authority has no challenge by HTTP for the host")]
    NoChallenge,
    #[error("the authority did not find its answer at the host")]
    Refused,
    #[error("the authority takes too long")]
    Late,
    #[error("account or certificate cannot be kept: {0}")]
    Shelf(#[from] io::Error),
    #[error("the account cannot be read: {0}")]
    Account(#[from] serde_json::Error),
}

/// What is kept of the account.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// The authority that it is of.
    directory: String,
    credentials: AccountCredentials,
}

/// The ACME library's requests, sent by our way.
struct Adapter(Arc<dyn Web>);

impl HttpClient for Adapter {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, AcmeError>> + Send>> {
        let web = self.0.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let Ok(body) = body.collect().await;
            let request = Request::from_parts(parts, body.to_bytes());
            let answer = web.send(request).await;
            let answer = answer.map_err(|reason| AcmeError::Other(reason.into()))?;
            let (parts, body) = answer.into_parts();
            Ok(BytesResponse {
                parts,
                body: Box::new(body),
            })
        })
    }
}

/// Has an authority issue certificates for hosts, one each, and renew them.
pub struct Issuer {
    /// URL of the authority's directory.
    pub directory: String,
    /// The address that the authority writes to.
    pub email: Option<String>,
    /// Hosts, in lower case.
    pub hosts: Vec<String>,
    /// The way to the authority.
    pub web: Arc<dyn Web>,
    /// Where account and certificates are kept.
    pub shelf: Arc<dyn Shelf>,
    /// Where certificates are used from.
    pub store: Arc<Store>,
    /// Where the ingress finds its answers to the authority: see [`crate::Config::challenges`].
    pub challenges: Arc<Challenges>,
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuer")
            .field("directory", &self.directory)
            .field("hosts", &self.hosts)
            .finish_non_exhaustive()
    }
}

/// How often something failed, and when it is tried again, in seconds since 1970.
struct Failed {
    count: u32,
    until: i64,
}

impl Issuer {
    /// Puts the certificates on the shelf into use.
    pub async fn load(&self) {
        let mut pairs = Vec::new();
        for host in &self.hosts {
            match self.read(file(host)).await {
                Ok(None) => {}
                Ok(Some(text)) => pairs.push(pair(host, text)),
                Err(error) => tracing::error!(%error, host, "a certificate cannot be read"),
            }
        }
        self.use_all(pairs);
    }

    fn use_all(&self, pairs: Vec<Pair>) {
        for unusable in self.store.replace(pairs) {
            tracing::error!(%unusable, "a certificate is issued anew");
        }
    }

    /// Has certificates issued that are missing or have less than a third of their time left, for
    /// ever. What is in use stays until there is a new one.
    pub async fn run(self) {
        let mut failed: BTreeMap<&str, Failed> = BTreeMap::new();
        loop {
            for host in &self.hosts {
                let now = now();
                let rests = failed.get(&**host).is_some_and(|failed| failed.until > now);
                if rests || due(&self.store.certificates(), host) > now {
                    continue;
                }
                let issued = timeout(ISSUE_TIMEOUT, self.issue(host)).await;
                match issued.unwrap_or(Err(Error::Late)) {
                    Ok(()) => {
                        failed.remove(&**host);
                        tracing::info!(host, "a certificate was issued");
                    }
                    Err(error) => {
                        let count = failed.get(&**host).map_or(0, |failed| failed.count);
                        let pause = pause(count);
                        tracing::error!(%error, host, again_in = ?pause, "no certificate is issued");
                        let until = now + i64::try_from(pause.as_secs()).unwrap_or(i64::MAX);
                        let count = count.saturating_add(1);
                        failed.insert(host, Failed { count, until });
                    }
                }
            }
            let certificates = self.store.certificates();
            let next = self.hosts.iter().map(|host| {
                let rest = failed.get(&**host).map_or(i64::MIN, |failed| failed.until);
                due(&certificates, host).max(rest)
            });
            let seconds = next.min().unwrap_or(i64::MAX).saturating_sub(now());
            let wait = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
            sleep(wait.clamp(LOOK.0, LOOK.1)).await;
        }
    }

    async fn read(&self, name: String) -> io::Result<Option<Vec<u8>>> {
        let shelf = self.shelf.clone();
        let read = tokio::task::spawn_blocking(move || shelf.read(&name));
        read.await.map_err(io::Error::other)?
    }

    async fn write(&self, name: String, bytes: Vec<u8>) -> io::Result<()> {
        let shelf = self.shelf.clone();
        let written = tokio::task::spawn_blocking(move || shelf.write(&name, &bytes));
        written.await.map_err(io::Error::other)?
    }

    /// The account that is kept, or a new one.
    async fn account(&self) -> Result<Account, Error> {
        let builder = || Account::builder_with_http(Box::new(Adapter(self.web.clone())));
        if let Some(text) = self.read(ACCOUNT.to_owned()).await? {
            let kept: Kept = serde_json::from_slice(&text)?;
            if kept.directory == self.directory {
                return Ok(builder().from_credentials(kept.credentials).await?);
            }
        }
        let contact = self.email.as_ref().map(|email| format!("mailto:{email}"));
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        let wanted = NewAccount {
            contact: &contact,
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let made = builder().create(&wanted, self.directory.clone(), None);
        let (account, credentials) = made.await?;
        let kept = Kept {
            directory: self.directory.clone(),
            credentials,
        };
        let text = serde_json::to_vec(&kept)?;
        self.write(ACCOUNT.to_owned(), text).await?;
        Ok(account)
    }

    /// Has a certificate for a host issued, keeps it and puts it into use.
    async fn issue(&self, host: &str) -> Result<(), Error> {
        let account = self.account().await?;
        let identifiers = [Identifier::Dns(host.to_owned())];
        let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
        let mut told = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            match authorization.status {
                AuthorizationStatus::Valid => continue,
                AuthorizationStatus::Pending => {}
                _ => return Err(Error::Refused),
            }
            let challenge = authorization.challenge(ChallengeType::Http01);
            let mut challenge = challenge.ok_or(Error::NoChallenge)?;
            let answer = challenge.key_authorization();
            let answer = Told::new(&self.challenges, &challenge.token, answer.as_str());
            told.push(answer);
            challenge.set_ready().await?;
        }
        let patience = RetryPolicy::new().timeout(ORDER_TIMEOUT);
        if order.poll_ready(&patience).await? != OrderStatus::Ready {
            return Err(Error::Refused);
        }
        drop(told);
        let key = order.finalize().await?;
        let chain = order.poll_certificate(&patience).await?;
        let text = format!("{}\n{key}", chain.trim_end()).into_bytes();
        self.write(file(host), text).await?;
        self.load().await;
        Ok(())
    }
}

fn file(host: &str) -> String {
    format!("{host}.pem")
}

/// Chain and key stand in one text.
fn pair(host: &str, text: Vec<u8>) -> Pair {
    Pair {
        name: host.to_owned(),
        key: text.clone(),
        chain: text,
    }
}

/// When a host needs another certificate, in seconds since 1970: when a third of the time of the
/// one in use is left.
fn due(certificates: &[Certificate], host: &str) -> i64 {
    let mut own = certificates.iter().filter(|own| own.name == host);
    own.next().map_or(i64::MIN, |own| {
        let left = own.not_after.saturating_sub(own.not_before) / 3;
        own.not_after.saturating_sub(left)
    })
}

/// The pause after so many failures in a row before this one.
fn pause(count: u32) -> Duration {
    let (first, most) = RETRY;
    first.saturating_mul(2u32.saturating_pow(count)).min(most)
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::{Certificate, due, pause};

    #[test]
    fn a_certificate_is_due_when_a_third_of_its_time_is_left() {
        let certificate = |name: &str, not_before, not_after| Certificate {
            name: name.to_owned(),
            hosts: vec![name.to_owned()],
            not_before,
            not_after,
        };
        let all = [certificate("a", 1000, 1900), certificate("b", 0, 0)];
        assert_eq!((due(&all, "a"), due(&all, "b")), (1600, 0));
        assert_eq!(due(&all, "c"), i64::MIN);
        let strange = [certificate("a", i64::MAX, i64::MIN)];
        assert!(due(&strange, "a") < 0);
    }

    #[test]
    fn pauses_grow_to_a_limit() {
        let hours = |count| pause(count).as_secs_f64() / 3600.0;
        assert_eq!(
            [0, 1, 2].map(|count| pause(count).as_secs()),
            [60, 120, 240]
        );
        assert_eq!((hours(9), hours(u32::MAX)), (6.0, 6.0));
    }
}
