//! Whether this thread carries simulated processes in the place of a real one.
//!
//! A simulation runs several servers and agents in turns on one thread, with a clock, a network
//! and disks of its own, so that a number is all that is needed to have the same again. Whatever
//! would leave the thread asks here and stays on it then.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    time::Duration,
};

/// Says what becomes of a write to the disk of a process.
pub type Disk = Rc<dyn Fn(u32) -> DiskTurn>;

thread_local! {
    static PROCESS: Cell<Option<u32>> = const { Cell::new(None) };
    static DISK: RefCell<Option<Disk>> = const { RefCell::new(None) };
}

/// How a simulated disk carries out a write.
#[derive(Debug)]
pub struct DiskTurn {
    /// How long it takes; until then nothing of it is on the disk.
    pub takes: Duration,
    /// Why it fails then, if it does.
    pub fails: Option<io::Error>,
}

/// The simulated process whose turn it is; none on every thread of a real one.
pub fn process() -> Option<u32> {
    PROCESS.get()
}

/// Whether this thread is a simulation's.
pub fn is_on() -> bool {
    process().is_some()
}

/// Puts the process from before back, also after a panic.
struct Turn(Option<u32>);

impl Drop for Turn {
    fn drop(&mut self) {
        PROCESS.set(self.0);
    }
}

/// Carries out `act` as the turn of a simulated process.
pub fn turn<T>(process: u32, act: impl FnOnce() -> T) -> T {
    let _before = Turn(PROCESS.replace(Some(process)));
    act()
}

/// Asks `disk` about every write to the log of a process of this thread from now on.
pub fn use_disk(disk: Disk) {
    DISK.replace(Some(disk));
}

/// What becomes of a write of the process whose turn it is.
pub fn disk_turn() -> DiskTurn {
    let disk = DISK.with_borrow(Clone::clone);
    match (disk, process()) {
        (Some(disk), Some(process)) => disk(process),
        _ => DiskTurn {
            takes: Duration::ZERO,
            fails: None,
        },
    }
}
