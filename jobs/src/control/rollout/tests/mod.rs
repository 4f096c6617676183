//! Rollouts against made-up traffic: scripts, simulations that guard the constants, properties.

mod measured;
mod properties;
mod scripts;
mod simulations;
mod trial;
