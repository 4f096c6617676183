//! Question name → what it asks for.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::Name;

/// Longest name in text form, without the final dot (RFC 1035 allows 255 bytes on the wire).
const TEXT_MAX: usize = 255;
/// Most labels a name can have.
const LABELS_MAX: usize = 128;

/// Which part of the region a name is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope<'a> {
    /// All of it: the name says no datacenter.
    #[default]
    Region,
    /// A datacenter of the zone.
    Datacenter(&'a [u8]),
}

impl Scope<'_> {
    /// Whether a node in that lower-case datacenter is meant.
    pub(crate) fn has(self, datacenter: &[u8]) -> bool {
        match self {
            Self::Region => true,
            Self::Datacenter(wanted) => wanted == datacenter,
        }
    }
}

/// What a question name asks for. Names inside are lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query<'a> {
    /// `NODE.node[.DC].DOMAIN`; the node name may contain dots.
    Node {
        /// Node name.
        name: &'a [u8],
        /// Where it has to be.
        scope: Scope<'a>,
    },
    /// `[TAG.]NAME.service[.DC].DOMAIN` or `_NAME._TAG.service[.DC].DOMAIN`.
    Service {
        /// Service name, one label.
        name: &'a [u8],
        /// Tag the instances must carry; may contain dots.
        tag: Option<&'a [u8]>,
        /// Where the instances have to be.
        scope: Scope<'a>,
    },
    /// `NAME.connect[.DC].DOMAIN`, labels before the name aside: what takes connections of the mesh
    /// for a service.
    Mesh {
        /// Service name, one label.
        name: &'a [u8],
        /// Where the instances have to be.
        scope: Scope<'a>,
    },
    /// `NAME.ingress[.DC].DOMAIN`: the gateways to a service.
    Ingress {
        /// Service name, one label.
        name: &'a [u8],
        /// Where the gateways have to be.
        scope: Scope<'a>,
    },
    /// `NAME.virtual[.DC].DOMAIN`: the address that stands for a service.
    Virtual {
        /// Service name, one label.
        name: &'a [u8],
    },
    /// `NAME.query[.DC].DOMAIN` or `_NAME._tcp.query[.DC].DOMAIN`; the name may contain dots.
    Prepared {
        /// Name or id of the prepared query.
        name: &'a [u8],
        /// Where it is asked.
        scope: Scope<'a>,
    },
    /// `HEX.addr[.DC].DOMAIN`: the address is the name.
    Address(IpAddr),
    /// A name below `in-addr.arpa` or `ip6.arpa` that spells a whole address.
    Reverse(IpAddr),
    /// Inside the zone, but no form that is answered here.
    NoSuchName,
    /// Outside the zone.
    Foreign,
}

/// The zone that names are read against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// Its names; the first is the one that answers use.
    domains: Vec<Domain>,
    /// The datacenter of the agent, which is always one of the zone.
    datacenter: Box<[u8]>,
    /// The others, each with the number of nodes in it.
    others: BTreeMap<Box<[u8]>, usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Domain {
    text: Box<[u8]>,
    labels: usize,
}

impl Domain {
    fn new(text: &str) -> Self {
        let text = text.trim_end_matches('.').to_ascii_lowercase();
        Self {
            labels: text.split('.').count(),
            text: text.into_bytes().into(),
        }
    }
}

impl Zone {
    /// A zone of `domain` (with or without the final dot) in `datacenter`, in any case.
    pub fn new(domain: &str, datacenter: &str) -> Self {
        Self {
            domains: vec![Domain::new(domain)],
            datacenter: datacenter.to_ascii_lowercase().into_bytes().into(),
            others: BTreeMap::new(),
        }
    }

    /// Whether the lower-case datacenter is that of the agent.
    pub(crate) fn is_own(&self, datacenter: &[u8]) -> bool {
        *self.datacenter == *datacenter
    }

