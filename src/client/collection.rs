//! Which ended allocations give their directories back, and why ([`collect`], pure), and who asks
//! for it.

use super::{context::Context, error::Error, stats};
use config::Collection;
use jobs::model::{AllocId, Timestamp};
use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep,
};

/// Asks that may wait.
pub(super) const ASKS_MAX: usize = 16;
/// Between two looks while room is being made.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Somebody wants directories of ended allocations to go.
#[derive(Debug)]
pub(super) enum Ask {
    /// Those that there are too many of. The answer says whether room is being made, so that it
    /// is worth looking again soon.
    Surplus(Usage, oneshot::Sender<bool>),
    /// All.
    All(oneshot::Sender<()>),
    /// That of one allocation.
    One(AllocId, oneshot::Sender<Result<(), Error>>),
}

/// Looks from time to time how full the disk is.
pub(super) async fn look(cx: Arc<Context>, asks: mpsc::Sender<Ask>) {
    let interval = cx.config.collection.interval;
    let mut pause = interval;
    loop {
        sleep(pause).await;
        let (reply, is_busy) = oneshot::channel();
        if asks
            .send(Ask::Surplus(usage(&cx).await, reply))
            .await
            .is_err()
        {
            return;
        }
        let is_busy = is_busy.await.unwrap_or(false);
        pause = if is_busy {
            LOOK_AGAIN.min(interval)
        } else {
            interval
        };
    }
}

/// A file system that does not say is taken for an empty one.
async fn usage(cx: &Context) -> Usage {
    let alloc_dir = cx.config.alloc_dir.clone();
    let room = cx.files.reads.run(move || stats::room(&alloc_dir)).await;
    let room = room.unwrap_or_default();
    Usage {
        disk_percent: room.used_percent,
        inode_percent: room.inodes_used_percent,
    }
}

/// How full a file system is, percent, 0 to 100.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Usage {
    pub(super) disk_percent: f64,
    pub(super) inode_percent: f64,
}

/// What there is too much of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Reason {
    /// Percent of the disk.
    Disk(f64),
    /// Percent of its inodes.
    Inodes(f64),
    /// Allocations of the node.
    Allocs(usize),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(percent) => write!(f, "{percent:.0} % of the disk are in use"),
            Self::Inodes(percent) => write!(f, "{percent:.0} % of the inodes are in use"),
            Self::Allocs(count) => write!(f, "the node has {count} allocations"),
        }
    }
}

/// What is to go now.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Collected {
    pub(super) reason: Reason,
    /// The oldest first; none when nothing has ended.
    pub(super) allocs: Vec<AllocId>,
}

impl Collected {
    /// Whether it takes another look at the file system to know that it was enough.
    pub(super) fn frees_room(&self) -> bool {
        !matches!(self.reason, Reason::Allocs(_))
    }
}

/// What is to go of `ended`, which are in the order of their ends, on a node with so many
/// allocations. Nobody knows how much room a directory takes, so of a file system that is too full
/// as many go as are removed at a time.
pub(super) fn collect(
    limits: &Collection,
    usage: Usage,
    known: usize,
    ended: &BTreeSet<(Timestamp, AllocId)>,
) -> Option<Collected> {
    let surplus = known.saturating_sub(limits.allocs_max);
    let (reason, count) = if usage.disk_percent > limits.disk_percent_max {
        (Reason::Disk(usage.disk_percent), limits.parallel)
    } else if usage.inode_percent > limits.inode_percent_max {
        (Reason::Inodes(usage.inode_percent), limits.parallel)
    } else if surplus > 0 {
        (Reason::Allocs(known), surplus)
    } else {
        return None;
    };
    let oldest = ended.iter().take(count.max(surplus));
    Some(Collected {
        reason,
        allocs: oldest.map(|(_, id)| *id).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_oldest_go_while_there_is_too_much() {
        let limits = Collection {
            interval: Duration::from_secs(60),
            disk_percent_max: 80.0,
            inode_percent_max: 70.0,
            allocs_max: 5,
            parallel: 2,
        };
        let id = |number: u8| AllocId::named(&number.to_string());
        // The higher the number, the earlier it ended.
        let at = |number: u8| Timestamp::from_nanos(100 - i64::from(number));
        let three: BTreeSet<_> = (1..=3).map(|number| (at(number), id(number))).collect();
        let none = BTreeSet::new();
        // Percent of the disk and of its inodes, all allocations, those that ended.
        for (disk, inodes, known, ended, expected) in [
            (80.0, 70.0, 5, &three, None),
            (80.1, 70.0, 5, &three, Some((Reason::Disk(80.1), 2))),
            (0.0, 70.1, 5, &three, Some((Reason::Inodes(70.1), 2))),
            (99.0, 99.0, 5, &three, Some((Reason::Disk(99.0), 2))),
            (0.0, 0.0, 6, &three, Some((Reason::Allocs(6), 1))),
            (0.0, 0.0, 8, &three, Some((Reason::Allocs(8), 3))),
            // What runs stays, however much there is.
            (0.0, 0.0, 100, &three, Some((Reason::Allocs(100), 3))),
            (99.0, 0.0, 100, &three, Some((Reason::Disk(99.0), 3))),
            (99.0, 0.0, 4, &none, Some((Reason::Disk(99.0), 0))),
        ] {
            let usage = Usage {
                disk_percent: disk,
                inode_percent: inodes,
            };
            let expected = expected.map(|(reason, count)| Collected {
                reason,
                allocs: [3, 2, 1].into_iter().take(count).map(id).collect(),
            });
            assert_eq!(
                collect(&limits, usage, known, ended),
                expected,
                "{disk} {inodes} {known}"
            );
        }
    }
}
