//! Changes how the servers schedule.

use crate::{
    model::{Index, SchedulerConfig},
    state::{Rejected, Snapshot, Table, change::Change},
};

impl Snapshot {
    pub(in crate::state) fn set_scheduler_config(
        &mut self,
        change: &mut Change,
        config: SchedulerConfig,
        expected: Option<Index>,
    ) -> Result<(), Rejected> {
        let found = self.scheduler_config.modify_index;
        if let Some(wanted) = expected.filter(|wanted| *wanted != found) {
            return Err(Rejected::SchedulerConfigChanged { wanted, found });
        }
        self.scheduler_config = SchedulerConfig {
            create_index: self.scheduler_config.create_index,
            modify_index: change.at.index,
            ..config
        };
        change.touch(Table::SchedulerConfig);
        Ok(())
    }
}
