//! Which keys a configuration entry of each kind may have.
//!
//! People write them in capitals or with underscores; they are stored as the API answers.

use serde_json::{Map, Value};

/// What may stand somewhere.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    /// Anything; free keys stay as they are.
    Any,
    /// An object with these keys.
    Object(&'static [(&'static str, Shape)]),
    /// A list of such.
    List(&'static Shape),
    /// Such by free keys.
    Map(&'static Shape),
}

use Shape::{Any, List, Map as ByKey, Object};

const GATEWAY: Shape = Object(&[("Mode", Any)]);
const EXPOSE: Shape = Object(&[
    ("Checks", Any),
    (
        "Paths",
        List(&Object(&[
            ("ListenerPort", Any),
            ("Path", Any),
            ("LocalPathPort", Any),
            ("Protocol", Any),
            ("ParsedFromCheck", Any),
        ])),
    ),
]);
const TRANSPARENT: Shape = Object(&[("OutboundListenerPort", Any), ("DialedDirectly", Any)]);
const LIMITS: Shape = Object(&[
    ("MaxConnections", Any),
    ("MaxPendingRequests", Any),
    ("MaxConcurrentRequests", Any),
]);
const HEALTH: Shape = Object(&[
    ("Interval", Any),
    ("MaxFailures", Any),
    ("EnforcingConsecutive5xx", Any),
    ("MaxEjectionPercent", Any),
    ("BaseEjectionTime", Any),
]);
const UPSTREAM: Shape = Object(&[
    ("Name", Any),
    ("Namespace", Any),
    ("Partition", Any),
    ("Peer", Any),
    ("EnvoyListenerJSON", Any),
    ("EnvoyClusterJSON", Any),
    ("Protocol", Any),
    ("ConnectTimeoutMs", Any),
    ("Limits", LIMITS),
    ("PassiveHealthCheck", HEALTH),
    ("MeshGateway", GATEWAY),
    ("BalanceOutboundConnections", Any),
]);
const HEADERS: Shape = Object(&[("Add", ByKey(&Any)), ("Set", ByKey(&Any)), ("Remove", Any)]);
const MATCHED: &[(&str, Shape)] = &[
    ("Name", Any),
    ("Present", Any),
    ("Exact", Any),
    ("Prefix", Any),
    ("Suffix", Any),
    ("Contains", Any),
    ("Regex", Any),
    ("Invert", Any),
    ("IgnoreCase", Any),
];
const TLS: Shape = Object(&[
    ("Enabled", Any),
    ("TLSMinVersion", Any),
    ("TLSMaxVersion", Any),
    ("CipherSuites", Any),
    ("SDS", Any),
]);
const PERMISSION: Shape = Object(&[
    ("Action", Any),
    (
        "HTTP",
        Object(&[
            ("PathExact", Any),
            ("PathPrefix", Any),
            ("PathRegex", Any),
            ("Header", List(&Object(MATCHED))),
            ("Methods", Any),
        ]),
    ),
    ("JWT", Any),
]);

/// The kinds that are known, and what their entries may say besides `Kind`, `Name`, `Namespace`,
/// `Partition` and `Meta`. Those with no keys are kept as they are.
const KINDS: &[(&str, &[(&str, Shape)])] = &[
    (
        "service-defaults",
        &[
            ("Protocol", Any),
            ("Mode", Any),
            ("TransparentProxy", TRANSPARENT),
            ("MutualTLSMode", Any),
            ("MeshGateway", GATEWAY),
            ("Expose", EXPOSE),
            ("ExternalSNI", Any),
            (
                "UpstreamConfig",
                Object(&[("Overrides", List(&UPSTREAM)), ("Defaults", UPSTREAM)]),
            ),
            (
                "Destination",
                Object(&[("Addresses", Any), ("Address", Any), ("Port", Any)]),
            ),
            ("MaxInboundConnections", Any),
            ("LocalConnectTimeoutMs", Any),
            ("LocalRequestTimeoutMs", Any),
            ("BalanceInboundConnections", Any),
            ("RateLimits", Any),
            ("EnvoyExtensions", Any),
        ],
    ),
    (
        "proxy-defaults",
        &[
            ("Config", Any),
            ("Mode", Any),
            ("TransparentProxy", TRANSPARENT),
            ("MutualTLSMode", Any),
            ("MeshGateway", GATEWAY),
            ("Expose", EXPOSE),
            ("AccessLogs", Any),
            ("EnvoyExtensions", Any),
            ("FailoverPolicy", Any),
            ("PrioritizeByLocality", Any),
        ],
    ),
    (
        "service-router",
        &[(
            "Routes",
            List(&Object(&[
                (
                    "Match",
                    Object(&[(
                        "HTTP",
                        Object(&[
                            ("PathExact", Any),
                            ("PathPrefix", Any),
                            ("PathRegex", Any),
                            ("CaseInsensitive", Any),
                            ("Header", List(&Object(MATCHED))),
                            ("QueryParam", List(&Object(MATCHED))),
                            ("Methods", Any),
                        ]),
                    )]),
                ),
                (
                    "Destination",
                    Object(&[
                        ("Service", Any),
                        ("ServiceSubset", Any),
                        ("Namespace", Any),
                        ("Partition", Any),
                        ("PrefixRewrite", Any),
                        ("RequestTimeout", Any),
                        ("IdleTimeout", Any),
                        ("NumRetries", Any),
                        ("RetryOnConnectFailure", Any),
                        ("RetryOnStatusCodes", Any),
                        ("RetryOn", Any),
                        ("RequestHeaders", HEADERS),
                        ("ResponseHeaders", HEADERS),
                    ]),
                ),
            ])),
        )],
    ),
    (
        "service-splitter",
        &[(
            "Splits",
            List(&Object(&[
                ("Weight", Any),
                ("Service", Any),
                ("ServiceSubset", Any),
                ("Namespace", Any),
                ("Partition", Any),
                ("RequestHeaders", HEADERS),
                ("ResponseHeaders", HEADERS),
            ])),
        )],
    ),
    (
        "service-resolver",
        &[
            ("DefaultSubset", Any),
            (
                "Subsets",
                ByKey(&Object(&[("Filter", Any), ("OnlyPassing", Any)])),
            ),
            (
                "Redirect",
                Object(&[
                    ("Service", Any),
                    ("ServiceSubset", Any),
                    ("Namespace", Any),
                    ("Partition", Any),
                    ("Datacenter", Any),
                    ("Peer", Any),
                    ("SamenessGroup", Any),
                ]),
            ),
            (
                "Failover",
                ByKey(&Object(&[
                    ("Service", Any),
                    ("ServiceSubset", Any),
                    ("Namespace", Any),
                    ("Datacenters", Any),
                    ("Targets", Any),
                    ("Policy", Any),
                    ("SamenessGroup", Any),
                ])),
            ),
            ("ConnectTimeout", Any),
            ("RequestTimeout", Any),
            ("LoadBalancer", Any),
            ("PrioritizeByLocality", Any),
        ],
    ),
    (
        "ingress-gateway",
        &[
            ("TLS", TLS),
            (
                "Listeners",
                List(&Object(&[
                    ("Port", Any),
                    ("Protocol", Any),
                    ("TLS", TLS),
                    (
                        "Services",
                        List(&Object(&[
                            ("Name", Any),
                            ("Hosts", Any),
                            ("Namespace", Any),
                            ("Partition", Any),
                            ("TLS", TLS),
                            ("RequestHeaders", HEADERS),
                            ("ResponseHeaders", HEADERS),
                            ("MaxConnections", Any),
                            ("MaxPendingRequests", Any),
                            ("MaxConcurrentRequests", Any),
                            ("PassiveHealthCheck", HEALTH),
                        ])),
                    ),
                ])),
            ),
            ("Defaults", Any),
        ],
    ),
    (
        "terminating-gateway",
        &[(
            "Services",
            List(&Object(&[
                ("Name", Any),
                ("Namespace", Any),
                ("CAFile", Any),
                ("CertFile", Any),
                ("KeyFile", Any),
                ("SNI", Any),
                ("DisableAutoHostRewrite", Any),
            ])),
        )],
    ),
    (
        "service-intentions",
        &[
            (
                "Sources",
                List(&Object(&[
                    ("Name", Any),
                    ("Action", Any),
                    ("Permissions", List(&PERMISSION)),
                    ("Precedence", Any),
                    ("LegacyID", Any),
                    ("Type", Any),
                    ("Description", Any),
                    ("LegacyMeta", Any),
                    ("LegacyCreateTime", Any),
                    ("LegacyUpdateTime", Any),
                    ("Namespace", Any),
                    ("Partition", Any),
                    ("Peer", Any),
                    ("SamenessGroup", Any),
                ])),
            ),
            ("JWT", Any),
        ],
    ),
    (
        "mesh",
        &[
            ("TransparentProxy", Object(&[("MeshDestinationsOnly", Any)])),
            ("AllowEnablingPermissiveMutualTLS", Any),
            ("TLS", Any),
            ("HTTP", Any),
            ("Peering", Any),
            ("ValidateClusters", Any),
        ],
    ),
    (
        "exported-services",
        &[(
            "Services",
            List(&Object(&[
                ("Name", Any),
                ("Namespace", Any),
                ("Consumers", Any),
            ])),
        )],
    ),
    ("control-plane-request-limit", &[]),
    ("jwt-provider", &[]),
    ("api-gateway", &[]),
    ("http-route", &[]),
    ("tcp-route", &[]),
    ("inline-certificate", &[]),
    ("file-system-certificate", &[]),
];

/// Whether entries of this kind are known.
pub(super) fn is_known(kind: &str) -> bool {
    KINDS.iter().any(|(known, _)| *known == kind)
}

/// An entry with its keys as the API answers them, or the keys that it may not have.
pub(super) fn canonical(kind: &str, entry: Map<String, Value>) -> Result<Value, Vec<String>> {
    let own = KINDS.iter().find(|(known, _)| *known == kind);
    let own = own.map_or(&[][..], |(_, keys)| keys);
    let common = [
        ("Kind", Any),
        ("Name", Any),
        ("Namespace", Any),
        ("Partition", Any),
        ("Meta", ByKey(&Any)),
        ("Hash", Any),
        ("CreateIndex", Any),
        ("ModifyIndex", Any),
    ];
    let mut unknown = Vec::new();
    let is_free = own.is_empty();
    let keys = [&common[..], own].concat();
    let renamed = renamed(entry, &keys, is_free, "", &mut unknown);
    if unknown.is_empty() {
        Ok(Value::Object(renamed))
    } else {
        Err(unknown)
    }
}

fn renamed(
    map: Map<String, Value>,
    keys: &[(&str, Shape)],
    is_free: bool,
    path: &str,
    unknown: &mut Vec<String>,
) -> Map<String, Value> {
    let mut found = Map::new();
    for (key, value) in map {
        let known = keys.iter().find(|(known, _)| folded(known) == folded(&key));
        match known {
            Some((name, shape)) => {
                let path = format!("{path}{name}.");
                found.insert((*name).to_owned(), shaped(value, *shape, &path, unknown));
            }
            None if is_free => {
                found.insert(key, value);
            }
            None => unknown.push(format!("{path}{key}")),
        }
    }
    // In the order of the shape, whatever the writer's was.
    let mut ordered = Map::new();
    for (name, _) in keys {
        if let Some(value) = found.remove(*name) {
            ordered.insert((*name).to_owned(), value);
        }
    }
    ordered.extend(found);
    ordered
}

fn shaped(value: Value, shape: Shape, path: &str, unknown: &mut Vec<String>) -> Value {
    match (shape, value) {
        (Object(keys), Value::Object(map)) => {
            Value::Object(renamed(map, keys, false, path, unknown))
        }
        (List(inner), Value::Array(items)) => {
            let items = items.into_iter().enumerate();
            let shaped = items.map(|(at, item)| {
                let path = format!("{}[{at}].", path.trim_end_matches('.'));
                shaped(item, *inner, &path, unknown)
            });
            Value::Array(shaped.collect())
        }
        (ByKey(inner), Value::Object(map)) => {
            let pairs = map.into_iter().map(|(key, value)| {
                let path = format!("{path}{key}.");
                let value = shaped(value, *inner, &path, unknown);
                (key, value)
            });
            Value::Object(pairs.collect())
        }
        (_, value) => value,
    }
}

fn folded(name: &str) -> String {
    name.replace('_', "").to_ascii_lowercase()
}
