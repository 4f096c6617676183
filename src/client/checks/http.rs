use super::{OUTPUT_BYTES_MAX, critical, is_no_verdict};
use http::StatusCode;
use mesh::{
    health::Outcome,
    model::{HttpProbe, Status},
};
use reqwest::{Client, ClientBuilder, Method, redirect::Policy};
use std::{net::SocketAddr, sync::OnceLock};
use tokio::net::lookup_host;
use url::Url;

const USER_AGENT: &str = "Consul Health Check";
const REDIRECTS_MAX: usize = 10;

/// Clients by whether they look at certificates; made when first needed.
#[derive(Debug, Default)]
pub(super) struct HttpClients {
    strict: OnceLock<Result<Client, String>>,
    lenient: OnceLock<Result<Client, String>>,
}

impl HttpClients {
    /// Passing for 2xx, warning for 429, critical for everything else; none when this process could
    /// not try.
    pub(super) async fn check(&self, probe: &HttpProbe) -> Option<Outcome> {
        self.request(probe)
            .await
            .unwrap_or_else(|reason| Some(critical(&reason)))
    }

    async fn request(&self, probe: &HttpProbe) -> Result<Option<Outcome>, String> {
        let method = match probe.method.as_str() {
            "" => Method::GET,
            name => name
                .to_uppercase()
                .parse()
                .map_err(|_| format!("`{name}` is no HTTP method"))?,
        };
        let url = &probe.url;
        let (client, target) = self.caller(probe).await?;
        let mut request = client
            .request(method.clone(), target)
            .header("Accept", "text/plain, text/*, */*")
            .header("Connection", "close");
        let has_host = probe
            .header
            .keys()
            .any(|name| name.eq_ignore_ascii_case("host"));
        if !probe.tls_server_name.is_empty() && !has_host {
            let authority = Url::parse(url).map_err(|error| chain(&error))?;
            request = request.header("Host", authority.authority());
        }
        for (name, values) in &probe.header {
            for value in values {
                request = request.header(name, value);
            }
        }
        if !probe.body.is_empty() {
            request = request.body(probe.body.clone());
        }
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) if is_no_verdict(&error) => return Ok(None),
            Err(error) => return Err(chain(&error)),
        };
        let code = response.status();
        let mut body = Vec::new();
        // What does not fit is left unread; the connection is closed anyway.
        while body.len() < OUTPUT_BYTES_MAX
            && let Ok(Some(chunk)) = response.chunk().await
        {
            body.extend_from_slice(&chunk);
        }
        body.truncate(OUTPUT_BYTES_MAX);
        let text = String::from_utf8_lossy(&body);
        Ok(Some(Outcome {
            status: status(code),
            output: format!("HTTP {method} {url}: {code} Output: {text}"),
        }))
    }

    /// Who asks, and for what URL.
    async fn caller(&self, probe: &HttpProbe) -> Result<(Client, Url), String> {
        let url = Url::parse(&probe.url).map_err(|error| chain(&error))?;
        if probe.tls_server_name.is_empty() && !probe.disable_redirects {
            return Ok((self.client(probe.tls_skip_verify)?.clone(), url));
        }
        let mut builder = builder(probe.tls_skip_verify);
        if probe.disable_redirects {
            builder = builder.redirect(Policy::none());
        }
        let name = &probe.tls_server_name;
        if name.is_empty() || url.scheme() != "https" {
            let made = builder.build().map_err(|error| chain(&error))?;
            return Ok((made, url));
        }
        // The certificate is asked for under its name, and the name leads to the host.
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or(443);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let found = lookup_host((host, port)).await;
        let found: Vec<SocketAddr> = found.map_err(|error| chain(&error))?.collect();
        let mut named = url.clone();
        named
            .set_host(Some(name))
            .map_err(|error| format!("`{name}` is no name of a server: {error}"))?;
        let made = builder.resolve_to_addrs(name, &found).build();
        Ok((made.map_err(|error| chain(&error))?, named))
    }

    fn client(&self, skip_verify: bool) -> Result<&Client, String> {
        let kept = if skip_verify {
            &self.lenient
        } else {
            &self.strict
        };
        let made = kept.get_or_init(|| {
            let made = builder(skip_verify).build();
            made.map_err(|error| chain(&error))
        });
        made.as_ref().map_err(Clone::clone)
    }
}

fn builder(skip_verify: bool) -> ClientBuilder {
    Client::builder()
        .user_agent(USER_AGENT)
        .redirect(Policy::limited(REDIRECTS_MAX))
        .pool_max_idle_per_host(0)
        .no_proxy()
        .danger_accept_invalid_certs(skip_verify)
}

fn status(code: StatusCode) -> Status {
    if code.is_success() {
        Status::Passing
    } else if code == StatusCode::TOO_MANY_REQUESTS {
        Status::Warning
    } else {
        Status::Critical
    }
}

/// An error with its causes: the outermost alone hides that a connection was refused.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
