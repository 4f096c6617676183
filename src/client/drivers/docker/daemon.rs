//! The daemon behind the driver: where it is, and what its refusals mean.

use bollard::{API_DEFAULT_VERSION, Docker as Api, errors::Error};
use parking_lot::Mutex;
use std::time::Duration;
use sys::faults;
use tokio::time::timeout;

/// A daemon that does not answer a simple request for so long hangs.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Bound of requests that last as long as what they follow, such as the output of a container.
const FOLLOW_TIMEOUT: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Why the daemon did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// Nobody listens there.
    #[error(
        "Failed to connect to {name} daemon at {endpoint}: {reason}; is it running, and may the agent use its socket?"
    )]
    Unreachable {
        /// The driver.
        name: &'static str,
        /// Where.
        endpoint: String,
        /// Why.
        reason: String,
    },
    /// It took the request and did not answer.
    #[error("{name} daemon at {endpoint} does not answer")]
    Hangs {
        /// The driver.
        name: &'static str,
        /// Where.
        endpoint: String,
    },
    /// What was asked for does not exist.
    #[error("{0}")]
    Missing(String),
    /// Something of that name is there already, or in use.
    #[error("{0}")]
    Conflict(String),
    /// The request itself is wrong.
    #[error("{0}")]
    Wrong(String),
    /// The daemon failed.
    #[error("{0}")]
    Failed(String),
}

impl Failure {
    /// True when the daemon said nothing about the request.
    pub(super) fn is_silent(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Hangs { .. })
    }
}

/// The way to a daemon.
#[derive(Debug)]
pub(super) struct Daemon {
    name: &'static str,
    /// `unix://<path>` or `tcp://<host>:<port>`.
    endpoint: String,
    /// Once the version of the API was agreed on.
    api: Mutex<Option<Api>>,
}

impl Daemon {
    /// Of the driver `name` at `endpoint`. Asks nothing yet.
    pub(super) fn new(name: &'static str, endpoint: String) -> Self {
        Self {
            name,
            endpoint,
            api: Mutex::new(None),
        }
    }

    /// The API for requests that are answered at once.
    pub(super) async fn api(&self) -> Result<Api, Failure> {
        if let Some(api) = &*self.api.lock() {
            return Ok(api.clone());
        }
        self.greet().await
    }

    /// The API for requests that last as long as what they follow. The request itself must be
    /// given up by the one who asks.
    pub(super) async fn following(&self) -> Result<Api, Failure> {
        Ok(self.api().await?.with_timeout(FOLLOW_TIMEOUT))
    }

    /// As [`Daemon::api`], after asking which version the daemon speaks now.
    pub(super) async fn greet(&self) -> Result<Api, Failure> {
        let limit = faults::patience(CALL_TIMEOUT);
        let seconds = limit.as_secs().max(1);
        let made = if self.endpoint.starts_with("tcp://") {
            Api::connect_with_http(&self.endpoint, seconds, API_DEFAULT_VERSION)
        } else {
            Api::connect_with_unix(&self.endpoint, seconds, API_DEFAULT_VERSION)
        };
        let made = made.map_err(|error| self.failure(error))?;
        let agreed = timeout(limit, made.negotiate_version()).await;
        let agreed = agreed.map_err(|_| self.hangs())?;
        let api = agreed.map_err(|error| self.failure(error))?;
        *self.api.lock() = Some(api.clone());
        Ok(api)
    }

    fn hangs(&self) -> Failure {
        Failure::Hangs {
            name: self.name,
            endpoint: self.endpoint.clone(),
        }
    }

    /// What an error of the library means.
    pub(super) fn failure(&self, error: Error) -> Failure {
        let unreachable = |reason: String| Failure::Unreachable {
            name: self.name,
            endpoint: self.endpoint.clone(),
            reason,
        };
        match error {
            Error::DockerResponseServerError {
                status_code,
                message,
            } => {
                let message = message.trim().to_owned();
                match status_code {
                    404 => Failure::Missing(message),
                    409 => Failure::Conflict(message),
                    400..500 => Failure::Wrong(message),
                    _ => Failure::Failed(message),
                }
            }
            Error::RequestTimeoutError => self.hangs(),
            Error::DockerStreamError { error } => Failure::Failed(error),
            Error::SocketNotFoundError(path) => {
                unreachable(format!("there is no socket at `{path}`"))
            }
            Error::HyperResponseError { err } => unreachable(err.to_string()),
            Error::IOError { err } => unreachable(err.to_string()),
            Error::HyperLegacyError { err } => {
                let cause = std::error::Error::source(&err);
                unreachable(cause.map_or_else(|| err.to_string(), ToString::to_string))
            }
            other => Failure::Failed(other.to_string()),
        }
    }
}
