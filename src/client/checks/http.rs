use super::{OUTPUT_BYTES_MAX, critical, is_no_verdict};
use http::StatusCode;
use mesh::{
    health::Outcome,
    model::{HttpProbe, Status},
};
use reqwest::{Client, Method, redirect::Policy};
use std::sync::OnceLock;

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
        let mut request = self
            .client(probe.tls_skip_verify)?
            .request(method.clone(), url)
            .header("Accept", "text/plain, text/*, */*")
            .header("Connection", "close");
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

    fn client(&self, skip_verify: bool) -> Result<&Client, String> {
        let kept = if skip_verify {
            &self.lenient
        } else {
            &self.strict
        };
        let made = kept.get_or_init(|| {
            Client::builder()
                .user_agent(USER_AGENT)
                .redirect(Policy::limited(REDIRECTS_MAX))
                .pool_max_idle_per_host(0)
                .no_proxy()
                .danger_accept_invalid_certs(skip_verify)
                .build()
                .map_err(|error| chain(&error))
        });
        made.as_ref().map_err(Clone::clone)
    }
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
