//! Query and view → records. Pure: the seed of the order and the time come in as arguments.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, PTR, SOA, SRV};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::config::{Rules, seconds};
use crate::name::{Labels, Query, Scope, parse};
use crate::pick::Stream;
use crate::view::View;
use crate::view::endpoint::Endpoint;
use crate::view::node::NodeEntry;
use crate::view::pool::{Place, Pool};

/// Largest message without EDNS, in bytes (RFC 1035, 4.2.1).
const PLAIN_UDP_BYTES: usize = 512;
/// Largest message that fits a UDP packet over IPv6 and IPv4, whatever the client says it accepts.
const UDP_BYTES_MAX: usize = 65_467;
/// Largest message over TCP that leaves room for the header.
const TCP_BYTES: usize = 65_535 - HEADER_BYTES;
/// Most answers over TCP.
const TCP_ANSWERS_MAX: usize = 4_096;
const HEADER_BYTES: usize = 12;
/// Type and class of the question, behind its name.
const QUESTION_FIELDS_BYTES: usize = 4;
/// OPT record with a client-subnet option for IPv6, the only option that is echoed.
const OPT_BYTES_MAX: usize = 11 + 4 + 4 + 16;
/// Type, class, TTL and length of a record.
const RECORD_FIELDS_BYTES: usize = 10;
/// A compressed owner name.
const POINTER_BYTES: usize = 2;
/// Names after this many are counted at full length, because the encoder stops compressing after
/// 120.
const COMPRESSED_NAMES_MAX: usize = 100;
/// How many host names inside the zone are followed, one behind another.
const ALIAS_DEPTH_MAX: usize = 3;
/// Most address records that are added for one SRV target that is a host name inside the zone.
const ALIAS_ADDITIONALS_MAX: usize = 5;
/// Most name servers in an answer.
const NAME_SERVERS_MAX: usize = 3;

/// A question. The class is not looked at: all are answered as IN.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Name as asked, in its original case.
    pub name: &'a Name,
    /// Type of record asked for.
    pub record_type: RecordType,
}

/// What shapes an answer besides the question and the view.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Settings.
    pub rules: &'a Rules,
    /// How much may be said.
    pub room: Room,
    /// Decides the order of answers and which ones are left out; any number, a new one for each
    /// question.
    pub seed: u64,
    /// Seconds since the Unix epoch, the serial number of the zone.
    pub now: u32,
}

/// How much an answer may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    answers_max: usize,
    bytes_max: usize,
}

impl Room {
    /// Room over UDP for a client that accepts `payload` bytes through EDNS, or does not speak
    /// EDNS.
    pub fn udp(payload: Option<u16>, rules: &Rules) -> Self {
        let bytes_max = payload
            .map_or(0, usize::from)
            .clamp(PLAIN_UDP_BYTES, UDP_BYTES_MAX);
        let answers_max = if bytes_max == PLAIN_UDP_BYTES {
            rules.udp_answers()
        } else {
            // No answer is smaller than an address record with a compressed owner.
            bytes_max / (POINTER_BYTES + RECORD_FIELDS_BYTES + 4)
        };
        Self {
            answers_max,
            bytes_max,
        }
    }

    /// Room over TCP.
    pub fn tcp() -> Self {
        Self {
            answers_max: TCP_ANSWERS_MAX,
            bytes_max: TCP_BYTES,
        }
    }
}

/// The sections of a reply.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Response code.
    pub code: ResponseCode,
    /// Whether the answer comes from our own zone or a known address.
    pub authoritative: bool,
    /// Whether answers were left out for lack of room.
    pub shortened: bool,
    /// Records that answer the question.
    pub answers: Vec<Record>,
    /// SOA of a negative answer, name servers of an SOA answer.
    pub authorities: Vec<Record>,
    /// Records that save the client another question.
    pub additionals: Vec<Record>,
}

/// Answers a question from a view.
///
/// The result fits the room when it is encoded with compressed owner names.
pub fn answer(view: &View, question: Question<'_>, cx: &Context<'_>) -> Answer {
    let labels = Labels::read(question.name);
    let mut draft = Draft::new(view, question, cx);
    match (parse(&labels, view.zone()), question.record_type) {
        (Query::Foreign, _) => draft.refuse(),
        (Query::Reverse(ip), _) => draft.reverse(ip),
        (_, RecordType::SOA) => draft.start_of_authority(),
        (_, RecordType::NS) => draft.name_servers(),
        (Query::NoSuchName, _) => draft.answer.code = ResponseCode::NXDomain,
        (Query::Node { name, scope }, _) => draft.node(view.node(name, scope)),
        (Query::Address(ip), _) => draft.address(ip, question.name),
        (Query::Service { name, tag, scope }, _) => {
            draft.matched(name, view.service(name, tag, scope));
        }
        (Query::Mesh { name, scope }, _) => draft.matched(name, view.mesh(name, scope)),
        (Query::Ingress { name, scope }, _) => draft.matched(name, view.ingress(name, scope)),
        (Query::Virtual { name }, _) => draft.virtual_address(name),
        (Query::Prepared { name, scope }, _) => draft.prepared(name, scope),
    }
    draft.finish()
}

