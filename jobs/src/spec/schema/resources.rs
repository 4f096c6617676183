use super::network::NETWORK;
use super::placement::{AFFINITIES, CONSTRAINTS};
use super::{BARE, Schema, flag, keep, labeled, many, nested, one, plain, text, texts, whole};

pub(super) static RESOURCES: Schema = Schema {
    attributes: &[
        whole("cpu", "CPU"),
        whole("cores", "Cores"),
        whole("memory", "MemoryMB"),
        whole("memory_max", "MemoryMaxMB"),
        whole("disk", "DiskMB"),
        whole("iops", "IOPS"),
        whole("secrets", "SecretsMB"),
    ],
    blocks: &[
        many("network", "Networks", &NETWORK),
        labeled("device", "Devices", "Name", &DEVICE),
        one("numa", "NUMA", &NUMA),
    ],
    finish: keep,
    ..BARE
};

static DEVICE: Schema = nested(&[whole("count", "Count")], &[CONSTRAINTS, AFFINITIES]);

static NUMA: Schema = plain(&[text("affinity", "Affinity"), texts("devices", "Devices")]);

pub(super) static LOGS: Schema = plain(&[
    whole("max_files", "MaxFiles"),
    whole("max_file_size", "MaxFileSizeMB"),
    flag("disabled", "Disabled"),
    flag("enabled", "Enabled"),
]);
