//! `operator scheduler …`: how the servers schedule.

use crate::{
    arguments::switches, context::Context, render::columns, structured::Structured, view::quoted,
};
use anyhow::{Context as _, bail};
use jobs::model::{SchedulerAlgorithm, SchedulerConfig};
use serde_json::Value;

const PATH: &str = "/v1/operator/scheduler/configuration";

/// Look after the scheduler.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Show how jobs are scheduled
    #[command(name = "get-config")]
    GetConfig(GetArguments),
    /// Change how jobs are scheduled
    #[command(name = "set-config")]
    SetConfig(SetArguments),
}

/// Arguments of `operator scheduler get-config`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct GetArguments {
    #[command(flatten)]
    structured: Structured,
}

/// Arguments of `operator scheduler set-config`; what is not named stays.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(mut_args(switches(&[
    "memory_oversubscription",
    "reject_job_registration",
    "pause_eval_broker",
    "preempt_batch_scheduler",
    "preempt_service_scheduler",
    "preempt_sysbatch_scheduler",
    "preempt_system_scheduler",
])))]
pub struct SetArguments {
    /// Only while the configuration has this modify index
    #[arg(long, value_name = "INDEX")]
    check_index: Option<u64>,
    /// Fill nodes one after the other, or use all alike: binpack or spread
    #[arg(long, value_name = "NAME")]
    scheduler_algorithm: Option<String>,
    /// Let tasks use more memory than is reserved for them, up to their memory_max
    #[arg(long)]
    memory_oversubscription: Option<bool>,
    /// Refuse to register and to scale jobs
    #[arg(long)]
    reject_job_registration: Option<bool>,
    /// Keep evaluations without deciding about them
    #[arg(long)]
    pause_eval_broker: Option<bool>,
    /// Let batch jobs take the room of less important jobs
    #[arg(long)]
    preempt_batch_scheduler: Option<bool>,
    /// Let service jobs take the room of less important jobs
    #[arg(long)]
    preempt_service_scheduler: Option<bool>,
    /// Let sysbatch jobs take the room of less important jobs
    #[arg(long)]
    preempt_sysbatch_scheduler: Option<bool>,
    /// Let system jobs take the room of less important jobs
    #[arg(long)]
    preempt_system_scheduler: Option<bool>,
    /// Nodes that are looked at: 0, which is all of them
    #[arg(long, value_name = "COUNT")]
    node_limit_for_feasibility_checks: Option<u64>,
}

/// The answer to a read.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Answer {
    scheduler_config: SchedulerConfig,
}

/// The answer to a write.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Updated {
    updated: bool,
}

pub(super) async fn run(cx: &mut Context, command: Command) -> anyhow::Result<u8> {
    match command {
        Command::GetConfig(arguments) => get(cx, &arguments).await,
        Command::SetConfig(arguments) => set(cx, &arguments).await,
    }
}

async fn get(cx: &mut Context, arguments: &GetArguments) -> anyhow::Result<u8> {
    let value: Value = read(cx, "Error querying scheduler configuration").await?;
    if let Some(text) = arguments.structured.text(&value)? {
        cx.print(&text)?;
        return Ok(0);
    }
    let answer: Answer = crate::http::decode(PATH, value)?;
    cx.print(&shown(&answer.scheduler_config))?;
    Ok(0)
}

async fn set(cx: &mut Context, arguments: &SetArguments) -> anyhow::Result<u8> {
    let value = read(cx, "Error querying for scheduler configuration").await?;
    let answer: Answer = crate::http::decode(PATH, value)?;
    let found = answer.scheduler_config.modify_index;
    if let Some(wanted) = arguments
        .check_index
        .filter(|wanted| ![0, found].contains(wanted))
    {
        bail!(
            "Error performing check index set: check-index {wanted} does not match the current value {found}"
        );
    }
    let config = arguments.applied_to(answer.scheduler_config)?;
    let cas = found.to_string();
    let updated: Updated = cx
        .http
        .put(PATH, &[("cas", cas.as_str())], &config)
        .await
        .context("Error setting scheduler configuration")?;
    if updated.updated {
        cx.print("Scheduler configuration updated!")?;
        return Ok(0);
    }
    cx.print("Scheduler configuration could not be atomically updated, please try again")?;
    Ok(1)
}