/// Which kinds of address record a question type asks for.
#[derive(Clone, Copy)]
struct Wanted {
    v4: bool,
    v6: bool,
    alias: bool,
}

impl Wanted {
    fn of(record_type: RecordType) -> Self {
        let any = record_type == RecordType::ANY;
        let v4 = any || record_type == RecordType::A;
        let v6 = any || record_type == RecordType::AAAA;
        Self {
            v4,
            v6,
            alias: v4 || v6 || record_type == RecordType::CNAME,
        }
    }
}

/// A reply in the making.
struct Draft<'a> {
    view: &'a View,
    question: Question<'a>,
    cx: &'a Context<'a>,
    stream: Stream,
    /// Whether what is found first is answered first.
    is_ordered: bool,
    answer: Answer,
    bytes_left: usize,
    names: usize,
}

impl<'a> Draft<'a> {
    fn new(view: &'a View, question: Question<'a>, cx: &'a Context<'a>) -> Self {
        // The question's name is counted twice: the first record that repeats it may not be
        // compressed.
        let taken =
            HEADER_BYTES + 2 * name_bytes(question.name) + QUESTION_FIELDS_BYTES + OPT_BYTES_MAX;
        Self {
            view,
            question,
            cx,
            stream: Stream::new(cx.seed),
            is_ordered: false,
            answer: Answer {
                code: ResponseCode::NoError,
                authoritative: true,
                shortened: false,
                answers: Vec::new(),
                authorities: Vec::new(),
                additionals: Vec::new(),
            },
            bytes_left: cx.room.bytes_max.saturating_sub(taken),
            names: 0,
        }
    }

    /// Adds the SOA to a negative answer, which resolvers need in order to remember it.
    fn finish(mut self) -> Answer {
        if self.answer.authoritative && self.answer.answers.is_empty() {
            let soa = self.soa();
            self.answer.authorities.push(soa);
        }
        self.answer
    }

    fn refuse(&mut self) {
        self.answer.code = ResponseCode::Refused;
        self.answer.authoritative = false;
    }

    fn reverse(&mut self, ip: IpAddr) {
        let view = self.view;
        let mut names = view.reverse(ip).peekable();
        if names.peek().is_none() {
            return self.refuse();
        }
        if matches!(self.question.record_type, RecordType::PTR | RecordType::ANY) {
            for name in names {
                self.push_answer(self.question.name, 0, RData::PTR(PTR(name.clone())));
            }
        }
    }

    fn soa(&self) -> Record {
        let names = self.view.names();
        let soa = &self.cx.rules.soa;
        let min_ttl = seconds(soa.min_ttl);
        let interval = |duration| i32::try_from(seconds(duration)).unwrap_or(i32::MAX);
        let data = SOA::new(
            names.primary_server.clone(),
            names.mailbox.clone(),
            self.cx.now,
            interval(soa.refresh),
            interval(soa.retry),
            interval(soa.expire),
            min_ttl,
        );
        Record::from_rdata(names.apex.clone(), min_ttl, RData::SOA(data))
    }

    fn start_of_authority(&mut self) {
        let soa = self.soa();
        self.answer.answers.push(soa);
        self.answer.authorities = self.name_server_records();
    }

    fn name_servers(&mut self) {
        self.answer.answers = self.name_server_records();
    }

    /// NS records of the zone; the addresses go to the additional section.
    fn name_server_records(&mut self) -> Vec<Record> {
        let (view, ttl) = (self.view, self.cx.rules.node_ttl());
        let servers = view.servers();
        let mut records = Vec::new();
        for at in self.stream.positions(servers.len(), NAME_SERVERS_MAX) {
            let node = &servers[at];
            let Some(name) = &node.fqdn else { continue };
            let data = RData::NS(NS(name.clone()));
            records.push(Record::from_rdata(view.names().apex.clone(), ttl, data));
            for data in first_addresses(node.v4.first().copied(), node.v6.first().copied()) {
                self.answer
                    .additionals
                    .push(Record::from_rdata(name.clone(), ttl, data));
            }
        }
        records
    }

