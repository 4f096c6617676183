//! What holds whatever happens.

use super::{
    super::{judge::ATTEMPTS_MIN, progress::JUDGE},
    trial::{Answers, Traffic, Trial},
};
use crate::model::{RolloutPhase, Share};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Turn {
    Traffic(f64, f64, f64, u8),
    Healthy(bool),
    Paused(bool),
    Fatal,
    Critical(bool),
    Missing(bool),
}

fn turn() -> impl Strategy<Value = Turn> {
    let part = prop_oneof![Just(0.0), Just(0.01), Just(0.5), Just(1.0)];
    let rate = prop_oneof![Just(0.0), Just(0.5), Just(10.0), Just(100.0)];
    prop_oneof![
        8 => (rate, part.clone(), part, 1_u8..60)
            .prop_map(|(rate, stable, canary, looks)| Turn::Traffic(rate, stable, canary, looks)),
        1 => any::<bool>().prop_map(Turn::Healthy),
        1 => any::<bool>().prop_map(Turn::Paused),
        1 => Just(Turn::Fatal),
        1 => any::<bool>().prop_map(Turn::Critical),
        1 => any::<bool>().prop_map(Turn::Missing),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_share_rises_step_by_step_and_an_abort_is_final(
        turns in prop::collection::vec(turn(), 1..24),
        seed in any::<u64>(),
    ) {
        let mut trial = Trial::of_steps("0,5,25,100", seed);
        trial.policy.hold = crate::model::Span::from_secs(3);
        trial.policy.bake = crate::model::Span::from_secs(2);
        let mut missing = false;
        for turn in turns {
            match turn {
                Turn::Healthy(well) => trial.facts.healthy = u32::from(well),
                Turn::Paused(paused) => trial.facts.is_paused = paused,
                Turn::Fatal => trial.facts.fatal = Some("a task was killed".into()),
                Turn::Critical(critical) => {
                    trial.facts.unusable = critical.then(|| "a canary is critical".into());
                }
                Turn::Missing(is_missing) => missing = is_missing,
                Turn::Traffic(rate, stable, canary, looks) => {
                    let traffic = Traffic {
                        rate,
                        stable: Answers { failed: stable, ..Answers::default() },
                        canary: Answers { failed: canary, ..Answers::default() },
                        missing: if missing { vec!["n1".into()] } else { Vec::new() },
                        ..Traffic::default()
                    };
                    for _ in 0..looks {
                        let before = trial.row.clone();
                        let doubtful = trial.facts.is_paused
                            || trial.facts.unusable.is_some()
                            || missing;
                        let moved = trial.look(&traffic);
                        let after = &trial.row;
                        if before.phase == RolloutPhase::Aborted {
                            prop_assert_eq!(&before, after);
                        }
                        if after.phase == RolloutPhase::Aborted {
                            prop_assert_eq!(after.share, Share::NONE);
                        }
                        if after.share > before.share {
                            // By the judge, by one step, and only when nothing is doubtful.
                            let moved = moved.expect("a transition");
                            prop_assert_eq!(moved.actor.as_str(), JUDGE);
                            prop_assert!(!doubtful);
                            let first = before.phase == RolloutPhase::Warming;
                            prop_assert!(first || after.step == before.step + 1);
                            prop_assert_eq!(after.share, after.steps[after.step as usize]);
                        }
                        if after.step > before.step && before.share > Share::NONE {
                            let counted = before.revision + 1 == after.revision;
                            prop_assert!(counted);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn nothing_passes_with_too_few_attempts(seed in any::<u64>(), rate in 0.1_f64..40.0) {
        let mut trial = Trial::of_steps("25,50", seed);
        trial.policy.hold = crate::model::Span::from_secs(1);
        let traffic = Traffic { rate, ..Traffic::default() };
        let mut attempts = 0;
        for _ in 0..400 {
            let step = trial.row.step;
            let phase = trial.row.phase;
            let moved = trial.look(&traffic);
            if phase != RolloutPhase::Warming && trial.row.step > step {
                prop_assert!(moved.is_some());
                prop_assert!(attempts >= ATTEMPTS_MIN, "{attempts} attempts");
            }
            let counted = trial.judge.totals().canary.attempts;
            attempts = counted + (traffic.rate * 0.25).ceil() as u64;
            if attempts < ATTEMPTS_MIN {
                prop_assert_eq!(trial.judge.attempts_missing(), ATTEMPTS_MIN - counted);
            }
        }
    }
}
