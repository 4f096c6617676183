use super::say;
use cli::{ClusterCommand, Global};
use std::process::ExitCode;
use trivet::agent::{NewCluster, NewMachine, init_cluster, join_cluster};

/// Region of a cluster unless it is named.
const REGION: &str = "global";

/// `cluster`: makes the files of a machine.
pub(crate) fn run(command: ClusterCommand, global: Global) -> anyhow::Result<ExitCode> {
    let next = match command {
        ClusterCommand::Init(arguments) => init_cluster(&NewCluster {
            dir: arguments.dir,
            region: global.region.unwrap_or_else(|| REGION.to_owned()),
            bind: arguments.bind,
        })?,
        ClusterCommand::Join(arguments) => {
            let joining = NewMachine {
                dir: arguments.dir,
                token: arguments.invitation,
                bind: arguments.bind,
            };
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(join_cluster(&joining))?
        }
    };
    say(&next);
    Ok(ExitCode::SUCCESS)
}