    /// Counts a node that came into a lower-case datacenter, which is one of the zone from then on.
    pub(crate) fn enter(&mut self, datacenter: &[u8]) {
        if !self.is_own(datacenter) {
            *self.others.entry(datacenter.into()).or_default() += 1;
        }
    }

    /// Counts a node that left a lower-case datacenter, which goes with its last one.
    pub(crate) fn leave(&mut self, datacenter: &[u8]) {
        if let Some(nodes) = self.others.get_mut(datacenter) {
            *nodes -= 1;
            if *nodes == 0 {
                self.others.remove(datacenter);
            }
        }
    }

    /// The zone, also under another name; an empty one adds nothing.
    #[must_use]
    pub fn also(mut self, domain: &str) -> Self {
        if !domain.trim_end_matches('.').is_empty() {
            self.domains.push(Domain::new(domain));
        }
        self
    }

    /// How many labels stand before the zone; none for a name outside.
    fn below(&self, labels: &Labels) -> Option<usize> {
        self.domains.iter().find_map(|domain| {
            let below = labels.count.checked_sub(domain.labels)?;
            (labels.range(below, labels.count) == &*domain.text).then_some(below)
        })
    }
}

/// A question name in lower case, as text and as labels, without allocation.
pub struct Labels {
    text: [u8; TEXT_MAX],
    starts: [u8; LABELS_MAX],
    len: usize,
    count: usize,
}

impl std::fmt::Debug for Labels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.range(0, self.count).escape_ascii())
    }
}

impl Labels {
    /// Copies a name. Labels that do not fit are left out; the wire format cannot produce such a
    /// name.
    pub fn read(name: &Name) -> Self {
        let mut labels = Self {
            text: [0; TEXT_MAX],
            starts: [0; LABELS_MAX],
            len: 0,
            count: 0,
        };
        for label in name.iter() {
            let start = if labels.count == 0 { 0 } else { labels.len + 1 };
            let end = start + label.len();
            let Ok(start_byte) = u8::try_from(start) else {
                break;
            };
            if end > TEXT_MAX || labels.count == LABELS_MAX {
                break;
            }
            if start > 0 {
                labels.text[start - 1] = b'.';
            }
            labels.text[start..end].copy_from_slice(label);
            labels.text[start..end].make_ascii_lowercase();
            labels.starts[labels.count] = start_byte;
            labels.count += 1;
            labels.len = end;
        }
        labels
    }

    /// Text of the labels `from..to`, joined by dots; empty if there are none.
    fn range(&self, from: usize, to: usize) -> &[u8] {
        if from >= to {
            return &[];
        }
        let start = usize::from(self.starts[from]);
        let end = if to == self.count {
            self.len
        } else {
            usize::from(self.starts[to]) - 1
        };
        &self.text[start..end]
    }

    fn label(&self, at: usize) -> &[u8] {
        self.range(at, at + 1)
    }
}

/// Reads a question name against a zone.
///
/// Source: the DNS interface of the reference product. Differs: the datacenters are those of one
/// region, and a name without one is about all of them; there are no peers; named ports are not
/// answered.
pub fn parse<'a>(labels: &'a Labels, zone: &Zone) -> Query<'a> {
    let Some(below) = zone.below(labels) else {
        return reverse(labels);
    };
    // The kind is searched from the right, so that a service or a node may be called like a kind.
    for at in (0..below).rev() {
        match labels.label(at) {
            b"addr" => return address(labels, at),
            b"service" | b"node" | b"query" | b"connect" | b"ingress" | b"virtual" => {
                let scope = scope(labels, zone, at + 1, below);
                if let Some(query) = scope.and_then(|scope| of_kind(labels, at, scope)) {
                    return query;
                }
                break;
            }
            _ => {}
        }
    }
    // The form of RFC 2782 needs no kind.
    if below >= 2
        && let Some(scope) = scope(labels, zone, 2, below)
    {
        return underscored(labels, scope).unwrap_or(Query::NoSuchName);
    }
    Query::NoSuchName
}