    fn node(&mut self, node: Option<&NodeEntry>) {
        let Some(node) = node else {
            self.answer.code = ResponseCode::NXDomain;
            return;
        };
        let (owner, ttl) = (self.question.name, self.cx.rules.node_ttl());
        self.node_addresses(node, owner, ttl, 0);
        match self.question.record_type {
            RecordType::TXT | RecordType::ANY => {
                for text in &node.meta {
                    self.push_answer(owner, ttl, RData::TXT(text.clone()));
                }
            }
            RecordType::A | RecordType::AAAA => self.node_meta(node, owner, ttl),
            _ => {}
        }
    }

    fn node_addresses(&mut self, node: &NodeEntry, owner: &Name, ttl: u32, depth: usize) {
        let wanted = Wanted::of(self.question.record_type);
        if wanted.v4 {
            for ip in node.v4.iter().take(self.cx.rules.address_answers()) {
                self.push_answer(owner, ttl, RData::A(A(*ip)));
            }
        }
        if wanted.v6 {
            for ip in node.v6.iter().take(self.cx.rules.address_answers()) {
                self.push_answer(owner, ttl, RData::AAAA(AAAA(*ip)));
            }
        }
        if let Some(alias) = node.alias.as_ref().filter(|_| wanted.alias) {
            self.alias(alias, owner, ttl, depth);
        }
    }

    /// Node metadata as additional TXT records, as far as there is room.
    fn node_meta(&mut self, node: &NodeEntry, owner: &Name, ttl: u32) {
        if !self.cx.rules.node_meta_txt {
            return;
        }
        for text in &node.meta {
            let bytes = text.txt_data.iter().map(|part| part.len() + 1).sum();
            let cost = self.cost(owner, bytes);
            if self.reserve(cost) {
                let record = Record::from_rdata(owner.clone(), ttl, RData::TXT(text.clone()));
                self.answer.additionals.push(record);
            }
        }
    }

    /// The name is the address. Asked for the other family, it exists without an answer.
    fn address(&mut self, ip: IpAddr, owner: &Name) {
        let ttl = self.cx.rules.node_ttl();
        let wanted = Wanted::of(self.question.record_type);
        match ip {
            IpAddr::V4(ip) if wanted.v4 => self.push_answer(owner, ttl, RData::A(A(ip))),
            IpAddr::V6(ip) if wanted.v6 => self.push_answer(owner, ttl, RData::AAAA(AAAA(ip))),
            IpAddr::V4(_) | IpAddr::V6(_) => true,
        };
    }

    fn service(&mut self, name: &[u8], pool: &Pool) {
        let ttl = self.cx.rules.service_ttl(name);
        self.pool(pool, self.question.name, ttl, 0);
    }

    /// Instances that answer for the service `name`, which may be none.
    fn matched(&mut self, name: &[u8], service: Option<&Pool>) {
        match service {
            None => self.answer.code = ResponseCode::NXDomain,
            Some(service) if self.question.record_type == RecordType::SRV => {
                self.targets(self.cx.rules.service_ttl(name), service);
            }
            Some(service) => self.service(name, service),
        }
    }

    /// The address that stands for a service; there is one of version 4 only.
    fn virtual_address(&mut self, name: &[u8]) {
        let Some(ip) = self.view.virtual_address(name) else {
            self.answer.code = ResponseCode::NXDomain;
            return;
        };
        if Wanted::of(self.question.record_type).v4 {
            let ttl = self.cx.rules.service_ttl(name);
            self.push_answer(self.question.name, ttl, RData::A(A(ip)));
        }
    }

    fn prepared(&mut self, name: &[u8], scope: Scope<'_>) {
        let found = self.view.prepared(name, scope, self.cx.seed);
        let found = found.filter(|found| !found.pool.endpoints.is_empty());
        let Some(found) = found else {
            self.answer.code = ResponseCode::NXDomain;
            return;
        };
        self.is_ordered = found.is_ordered;
        let of_service = || self.cx.rules.service_ttl(&found.service);
        let ttl = found.ttl.map_or_else(of_service, seconds);
        if self.question.record_type == RecordType::SRV {
            self.targets(ttl, &found.pool);
        } else {
            self.pool(&found.pool, self.question.name, ttl, 0);
        }
    }

