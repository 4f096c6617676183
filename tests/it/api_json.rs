//! The JSON of the jobs API: every field that its clients know, and jobs that are posted as JSON.

use crate::harness::{Agent, Echo, agent::TRIVET, command::trivet, http};
use jobs::wire::API_VERSION;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const JOB: &str = "Affinities AllAtOnce Constraints ConsulNamespace CreateIndex Datacenters \
    DispatchIdempotencyToken Dispatched ID JobModifyIndex Meta Migrate ModifyIndex Multiregion Name \
    Namespace NodePool NomadTokenID ParameterizedJob ParentID Payload Periodic Priority Region \
    Reschedule Spreads Stable Status StatusDescription Stop SubmitTime TaskGroups Type UI Update \
    VaultNamespace Version VersionTag";
const JOB_STUB: &str = "CreateIndex Datacenters ID JobModifyIndex JobSummary ModifyIndex Multiregion \
    Name Namespace NodePool ParameterizedJob ParentID Periodic Priority Status StatusDescription Stop \
    SubmitTime Type";
const SUMMARY: &str = "Children CreateIndex JobID ModifyIndex Namespace Summary";
const TASK_GROUP: &str = "Affinities Constraints Consul Count Disconnect EphemeralDisk \
    MaxClientDisconnect MaxRunDuration Meta Migrate Name Networks PreventRescheduleOnLost \
    ReschedulePolicy RestartPolicy Scaling Services ShutdownDelay Spreads StopAfterClientDisconnect \
    Tasks Update Volumes";
const TASK: &str = "Actions Affinities Artifacts CSIPluginConfig Config Constraints Consul \
    DispatchPayload Driver Env Identities Identity KillSignal KillTimeout Kind Leader Lifecycle \
    LogConfig Meta Name Resources RestartPolicy ScalingPolicies Schedule Secrets Services \
    ShutdownDelay Templates User Vault VolumeMounts";
const RESOURCES: &str =
    "CPU Cores Devices DiskMB IOPS MemoryMB MemoryMaxMB NUMA Networks SecretsMB";
const SERVICE: &str = "Address AddressMode CanaryMeta CanaryTags CheckRestart Checks Cluster Connect \
    EnableTagOverride Identity Kind Meta Name OnUpdate PortLabel Provider TaggedAddresses Tags \
    TaskName Weights";
const CHECK: &str = "AddressMode Advertise Args Body CheckRestart Command Expose \
    FailuresBeforeCritical FailuresBeforeWarning GRPCService GRPCUseTLS Header InitialStatus Interval \
    Method Name Notes OnUpdate Path PortLabel Protocol SuccessBeforePassing TLSServerName \
    TLSSkipVerify TaskName Timeout Type";
const ALLOC: &str = "AllocModifyIndex AllocStates AllocatedResources ClientDescription ClientStatus \
    CreateIndex CreateTime DeploymentID DeploymentStatus DesiredDescription DesiredStatus \
    DesiredTransition EvalID FollowupEvalID ID Job JobID Metrics ModifyIndex ModifyTime Name Namespace \
    NetworkStatus NextAllocation NodeID NodeName PreemptedAllocations PreemptedByAllocation \
    PreviousAllocation RescheduleTracker Resources Services SharedResources TaskGroup TaskResources \
    TaskStates";
const ALLOC_STUB: &str = "ClientDescription ClientStatus CreateIndex CreateTime DeploymentStatus \
    DesiredDescription DesiredStatus DesiredTransition EvalID FollowupEvalID ID JobID JobType \
    JobVersion ModifyIndex ModifyTime Name Namespace NextAllocation NodeID NodeName \
    PreemptedAllocations PreemptedByAllocation RescheduleTracker TaskGroup TaskStates";
const TASK_STATE: &str = "Events Failed FinishedAt LastRestart Paused Restarts StartedAt State";
const TASK_EVENT: &str = "Details DiskLimit DiskSize DisplayMessage DownloadError DriverError \
    DriverMessage ExitCode FailedSibling FailsTask GenericSource KillError KillReason KillTimeout \
    Message RestartReason SetupError Signal StartDelay TaskSignal TaskSignalReason Time Type \
    ValidationError VaultError";
const METRIC: &str = "AllocationTime ClassExhausted ClassFiltered CoalescedFailures ConstraintFiltered \
    DimensionExhausted NodePool NodesAvailable NodesEvaluated NodesExhausted NodesFiltered \
    NodesInPool QuotaExhausted ResourcesExhausted ScoreMetaData Scores";
