use super::connect::CONNECT;
use super::grants::IDENTITY;
use super::{
    BARE, Content, Schema, duration, flag, keep, many, one, opaque, plain, text, texts, whole,
};

pub(super) static SERVICE: Schema = Schema {
    attributes: &[
        text("name", "Name"),
        text("provider", "Provider"),
        text("port", "PortLabel"),
        text("address", "Address"),
        text("address_mode", "AddressMode"),
        texts("tags", "Tags"),
        texts("canary_tags", "CanaryTags"),
        flag("enable_tag_override", "EnableTagOverride"),
        text("on_update", "OnUpdate"),
        text("task", "TaskName"),
        text("cluster", "Cluster"),
        text("kind", "Kind"),
    ],
    blocks: &[
        many("check", "Checks", &CHECK),
        one("check_restart", "CheckRestart", &CHECK_RESTART),
        opaque("meta", "Meta", Content::Labels),
        opaque("canary_meta", "CanaryMeta", Content::Labels),
        opaque("tagged_addresses", "TaggedAddresses", Content::Texts(false)),
        one("weights", "Weights", &WEIGHTS),
        one("connect", "Connect", &CONNECT),
        one("identity", "Identity", &IDENTITY),
    ],
    finish: keep,
    ..BARE
};

static WEIGHTS: Schema = plain(&[whole("passing", "Passing"), whole("warning", "Warning")]);

static CHECK: Schema = Schema {
    attributes: &[
        text("name", "Name"),
        text("type", "Type"),
        text("command", "Command"),
        texts("args", "Args"),
        text("path", "Path"),
        text("protocol", "Protocol"),
        text("port", "PortLabel"),
        text("address_mode", "AddressMode"),
        duration("interval", "Interval"),
        duration("timeout", "Timeout"),
        text("initial_status", "InitialStatus"),
        flag("tls_skip_verify", "TLSSkipVerify"),
        text("method", "Method"),
        text("body", "Body"),
        text("notes", "Notes"),
        text("task", "TaskName"),
        whole("success_before_passing", "SuccessBeforePassing"),
        whole("failures_before_critical", "FailuresBeforeCritical"),
        whole("failures_before_warning", "FailuresBeforeWarning"),
        text("on_update", "OnUpdate"),
        flag("expose", "Expose"),
        text("advertise", "Advertise"),
        text("tls_server_name", "TLSServerName"),
        text("grpc_service", "GRPCService"),
        flag("grpc_use_tls", "GRPCUseTLS"),
    ],
    blocks: &[
        opaque("header", "Header", Content::TextLists),
        one("check_restart", "CheckRestart", &CHECK_RESTART),
    ],
    finish: keep,
    ..BARE
};

static CHECK_RESTART: Schema = plain(&[
    whole("limit", "Limit"),
    duration("grace", "Grace"),
    flag("ignore_warnings", "IgnoreWarnings"),
]);
