//! What the agent as a whole is asked to do over HTTP.

use api::consul::AgentRequest;
use tokio::sync::{Mutex, mpsc, oneshot};

/// Something that the agent is asked to do.
#[derive(Debug)]
pub enum Request {
    /// Read the configuration again; whoever asked waits for the answer.
    Reload(Answer),
    /// Stop for good.
    Leave,
}

/// Where the answer to a request goes.
#[derive(Debug)]
pub struct Answer(oneshot::Sender<Result<(), String>>);

impl Answer {
    /// Tells what became of the request.
    pub fn tell(self, done: Result<(), String>) {
        // Whoever asked may have gone away.
        self.0.send(done).ok();
    }
}

/// The requests that come in.
#[derive(Debug)]
pub(super) struct Requests(Mutex<mpsc::Receiver<AgentRequest>>);

impl Requests {
    pub(super) fn new(incoming: mpsc::Receiver<AgentRequest>) -> Self {
        Self(Mutex::new(incoming))
    }

    /// The next one; never when nobody can ask.
    pub(super) async fn next(&self) -> Request {
        match self.0.lock().await.recv().await {
            Some(AgentRequest::Reload(answer)) => Request::Reload(Answer(answer)),
            Some(AgentRequest::Leave) => Request::Leave,
            None => std::future::pending().await,
        }
    }
}
