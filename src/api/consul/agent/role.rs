//! What a posted service is in the mesh: a proxy, a gateway, or an instance that speaks its TLS.

use axum::http::StatusCode;
use mesh::model::{CONNECT_PROXY, Role};

use super::definition::{PostedCheck, PostedService};
use super::posted_proxy::PostedProxy;
use crate::error::Error;
use client::Registered;

/// First and last port that sidecars are given.
const SIDECAR_PORTS: std::ops::RangeInclusive<u16> = 21_000..=21_255;

impl PostedService {
    /// What it is in the mesh, with the settings of its proxy.
    ///
    /// # Errors
    /// When the settings cannot be written.
    pub(super) fn role(&self, proxy: PostedProxy) -> Result<Option<Box<Role>>, Error> {
        let is_native = self.connect.as_ref().is_some_and(|connect| connect.native);
        if self.kind.is_empty() && !is_native {
            return Ok(None);
        }
        let has_proxy = self.kind == CONNECT_PROXY || self.kind.ends_with("-gateway");
        let mut proxy_text = String::new();
        if has_proxy {
            proxy_text = serde_json::to_string(&proxy)
                .map_err(|error| Error::internal(error.to_string()))?;
        }
        Ok(Some(Box::new(Role {
            kind: self.kind.clone(),
            destination: proxy.destination_service_name,
            is_native,
            proxy: proxy_text,
        })))
    }

    /// Everything that a proxy lacks, or has too much.
    pub(super) fn role_problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.kind != CONNECT_PROXY {
            return problems;
        }
        let destination = self.proxy.as_ref();
        let destination = destination.map_or("", |proxy| &proxy.destination_service_name);
        let mut problem = |text: &str| problems.push(text.to_owned());
        if destination.is_empty() {
            problem("Proxy.DestinationServiceName must be non-empty for Connect proxy services");
        }
        if destination == "*" {
            problem(
                "Proxy.DestinationServiceName must not be a wildcard for Connect proxy services",
            );
        }
        if self.has_ports() {
            problem("Ports cannot be set for a connect-proxy");
        }
        if self.port == 0 && self.socket_path.is_empty() {
            problem("Port or SocketPath must be set for a connect-proxy");
        }
        if self.connect.as_ref().is_some_and(|connect| connect.native) {
            problem("A Proxy cannot also be Connect Native, only typical services");
        }
        problems
    }

    /// The id of the proxy that a service brings with it.
    pub(super) fn sidecar_id(id: &str) -> String {
        format!("{id}-sidecar-proxy")
    }

    /// The proxy that it brings with it, with everything filled in that was not posted.
    ///
    /// # Errors
    /// When no port is left for it.
    pub(super) fn take_sidecar(&mut self, registered: &Registered) -> Result<Option<Self>, Error> {
        let sidecar = self.connect.as_mut();
        let Some(sidecar) = sidecar.and_then(|connect| connect.sidecar_service.take()) else {
            return Ok(None);
        };
        let mut sidecar = *sidecar;
        if sidecar
            .connect
            .as_ref()
            .is_some_and(|own| own.sidecar_service.is_some())
        {
            return Err(Error::bad_request(
                "Invalid SidecarService: it must not have a sidecar itself",
            ));
        }
        let own_id = self.id().to_owned();
        if sidecar.id.is_empty() {
            sidecar.id = Self::sidecar_id(&own_id).into();
        }
        if sidecar.name.is_empty() {
            sidecar.name = Self::sidecar_id(&self.name).into();
        }
        if sidecar.kind.is_empty() {
            CONNECT_PROXY.clone_into(&mut sidecar.kind);
        }
        if sidecar.tags.is_empty() {
            sidecar.tags.clone_from(&self.tags);
        }
        if sidecar.meta.is_empty() {
            sidecar.meta.clone_from(&self.meta);
        }
        if sidecar.port == 0 {
            sidecar.port = free_port(registered, &sidecar.id)?;
        }
        let proxy = sidecar.proxy.get_or_insert_default();
        if proxy.destination_service_name.is_empty() {
            proxy.destination_service_name.clone_from(&self.name);
        }
        if proxy.destination_service_id.is_empty() {
            proxy.destination_service_id.clone_from(&own_id);
        }
        if proxy.local_service_address.is_empty() {
            "127.0.0.1".clone_into(&mut proxy.local_service_address);
        }
        if proxy.local_service_port == 0 {
            proxy.local_service_port = self.port;
        }
        if sidecar.check.is_none() && sidecar.checks.is_empty() {
            let address = match sidecar.address.as_str() {
                "" => "127.0.0.1",
                address => address,
            };
            let address = format!("{address}:{}", sidecar.port);
            sidecar.checks = vec![
                PostedCheck::of_tcp("Connect Sidecar Listening", address),
                PostedCheck::of_alias(format!("Connect Sidecar Aliasing {own_id}"), own_id.into()),
            ];
        }
        Ok(Some(sidecar))
    }
}

/// The port that the sidecar of this id has already, or the first one that no other has.
fn free_port(registered: &Registered, id: &str) -> Result<u16, Error> {
    let local = registered.local();
    if let Some(known) = local.service(id) {
        return Ok(known.port);
    }
    let taken: Vec<u16> = local.services().map(|service| service.port).collect();
    let mut ports = SIDECAR_PORTS.filter(|port| !taken.contains(port));
    ports.next().ok_or_else(|| {
        Error::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "none left in range for sidecar proxies; name a port",
        )
    })
}
