//! Which keys a configuration entry of each kind may have. Source: configuration entries,
//! reference of each kind.

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
    /// A length of time that is answered as text.
    Time,
    /// A length of time that is answered as nanoseconds.
    Nanoseconds,
    /// Another name of the key beside it.
    Alias(&'static str),
}

use Shape::{Alias, Any, List, Map as ByKey, Nanoseconds, Object, Time};

/// What entries of every kind may say.
pub(super) const COMMON: &[(&str, Shape)] = &[
    ("Kind", Any),
    ("Name", Any),
    ("Namespace", Any),
    ("Partition", Any),
    ("Meta", ByKey(&Any)),
    ("Hash", Any),
    ("CreateIndex", Any),
    ("ModifyIndex", Any),
];

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
    ("Interval", Nanoseconds),
    ("MaxFailures", Any),
    ("EnforcingConsecutive5xx", Any),
    ("MaxEjectionPercent", Any),
    ("BaseEjectionTime", Nanoseconds),
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
const SDS: Shape = Object(&[("ClusterName", Any), ("CertResource", Any)]);
const TLS: Shape = Object(&[
    ("Enabled", Any),
    ("TLSMinVersion", Any),
    ("TLSMaxVersion", Any),
    ("CipherSuites", Any),
    ("SDS", SDS),
]);
/// Who signs tokens, and what they have to claim.
const TOKENS: Shape = Object(&[(
    "Providers",
    List(&Object(&[
        ("Name", Any),
        (
            "VerifyClaims",
            List(&Object(&[("Path", Any), ("Value", Any)])),
        ),
    ])),
)]);
const EXTENSIONS: Shape = List(&Object(&[
    ("Name", Any),
    ("Required", Any),
    ("Arguments", Any),
    ("ConsulVersion", Any),
    ("EnvoyVersion", Any),
]));
const RATES: Shape = Object(&[(
    "InstanceLevel",
    Object(&[
        ("RequestsPerSecond", Any),
        ("RequestsMaxBurst", Any),
        (
            "Routes",
            List(&Object(&[
                ("PathExact", Any),
                ("PathPrefix", Any),
                ("PathRegex", Any),
                ("RequestsPerSecond", Any),
                ("RequestsMaxBurst", Any),
            ])),
        ),
    ]),
)]);
const FAILOVER: Shape = Object(&[("Mode", Any), ("Regions", Any)]);
const LOCALITY: Shape = Object(&[("Mode", Any)]);
const BALANCER: Shape = Object(&[
    ("Policy", Any),
    (
        "RingHashConfig",
        Object(&[("MinimumRingSize", Any), ("MaximumRingSize", Any)]),
    ),
    ("LeastRequestConfig", Object(&[("ChoiceCount", Any)])),
    (
        "HashPolicies",
        List(&Object(&[
            ("Field", Any),
            ("FieldValue", Any),
            (
                "CookieConfig",
                Object(&[("Session", Any), ("TTL", Nanoseconds), ("Path", Any)]),
            ),
            ("SourceIP", Any),
            ("Terminal", Any),
        ])),
    ),
]);
const REFERENCE: Shape = Object(&[
    ("Kind", Any),
    ("Name", Any),
    ("SectionName", Any),
    ("Namespace", Any),
    ("Partition", Any),
]);
const STATUS: Shape = Object(&[(
    "Conditions",
    List(&Object(&[
        ("Type", Any),
        ("Status", Any),
        ("Reason", Any),
        ("Message", Any),
        ("Resource", REFERENCE),
        ("LastTransitionTime", Any),
    ])),
)]);
const HEADER_FILTERS: Shape = List(&HEADERS);
const ROUTE_FILTERS: Shape = Object(&[
    ("Headers", HEADER_FILTERS),
    ("URLRewrite", Object(&[("Path", Any)])),
    (
        "RetryFilter",
        Object(&[
            ("NumRetries", Any),
            ("RetryOn", Any),
            ("RetryOnStatusCodes", Any),
            ("RetryOnConnectFailure", Any),
        ]),
    ),
    (
        "TimeoutFilter",
        Object(&[
            ("RequestTimeout", Nanoseconds),
            ("IdleTimeout", Nanoseconds),
        ]),
    ),
    ("JWT", TOKENS),
]);
const ROUTE_MATCHED: Shape = Object(&[("Match", Any), ("Name", Any), ("Value", Any)]);
const RESPONSE_FILTERS: Shape = Object(&[("Headers", HEADER_FILTERS)]);
const CERTIFICATE: &[(&str, Shape)] = &[("Certificate", Any), ("PrivateKey", Any)];
/// Versions and ciphers of one direction.
const DIRECTION: Shape = Object(&[
    ("TLSMinVersion", Any),
    ("TLSMaxVersion", Any),
    ("CipherSuites", Any),
]);
const READS_AND_WRITES: Shape = Object(&[("ReadRate", Any), ("WriteRate", Any)]);
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
    ("JWT", TOKENS),
]);

