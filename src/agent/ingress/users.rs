//! Users of routes, from files that are read again when they change.

use config::AuthScheme;
use proxy::auth::{Scheme, Schemes};
use std::{collections::BTreeMap, sync::Arc, time::SystemTime};
use tokio::time::sleep;

/// The largest file of users in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Schemes with their files.
#[derive(Clone, Debug, Default)]
pub(super) struct Users {
    settings: BTreeMap<String, AuthScheme>,
    schemes: Arc<Schemes>,
}

/// A scheme with the time of its file.
type Known = BTreeMap<String, (Option<SystemTime>, Arc<Scheme>)>;

impl Users {
    /// Reads every file once, into what `known` has: routes go by it from then on.
    pub(super) async fn open(settings: &BTreeMap<String, AuthScheme>, known: &Self) -> Self {
        let users = Self {
            settings: settings.clone(),
            schemes: Arc::clone(&known.schemes),
        };
        users.read(&mut Known::new()).await;
        users
    }

    /// What routes go by.
    pub(super) fn schemes(&self) -> Arc<Schemes> {
        Arc::clone(&self.schemes)
    }

    /// Reads files again that have changed, for ever. One that is gone lets nobody in.
    pub(super) async fn keep_fresh(self) {
        let mut known = Known::new();
        let Some(refresh) = self.settings.values().map(|scheme| scheme.refresh).min() else {
            return;
        };
        loop {
            self.read(&mut known).await;
            sleep(refresh).await;
        }
    }

    async fn read(&self, known: &mut Known) {
        let mut has_changed = known.is_empty();
        for (name, settings) in &self.settings {
            let meta = tokio::fs::metadata(&settings.file).await;
            let modified = meta.as_ref().ok().and_then(|meta| meta.modified().ok());
            let before = known.get(name);
            if before.is_some_and(|(at, _)| *at == modified) {
                continue;
            }
            has_changed = true;
            let text = match meta {
                Ok(meta) if meta.len() > FILE_BYTES_MAX => Err("it is too large".to_owned()),
                Ok(_) => {
                    let text = tokio::fs::read_to_string(&settings.file).await;
                    text.map_err(|error| error.to_string())
                }
                Err(error) => Err(error.to_string()),
            };
            let text = text.unwrap_or_else(|reason| {
                tracing::error!(
                    scheme = name,
                    reason,
                    "users cannot be read: nobody is let in"
                );
                String::new()
            });
            let (scheme, bad) = Scheme::read(&settings.realm, &text);
            for bad in bad {
                tracing::error!(scheme = name, %bad, "a user is left out");
            }
            known.insert(name.clone(), (modified, Arc::new(scheme)));
        }
        if has_changed {
            let schemes = known
                .iter()
                .map(|(name, (_, scheme))| (name.clone(), Arc::clone(scheme)));
            self.schemes.replace(schemes.collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn users_follow_their_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("users");
        std::fs::write(&file, "ann:secret\n").unwrap();
        let settings = BTreeMap::from([(
            "team".to_owned(),
            AuthScheme {
                file: file.clone(),
                realm: "team".to_owned(),
                refresh: Duration::from_secs(1),
            },
        )]);
        let users = Users::open(&settings, &Users::default()).await;
        let admits = |text: &str| {
            use base64::{Engine as _, engine::general_purpose::STANDARD};
            let header = format!("Basic {}", STANDARD.encode(text));
            let scheme = users.schemes().scheme("team").unwrap();
            scheme.admits(header.as_bytes())
        };
        assert!(admits("ann:secret") && !admits("bob:secret"));
        let mut known = Known::new();
        users.read(&mut known).await;
        std::fs::remove_file(&file).unwrap();
        users.read(&mut known).await;
        assert!(!admits("ann:secret"));
        std::fs::write(&file, "bob:secret\n").unwrap();
        users.read(&mut known).await;
        assert!(admits("bob:secret") && !admits("ann:secret"));
    }
}
