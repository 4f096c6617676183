//! Tokens that say who a task is, signed with keys that follow from the root keys: nothing of them
//! is stored, and whoever asks again for the same time gets the same token.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jobs::model::{
    AllocId, Allocation, DEFAULT_AUDIENCE, RootKeyId, Span, Task, Timestamp, WorkloadIdentity,
};
use ring::signature::{ED25519, KeyPair as _, UnparsedPublicKey};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeMap, time::Duration};

use super::{Handle, Snapshot, handle::Error, keyring::KeyringError, log::propose::now};

/// How tokens are signed.
const ALGORITHM: &str = "EdDSA";
/// How far the clock of one machine may be from that of another, seconds.
const CLOCK_DIFFERENCE: i64 = 60;
/// Shortest time after which a token is replaced.
const RENEWAL_MIN: Duration = Duration::from_secs(1);

/// A key that tokens are checked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// Id of the root key that it follows from.
    pub id: RootKeyId,
    /// The Ed25519 key: 32 bytes.
    pub bytes: Vec<u8>,
}

/// Why a token does not show who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// It has another form.
    #[error("the token is none of a task")]
    Malformed,
    /// No key has the id of the one that signed it.
    #[error("the token is signed by a key that is not known")]
    UnknownKey,
    /// It was changed, or never signed.
    #[error("the token's signature is wrong")]
    Signature,
    /// It is not meant for this program.
    #[error("the token is for somebody else: its audience is not `{DEFAULT_AUDIENCE}`")]
    Audience,
    /// It is not good yet.
    #[error("the token is not valid yet")]
    Early,
    /// It is not good any more.
    #[error("the token has expired")]
    Expired,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
}

#[derive(Deserialize)]
struct Claims {
    aud: Vec<String>,
    nbf: i64,
    exp: Option<i64>,
}

/// Checks that a token was signed by one of `keys` for the API of the cluster, and is good `now`.
///
/// # Errors
/// [`BadToken`].
pub fn check_token(token: &str, keys: &[PublicKey], now: Timestamp) -> Result<(), BadToken> {
    fn part<T: DeserializeOwned>(text: &str) -> Option<T> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(BadToken::Malformed)?;
    let (header, claims) = signed.split_once('.').ok_or(BadToken::Malformed)?;
    let header: Header = part(header).ok_or(BadToken::Malformed)?;
    if header.alg != ALGORITHM {
        return Err(BadToken::Malformed);
    }
    let mut keys = keys.iter();
    let key = keys.find(|key| key.id.to_string() == header.kid);
    let key = UnparsedPublicKey::new(&ED25519, &key.ok_or(BadToken::UnknownKey)?.bytes);
    let signature = URL_SAFE_NO_PAD.decode(signature);
    let signature = signature.map_err(|_| BadToken::Signature)?;
    key.verify(signed.as_bytes(), &signature)
        .map_err(|_| BadToken::Signature)?;
    let claims: Claims = part(claims).ok_or(BadToken::Malformed)?;
    if !claims
        .aud
        .iter()
        .any(|audience| audience == DEFAULT_AUDIENCE)
    {
        return Err(BadToken::Audience);
    }
    let now = now.as_nanos() / 1_000_000_000;
    if claims.nbf > now.saturating_add(CLOCK_DIFFERENCE) {
        return Err(BadToken::Early);
    }
    if claims
        .exp
        .is_some_and(|end| end <= now.saturating_sub(CLOCK_DIFFERENCE))
    {
        return Err(BadToken::Expired);
    }
    Ok(())
}

/// The tokens of a task at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    /// By name of the identity.
    pub(crate) by_name: BTreeMap<String, String>,
    /// When the next ones are due; none when these are good as long as the task.
    pub(crate) until: Option<Timestamp>,
}

impl Handle {
    /// The keys that tokens are checked with, by id.
    ///
    /// # Errors
    /// [`KeyringError`].
    pub fn identity_keys(&self, snapshot: &Snapshot) -> Result<Vec<PublicKey>, KeyringError> {
        let keys = snapshot.jobs.root_keys().map(|root_key| {
            let pair = self.core.keyring.identity_key(root_key)?;
            Ok(PublicKey {
                id: root_key.id,
                bytes: pair.public_key().as_ref().to_vec(),
            })
        });
        keys.collect()
    }

