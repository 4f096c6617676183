//! Changes how the servers look after their group.

use crate::{
    model::{AutopilotConfig, Index},
    state::{Rejected, Snapshot, Table, change::Change},
};

impl Snapshot {
    pub(in crate::state) fn set_autopilot_config(
        &mut self,
        change: &mut Change,
        config: AutopilotConfig,
        expected: Option<Index>,
    ) -> Result<(), Rejected> {
        let before = self.autopilot_config;
        let found = before.modify_index;
        if let Some(wanted) = expected.filter(|wanted| *wanted != found) {
            return Err(Rejected::AutopilotConfigChanged { wanted, found });
        }
        let create_index = match found {
            AutopilotConfig::UNCHANGED => change.at.index,
            _ => before.create_index,
        };
        self.autopilot_config = AutopilotConfig {
            create_index,
            modify_index: change.at.index,
            ..config
        };
        change.touch(Table::AutopilotConfig);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Command, Loading, Stamp, State};

    #[test]
    fn settings_are_replaced_as_a_whole_and_only_where_they_are_as_expected() {
        let mut state = State::default();
        let mut set = |index: Index, min_quorum, expected| {
            let config = AutopilotConfig {
                min_quorum,
                ..AutopilotConfig::default()
            };
            let at = Stamp {
                index,
                ..Stamp::default()
            };
            let written = state.apply(at, Command::SetAutopilotConfig { config, expected });
            let now = *state.current().autopilot_config();
            let seen = (now.min_quorum, now.create_index, now.modify_index);
            (written.map(drop), seen)
        };
        let other = |wanted, found| Err(Rejected::AutopilotConfigChanged { wanted, found });
        assert_eq!(set(5, 3, Some(7)), (other(7, 1), (0, 1, 1)));
        assert_eq!(set(6, 3, Some(1)), (Ok(()), (3, 6, 6)));
        assert_eq!(set(7, 5, Some(1)), (other(1, 6), (3, 6, 6)));
        assert_eq!(set(8, 5, None), (Ok(()), (5, 6, 8)));
        let mut loading = Loading::default();
        state
            .current()
            .saved_rows()
            .for_each(|row| loading.add(row));
        assert_eq!(
            loading.finish().autopilot_config(),
            state.current().autopilot_config()
        );
    }
}