    /// Which of `len` things are answered, at most `count`, in which order.
    fn positions(&mut self, len: usize, count: usize) -> Vec<usize> {
        if self.is_ordered {
            (0..len.min(count)).collect()
        } else {
            self.stream.positions(len, count)
        }
    }

    /// Addresses of a pool in random order, or one of its host names if it has no address at all.
    fn pool(&mut self, pool: &Pool, owner: &Name, ttl: u32, depth: usize) {
        let wanted = Wanted::of(self.question.record_type);
        let v4_count = if wanted.v4 { pool.v4.len() } else { 0 };
        let v6_count = if wanted.v6 { pool.v6.len() } else { 0 };
        if pool.v4.is_empty() && pool.v6.is_empty() && wanted.alias {
            if let Some(at) = self.positions(pool.aliases.len(), 1).first() {
                self.alias(pool.aliases.at(*at), owner, ttl, depth);
            }
            return;
        }
        let limit = self.cx.rules.address_answers().min(v4_count + v6_count);
        let room = self
            .cx
            .room
            .answers_max
            .saturating_sub(self.answer.answers.len());
        self.answer.shortened |= room < limit;
        for at in self.positions(v4_count + v6_count, limit.min(room)) {
            let data = match at.checked_sub(v4_count) {
                None => RData::A(A(*pool.v4.at(at))),
                Some(at) => RData::AAAA(AAAA(*pool.v6.at(at))),
            };
            if !self.push_answer(owner, ttl, data) {
                return;
            }
        }
    }

    /// A CNAME, followed by the addresses of its target if that is a name of our own.
    fn alias(&mut self, alias: &Name, owner: &Name, ttl: u32, depth: usize) {
        if !self.push_answer(owner, ttl, RData::CNAME(CNAME(alias.clone()))) {
            return;
        }
        let is_loop = self
            .answer
            .answers
            .iter()
            .any(|record| record.name == *alias);
        if is_loop || depth == ALIAS_DEPTH_MAX || self.question.record_type == RecordType::CNAME {
            return;
        }
        let labels = Labels::read(alias);
        let view = self.view;
        match parse(&labels, view.zone()) {
            Query::Node { name, scope } => {
                if let Some(node) = view.node(name, scope) {
                    self.node_addresses(node, alias, self.cx.rules.node_ttl(), depth + 1);
                }
            }
            Query::Service { name, tag, scope } => {
                if let Some(service) = view.service(name, tag, scope) {
                    let ttl = self.cx.rules.service_ttl(name);
                    self.pool(service, alias, ttl, depth + 1);
                }
            }
            Query::Address(ip) => self.address(ip, alias),
            Query::Prepared { .. }
            | Query::Mesh { .. }
            | Query::Ingress { .. }
            | Query::Virtual { .. }
            | Query::Reverse(_)
            | Query::NoSuchName
            | Query::Foreign => {}
        }
    }

    /// SRV records in random order, each with the addresses of its target.
    fn targets(&mut self, ttl: u32, pool: &Pool) {
        let total = pool.endpoints.len();
        self.answer.shortened |= self.cx.room.answers_max < total;
        let picked = self.positions(total, self.cx.room.answers_max);
        let mut known = Vec::with_capacity(picked.len());
        for at in &picked {
            let Place(endpoint) = pool.endpoints.at(*at);
            let key = (Arc::as_ptr(&endpoint.node), &endpoint.host);
            let is_known = known.contains(&key);
            if !self.target(endpoint, ttl, is_known) {
                return;
            }
            if !is_known {
                known.push(key);
            }
        }
        // Metadata is worth less than any answer, so it takes what room is left.
        let mut nodes: Vec<&NodeEntry> = Vec::new();
        for at in picked {
            let node = &*pool.endpoints.at(at).0.node;
            if !node.meta.is_empty() && !nodes.iter().any(|known| std::ptr::eq(*known, node)) {
                nodes.push(node);
                if let Some(owner) = &node.fqdn {
                    self.node_meta(node, owner, ttl);
                }
            }
        }
    }