/// Where keys of tokens are fetched.
const REMOTE_KEYS: Shape = Object(&[
    ("URI", Any),
    ("RequestTimeoutMs", Any),
    ("CacheDuration", Nanoseconds),
    ("FetchAsynchronously", Any),
    ("UseSNI", Any),
    (
        "RetryPolicy",
        Object(&[
            ("NumRetries", Any),
            (
                "RetryPolicyBackOff",
                Object(&[("BaseInterval", Nanoseconds), ("MaxInterval", Nanoseconds)]),
            ),
        ]),
    ),
    (
        "JWKSCluster",
        Object(&[
            ("DiscoveryType", Any),
            (
                "TLSCertificates",
                Object(&[
                    (
                        "CaCertificateProviderInstance",
                        Object(&[("InstanceName", Any), ("CertificateName", Any)]),
                    ),
                    (
                        "TrustedCA",
                        Object(&[
                            ("Filename", Any),
                            ("EnvironmentVariable", Any),
                            ("InlineString", Any),
                            ("InlineBytes", Any),
                        ]),
                    ),
                ]),
            ),
            ("ConnectTimeout", Nanoseconds),
        ]),
    ),
]);

/// The kinds that are known, and what their entries may say besides [`COMMON`].
pub(super) const KINDS: &[(&str, &[(&str, Shape)])] = &[
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
            ("RateLimits", RATES),
            ("EnvoyExtensions", EXTENSIONS),
            ("MaxRequestHeadersKB", Any),
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
            (
                "AccessLogs",
                Object(&[
                    ("Enabled", Any),
                    ("DisableListenerLogs", Any),
                    ("Type", Any),
                    ("Path", Any),
                    ("JSONFormat", Any),
                    ("TextFormat", Any),
                ]),
            ),
            ("EnvoyExtensions", EXTENSIONS),
            ("FailoverPolicy", FAILOVER),
            ("PrioritizeByLocality", LOCALITY),
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
                        ("RequestTimeout", Time),
                        ("IdleTimeout", Time),
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
                    (
                        "Targets",
                        List(&Object(&[
                            ("Service", Any),
                            ("ServiceSubset", Any),
                            ("Namespace", Any),
                            ("Partition", Any),
                            ("Datacenter", Any),
                            ("Peer", Any),
                        ])),
                    ),
                    ("Policy", FAILOVER),
                    ("SamenessGroup", Any),
                ])),
            ),
            ("ConnectTimeout", Time),
            ("RequestTimeout", Time),
            ("LoadBalancer", BALANCER),
            ("PrioritizeByLocality", LOCALITY),
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
            (
                "Defaults",
                Object(&[
                    ("MaxConnections", Any),
                    ("MaxPendingRequests", Any),
                    ("MaxConcurrentRequests", Any),
                    ("PassiveHealthCheck", HEALTH),
                ]),
            ),
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
            ("JWT", TOKENS),
        ],
    ),
    (
        "mesh",
        &[
            ("TransparentProxy", Object(&[("MeshDestinationsOnly", Any)])),
            ("AllowEnablingPermissiveMutualTLS", Any),
            (
                "TLS",
                Object(&[("Incoming", DIRECTION), ("Outgoing", DIRECTION)]),
            ),
            (
                "HTTP",
                Object(&[
                    ("SanitizeXForwardedClientCert", Any),
                    (
                        "Incoming",
                        Object(&[(
                            "RequestNormalization",
                            Object(&[
                                ("InsecureDisablePathNormalization", Any),
                                ("MergeSlashes", Any),
                                ("PathWithEscapedSlashesAction", Any),
                                ("HeadersWithUnderscoresAction", Any),
                            ]),
                        )]),
                    ),
                ]),
            ),
            ("Peering", Object(&[("PeerThroughMeshGateways", Any)])),
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
                (
                    "Consumers",
                    List(&Object(&[
                        ("Partition", Any),
                        ("Peer", Any),
                        ("PeerName", Alias("Peer")),
                        ("SamenessGroup", Any),
                    ])),
                ),
            ])),
        )],
    ),
    (
        "control-plane-request-limit",
        &[
            ("Mode", Any),
            ("ReadRate", Any),
            ("WriteRate", Any),
            ("ACL", READS_AND_WRITES),
            ("Catalog", READS_AND_WRITES),
            ("ConfigEntry", READS_AND_WRITES),
            ("ConnectCA", READS_AND_WRITES),
            ("Coordinate", READS_AND_WRITES),
            ("DiscoveryChain", READS_AND_WRITES),
            ("ServerDiscovery", READS_AND_WRITES),
            ("Health", READS_AND_WRITES),
            ("Intention", READS_AND_WRITES),
            ("KV", READS_AND_WRITES),
            ("Tenancy", READS_AND_WRITES),
            ("PreparedQuery", READS_AND_WRITES),
            ("Session", READS_AND_WRITES),
            ("Txn", READS_AND_WRITES),
            ("AutoConfig", READS_AND_WRITES),
            ("FederationState", READS_AND_WRITES),
            ("Internal", READS_AND_WRITES),
            ("PeerStream", READS_AND_WRITES),
            ("Peering", READS_AND_WRITES),
            ("DataPlane", READS_AND_WRITES),
            ("DNS", READS_AND_WRITES),
            ("Subscribe", READS_AND_WRITES),
            ("Resource", READS_AND_WRITES),
        ],
    ),
    (
        "jwt-provider",
        &[
            (
                "JSONWebKeySet",
                Object(&[
                    ("Local", Object(&[("JWKS", Any), ("Filename", Any)])),
                    ("Remote", REMOTE_KEYS),
                ]),
            ),
            ("Issuer", Any),
            ("Audiences", Any),
            (
                "Locations",
                List(&Object(&[
                    (
                        "Header",
                        Object(&[("Name", Any), ("ValuePrefix", Any), ("Forward", Any)]),
                    ),
                    ("QueryParam", Object(&[("Name", Any)])),
                    ("Cookie", Object(&[("Name", Any)])),
                ])),
            ),
            (
                "Forwarding",
                Object(&[("HeaderName", Any), ("PadForwardPayloadHeader", Any)]),
            ),
            ("ClockSkewSeconds", Any),
            ("CacheConfig", Object(&[("Size", Any)])),
        ],
    ),
    (
        "api-gateway",
        &[
            (
                "Listeners",
                List(&Object(&[
                    ("Name", Any),
                    ("Hostname", Any),
                    ("Port", Any),
                    ("Protocol", Any),
                    (
                        "TLS",
                        Object(&[
                            ("Certificates", List(&REFERENCE)),
                            ("MaxVersion", Any),
                            ("TLSMaxVersion", Alias("MaxVersion")),
                            ("MinVersion", Any),
                            ("TLSMinVersion", Alias("MinVersion")),
                            ("CipherSuites", Any),
                        ]),
                    ),
                    ("Override", Object(&[("JWT", TOKENS)])),
                    ("Default", Object(&[("JWT", TOKENS)])),
                    ("MaxRequestHeadersKB", Any),
                ])),
            ),
            ("Status", STATUS),
        ],
    ),
    (
        "http-route",
        &[
            ("Parents", List(&REFERENCE)),
            (
                "Rules",
                List(&Object(&[
                    ("Filters", ROUTE_FILTERS),
                    ("ResponseFilters", RESPONSE_FILTERS),
                    (
                        "Matches",
                        List(&Object(&[
                            ("Headers", List(&ROUTE_MATCHED)),
                            ("Method", Any),
                            ("Path", Object(&[("Match", Any), ("Value", Any)])),
                            ("Query", List(&ROUTE_MATCHED)),
                        ])),
                    ),
                    (
                        "Services",
                        List(&Object(&[
                            ("Name", Any),
                            ("Weight", Any),
                            ("Filters", ROUTE_FILTERS),
                            ("ResponseFilters", RESPONSE_FILTERS),
                            ("Namespace", Any),
                            ("Partition", Any),
                        ])),
                    ),
                ])),
            ),
            ("Hostnames", Any),
            ("Status", STATUS),
        ],
    ),
    (
        "tcp-route",
        &[
            ("Parents", List(&REFERENCE)),
            (
                "Services",
                List(&Object(&[
                    ("Name", Any),
                    ("Namespace", Any),
                    ("Partition", Any),
                ])),
            ),
            ("Status", STATUS),
        ],
    ),
    ("inline-certificate", CERTIFICATE),
    ("file-system-certificate", CERTIFICATE),
    (
        "bound-api-gateway",
        &[(
            "Listeners",
            List(&Object(&[
                ("Name", Any),
                ("Routes", List(&REFERENCE)),
                ("Certificates", List(&REFERENCE)),
            ])),
        )],
    ),
    (
        "sameness-group",
        &[
            ("DefaultForFailover", Any),
            ("IncludeLocal", Any),
            (
                "Members",
                List(&Object(&[("Partition", Any), ("Peer", Any)])),
            ),
        ],
    ),
];
