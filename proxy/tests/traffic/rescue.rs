//! A target that was suspected is listened to.

use std::time::Duration;

use proxy::Config;
use tokio::time::{Instant, sleep, timeout};

use crate::backend::{Backend, Behavior};
use crate::client::get;
use crate::running::Running;

/// No test here takes longer, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_suspected_target_is_asked_again_as_soon_as_it_answers() {
    let slow = Backend::start("slow", Behavior::Held).await;
    let other = Backend::start("other", Behavior::Name).await;
    let config = Config {
        threads: 1,
        ..Config::default()
    };
    let proxy = Running::to(config, &[slow.address, other.address]).await;
    let address = proxy.address;
    let began = Instant::now();
    let waiting = tokio::spawn(async move { get(address, "/").await });
    slow.request_arrived().await;
    assert_eq!(get(address, "/").await.text(), "other");
    let answer = timeout(PATIENCE, waiting).await.unwrap().unwrap();
    assert_eq!(answer.text(), "other");
    for _ in 0..6 {
        assert_eq!(get(address, "/").await.text(), "other");
    }
    // It was suspected after half a second, and a request tries after each that follows.
    let tries = began.elapsed().saturating_sub(Duration::from_millis(500));
    let asked = slow.requests();
    assert!(asked <= 1 + tries.as_secs() as usize, "{asked}");
    // It answers what nobody waits for any more, and no request has to try.
    slow.permits.add_permits(100);
    let table = proxy.handle.table();
    let slow_one = table.upstreams().find(|own| own.address() == slow.address);
    let heard = async {
        while slow_one.unwrap().health().is_doubtful() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, heard).await.expect("it is heard");
    assert_eq!(slow.requests(), asked);
    let mut texts = Vec::new();
    for _ in 0..2 {
        texts.push(get(address, "/").await.text());
    }
    assert!(texts.contains(&"slow".to_owned()), "{texts:?}");
}