async fn read(cx: &Context, doing: &'static str) -> anyhow::Result<Value> {
    cx.http.get_value(PATH, &[]).await.context(doing)
}

impl SetArguments {
    /// The configuration with what is named changed.
    fn applied_to(&self, mut config: SchedulerConfig) -> anyhow::Result<SchedulerConfig> {
        if let Some(name) = &self.scheduler_algorithm {
            config.scheduler_algorithm =
                SchedulerAlgorithm::try_from(name.clone()).map_err(|error| {
                    let name = quoted(name);
                    anyhow::anyhow!(
                        "{error}: -scheduler-algorithm={name} is neither binpack nor spread"
                    )
                })?;
        }
        let preemption = &mut config.preemption_config;
        for (given, setting) in [
            (
                self.memory_oversubscription,
                &mut config.memory_oversubscription_enabled,
            ),
            (
                self.reject_job_registration,
                &mut config.reject_job_registration,
            ),
            (self.pause_eval_broker, &mut config.pause_eval_broker),
            (
                self.preempt_batch_scheduler,
                &mut preemption.batch_scheduler_enabled,
            ),
            (
                self.preempt_service_scheduler,
                &mut preemption.service_scheduler_enabled,
            ),
            (
                self.preempt_sysbatch_scheduler,
                &mut preemption.sys_batch_scheduler_enabled,
            ),
            (
                self.preempt_system_scheduler,
                &mut preemption.system_scheduler_enabled,
            ),
        ] {
            *setting = given.unwrap_or(*setting);
        }
        if let Some(limit) = self.node_limit_for_feasibility_checks {
            config.node_limit_for_feasibility_checks = limit;
        }
        Ok(config)
    }
}

fn shown(config: &SchedulerConfig) -> String {
    let preemption = &config.preemption_config;
    columns::key_values(&[
        (
            "Scheduler Algorithm",
            config.scheduler_algorithm.as_str().to_owned(),
        ),
        (
            "Memory Oversubscription",
            config.memory_oversubscription_enabled.to_string(),
        ),
        (
            "Reject Job Registration",
            config.reject_job_registration.to_string(),
        ),
        ("Pause Eval Broker", config.pause_eval_broker.to_string()),
        (
            "Preemption System Scheduler",
            preemption.system_scheduler_enabled.to_string(),
        ),
        (
            "Preemption Service Scheduler",
            preemption.service_scheduler_enabled.to_string(),
        ),
        (
            "Preemption Batch Scheduler",
            preemption.batch_scheduler_enabled.to_string(),
        ),
        (
            "Preemption SysBatch Scheduler",
            preemption.sys_batch_scheduler_enabled.to_string(),
        ),
        (
            "Node Limit For Feasibility Checks",
            config.node_limit_for_feasibility_checks.to_string(),
        ),
        ("Modify Index", config.modify_index.to_string()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_stays() {
        let arguments = SetArguments {
            scheduler_algorithm: Some("spread".into()),
            preempt_service_scheduler: Some(true),
            preempt_system_scheduler: Some(false),
            ..SetArguments::default()
        };
        let config = arguments.applied_to(SchedulerConfig::default()).unwrap();
        assert_eq!(
            shown(&config),
            "Scheduler Algorithm               = spread
Memory Oversubscription           = false
Reject Job Registration           = false
Pause Eval Broker                 = false
Preemption System Scheduler       = false
Preemption Service Scheduler      = true
Preemption Batch Scheduler        = false
Preemption SysBatch Scheduler     = false
Node Limit For Feasibility Checks = 0
Modify Index                      = 1"
        );
        let wrong = SetArguments {
            scheduler_algorithm: Some("pile".into()),
            ..SetArguments::default()
        };
        assert!(wrong.applied_to(SchedulerConfig::default()).is_err());
    }
}