    /// One SRV record and, unless they are known already, the addresses of its target. Both or, if
    /// there is no room, neither, except that the first answer is given in any case.
    fn target(&mut self, endpoint: &Endpoint, ttl: u32, is_known: bool) -> bool {
        let additionals = if is_known {
            Vec::new()
        } else {
            self.target_addresses(endpoint, ttl)
        };
        let answer_cost = self.cost(self.question.name, 6 + name_bytes(&endpoint.target));
        let additional_cost: usize = additionals
            .iter()
            .map(|record| self.cost(&record.name, address_bytes(&record.data)))
            .sum();
        let fits = self.reserve(answer_cost + additional_cost);
        if !fits && !self.answer.answers.is_empty() {
            self.answer.shortened = true;
            return false;
        }
        let data = SRV::new(1, endpoint.weight, endpoint.port, endpoint.target.clone());
        let record = Record::from_rdata(self.question.name.clone(), ttl, RData::SRV(data));
        self.answer.answers.push(record);
        if fits {
            self.answer.additionals.extend(additionals);
        }
        true
    }

    fn target_addresses(&self, endpoint: &Endpoint, ttl: u32) -> Vec<Record> {
        let record = |data| Record::from_rdata(endpoint.target.clone(), ttl, data);
        match endpoint.alias() {
            Some(alias) => self
                .alias_addresses(alias)
                .into_iter()
                .map(record)
                .collect(),
            None => first_addresses(endpoint.v4(), endpoint.v6())
                .map(record)
                .collect(),
        }
    }

    /// A few addresses of a host name inside our zone; none of one outside, which only a recursor
    /// could know.
    fn alias_addresses(&self, alias: &Name) -> Vec<RData> {
        let labels = Labels::read(alias);
        let addresses = |v4: &mut dyn Iterator<Item = &Ipv4Addr>,
                         v6: &mut dyn Iterator<Item = &Ipv6Addr>| {
            let v4 = v4.map(|ip| RData::A(A(*ip)));
            v4.chain(v6.map(|ip| RData::AAAA(AAAA(*ip))))
                .take(ALIAS_ADDITIONALS_MAX)
                .collect()
        };
        match parse(&labels, self.view.zone()) {
            Query::Node { name, scope } => {
                let node = self.view.node(name, scope);
                node.map(|node| addresses(&mut node.v4.iter(), &mut node.v6.iter()))
                    .unwrap_or_default()
            }
            Query::Service { name, tag, scope } => {
                let pool = self.view.service(name, tag, scope);
                pool.map(|pool| addresses(&mut pool.v4.iter(), &mut pool.v6.iter()))
                    .unwrap_or_default()
            }
            Query::Address(ip) => vec![match ip {
                IpAddr::V4(ip) => RData::A(A(ip)),
                IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
            }],
            Query::Prepared { .. }
            | Query::Mesh { .. }
            | Query::Ingress { .. }
            | Query::Virtual { .. }
            | Query::Reverse(_)
            | Query::NoSuchName
            | Query::Foreign => Vec::new(),
        }
    }

    /// Adds an answer if there is room; the first one is added in any case.
    fn push_answer(&mut self, owner: &Name, ttl: u32, data: RData) -> bool {
        let cost = self.cost(owner, address_bytes(&data));
        if !self.reserve(cost) && !self.answer.answers.is_empty() {
            self.answer.shortened = true;
            return false;
        }
        self.answer
            .answers
            .push(Record::from_rdata(owner.clone(), ttl, data));
        true
    }

    /// Most bytes that a record can take.
    fn cost(&self, owner: &Name, data_bytes: usize) -> usize {
        let is_compressed =
            std::ptr::eq(owner, self.question.name) && self.names < COMPRESSED_NAMES_MAX;
        let owner_bytes = if is_compressed {
            POINTER_BYTES
        } else {
            name_bytes(owner)
        };
        owner_bytes + RECORD_FIELDS_BYTES + data_bytes
    }

    fn reserve(&mut self, bytes: usize) -> bool {
        let fits = bytes <= self.bytes_left;
        if fits {
            self.bytes_left -= bytes;
            self.names += 2;
        }
        fits
    }
}

fn first_addresses(v4: Option<Ipv4Addr>, v6: Option<Ipv6Addr>) -> impl Iterator<Item = RData> {
    let v4 = v4.map(|ip| RData::A(A(ip)));
    v4.into_iter().chain(v6.map(|ip| RData::AAAA(AAAA(ip))))
}

/// Most bytes of a name on the wire.
fn name_bytes(name: &Name) -> usize {
    name.len() + 1
}

/// Most bytes of the data of a record that [`Draft::push_answer`] adds.
fn address_bytes(data: &RData) -> usize {
    match data {
        RData::A(_) => 4,
        RData::AAAA(_) => 16,
        RData::CNAME(CNAME(name)) | RData::PTR(PTR(name)) => name_bytes(name),
        RData::TXT(text) => text.txt_data.iter().map(|part| part.len() + 1).sum(),
        _ => 0,
    }
}