    /// Who signs the tokens, as a URL; none when nobody is told.
    pub fn identity_issuer(&self) -> Option<&str> {
        self.core.config.oidc_issuer.as_deref()
    }

    /// Tokens for each identity of a task that is given to it; none for an unknown task.
    ///
    /// # Errors
    /// [`Error`] when there is no root key yet and none can be made, or it cannot be used.
    pub(crate) async fn task_tokens(
        &self,
        alloc: AllocId,
        task: &str,
    ) -> Result<Option<Tokens>, Error> {
        let root_key = self.active_root_key().await?;
        let pair = self.core.keyring.identity_key(&root_key)?;
        let snapshot = self.snapshot();
        let Some(alloc) = snapshot.jobs.alloc(alloc) else {
            return Ok(None);
        };
        let Some(task) = alloc.group().and_then(|group| group.task(task)) else {
            return Ok(None);
        };
        let now = now();
        let mut tokens = Tokens {
            by_name: BTreeMap::new(),
            until: None,
        };
        for identity in task.all_identities() {
            let times = Times::of(alloc.create_time, now, identity.ttl);
            let mut claims = claims(alloc, task, identity, times);
            if let Some(issuer) = self.identity_issuer() {
                claims["iss"] = issuer.into();
            }
            let header = json!({"alg": ALGORITHM, "kid": root_key.id, "typ": "JWT"});
            let encoded = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
            let signed = encoded.join(".");
            let signature = URL_SAFE_NO_PAD.encode(pair.sign(signed.as_bytes()));
            tokens
                .by_name
                .insert(identity.name.clone(), format!("{signed}.{signature}"));
            tokens.until = [tokens.until, times.renewed].into_iter().flatten().min();
        }
        Ok(Some(tokens))
    }
}

/// When a token is good. It is replaced after half of its time, and the halves are counted from the
/// beginning of the allocation, so that they do not depend on who asks when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Times {
    issued: Timestamp,
    expires: Option<Timestamp>,
    renewed: Option<Timestamp>,
}

impl Times {
    fn of(begin: Timestamp, now: Timestamp, ttl: Span) -> Self {
        let half = ttl.to_std() / 2;
        if half.is_zero() {
            return Self {
                issued: begin,
                expires: None,
                renewed: None,
            };
        }
        let half = half.max(RENEWAL_MIN);
        let halves = now.since(begin).as_nanos() / half.as_nanos();
        let passed = half.saturating_mul(u32::try_from(halves).unwrap_or(u32::MAX));
        let issued = begin + passed;
        Self {
            issued,
            expires: Some(issued + half + half),
            renewed: Some(issued + half),
        }
    }
}

