//! A target that was suspected is listened to.

use std::time::Duration;

use proxy::Config;
use tokio::time::{sleep, timeout};

use crate::backend::{Backend, Behavior};
use crate::client::get;
use crate::running::Running;

/// No test here takes longer, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(20);

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
    let waiting = tokio::spawn(async move { get(address, "/").await });
    slow.request_arrived().await;
    assert_eq!(get(address, "/").await.text(), "other");
    let answer = timeout(PATIENCE, waiting).await.unwrap().unwrap();
    assert_eq!(answer.text(), "other");
    for _ in 0..6 {
        assert_eq!(get(address, "/").await.text(), "other");
    }
    assert_eq!(slow.requests(), 1);
    // It answers what nobody waits for any more.
    slow.permits.add_permits(100);
    let again = async {
        while get(address, "/").await.text() != "slow" {
            sleep(Duration::from_millis(5)).await;
        }
    };
    // Long before a request tries.
    timeout(Duration::from_millis(900), again)
        .await
        .expect("it is asked again");
}
