//! Directories that stay for a while although nobody asks for their allocations any more: somebody
//! reads them.

use jobs::model::AllocId;
use parking_lot::Mutex;
use std::{collections::BTreeMap, sync::Arc};

/// How many read which directory.
#[derive(Debug, Default)]
pub(crate) struct Pins(Mutex<BTreeMap<AllocId, usize>>);

/// Keeps a directory until it is dropped.
#[derive(Debug)]
pub(crate) struct Pin {
    pins: Arc<Pins>,
    alloc_id: AllocId,
}

impl Pins {
    /// Keeps the directory of an allocation.
    pub(crate) fn pin(self: &Arc<Self>, alloc_id: AllocId) -> Pin {
        *self.0.lock().entry(alloc_id).or_default() += 1;
        Pin {
            pins: Arc::clone(self),
            alloc_id,
        }
    }

    /// Whether somebody keeps it.
    pub(crate) fn has(&self, alloc_id: AllocId) -> bool {
        self.0.lock().contains_key(&alloc_id)
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pins = self.pins.0.lock();
        if let Some(count) = pins.get_mut(&self.alloc_id) {
            *count -= 1;
            if *count == 0 {
                pins.remove(&self.alloc_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_kept_until_its_last_reader_is_gone() {
        let pins = Arc::new(Pins::default());
        let [id, other] = ["a", "b"].map(AllocId::named);
        let (first, second) = (pins.pin(id), pins.pin(id));
        drop(first);
        assert!(pins.has(id) && !pins.has(other));
        drop(second);
        assert!(!pins.has(id));
    }
}
