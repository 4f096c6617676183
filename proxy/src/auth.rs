//! Who may use a route, by name and password.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use sha_crypt::{PasswordVerifier as _, ShaCrypt};
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The most users of a scheme.
const USERS_MAX: usize = 100_000;

/// The most that bcrypt may cost: a second or two for each password that is tried.
const BCRYPT_COST_MAX: u32 = 14;

/// How many rounds of SHA-crypt there may be; the most take about a second.
const ROUNDS: std::ops::RangeInclusive<u32> = 1_000..=500_000;

/// How many credentials that were found right are remembered, so that slow ones are checked once.
const KNOWN_MAX: usize = 10_000;

/// Schemes by name, as routes ask for them.
#[derive(Debug, Default)]
pub struct Schemes {
    by_name: ArcSwap<BTreeMap<String, Arc<Scheme>>>,
}

impl Schemes {
    /// Puts schemes in the place of all that were there.
    pub fn replace(&self, schemes: BTreeMap<String, Arc<Scheme>>) {
        self.by_name.store(Arc::new(schemes));
    }

    /// The scheme of a name.
    pub fn scheme(&self, name: &str) -> Option<Arc<Scheme>> {
        self.by_name.load().get(name).cloned()
    }
}

/// Users with their passwords, hashed or not.
pub struct Scheme {
    realm: String,
    users: HashMap<String, Hash>,
    /// Digests of credentials that were right.
    known: Mutex<HashSet<[u8; 32]>>,
}

impl fmt::Debug for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheme")
            .field("realm", &self.realm)
            .field("users", &self.users.len())
            .finish_non_exhaustive()
    }
}

enum Hash {
    Bcrypt(String),
    ShaCrypt(String),
    Md5 {
        kind: &'static str,
        salt: String,
        digest: String,
    },
    Sha1(Vec<u8>),
    SaltedSha1(Vec<u8>, Vec<u8>),
    Plain(String),
}