const EVAL: &str = "CreateIndex CreateTime ID JobID ModifyIndex ModifyTime Namespace PlanAnnotations \
    Priority QueuedAllocations Status TriggeredBy Type";
const DEPLOYMENT: &str = "CreateIndex CreateTime EvalPriority ID IsMultiregion JobCreateIndex JobID \
    JobModifyIndex JobSpecModifyIndex JobVersion ModifyIndex ModifyTime Namespace Status \
    StatusDescription TaskGroups";
const DEPLOYMENT_STATE: &str = "AutoPromote AutoRevert DesiredCanaries DesiredTotal HealthyAllocs \
    PlacedAllocs PlacedCanaries ProgressDeadline Promoted RequireProgressBy UnhealthyAllocs";
const NODE: &str = "Attributes CSIControllerPlugins CSINodePlugins CgroupParent ComputedClass \
    CreateIndex Datacenter Drain DrainStrategy Drivers Events HTTPAddr HostNetworks HostVolumes ID \
    LastDrain Links Meta ModifyIndex Name NodeClass NodeMaxAllocs NodePool NodeResources \
    ReservedResources SchedulingEligibility SecretID Status StatusDescription StatusUpdatedAt \
    TLSEnabled";
const NODE_STUB: &str = "Address CreateIndex Datacenter Drain Drivers HostVolumes ID LastDrain \
    ModifyIndex Name NodeClass NodePool SchedulingEligibility Status StatusDescription Version";
const MEMBER: &str = "Addr DelegateCur DelegateMax DelegateMin Name Port ProtocolCur ProtocolMax \
    ProtocolMin Status Tags";
const PLAN: &str = "Annotations CreatedEvals Diff FailedTGAllocs Index JobModifyIndex \
    NextPeriodicLaunch Warnings";
const REGISTERED: &str =
    "EvalCreateIndex EvalID Index JobModifyIndex KnownLeader LastContact Warnings";

/// `object` has every one of `keys`.
#[track_caller]
fn has(object: &Value, keys: &str) {
    let fields = object.as_object().expect("an object");
    let missing: Vec<&str> = keys
        .split_ascii_whitespace()
        .filter(|key| !fields.contains_key(*key))
        .collect();
    assert!(missing.is_empty(), "{missing:?} missing in {object:#}");
}

async fn get(agent: &Agent, path: &str) -> Value {
    http::get(&agent.url("http", path)).await
}

fn id(object: &Value) -> &str {
    object["ID"].as_str().expect("an id")
}

fn has_job(job: &Value) {
    has(job, JOB);
    let group = &job["TaskGroups"][0];
    has(group, TASK_GROUP);
    has(&group["Tasks"][0], TASK);
    has(&group["Tasks"][0]["Resources"], RESOURCES);
    has(&group["Services"][0], SERVICE);
    has(&group["Services"][0]["Checks"][0], CHECK);
}

