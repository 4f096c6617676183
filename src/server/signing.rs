//! What a server does as the certificate authority of the mesh: makes it when it is needed first,
//! changes it, and signs.

use mesh::{
    model::{Authority, Root, Timestamp},
    state::{Command as MeshCommand, SetAuthority},
};
use std::{sync::Arc, time::Duration};

use super::{
    Handle,
    authority::{
        AuthorityError, Leaf,
        certificate::{self, CertificateError, Identity},
        config::Config,
    },
    handle::Error,
    log::propose::ProposeError,
};

/// Serial number of the first root.
const FIRST_SERIAL: u64 = 7;
/// How long a root signed by an older one is valid.
const CROSS_SIGNED_FOR: Duration = Duration::from_hours(7 * 24);
/// How often a change is tried again when somebody else changed the authority meanwhile.
const TRIES_MAX: usize = 8;

impl Handle {
    /// The certificate authority; made when there is none yet.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn authority(&self) -> Result<Arc<Authority>, Error> {
        if let Some(row) = self.snapshot().mesh.authority() {
            return Ok(Arc::clone(row));
        }
        self.configure_authority(None).await
    }

    /// Configures the authority. A key of another kind than the configured one is replaced, with a
    /// new root that the old one signs too.
    ///
    /// # Errors
    /// [`Error`]; what is wrong with the configuration is [`Error::Authority`].
    pub async fn set_authority_config(
        &self,
        provider: &str,
        config: serde_json::Map<String, serde_json::Value>,
    ) -> Result<Arc<Authority>, Error> {
        let config = Config::read(provider, config)?;
        self.configure_authority(Some(config)).await
    }

    async fn configure_authority(&self, wanted: Option<Config>) -> Result<Arc<Authority>, Error> {
        for _ in 0..TRIES_MAX {
            let stored = self.snapshot().mesh.authority().cloned();
            let config = match (&wanted, &stored) {
                (None, Some(row)) => return Ok(Arc::clone(row)),
                (Some(config), _) => config.clone(),
                (None, None) => Config::default(),
            };
            let cluster_id = match &stored {
                Some(row) => row.cluster_id.clone(),
                None => sys::random::uuid(),
            };
            let keeps = stored.as_ref().and_then(|row| row.active());
            let keeps = keeps.is_some_and(|root| config.key_kind().is_of(root));
            let root = if keeps {
                None
            } else {
                let maker = self.clone();
                let (stored, config, id) = (stored.clone(), config.clone(), cluster_id.clone());
                // Making keys takes a moment, and the first key of a server waits for the disk.
                let made =
                    sys::threads::blocking(move || maker.new_root(stored.as_deref(), &config, &id));
                Some(made.await.map_err(|_| ProposeError::Stopped)??)
            };
            let expected = stored.as_ref().map_or(0, |row| row.modify_index);
            let command = MeshCommand::SetAuthority(Box::new(SetAuthority {
                cluster_id,
                config: config.text(),
                root,
                expected_index: Some(expected),
            }));
            let (_, outcome) = self.propose(command).await?;
            match outcome {
                Ok(_) => {}
                Err(super::Rejected::Mesh(mesh::state::Rejected::IndexMismatch { .. })) => continue,
                Err(rejected) => return Err(rejected.into()),
            }
            if let Some(row) = self.snapshot().mesh.authority() {
                return Ok(Arc::clone(row));
            }
        }
        Err(AuthorityError::Contended.into())
    }

    /// A root with an encrypted key, signed by the active one too.
    fn new_root(
        &self,
        stored: Option<&Authority>,
        config: &Config,
        cluster_id: &str,
    ) -> Result<Root, Error> {
        let now = sys::clock::now().as_nanos();
        let now = Timestamp::from_nanos(now);
        let last = stored.and_then(|row| row.roots.iter().map(|root| root.serial).max());
        let (mut root, key) = certificate::root(&certificate::RootFacts {
            cluster_id,
            kind: config.key_kind(),
            serial: last.map_or(FIRST_SERIAL, |last| last + 2),
            not_before: now,
            lifetime: config.root_lifetime(),
        })?;
        if let Some(old) = stored.and_then(Authority::active) {
            let old_key = self.core.keyring.unwrap_authority(old)?;
            let end = now + CROSS_SIGNED_FOR.min(old.not_after.since(now));
            let signed = certificate::cross_signed(&root, &key, old, &old_key, now, end)?;
            root.intermediates = vec![signed];
        }
        root.wrapped_key = self.core.keyring.wrap_authority(&root.id, &key)?;
        Ok(root)
    }

    /// A new key for a service, and a certificate that says whose it is.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn sign_leaf(&self, service: &str, datacenter: &str) -> Result<Leaf, Error> {
        let row = self.authority().await?;
        let signer = self.clone();
        let (service, datacenter) = (service.to_owned(), datacenter.to_owned());
        let signed = sys::threads::blocking(move || {
            let root = row.active().ok_or(AuthorityError::Contended)?;
            let key = signer.core.keyring.unwrap_authority(root)?;
            let domain = row.trust_domain();
            let identity = Identity {
                domain: &domain,
                datacenter: &datacenter,
                service: &service,
            };
            let now = Timestamp::from_nanos(sys::clock::now().as_nanos());
            let lifetime = Config::stored(&row.config).leaf_lifetime();
            let signed = certificate::leaf(root, &key, &identity, now, lifetime);
            Ok::<_, Error>(signed.map_err(AuthorityError::from)?)
        });
        signed.await.map_err(|_| ProposeError::Stopped)?
    }
}

impl From<CertificateError> for Error {
    fn from(error: CertificateError) -> Self {
        AuthorityError::from(error).into()
    }
}