/// A line that no user can be read from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct BadLine {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Scheme {
    /// Reads lines of `user:password` as `htpasswd` writes them. Lines that cannot be used are
    /// left out and returned.
    pub fn read(realm: &str, text: &str) -> (Scheme, Vec<BadLine>) {
        let mut users = HashMap::new();
        let mut bad = Vec::new();
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let read = match text.split_once(':') {
                _ if users.len() == USERS_MAX => Err("there are too many users"),
                Some((user, hash)) if !user.is_empty() => {
                    Hash::read(hash).map(|hash| drop(users.insert(user.to_owned(), hash)))
                }
                _ => Err("it is not of the form `user:password`"),
            };
            if let Err(reason) = read {
                bad.push(BadLine { line, reason });
            }
        }
        let scheme = Scheme {
            realm: realm.to_owned(),
            users,
            known: Mutex::default(),
        };
        (scheme, bad)
    }

    /// The value of the header that asks for credentials.
    pub fn challenge(&self) -> String {
        let realm = self.realm.replace(['"', '\\'], "");
        format!("Basic realm=\"{realm}\"")
    }

    /// Whether an Authorization header carries a user with the right password. May take long: a
    /// tenth of a second for some kinds of hashes.
    pub fn admits(&self, authorization: &[u8]) -> bool {
        let Some((user, password)) = credentials(authorization) else {
            return false;
        };
        let Some(hash) = self.users.get(&user) else {
            return false;
        };
        let digest: [u8; 32] = Sha256::digest(authorization).into();
        if self.known().contains(&digest) {
            return true;
        }
        let is_right = hash.is_of(&password);
        if is_right {
            let mut known = self.known();
            if known.len() >= KNOWN_MAX {
                known.clear();
            }
            known.insert(digest);
        }
        is_right
    }

    /// Whether credentials are right, if that is known without checking them.
    pub(crate) fn is_known(&self, authorization: &[u8]) -> bool {
        let digest: [u8; 32] = Sha256::digest(authorization).into();
        self.known().contains(&digest)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashSet<[u8; 32]>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// User and password of a header.
fn credentials(authorization: &[u8]) -> Option<(String, String)> {
    let text = str::from_utf8(authorization).ok()?;
    let (scheme, encoded) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

impl Hash {
    fn read(text: &str) -> Result<Hash, &'static str> {
        if ["$2a$", "$2b$", "$2x$", "$2y$"]
            .iter()
            .any(|kind| text.starts_with(kind))
        {
            let cost = text.get(4..6).and_then(|cost| cost.parse().ok());
            return match cost.ok_or("its hash is not whole")? {
                0..=BCRYPT_COST_MAX => Ok(Hash::Bcrypt(text.to_owned())),
                _ => Err("its hash costs more than 14, which takes too long"),
            };
        }
        for (kind, digits) in [("$5$", 43), ("$6$", 86)] {
            if let Some(rest) = text.strip_prefix(kind) {
                check_rounds(rest, digits)?;
                return Ok(Hash::ShaCrypt(text.to_owned()));
            }
        }
        for kind in ["$apr1$", "$1$"] {
            if let Some(rest) = text.strip_prefix(kind) {
                let (salt, digest) = rest.split_once('$').ok_or("its hash is not whole")?;
                return Ok(Hash::Md5 {
                    kind,
                    salt: salt.to_owned(),
                    digest: digest.to_owned(),
                });
            }
        }
        let decoded = |text: &str| {
            STANDARD
                .decode(text)
                .map_err(|_| "its hash is not in base64")
        };
        if let Some(rest) = text.strip_prefix("{SHA}") {
            return Ok(Hash::Sha1(decoded(rest)?));
        }
        if let Some(rest) = text.strip_prefix("{SSHA}") {
            let mut digest = decoded(rest)?;
            if digest.len() < 20 {
                return Err("its hash is not whole");
            }
            let salt = digest.split_off(20);
            return Ok(Hash::SaltedSha1(digest, salt));
        }
        if text.starts_with('$') {
            return Err(
                "its kind of hash is not built; there are bcrypt, SHA-crypt ($5$, $6$), apr1, \
                 $1$, SHA and SSHA",
            );
        }
        Ok(Hash::Plain(text.to_owned()))
    }

    fn is_of(&self, password: &str) -> bool {
        match self {
            Hash::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
            Hash::ShaCrypt(hash) => ShaCrypt::default()
                .verify_password(password.as_bytes(), hash.as_str())
                .is_ok(),
            Hash::Md5 { kind, salt, digest } => is_equal(
                md5_crypt(kind.as_bytes(), password.as_bytes(), salt.as_bytes()).as_bytes(),
                digest.as_bytes(),
            ),
            Hash::Sha1(digest) => is_equal(&Sha1::digest(password), digest),
            Hash::SaltedSha1(digest, salt) => {
                let salted = [password.as_bytes(), salt].concat();
                is_equal(&Sha1::digest(salted), digest)
            }
            Hash::Plain(own) => is_equal(own.as_bytes(), password.as_bytes()),
        }
    }
}

/// Looks whether a hash of SHA-crypt is whole, and does not take too long.
fn check_rounds(text: &str, digits: usize) -> Result<(), &'static str> {
    let salted = match text.strip_prefix("rounds=") {
        None => text,
        Some(rest) => {
            let (rounds, salted) = rest.split_once('$').ok_or("its hash is not whole")?;
            let rounds = rounds.parse().ok().filter(|rounds| ROUNDS.contains(rounds));
            rounds.ok_or("its hash has not between 1,000 and 500,000 rounds")?;
            salted
        }
    };
    match salted.split_once('$') {
        Some((salt, digest)) if !salt.is_empty() && digest.len() == digits => Ok(()),
        _ => Err("its hash is not whole"),
    }
}

/// Compares in a time that does not tell where the difference is.
fn is_equal(one: &[u8], two: &[u8]) -> bool {
    let differences = one
        .iter()
        .zip(two)
        .fold(0, |all, (one, two)| all | (one ^ two));
    one.len() == two.len() && differences == 0
}

/// The hash of the Apache server, and of old systems: a thousand rounds of MD5, in an alphabet of
/// its own.
fn md5_crypt(kind: &[u8], password: &[u8], salt: &[u8]) -> String {
    const ROUNDS: usize = 1000;
    let salt = &salt[..salt.len().min(8)];
    let inner: [u8; 16] = Md5::digest([password, salt, password].concat()).into();
    let mut first = [password, kind, salt].concat();
    let mut left = password.len();
    while left > 0 {
        first.extend_from_slice(&inner[..left.min(16)]);
        left = left.saturating_sub(16);
    }
    let mut bits = password.len();
    while bits > 0 {
        first.push(if bits & 1 == 1 { 0 } else { password[0] });
        bits >>= 1;
    }
    let mut digest: [u8; 16] = Md5::digest(first).into();
    for round in 0..ROUNDS {
        let mut next = Vec::new();
        let is_odd = round % 2 == 1;
        next.extend_from_slice(if is_odd { password } else { &digest });
        if round % 3 != 0 {
            next.extend_from_slice(salt);
        }
        if round % 7 != 0 {
            next.extend_from_slice(password);
        }
        next.extend_from_slice(if is_odd { &digest } else { password });
        digest = Md5::digest(next).into();
    }
    let mut text = String::new();
    for (a, b, c) in [(0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5)] {
        let value = u32::from_be_bytes([0, digest[a], digest[b], digest[c]]);
        spell(value, 4, &mut text);
    }
    spell(u32::from(digest[11]), 2, &mut text);
    text
}