fn has_task_states(alloc: &Value) {
    let states = alloc["TaskStates"].as_object().expect("task states");
    for state in states.values() {
        has(state, TASK_STATE);
        for event in state["Events"].as_array().expect("events") {
            has(event, TASK_EVENT);
        }
    }
    assert!(!states.is_empty(), "{alloc:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_carry_every_field_that_clients_know() {
    let agent = Agent::start().await;
    let job = Echo::new("fields", 1);
    job.run(&agent).await;
    job.deployment(&agent, 0, "successful").await;

    has_job(&get(&agent, "/v1/job/fields").await);
    has_job(&get(&agent, "/v1/job/fields/versions").await["Versions"][0]);
    let stub = &get(&agent, "/v1/jobs").await[0];
    has(stub, JOB_STUB);
    has(&stub["JobSummary"], SUMMARY);
    has(&get(&agent, "/v1/job/fields/summary").await, SUMMARY);

    let stub = &get(&agent, "/v1/job/fields/allocations").await[0];
    has(stub, ALLOC_STUB);
    has_task_states(stub);
    let alloc = get(&agent, &format!("/v1/allocation/{}", id(stub))).await;
    has(&alloc, ALLOC);
    has_task_states(&alloc);
    has_job(&alloc["Job"]);
    has(&alloc["Metrics"], METRIC);
    has(&alloc["Resources"], RESOURCES);
    for resources in alloc["TaskResources"].as_object().expect("a map").values() {
        has(resources, RESOURCES);
    }

    let eval = alloc["EvalID"].as_str().expect("an id");
    has(&get(&agent, &format!("/v1/evaluation/{eval}")).await, EVAL);
    let deployment = get(&agent, "/v1/job/fields/deployment").await;
    has(&deployment, DEPLOYMENT);
    has(&deployment["TaskGroups"]["web"], DEPLOYMENT_STATE);

    let stub = &get(&agent, "/v1/nodes").await[0];
    has(stub, NODE_STUB);
    let node = get(&agent, &format!("/v1/node/{}", id(stub))).await;
    has(&node, NODE);
    assert_eq!(node["SecretID"], "");
    has(
        &get(&agent, "/v1/agent/members").await["Members"][0],
        MEMBER,
    );
    let this = get(&agent, "/v1/agent/self").await;
    has(&this, "config member stats");
    has(&this["member"], MEMBER);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_are_told_the_level_of_the_api_and_the_own_version_beside_it() {
    let agent = Agent::start().await;
    let own = env!("CARGO_PKG_VERSION");
    let this = get(&agent, "/v1/agent/self").await;
    let version = &this["config"]["Version"];
    assert_eq!(version["Version"], API_VERSION);
    assert_eq!(version["VersionMetadata"], format!("trivet.{own}"));
    let members = get(&agent, "/v1/agent/members").await;
    for member in [&this["member"], &members["Members"][0]] {
        let tags = &member["Tags"];
        assert_eq!(
            (&tags["build"], &tags["trivet_version"]),
            (&json!(API_VERSION), &json!(own))
        );
    }
    let stub = &get(&agent, "/v1/nodes").await[0];
    assert_eq!(stub["Version"], API_VERSION);
    let node = get(&agent, &format!("/v1/node/{}", id(stub))).await;
    let attributes = &node["Attributes"];
    assert_eq!(
        (&attributes["nomad.version"], &attributes["trivet.version"]),
        (&json!(API_VERSION), &json!(own))
    );
    let health = get(&agent, "/v1/operator/autopilot/health").await;
    assert_eq!(health["Servers"][0]["Version"], API_VERSION);
    // Where our own command line tells it, both are seen.
    let shown = trivet(&agent, &["server", "members"]).await.ok();
    let both = format!("{API_VERSION}+trivet.{own}");
    assert!(shown.stdout.contains(&both), "{}", shown.stdout);
}

/// A batch job without anything that has a default; keys as a careless client writes them.
fn minimal(id: &str) -> Value {
    json!({"job": {
        "id": id,
        "Type": "batch",
        "taskgroups": [{"name": "g", "Tasks": [{
            "Name": "t",
            "driver": "raw_exec",
            "Config": {"command": TRIVET, "args": ["version"]},
        }]}],
    }})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_posted_as_json_works_like_one_of_a_file() {
    let agent = Agent::start().await;
    let posted = minimal("plain");
    let plan = json!({"Job": posted["job"], "Diff": true});
    let plan = http::put(&agent.url("http", "/v1/job/plain/plan"), &plan).await;
    has(&plan, PLAN);
    assert_eq!(plan["Diff"]["Type"], "Added");

    let registered = http::put(&agent.url("http", "/v1/jobs"), &posted).await;
    has(&registered, REGISTERED);
    agent
        .wait("/v1/job/plain/allocations", |allocs| {
            (allocs[0]["ClientStatus"] == "complete").then_some(())
        })
        .await;

    // What was read can be posted again, under another name or as it is.
    let mut read = get(&agent, "/v1/job/plain").await;
    let again = http::put(&agent.url("http", "/v1/jobs"), &json!({"Job": read})).await;
    assert_ne!(again["EvalID"], "");
    assert_eq!(get(&agent, "/v1/job/plain").await["Version"], 0);
    read["ID"] = "copy".into();
    read["Name"] = "copy".into();
    http::put(&agent.url("http", "/v1/jobs"), &json!({"Job": read})).await;
    agent
        .wait("/v1/job/copy/allocations", |allocs| {
            (allocs[0]["ClientStatus"] == "complete").then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_job_posted_as_json_is_refused_with_its_reasons() {
    let agent = Agent::start().await;
    let mut posted = minimal("bad");
    posted["job"]["Priority"] = 1000.into();
    let url = agent.url("http", "/v1/jobs");
    let (status, text) = http::send(Method::PUT, &url, Some(&posted)).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{text}");
    assert!(text.contains("priority"), "{text}");
    let (status, text) = http::send(Method::PUT, &url, Some(&json!({"Job": {"ID": 5}}))).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{text}");
    assert_eq!(get(&agent, "/v1/jobs").await, json!([]));
}
