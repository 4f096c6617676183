//! How long a rollout takes if nothing goes wrong.

use super::judge::ATTEMPTS_MIN;
use crate::model::{RolloutPolicy, Share};

/// A sentence with the time of each step for so many requests per minute:
/// `5 %: about 52 min; 25 %: about 10 min`. None when canaries get no share of their own.
pub fn estimate(policy: &RolloutPolicy, per_minute: f64) -> Option<String> {
    if !policy.is_governed() {
        return None;
    }
    if per_minute <= 0.0 {
        return Some(format!(
            "nobody sends requests now; each step takes {ATTEMPTS_MIN} requests at the canaries, and {}",
            policy.hold
        ));
    }
    let whole = f64::from(Share::WHOLE.ten_thousandths());
    let steps = policy.steps.iter().map(|share| {
        let part = f64::from(share.ten_thousandths()) / whole;
        let hold = policy.hold.to_std().as_secs_f64();
        let seconds = if part > 0.0 {
            (ATTEMPTS_MIN as f64 * 60.0 / (per_minute * part)).max(hold)
        } else {
            hold
        };
        format!("{share}: about {}", time(seconds))
    });
    let steps: Vec<String> = steps.collect();
    Some(format!(
        "{} at {} requests/min",
        steps.join("; "),
        per_minute.round()
    ))
}

fn time(seconds: f64) -> String {
    if seconds < 120.0 {
        format!("{} s", seconds.round())
    } else if seconds < 7200.0 {
        format!("{} min", (seconds / 60.0).round())
    } else {
        format!("{:.1} h", seconds / 3600.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_requests_take_long() {
        let mut policy = RolloutPolicy::default();
        assert_eq!(estimate(&policy, 20.0), None);
        policy.set("rollout_steps", "0,5,25,50").unwrap();
        assert_eq!(
            estimate(&policy, 20.0).unwrap(),
            "0 %: about 60 s; 5 %: about 52 min; 25 %: about 10 min; 50 %: about 5 min at 20 requests/min"
        );
        assert_eq!(
            estimate(&policy, 60_000.0).unwrap(),
            "0 %: about 60 s; 5 %: about 60 s; 25 %: about 60 s; 50 %: about 60 s at 60000 requests/min"
        );
        assert!(estimate(&policy, 0.0).unwrap().contains("52 requests"));
        policy.set("rollout_steps", "0.01").unwrap();
        assert_eq!(
            estimate(&policy, 600.0).unwrap(),
            "0.01 %: about 14.4 h at 600 requests/min"
        );
    }
}