/// The form that the kind at `at` says, if what is before it fits.
fn of_kind<'a>(labels: &'a Labels, at: usize, scope: Scope<'a>) -> Option<Query<'a>> {
    let name = labels.label(at.checked_sub(1)?);
    Some(match labels.label(at) {
        b"service" => service(labels, at, scope),
        b"node" => Query::Node {
            name: labels.range(0, at),
            scope,
        },
        b"query" => prepared(labels, at, scope),
        b"connect" => Query::Mesh { name, scope },
        b"ingress" if at == 1 => Query::Ingress { name, scope },
        b"virtual" if at == 1 => Query::Virtual { name },
        _ => return None,
    })
}

/// `_NAME._TAG` at the start of a name.
fn underscored<'a>(labels: &'a Labels, scope: Scope<'a>) -> Option<Query<'a>> {
    let name = labels.label(0).strip_prefix(b"_")?;
    let tag = labels.label(1).strip_prefix(b"_")?;
    Some(Query::Service {
        name,
        tag: (tag != b"tcp").then_some(tag),
        scope,
    })
}

/// What the labels `from..to`, right of the kind, say: nothing, or a datacenter of the zone as `DC`
/// or `DC.dc`; none when they say anything else.
fn scope<'a>(labels: &'a Labels, zone: &Zone, from: usize, to: usize) -> Option<Scope<'a>> {
    if from == to {
        return Some(Scope::Region);
    }
    let datacenter = labels.label(from);
    let is_form = match to - from {
        1 => true,
        2 => labels.label(from + 1) == b"dc",
        _ => false,
    };
    let is_known = zone.is_own(datacenter) || zone.others.contains_key(datacenter);
    (is_form && is_known).then_some(Scope::Datacenter(datacenter))
}

/// The service form, `at` being the place of the label `service`, which is not the first.
fn service<'a>(labels: &'a Labels, at: usize, scope: Scope<'a>) -> Query<'a> {
    if at == 2
        && let Some(query) = underscored(labels, scope)
    {
        return query;
    }
    let tag = labels.range(0, at - 1);
    Query::Service {
        name: labels.label(at - 1),
        tag: (!tag.is_empty()).then_some(tag),
        scope,
    }
}

/// The form of prepared queries, `at` being the place of the label `query`.
fn prepared<'a>(labels: &'a Labels, at: usize, scope: Scope<'a>) -> Query<'a> {
    if at == 2
        && labels.label(1) == b"_tcp"
        && let Some(name) = labels.label(0).strip_prefix(b"_")
    {
        return Query::Prepared { name, scope };
    }
    Query::Prepared {
        name: labels.range(0, at),
        scope,
    }
}

/// The address form, `at` being the place of the label `addr`.
fn address(labels: &Labels, at: usize) -> Query<'_> {
    if at != 1 {
        return Query::NoSuchName;
    }
    let Some(hex) = str::from_utf8(labels.label(0))
        .ok()
        .filter(|hex| is_hex(hex))
    else {
        return Query::NoSuchName;
    };
    let ip = match hex.len() {
        8 => u32::from_str_radix(hex, 16)
            .ok()
            .map(|bits| Ipv4Addr::from_bits(bits).into()),
        32 => u128::from_str_radix(hex, 16)
            .ok()
            .map(|bits| Ipv6Addr::from_bits(bits).into()),
        _ => None,
    };
    ip.map_or(Query::NoSuchName, Query::Address)
}

/// The number parsers also take a sign, which is no hexadecimal digit.
fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The reverse forms; anything else is outside the zone.
fn reverse(labels: &Labels) -> Query<'_> {
    let Some(digits) = labels.count.checked_sub(2) else {
        return Query::Foreign;
    };
    let ip = match (labels.range(digits, labels.count), digits) {
        (b"in-addr.arpa", 4) => reverse_v4(labels).map(IpAddr::V4),
        (b"ip6.arpa", 32) => reverse_v6(labels).map(IpAddr::V6),
        _ => None,
    };
    ip.map_or(Query::Foreign, Query::Reverse)
}

