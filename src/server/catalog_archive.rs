//! What users wrote into the catalog, as the state of an archive, and back.
//!
//! Rows of others are in it too, for whoever looks into it; `RestoreCatalog` says which of them
//! count.

use mesh::state::{Command, RestoreCatalog, SavedRow};

use super::handle::Handle;
use super::log::propose::ProposeError;
use super::state::Snapshot;
use sys::archive::{self, Frame};

/// Why a catalog was not saved or restored.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// There is more than an archive may hold.
    #[error(
        "the catalog has more than {} bytes, which is the most that a snapshot may have",
        archive::STATE_BYTES_MAX
    )]
    TooLong,
    /// It cannot be read.
    #[error(transparent)]
    Archive(#[from] archive::Error),
    /// A row cannot be read.
    #[error("failed to read snapshot: a row of `{table}` cannot be read: {reason}")]
    Row {
        /// Name of the table.
        table: String,
        /// Why.
        reason: String,
    },
    /// The log could not take it.
    #[error(transparent)]
    Propose(#[from] ProposeError),
}

/// The catalog of a snapshot as the state of an archive.
///
/// # Errors
/// [`ArchiveError::TooLong`].
pub fn saved(snapshot: &Snapshot) -> Result<Vec<u8>, ArchiveError> {
    let mut state = archive::begin();
    for row in snapshot.mesh.saved_rows() {
        // The key of the certificate authority, though encrypted, is nobody else's.
        if matches!(row, SavedRow::Authority(_)) {
            continue;
        }
        let key = match &row {
            SavedRow::Key(entry) => entry.key.clone(),
            _ => String::new(),
        };
        let encoded = rmp_serde::to_vec_named(&row).map_err(|error| ArchiveError::Row {
            table: row.table().to_owned(),
            reason: error.to_string(),
        })?;
        let frame = Frame {
            table: row.table(),
            key: &key,
            row: &encoded,
        };
        archive::add(&mut state, frame);
        if state.len() > archive::STATE_BYTES_MAX {
            return Err(ArchiveError::TooLong);
        }
    }
    Ok(state)
}

/// The rows in the state of an archive.
///
/// # Errors
/// [`ArchiveError::Archive`] and [`ArchiveError::Row`].
pub fn rows(state: &[u8]) -> Result<Vec<SavedRow>, ArchiveError> {
    let frames = archive::frames(state)?;
    let rows = frames.iter().map(|frame| {
        rmp_serde::from_slice(frame.row).map_err(|error| ArchiveError::Row {
            table: frame.table.to_owned(),
            reason: error.to_string(),
        })
    });
    rows.collect()
}

impl Handle {
    /// Brings back the rows of an archive, in one entry of the log.
    ///
    /// # Errors
    /// [`ArchiveError::Propose`].
    pub async fn restore_catalog(&self, rows: Vec<SavedRow>) -> Result<(), ArchiveError> {
        let command = Command::RestoreCatalog(RestoreCatalog { rows });
        // A restore is never rejected.
        let (_, _outcome) = self.propose(command).await?;
        Ok(())
    }
}
