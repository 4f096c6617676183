//! The jobs API for tasks, over the sockets among their secrets: for those who show a token that
//! says which task they are.

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{Extensions, HeaderMap, HeaderValue, StatusCode, Uri},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use client::Opened;
use http_body_util::{BodyExt as _, Limited};
use serde::Deserialize;
use server::{BadToken, PublicKey, check_token};
use std::{future::Future, sync::Arc, time::Duration};
use sys::clock;
use tokio::{
    sync::{Mutex, mpsc},
    time::Instant,
};
use tower::ServiceExt as _;

use super::{
    error::Error,
    listener::{Common, handed},
};

/// Where the keys are.
const KEYS: &str = "/.well-known/jwks.json";
/// Bytes of the keys.
const KEYS_BYTES_MAX: usize = 1 << 20;
/// How long the keys that were found are all there are.
const KEYS_PAUSE: Duration = Duration::from_secs(1);

/// Serves `router` on the connections that tasks open, until `shutdown` resolves.
pub async fn tasks(
    opened: mpsc::Receiver<Opened>,
    router: Router,
    common: Common,
    shutdown: impl Future<Output = ()> + Send,
) {
    let known = Known {
        asked: router.clone(),
        keys: Mutex::default(),
    };
    let router = router.layer(middleware::from_fn_with_state(Arc::new(known), identified));
    let open = move |Opened { stream, slot }| (stream, router.clone(), slot);
    handed(opened, open, common, shutdown).await;
}

/// The keys that tokens are checked with. An agent without a server asks one for them.
struct Known {
    asked: Router,
    keys: Mutex<Keys>,
}

#[derive(Default)]
struct Keys {
    found: Vec<PublicKey>,
    at: Option<Instant>,
}

async fn identified(State(known): State<Arc<Known>>, request: Request, next: Next) -> Response {
    let token = token(request.headers()).map(str::to_owned);
    let extensions = request.extensions().clone();
    match known.check(token, extensions).await {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

impl Known {
    async fn check(&self, token: Option<String>, extensions: Extensions) -> Result<(), Error> {
        let Some(token) = token else {
            let what = "a token of a task is needed here: send it as `X-Nomad-Token`, or as bearer";
            return Err(Error::new(StatusCode::UNAUTHORIZED, what));
        };
        let refused = |bad: BadToken| Error::new(StatusCode::FORBIDDEN, bad.to_string());
        let mut keys = self.keys.lock().await;
        match check_token(&token, &keys.found, clock::now()) {
            Err(BadToken::UnknownKey) if keys.are_old() => {}
            checked => return checked.map_err(refused),
        }
        keys.found = self.ask(extensions).await?;
        keys.at = Some(Instant::now());
        check_token(&token, &keys.found, clock::now()).map_err(refused)
    }

    async fn ask(&self, extensions: Extensions) -> Result<Vec<PublicKey>, Error> {
        let failed = |reason: &str| {
            let text = format!("the keys that tokens are checked with are not to be had: {reason}");
            Error::new(StatusCode::SERVICE_UNAVAILABLE, text)
        };
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = Uri::from_static(KEYS);
        *request.extensions_mut() = extensions;
        let answer = self.asked.clone().oneshot(request).await;
        let answer = answer.unwrap_or_else(|never| match never {});
        let status = answer.status();
        let body = Limited::new(answer.into_body(), KEYS_BYTES_MAX).collect();
        let body = body.await.map_err(|error| failed(&error.to_string()))?;
        let body = body.to_bytes();
        if status != StatusCode::OK {
            return Err(failed(&String::from_utf8_lossy(&body)));
        }
        let shown: Shown =
            serde_json::from_slice(&body).map_err(|error| failed(&error.to_string()))?;
        Ok(shown.keys.iter().filter_map(ShownKey::read).collect())
    }
}

impl Keys {
    fn are_old(&self) -> bool {
        self.at.is_none_or(|at| at.elapsed() >= KEYS_PAUSE)
    }
}

#[derive(Deserialize)]
struct Shown {
    keys: Vec<ShownKey>,
}

#[derive(Deserialize)]
struct ShownKey {
    kid: String,
    x: String,
}

impl ShownKey {
    fn read(&self) -> Option<PublicKey> {
        Some(PublicKey {
            id: self.kid.parse().ok()?,
            bytes: URL_SAFE_NO_PAD.decode(&self.x).ok()?,
        })
    }
}

/// What stands in the header that the API's clients send, or in the usual one.
fn token(headers: &HeaderMap) -> Option<&str> {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let bearer = text("authorization").and_then(|text| {
        let (scheme, token) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let own = text("x-nomad-token");
    own.or(bearer).filter(|token| !token.is_empty())
}