fn spell(mut value: u32, count: usize, text: &mut String) {
    const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    for _ in 0..count {
        text.push(char::from(ALPHABET[(value & 63) as usize]));
        value >>= 6;
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::Scheme;

    fn header(user: &str, password: &str) -> Vec<u8> {
        format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))).into_bytes()
    }

    #[test]
    fn every_kind_of_hash_is_checked() {
        let text = "# users\n\
                    plain:secret\n\
                    sha:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n\
                    ssha:{SSHA}jxRZZgqRFCXQWmnm1P26L+2VrFlzYWx0\n\
                    apr1:$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/\n\
                    bcrypt:$2b$04$EGdrhbKUv8Oc9vGiXX0HQOxSg445d458Muh7DAHskb6QbtCvdxcie\n\
                    sha256:$5$abcdefgh$.QMzy7v4vXPoalf3eRONDBUv8WZTVbTMR1FBCZC1/L2\n\
                    sha512:$6$abcdefgh$YN8B0zmx4g7gHNsAPRHBHL7/9D2xv7Ojh6WbPzJjQGPPjUs3FiTtHkWxn/GwRo78ZpAtbvjbXJsaUxh7djdaf0\n\
                    long:$5$rounds=2000$abc$1m.esuwGsWQUGcyFnXqyvIoUiDRgQeKyZHnlZHW2XP2\n\
                    md5:$1$abcdefgh$yTpYrEJJOuAsO2Aee15/D1\n\
                    other:$6$salt$hash\n\
                    rounds:$5$rounds=999999999$abcdefgh$.QMzy7v4vXPoalf3eRONDBUv8WZTVbTMR1FBCZC1/L2\n\
                    few:$5$rounds=9$abcdefgh$.QMzy7v4vXPoalf3eRONDBUv8WZTVbTMR1FBCZC1/L2\n\
                    costly:$2b$31$EGdrhbKUv8Oc9vGiXX0HQOxSg445d458Muh7DAHskb6QbtCvdxcie\n\
                    yescrypt:$y$j9T$x$y\n\
                    nobody\n";
        let (scheme, bad) = Scheme::read("team", text);
        let lines: Vec<usize> = bad.iter().map(|bad| bad.line).collect();
        assert_eq!(lines, [11, 12, 13, 14, 15, 16]);
        assert_eq!(scheme.challenge(), "Basic realm=\"team\"");
        assert!(scheme.admits(&header("plain", "secret")));
        assert!(scheme.admits(&header("sha", "secret")));
        assert!(scheme.admits(&header("apr1", "myPassword")));
        for user in ["sha256", "sha512", "md5"] {
            assert!(scheme.admits(&header(user, "pass word")), "{user}");
            assert!(!scheme.admits(&header(user, "password")), "{user}");
        }
        assert!(scheme.admits(&header("long", "Hello world!")));
        for (user, password) in [
            ("plain", "Secret"),
            ("plain", ""),
            ("sha", "secre"),
            ("ssha", "wrong"),
            ("apr1", "mypassword"),
            ("bcrypt", "wrong"),
            ("other", "x"),
            ("nobody", ""),
            ("", ""),
        ] {
            assert!(!scheme.admits(&header(user, password)), "{user} {password}");
        }
        for wrong in ["", "Basic", "Basic !", "Bearer x", "Basic cGxhaW4="] {
            assert!(!scheme.admits(wrong.as_bytes()), "{wrong}");
        }
        // What was right is known from then on.
        assert!(scheme.is_known(&header("plain", "secret")));
        assert!(!scheme.is_known(&header("plain", "Secret")));
        assert!(!format!("{scheme:?}").contains("secret"));
    }

    #[test]
    fn hashes_that_are_made_are_known_again() {
        let bcrypt = bcrypt::hash("pass word", 4).unwrap();
        let salted = {
            use sha1::Digest as _;
            let mut digest = sha1::Sha1::digest(b"pass wordsalt").to_vec();
            digest.extend_from_slice(b"salt");
            STANDARD.encode(digest)
        };
        let (scheme, bad) = Scheme::read("r", &format!("b:{bcrypt}\ns:{{SSHA}}{salted}"));
        assert_eq!(bad, []);
        for user in ["b", "s"] {
            assert!(scheme.admits(&header(user, "pass word")), "{user}");
            assert!(!scheme.admits(&header(user, "password")), "{user}");
        }
    }
}
