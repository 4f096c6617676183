//! The catalog from outside: scenarios as text, and properties over random commands.

#[cfg(test)]
mod chains;
mod compatibility;
mod filter;
#[cfg(test)]
mod fuzz;
mod local;
#[cfg(test)]
mod prepared;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod transcripts;
