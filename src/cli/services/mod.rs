//! `services …`: registers with the agent.

mod register;

use super::{catalog_options::CatalogOptions, context::Context, http::segment};
use anyhow::Context as _;
use serde_json::Value;
use std::path::PathBuf;

/// Register services with the agent.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Remove a service
    Deregister(Deregister),
    /// Register services
    Register(register::Arguments),
}

/// Arguments of `services deregister`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Deregister {
    #[command(flatten)]
    options: CatalogOptions,
    /// Id of the service
    #[arg(long)]
    id: Option<String>,
    /// Files with definitions of the services
    files: Vec<PathBuf>,
}

pub(super) async fn run(cx: &mut Context, command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Deregister(arguments) => deregister(cx, &arguments).await,
        Command::Register(arguments) => register::run(cx, &arguments).await,
    }
}

async fn deregister(cx: &mut Context, arguments: &Deregister) -> anyhow::Result<u8> {
    let ids = match (&arguments.id, arguments.files.as_slice()) {
        (None, []) => {
            cx.complain("Service deregistration requires at least one argument or -id.");
            return Ok(1);
        }
        (Some(_), [_, ..]) => {
            cx.complain("Service deregistration requires arguments or -id, not both.");
            return Ok(1);
        }
        (Some(id), []) => vec![id.clone()],
        (None, files) => {
            let services = register::definitions(files)?;
            services
                .iter()
                .map(|service| register::id(service).to_owned())
                .collect()
        }
    };
    let http = arguments.options.http(cx)?;
    for id in ids {
        let path = format!("/v1/agent/service/deregister/{}", segment(&id));
        let removed = http.put_bytes::<Value>(&path, &[], Vec::new()).await;
        removed.with_context(|| format!("Error deregistering service {id:?}"))?;
        cx.print(&format!("Deregistered service: {id}"))?;
    }
    Ok(0)
}
