//! An agent in this process.

use super::{Agent, Error, run};
use config::{Config, Written};
use std::{path::Path, sync::mpsc, thread, time::Duration};
use sys::clock;

/// All listeners on ports that the system chooses.
fn config(dir: &Path) -> Config {
    let file = dir.join("agent.hcl");
    let text = format!(
        "data_dir = \"{}\"\nports {{\n  http = 0\n  rpc = 0\n  catalog = 0\n  dns = 0\n  ingress = 0\n  ingress_admin = 0\n}}\n",
        dir.join("data").display()
    );
    std::fs::write(&file, text).unwrap();
    let flags = Written {
        dev: Some(true),
        ..Written::default()
    };
    Config::load(&[file], flags).unwrap()
}

#[test]
fn a_failed_start_leaves_nothing_running() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    // An address of its own: no other test takes its port when it is free again.
    config.ingress.as_mut().unwrap().admin = "127.0.0.82:0".parse().unwrap();
    // The client keeps its state there; the server does not mind.
    let blocked = config.data_dir.join("client");
    std::fs::create_dir_all(&config.data_dir).unwrap();
    std::fs::write(&blocked, "in the way").unwrap();
    run(async |planes| {
        let failed = Box::pin(Agent::start(config.clone(), &planes))
            .await
            .unwrap_err();
        assert!(matches!(failed, Error::Client(_)), "{failed}");
        std::fs::remove_file(&blocked).unwrap();

        // The log is held by nobody, and neither are ports.
        let agent = Box::pin(Agent::start(config.clone(), &planes))
            .await
            .unwrap();
        agent.ready().await;
        let taken = agent.listeners().clone();
        let elsewhere = tempfile::tempdir().unwrap();
        config.data_dir = elsewhere.path().to_path_buf();
        config.http = Some("127.0.0.1:0".parse().unwrap());
        config.ingress.as_mut().unwrap().admin = taken.ingress_admin.unwrap();
        let failed = Box::pin(Agent::start(config.clone(), &planes))
            .await
            .unwrap_err();
        assert!(
            failed.to_string().contains("ports.ingress_admin"),
            "{failed}"
        );
        agent.stop().await;
        let agent = Box::pin(Agent::start(config, &planes)).await.unwrap();
        agent.ready().await;
        assert_eq!(agent.listeners().ingress_admin, taken.ingress_admin);
        agent.stop().await;
    })
    .unwrap();
}

#[test]
fn a_stop_is_bounded_whatever_hangs() {
    let start = clock::monotonic();
    let (hanging, hangs) = mpsc::channel();
    run(async |planes| {
        for plane in [planes.control(), planes.data(), planes.client()] {
            // More than there are threads to serve it, and some in the pool for blocking work.
            for _ in 0..16 {
                let (on_worker, in_pool) = (hanging.clone(), hanging.clone());
                plane.spawn(async move { on_worker.send(()).map(|()| thread::park()) });
                plane.spawn_blocking(move || in_pool.send(()).map(|()| thread::park()));
            }
        }
        hangs.recv().unwrap();
    })
    .unwrap();
    let took = clock::monotonic() - start;
    assert!(took < Duration::from_secs(120), "{took:?}");
}
