//! One stream from its opening to its end.

use super::{Await, REPORTS_MAX, Session};
use crate::{
    message::{Held, RulesVersion, ToClient, ToServer},
    traffic,
    transport::{self, AgentLink},
};
use std::time::Duration;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout},
};

/// How long a server may take to answer a registration.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a stream may take no message before it is given up.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamError {
    #[error(transparent)]
    Transport(#[from] transport::Error),
    #[error("agent registration rejected: {reason}")]
    Rejected { reason: String },
    #[error(
        "the cluster goes by version {rules} of its rules and this agent knows version {knows}: upgrade the \
         agent to a version of trivet that knows {rules}"
    )]
    Rules {
        rules: RulesVersion,
        knows: RulesVersion,
    },
    #[error("the server answered the registration with another message")]
    Unexpected,
    #[error("the server ended the stream")]
    Ended,
    #[error("the server did not answer the registration within {} s", WELCOME_TIMEOUT.as_secs())]
    Silent,
    #[error("the server took no message for {} s", SEND_TIMEOUT.as_secs())]
    Stuck,
}

impl Session {
    /// One stream to `server`, from its opening to its end.
    pub(super) async fn stream(&mut self, server: &str) -> Result<(), StreamError> {
        let link = transport::open_session(server, &self.security).await?;
        let AgentLink {
            outgoing,
            mut incoming,
        } = link;
        let outgoing = Outgoing(outgoing);
        let allocs = self.allocs.clone();
        let watches = self.watches.clone();
        self.hello.confirmed = self.confirmed.borrow().at.index;
        outgoing
            .send(ToServer::Hello(Box::new(self.hello.clone())))
            .await?;
        self.hello.stream += 1;
        let welcome = timeout(WELCOME_TIMEOUT, incoming.recv()).await;
        let (lease_ms, history, rules, takes_traffic) = match welcome {
            Ok(Some(ToClient::Welcome {
                lease_ms,
                history,
                rules,
                takes_traffic,
                servers,
            })) => {
                self.servers.learn(servers);
                (lease_ms, history, rules, takes_traffic)
            }
            Ok(Some(ToClient::Rejected { reason })) => {
                return Err(StreamError::Rejected { reason });
            }
            Ok(Some(_)) => return Err(StreamError::Unexpected),
            Ok(None) => return Err(StreamError::Ended),
            Err(_) => return Err(StreamError::Silent),
        };
        let knows = self.hello.rules;
        if rules > knows {
            return Err(StreamError::Rules { rules, knows });
        }
        self.rules
            .send_if_modified(|known| std::mem::replace(known, rules) != rules);
        if self.hello.held.history != history {
            self.hello.held = Held {
                history,
                ..Held::default()
            };
        }
        self.rejected = None;
        self.connected.send_replace(true);
        self.watches.begin();
        self.resume(&outgoing).await?;
        // Intervals that passed meanwhile are missing; told late, they would pass for new ones.
        while self.traffic.try_recv().is_ok() {}
        self.traffic_interval.send_replace(traffic::INTERVAL);
        let beat = Duration::from_millis((lease_ms / 3).max(10));
        let mut heartbeat = interval_at(Instant::now() + beat, beat);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let retry_at = self.retry_at.unwrap_or_else(Instant::now);
            tokio::select! {
                message = incoming.recv() => match message {
                    Some(message) => {
                        self.on_message(message);
                        self.confirm_if_asked(&outgoing).await?;
                    }
                    None => return Err(StreamError::Ended),
                },
                pending = self.reports.recv(), if self.pending.len() < REPORTS_MAX => {
                    let Some(pending) = pending else { return Ok(()) };
                    let number = self.accept_report(pending);
                    self.send_report(&outgoing, number).await?;
                }
                Some(asked) = self.awaits.recv(), if self.awaited.len() < REPORTS_MAX => {
                    let number = self.next_number();
                    outgoing.send(question(number, &asked)).await?;
                    self.awaited.insert(number, asked);
                }
                Ok(()) = self.confirmed.changed() => self.confirm_if_asked(&outgoing).await?,
                Some(traffic) = self.traffic.recv() => if takes_traffic {
                    outgoing.send(ToServer::Traffic(traffic)).await?;
                },
                room = allocs.reserve(), if self.waiting.is_some() => {
                    // Without a client part there is nobody to tell.
                    let delta = self.waiting.take().unwrap_or_default();
                    if let Ok(room) = room {
                        room.send(delta);
                    }
                }
                () = sleep_until(retry_at), if self.retry_at.is_some() => {
                    self.retry_at = None;
                    for number in std::mem::take(&mut self.refused) {
                        self.send_report(&outgoing, number).await?;
                    }
                }
                () = watches.changed() => self.say_what_is_watched(&outgoing).await?,
                _ = heartbeat.tick() => {
                    outgoing.send(ToServer::Heartbeat).await?;
                    // What nobody reads any more says nothing of itself.
                    self.say_what_is_watched(&outgoing).await?;
                }
            }
        }
    }

    /// Sends again what the stream before left open.
    async fn resume(&mut self, outgoing: &Outgoing) -> Result<(), StreamError> {
        self.refused.clear();
        self.retry_at = None;
        let numbers: Vec<u64> = self.pending.keys().copied().collect();
        for number in numbers {
            self.send_report(outgoing, number).await?;
        }
        // Their callers may have given up meanwhile.
        self.awaited.retain(|_, asked| !asked.reply.is_closed());
        for (&number, asked) in &self.awaited {
            outgoing.send(question(number, asked)).await?;
        }
        self.say_what_is_watched(outgoing).await?;
        let confirmation = self.confirmed.borrow_and_update().clone();
        if confirmation.at.index > 0 {
            self.told = confirmation.clone();
            outgoing.send(ToServer::Confirmed(confirmation)).await?;
        }
        Ok(())
    }

    async fn say_what_is_watched(&self, outgoing: &Outgoing) -> Result<(), StreamError> {
        for message in self.watches.unsaid() {
            outgoing.send(message).await?;
        }
        Ok(())
    }

    async fn send_report(&self, outgoing: &Outgoing, number: u64) -> Result<(), StreamError> {
        let Some(pending) = self.pending.get(&number) else {
            return Ok(());
        };
        let report = pending.report.clone();
        outgoing.send(ToServer::Report { number, report }).await
    }

    /// Confirms what the servers want to be confirmed as soon as it is shown, and says when other
    /// instances are busy than before.
    async fn confirm_if_asked(&mut self, outgoing: &Outgoing) -> Result<(), StreamError> {
        let confirmation = {
            let now = self.confirmed.borrow_and_update();
            let is_asked = now.at >= self.to_confirm && self.told.at < self.to_confirm;
            (is_asked || now.busy != self.told.busy).then(|| now.clone())
        };
        if let Some(confirmation) = confirmation {
            self.told = confirmation.clone();
            outgoing.send(ToServer::Confirmed(confirmation)).await?;
        }
        Ok(())
    }
}

/// The way to the server, with a bound on every wait.
struct Outgoing(mpsc::Sender<ToServer>);

impl Outgoing {
    async fn send(&self, message: ToServer) -> Result<(), StreamError> {
        match timeout(SEND_TIMEOUT, self.0.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(StreamError::Ended),
            Err(_) => Err(StreamError::Stuck),
        }
    }
}

fn question(number: u64, asked: &Await) -> ToServer {
    ToServer::Await {
        number,
        index: asked.index,
        instances: asked.instances.clone(),
    }
}
