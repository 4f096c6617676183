//! What a task, a service and a sidecar may be given: identities and volumes.

use super::{Schema, duration, flag, plain, text, texts};

pub(super) static IDENTITY: Schema = plain(&[
    text("name", "Name"),
    texts("aud", "Audience"),
    text("change_mode", "ChangeMode"),
    text("change_signal", "ChangeSignal"),
    flag("env", "Env"),
    flag("file", "File"),
    text("filepath", "Filepath"),
    text("service_name", "ServiceName"),
    duration("ttl", "TTL"),
    texts("extra_claims", "ExtraClaims"),
]);

pub(super) static VOLUME_MOUNT: Schema = plain(&[
    text("volume", "Volume"),
    text("destination", "Destination"),
    flag("read_only", "ReadOnly"),
    text("propagation_mode", "PropagationMode"),
    text("selinux_label", "SELinuxLabel"),
]);
