//! The whole binary: real processes and sockets, ports chosen by the system.
//!
//! Every test starts its own agents and stops them; nothing is left behind. Tests whose name starts
//! with `needs_` say what they need from the machine and skip, loudly, where it is missing.

#![expect(
    clippy::panic,
    reason = "a test fails by panicking, also in its helpers"
)]
#![expect(clippy::string_slice, reason = "ids and texts of the tests are ASCII")]

mod acts;
mod agent_life;
mod api_json;
mod artifacts;
mod as_consul;
mod attacks_files;
mod auto_join;
mod autopilot;
mod bad_input;
mod browsers;
mod builds;
mod canary;
mod capacity;
mod catalog;
mod children;
mod cli;
mod client;
mod cluster;
mod cluster_faults;
mod containers;
mod cut_off;
mod datacenters;
mod defined;
mod deploys;
mod disk;
mod external;
mod fabio;
mod failures;
mod full_disk;
mod harness;
mod host_networks;
mod idle;
mod indexes;
mod ingress;
mod isolation;
mod judged;
mod launches;
mod leaving;
mod led;
mod linear;
mod listeners;
mod measured;
mod mesh;
mod migration;
mod needs;
mod networks;
mod operated;
mod pages;
mod plans;
mod preemption;
mod program_names;
mod pushed;
mod races;
mod regions;
mod registered;
mod rollback;
mod rolling;
mod rollout;
mod secured;
mod shutdown;
mod specification;
mod store;
mod storms;
mod templates;
mod terminals;
mod tidy;
mod top;
mod variables;
mod verdicts;
mod walkthrough;
mod watched;
mod web_ui;
