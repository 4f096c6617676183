//! A machine of a cluster before its agent runs: certificates, configuration and tokens.

use anyhow::{Context as _, bail, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rpc::enroll::{self, Enrollment};
use server::{MachineAuthority, MachineKey, MachineRole, digest_of_secret, new_secret};
use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};
use sys::{
    files::{Durability, create_dir, write_atomic},
    random::seed_bytes,
};

/// Port of RPC where an address names none.
const RPC_PORT: u16 = 4647;

/// The first machine of a cluster.
#[derive(Clone, Debug)]
pub struct NewCluster {
    /// Where its files are put.
    pub dir: PathBuf,
    /// The region.
    pub region: String,
    /// The address of this machine for others.
    pub bind: IpAddr,
}

/// A machine that joins.
#[derive(Clone, Debug)]
pub struct NewMachine {
    /// Where its files are put.
    pub dir: PathBuf,
    /// `TOKEN@ADDRESS`, as the first machine tells it.
    pub token: String,
    /// The address of this machine for others.
    pub bind: IpAddr,
}

/// Where the files of a machine are.
struct Files {
    dir: PathBuf,
}

impl Files {
    /// A directory that no machine has yet.
    fn new(dir: &Path) -> anyhow::Result<Self> {
        let dir = std::path::absolute(dir)?;
        let tls = dir.join("tls");
        ensure!(
            !tls.exists(),
            "`{}` is there already: this machine belongs to a cluster; remove it, or name another \
             directory with -dir",
            tls.display()
        );
        create_dir(&tls, 0o700).with_context(|| format!("cannot make `{}`", tls.display()))?;
        Ok(Self { dir })
    }

    fn tls(&self, name: &str) -> PathBuf {
        self.dir.join("tls").join(name)
    }

    fn write(path: &Path, text: &str) -> anyhow::Result<()> {
        // Made for its owner alone.
        write_atomic(path, text.as_bytes(), Durability::Power)
            .with_context(|| format!("cannot write `{}`", path.display()))
    }

    fn write_tls(&self, name: &str, text: &str) -> anyhow::Result<()> {
        Self::write(&self.tls(name), text)
    }

    /// The configuration of the agent.
    fn write_config(
        &self,
        role: &str,
        region: &str,
        bind: IpAddr,
        more: &str,
    ) -> anyhow::Result<PathBuf> {
        let path = self.dir.join("agent.hcl");
        let text = format!(
            "data_dir  = {:?}\nbind_addr = \"{bind}\"\nregion    = {region:?}\n\n{role}\n\ntls {{\n  rpc       = true\n  \
             ca_file   = {:?}\n  cert_file = {:?}\n  key_file  = {:?}\n{more}}}\n",
            self.dir.join("data"),
            self.tls("ca.pem"),
            self.tls("agent.pem"),
            self.tls("agent-key.pem"),
        );
        Self::write(&path, &text)?;
        Ok(path)
    }
}

/// Makes the authority of a cluster, tokens, and the files of its first machine; answers with what
/// the operator does next.
///
/// # Errors
/// When the files cannot be made, or are there already.
pub fn init_cluster(arguments: &NewCluster) -> anyhow::Result<String> {
    let region = arguments.region.as_str();
    let files = Files::new(&arguments.dir)?;
    let authority = MachineAuthority::generate()?;
    let certificate = authority.certificate_pem()?;
    let key = MachineKey::generate()?;
    let own = authority.sign(MachineRole::Server, region, &key.public())?;
    files.write_tls("ca.pem", &certificate)?;
    files.write_tls("ca-key.pem", &authority.private_pem())?;
    files.write_tls("agent.pem", &format!("{own}{certificate}"))?;
    files.write_tls("agent-key.pem", &key.private_pem())?;
    let mark = enroll::mark(&certificate).context("the authority has no certificate")?;
    let roles = [MachineRole::Client, MachineRole::Server];
    let secrets = roles.map(|role| (role, new_secret()));
    let lines = secrets.iter();
    let lines: String = lines
        .map(|(role, secret)| format!("{} {}\n", role.name(), digest_of_secret(secret)))
        .collect();
    files.write_tls("join", &lines)?;
    let more = format!(
        "  ca_key_file = {:?}\n  join_file   = {:?}\n",
        files.tls("ca-key.pem"),
        files.tls("join")
    );
    let key = STANDARD.encode(seed_bytes());
    let role = format!(
        "server {{\n  enabled          = true\n  bootstrap_expect = 1\n  encrypt          = {key:?}\n}}\n\nclient {{\n  enabled = true\n}}"
    );
    let config = files.write_config(&role, region, arguments.bind, &more)?;
    let [client, server] = secrets.map(|(_, secret)| format!("{region}.{mark}.{secret}"));
    Ok(format!(
        "Start this machine:\n\n    trivet agent -config {}\n\nOn a machine that runs tasks, and then start it as this one:\n\n    \
         trivet cluster join {client}@{bind}\n\nOn a machine that is a server too:\n\n    trivet cluster join {server}@{bind}\n\n\
         Whoever has a token can join. The authority's key is in {}.\n",
        config.display(),
        files.tls("ca-key.pem").display(),
        bind = arguments.bind,
    ))
}

/// Gets a certificate for this machine from a server, and makes its files; answers with what the
/// operator does next.
///
/// # Errors
/// When no server answers, the token is not known, or the files cannot be made.
pub async fn join_cluster(arguments: &NewMachine) -> anyhow::Result<String> {
    let Some((token, address)) = arguments.token.split_once('@') else {
        bail!("TOKEN@ADDRESS is expected, as `trivet cluster init` prints it");
    };
    let parts: Vec<&str> = token.rsplitn(3, '.').collect();
    let [secret, mark, region] = parts[..] else {
        bail!("the token is not whole: `trivet cluster init` prints it");
    };
    let address = match address.parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, RPC_PORT).to_string(),
        Err(_) if address.contains(':') => address.to_owned(),
        Err(_) => format!("{address}:{RPC_PORT}"),
    };
    let key = MachineKey::generate()?;
    let question = Enrollment {
        secret: secret.to_owned(),
        public_key: key.public(),
    };
    let answer = enroll::ask(&address, region, mark, &question).await;
    let answer = answer.with_context(|| format!("cannot join through {address}"))?;
    let files = Files::new(&arguments.dir)?;
    files.write_tls("ca.pem", &answer.authority)?;
    files.write_tls(
        "agent.pem",
        &format!("{}{}", answer.certificate, answer.authority),
    )?;
    files.write_tls("agent-key.pem", &key.private_pem())?;
    let servers = answer.servers.iter();
    let servers: Vec<String> = servers.map(|server| format!("{server:?}")).collect();
    let servers = servers.join(", ");
    let role = if answer.role == MachineRole::Server.name() {
        let key = match answer.gossip_key.as_str() {
            "" => String::new(),
            key => format!("  encrypt     = {key:?}\n"),
        };
        format!(
            "server {{\n  enabled     = true\n  server_join {{ retry_join = [{servers}] }}\n{key}}}\n\nclient {{\n  enabled = true\n}}"
        )
    } else {
        format!("client {{\n  enabled = true\n  servers = [{servers}]\n}}")
    };
    let config = files.write_config(&role, region, arguments.bind, "")?;
    Ok(format!(
        "This machine may join as a {}. Start it:\n\n    trivet agent -config {}\n",
        answer.role,
        config.display()
    ))
}
