//! Signs the keys of machines that join with a token.

use rpc::enroll::{Enrolled, Enrollment};
use std::{fs, path::Path, sync::Arc};
use sys::threads::blocking;

use super::gossip;
use crate::{Core, Joining, MachineAuthority, MachineRole, digest_of_secret};

/// Why nobody is told more: it would help to guess.
const UNKNOWN: &str = "the token is not known here";

/// Answers a machine that asks for a certificate.
pub(super) async fn on_question(core: &Arc<Core>, question: &[u8]) -> Result<Vec<u8>, String> {
    let asked: Enrollment = rmp_serde::from_slice(question).map_err(|error| error.to_string())?;
    let Some(joining) = core.config.cluster.joining.clone() else {
        return Err("this server signs no certificates; ask the first one of the cluster".into());
    };
    let region = core.config.region.clone();
    let signed = blocking(move || sign(&joining, &region, &asked)).await;
    let (role, certificate, authority) = signed.map_err(|error| error.to_string())??;
    tracing::info!(role = role.name(), "a machine was given a certificate");
    let answer = Enrolled {
        role: role.name().to_owned(),
        certificate,
        authority,
        servers: core.addresses(),
        gossip_key: match role {
            MachineRole::Server => gossip::key_in_use(&core.config).unwrap_or_default(),
            MachineRole::Client => String::new(),
        },
    };
    rmp_serde::to_vec_named(&answer).map_err(|error| error.to_string())
}

fn sign(
    joining: &Joining,
    region: &str,
    asked: &Enrollment,
) -> Result<(MachineRole, String, String), String> {
    let read = |path: &Path| {
        fs::read_to_string(path).map_err(|error| {
            tracing::error!(path = %path.display(), %error, "cannot be read to sign certificates");
            "this server cannot sign certificates at the moment".to_owned()
        })
    };
    let digest = digest_of_secret(&asked.secret);
    let role = role_of(&read(&joining.secrets)?, &digest).ok_or(UNKNOWN)?;
    let (key, certificate) = (read(&joining.key)?, read(&joining.authority)?);
    let signed = MachineAuthority::of_pem(&key)
        .and_then(|authority| authority.sign(role, region, &asked.public_key));
    let signed = signed.map_err(|error| error.to_string())?;
    Ok((role, signed, certificate))
}

/// The role that a secret with this digest gives.
fn role_of(secrets: &str, digest: &str) -> Option<MachineRole> {
    let mut lines = secrets.lines().filter_map(|line| line.split_once(' '));
    let (role, _) = lines.find(|(_, known)| *known == digest)?;
    MachineRole::of(role)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_gives_its_own_role() {
        let secrets = format!(
            "client {}\nserver {}\nother {}\n",
            digest_of_secret("a"),
            digest_of_secret("b"),
            digest_of_secret("c")
        );
        for (secret, role) in [
            ("a", Some(MachineRole::Client)),
            ("b", Some(MachineRole::Server)),
            ("c", None),
            ("", None),
        ] {
            assert_eq!(
                role_of(&secrets, &digest_of_secret(secret)),
                role,
                "{secret}"
            );
        }
    }
}