fn claims(
    alloc: &Allocation,
    task: &Task,
    identity: &WorkloadIdentity,
    times: Times,
) -> serde_json::Value {
    let subject = [
        alloc.job.region.as_str(),
        &alloc.namespace,
        &alloc.job_id,
        &alloc.task_group,
        &task.name,
        &identity.name,
    ]
    .join(":");
    let seconds = |at: Timestamp| at.as_nanos() / 1_000_000_000;
    let issued = seconds(times.issued);
    let digest = Sha256::digest(format!("{} {subject} {issued}", alloc.id));
    let mut claims = json!({
        "aud": identity.audience.clone().unwrap_or_default(),
        "iat": issued,
        "nbf": issued,
        "jti": URL_SAFE_NO_PAD.encode(digest),
        "sub": subject,
        "nomad_namespace": alloc.namespace,
        "nomad_job_id": alloc.job_id,
        "nomad_allocation_id": alloc.id,
        "nomad_task": task.name,
    });
    if let Some(expires) = times.expires {
        claims["exp"] = seconds(expires).into();
    }
    claims
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::Ed25519KeyPair;

    fn signed(
        pair: &Ed25519KeyPair,
        header: &serde_json::Value,
        claims: &serde_json::Value,
    ) -> String {
        let encoded = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = encoded.join(".");
        let signature = URL_SAFE_NO_PAD.encode(pair.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    #[test]
    fn only_tokens_that_were_signed_here_for_this_and_are_good_now_are_taken() {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let other = Ed25519KeyPair::from_seed_unchecked(&[8; 32]).unwrap();
        let id = RootKeyId::named("key");
        let keys = [PublicKey {
            id,
            bytes: pair.public_key().as_ref().to_vec(),
        }];
        let header = json!({"alg": "EdDSA", "kid": id, "typ": "JWT"});
        let ours = json!(["x", DEFAULT_AUDIENCE]);
        let claims = |audience: &serde_json::Value, exp: Option<i64>| {
            let mut claims = json!({"aud": audience, "nbf": 1_000, "sub": "a"});
            if let Some(exp) = exp {
                claims["exp"] = exp.into();
            }
            claims
        };
        let check = |token: &str, at: i64| check_token(token, &keys, Timestamp::from_secs(at));
        let good = signed(&pair, &header, &claims(&ours, None));
        for (at, expected) in [
            (939, Err(BadToken::Early)),
            (940, Ok(())),
            (1_000_000_000, Ok(())),
        ] {
            assert_eq!(check(&good, at), expected, "{at}");
        }
        let short = signed(&pair, &header, &claims(&ours, Some(1_100)));
        assert_eq!(check(&short, 1_159), Ok(()));
        assert_eq!(check(&short, 1_160), Err(BadToken::Expired));
        let (signed_part, _) = good.rsplit_once('.').unwrap();
        let (_, of_short) = short.rsplit_once('.').unwrap();
        for (token, expected) in [
            (
                signed(&other, &header, &claims(&ours, None)),
                BadToken::Signature,
            ),
            (format!("{signed_part}.{of_short}"), BadToken::Signature),
            (format!("{signed_part}."), BadToken::Signature),
            (format!("{signed_part}.*"), BadToken::Signature),
            (
                signed(
                    &pair,
                    &json!({"alg": "EdDSA", "kid": RootKeyId::named("no")}),
                    &claims(&ours, None),
                ),
                BadToken::UnknownKey,
            ),
            (
                signed(
                    &pair,
                    &json!({"alg": "none", "kid": id}),
                    &claims(&ours, None),
                ),
                BadToken::Malformed,
            ),
            (
                signed(&pair, &header, &claims(&json!(["vault.io"]), None)),
                BadToken::Audience,
            ),
            (
                signed(&pair, &header, &json!({"aud": ours})),
                BadToken::Malformed,
            ),
            (signed_part.to_owned(), BadToken::Malformed),
            (String::new(), BadToken::Malformed),
            ("..".to_owned(), BadToken::Malformed),
            ("a.b.c".to_owned(), BadToken::Malformed),
        ] {
            assert_eq!(check(&token, 1_000), Err(expected), "{token}");
        }
    }

    #[test]
    fn a_token_is_replaced_after_half_of_its_time_whoever_asks_when() {
        let begin = Timestamp::from_secs(1_000);
        let at = |seconds: i64| Timestamp::from_secs(1_000 + seconds);
        let of = |now, ttl| Times::of(begin, at(now), Span::from_secs(ttl));
        for now in [0, 1, 500] {
            assert_eq!(of(now, 0).issued, begin);
            assert_eq!(of(now, 0).expires, None);
        }
        for (now, issued) in [
            (0, 0),
            (29, 0),
            (30, 30),
            (59, 30),
            (60, 60),
            (6_001, 6_000),
        ] {
            let times = of(now, 60);
            assert_eq!(times.issued, at(issued), "{now}");
            assert_eq!(times.renewed, Some(at(issued + 30)), "{now}");
            assert_eq!(times.expires, Some(at(issued + 60)), "{now}");
        }
        // A clock that goes back, and times that are too short to be kept.
        assert_eq!(of(-5, 60).issued, begin);
        assert_eq!(of(5, 1).renewed, Some(at(6)));
    }
}
