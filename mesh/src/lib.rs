//! What is running, is it well, who may talk to whom: the service catalog and its health.
//!
//! [`model`] holds the nouns, [`view`] the catalog that every agent may hold and the queries over
//! it, [`filter`] the expressions that pick rows of an answer, [`state`] the replicated tables and
//! the commands that change them, [`chain`] where the requests of a service go, [`split`] whether
//! that tells canaries apart, [`intention`] who may talk to whom, [`prepared`] the queries that
//! people ask by name, [`gossip`] which servers there are, [`external`] what a catalog elsewhere
//! has to be told, [`elsewhere`] what it shows, [`gateway`] what is reached from outside,
//! [`health`] the check state machine, [`lifetimes`] what ends sessions, [`local`] what one agent
//! was told to register, and [`wire`] the JSON shapes of the catalog HTTP API. Nothing here reads a
//! clock, draws a random number or performs I/O: time arrives as an argument, so equal command
//! sequences give equal states on every machine. Start reading at [`state::State::apply`].

pub mod chain;
pub mod elsewhere;
pub mod external;
pub mod filter;
pub mod gateway;
pub mod gossip;
pub mod health;
pub mod intention;
pub mod lifetimes;
pub mod local;
pub mod model;
pub mod prepared;
pub mod split;
pub mod state;
pub mod view;
pub mod wire;