fn reverse_v4(labels: &Labels) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    for (at, octet) in octets.iter_mut().rev().enumerate() {
        let text = str::from_utf8(labels.label(at)).ok()?;
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *octet = text.parse().ok()?;
    }
    Some(octets.into())
}

fn reverse_v6(labels: &Labels) -> Option<Ipv6Addr> {
    let mut bits = 0_u128;
    for at in (0..32).rev() {
        let [digit] = labels.label(at) else {
            return None;
        };
        bits = (bits << 4) | u128::from(char::from(*digit).to_digit(16)?);
    }
    Some(Ipv6Addr::from_bits(bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, expected: Query<'_>) {
        let name = Name::from_labels(name.split('.').map(str::as_bytes)).unwrap();
        let labels = Labels::read(&name);
        let mut zone = Zone::new("Consul.", "DC1");
        zone.enter(b"dc2");
        assert_eq!(parse(&labels, &zone), expected, "{name}");
    }

    /// All of the region for an empty text.
    fn scope(datacenter: &str) -> Scope<'_> {
        match datacenter {
            "" => Scope::Region,
            name => Scope::Datacenter(name.as_bytes()),
        }
    }

    fn service<'a>(name: &'a str, tag: Option<&'a str>, datacenter: &'a str) -> Query<'a> {
        Query::Service {
            name: name.as_bytes(),
            tag: tag.map(str::as_bytes),
            scope: scope(datacenter),
        }
    }

    #[test]
    fn service_names_and_tags() {
        check("web.service.consul", service("web", None, ""));
        check("WEB.Service.DC1.Consul", service("web", None, "dc1"));
        check("web.service.dc1.dc.consul", service("web", None, "dc1"));
        check("a.b.web.service.consul", service("web", Some("a.b"), ""));
        check("_web._tcp.service.consul", service("web", None, ""));
        check("_web._udp.service.consul", service("web", Some("udp"), ""));
        check(
            "_my_web._v1.service.dc1.consul",
            service("my_web", Some("v1"), "dc1"),
        );
        check("_web.service.consul", service("_web", None, ""));
        check("service.service.consul", service("service", None, ""));
    }

    #[test]
    fn names_of_another_datacenter_of_the_region() {
        let (name, dc2) = (b"web".as_slice(), scope("dc2"));
        check("web.service.Dc2.consul", service("web", None, "dc2"));
        check(
            "v1.web.service.dc2.consul",
            service("web", Some("v1"), "dc2"),
        );
        check("web.service.dc2.dc.consul", service("web", None, "dc2"));
        check(
            "_web._v1.service.dc2.consul",
            service("web", Some("v1"), "dc2"),
        );
        check(
            "_web._tcp.service.dc2.dc.consul",
            service("web", None, "dc2"),
        );
        check("_web._tcp.dc2.consul", service("web", None, "dc2"));
        check("_web._tcp.dc2.dc.consul", service("web", None, "dc2"));
        check(
            "a.web.node.dc2.consul",
            Query::Node {
                name: b"a.web",
                scope: dc2,
            },
        );
        check("web.node.dc2.dc.consul", Query::Node { name, scope: dc2 });
        check("web.query.dc2.consul", Query::Prepared { name, scope: dc2 });
        check("web.connect.dc2.consul", Query::Mesh { name, scope: dc2 });
        check(
            "web.ingress.dc2.consul",
            Query::Ingress { name, scope: dc2 },
        );
        // The address stands for the service wherever it is asked for.
        check("web.virtual.dc2.consul", Query::Virtual { name });
    }

    #[test]
    fn a_datacenter_is_one_of_the_zone_as_long_as_a_node_is_in_it() {
        let name = Name::from_ascii("web.service.dc2.consul.").unwrap();
        let labels = Labels::read(&name);
        let mut zone = Zone::new("consul", "dc1");
        let alone = zone.clone();
        let mut is_known = |change: fn(&mut Zone, &[u8])| {
            change(&mut zone, b"dc2");
            parse(&labels, &zone) != Query::NoSuchName
        };
        assert!(is_known(Zone::enter));
        assert!(is_known(Zone::enter));
        assert!(is_known(Zone::leave));
        assert!(!is_known(Zone::leave));
        assert_eq!(zone, alone);
        // The agent's own needs none.
        zone.leave(b"dc1");
        let own = Name::from_ascii("web.service.dc1.consul.").unwrap();
        assert_eq!(
            parse(&Labels::read(&own), &zone),
            service("web", None, "dc1")
        );
    }

    #[test]
    fn other_forms_inside_the_zone() {
        let region = Scope::Region;
        let node = Query::Node {
            name: b"a.b",
            scope: region,
        };
        check("a.b.node.consul", node);
        let prepared = |name, scope| Query::Prepared { name, scope };
        check("Q.query.consul", prepared(b"q", region));
        check("a.b.query.dc1.consul", prepared(b"a.b", scope("dc1")));
        check("_q._tcp.query.consul", prepared(b"q", region));
        check(
            "c0000215.addr.dc9.consul",
            Query::Address("192.0.2.21".parse().unwrap()),
        );
        check(
            "20010db8000000000000000000000006.addr.consul",
            Query::Address("2001:db8::6".parse().unwrap()),
        );
        for name in [
            "consul",
            "service.consul",
            "node.consul",
            "addr.consul",
            "foo.consul",
            "zz.addr.consul",
            "+0000215.addr.consul",
            "a.c0000215.addr.consul",
            "web.service.dc9.consul",
            "web.service.dc1.x.consul",
            "web.service.dc2.dc2.consul",
            "web.service.x.dc2.consul",
            "web.service.dc1.dc2.consul",
            "connect.consul",
            "web.connect.dc9.consul",
            "web.service.one.peer.consul",
            "web.virtual.one.peer.consul",
            "a.web.virtual.consul",
            "a.web.ingress.consul",
            "web.service.default.ns.consul",
            "_web.consul",
            "_web._tcp.dc9.consul",
            "query.consul",
            "q.query.dc9.consul",
        ] {
            check(name, Query::NoSuchName);
        }
    }

    #[test]
    fn names_of_the_mesh() {
        let (name, region) = (b"web".as_slice(), Scope::Region);
        let mesh = |name, scope| Query::Mesh { name, scope };
        check("web.connect.consul", mesh(name, region));
        check("x.web.connect.dc1.consul", mesh(name, scope("dc1")));
        check("_web._tcp.connect.consul", mesh(b"_tcp", region));
        let gateways = Query::Ingress {
            name,
            scope: region,
        };
        check("Web.ingress.consul", gateways);
        check("web.virtual.dc1.dc.consul", Query::Virtual { name });
        check("_web._tcp.consul", service("web", None, ""));
        check("_web._v1.dc1.consul", service("web", Some("v1"), "dc1"));
    }

    #[test]
    fn a_zone_may_have_two_names() {
        let zone = Zone::new("consul", "dc1").also("Alt.Example.");
        for (text, expected) in [
            ("web.service.alt.example", service("web", None, "")),
            ("web.service.consul", service("web", None, "")),
            ("web.service.example", Query::Foreign),
        ] {
            let name = Name::from_labels(text.split('.').map(str::as_bytes)).unwrap();
            assert_eq!(parse(&Labels::read(&name), &zone), expected, "{text}");
        }
        assert_eq!(zone.clone().also(""), zone);
    }

    #[test]
    fn names_outside_the_zone() {
        check(
            "11.2.0.192.in-addr.arpa",
            Query::Reverse("192.0.2.11".parse().unwrap()),
        );
        for name in [
            "example.org",
            "notconsul",
            "2.0.192.in-addr.arpa",
            "+1.2.0.192.in-addr.arpa",
            "x.ip6.arpa",
        ] {
            check(name, Query::Foreign);
        }
    }
}
