//! The event stream as a reader sees it.

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::timeout;
use tower::ServiceExt as _;

use crate::tests::{Fixture, ask};

const LONG: Duration = Duration::from_secs(60);

/// A stream that is open.
struct Reader(Body);

impl Reader {
    async fn open(fixture: &Fixture, query: &str) -> Self {
        let request = Request::get(format!("/v1/event/stream?{query}"));
        let request = request.body(Body::empty()).unwrap();
        let response = fixture.jobs.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        let mut reader = Self(response.into_body());
        assert_eq!(reader.line().await, json!({}), "it says that it is open");
        reader
    }

    async fn line(&mut self) -> Value {
        let frame = timeout(LONG, self.0.frame()).await.expect("a line");
        let frame = frame.expect("no end").unwrap();
        let line = frame.into_data().unwrap();
        assert!(line.ends_with(b"\n"));
        serde_json::from_slice(&line).unwrap()
    }

    /// The next line with events.
    async fn batch(&mut self) -> Value {
        let told = timeout(LONG, async {
            loop {
                let line = self.line().await;
                if line != json!({}) {
                    return line;
                }
            }
        });
        told.await.expect("events")
    }
}

#[tokio::test]
async fn what_changes_is_told_with_its_rows_and_can_be_resumed() {
    let fixture = Fixture::leading().await;
    let mut reader = Reader::open(&fixture, "topic=Job&replay=false").await;
    let index = fixture.register("web").await["Index"].as_u64().unwrap();
    let batch = reader.batch().await;
    assert_eq!(batch["Index"], index);
    let event = &batch["Events"][0];
    assert_eq!(event["Topic"], "Job");
    assert_eq!(event["Type"], "JobRegistered");
    assert_eq!(event["Key"], "web");
    assert_eq!(event["Namespace"], "default");
    assert_eq!(event["Index"], index);
    assert_eq!(event["Payload"]["Job"]["ID"], "web");

    let later = fixture.register("other").await["Index"].as_u64().unwrap();
    // From an index on, and from the start of what is kept.
    let mut resumed = Reader::open(&fixture, &format!("topic=Job:other&index={later}")).await;
    assert_eq!(resumed.batch().await["Events"][0]["Key"], "other");
    let mut all = Reader::open(&fixture, "topic=Job").await;
    assert_eq!(all.batch().await["Events"][0]["Key"], "web");

    ask(&fixture.jobs, "DELETE", "/v1/job/web?purge=true", "").await;
    loop {
        let batch = reader.batch().await;
        let events = batch["Events"].as_array().unwrap();
        if let Some(gone) = events
            .iter()
            .find(|event| event["Type"] == "JobDeregistered")
        {
            assert_eq!(gone["Payload"]["Deleted"], true);
            break;
        }
    }
}

#[tokio::test]
async fn evaluations_are_found_by_their_job_and_rows_may_be_left_out() {
    let fixture = Fixture::leading().await;
    let query = "topic=Evaluation:web&payload=false&replay=false";
    let mut reader = Reader::open(&fixture, query).await;
    fixture.register("other").await;
    fixture.register("web").await;
    let batch = reader.batch().await;
    let event = &batch["Events"][0];
    assert_eq!(event["FilterKeys"][0], "web");
    assert!(event.get("Payload").is_none(), "{event}");
}

#[tokio::test]
async fn nodes_and_traffic_are_told_without_secrets() {
    let fixture = Fixture::leading().await;
    let query = "topic=Node&topic=Traffic&replay=false";
    let mut reader = Reader::open(&fixture, query).await;
    let first = reader.batch().await;
    let traffic = &first["Events"][0];
    assert_eq!(traffic["Topic"], "Traffic");
    assert_eq!(traffic["Payload"]["Traffic"]["Whole"], true);
    fixture
        .add_node("2689df67-bf51-4d1f-9da3-c6bc45ae2ec9")
        .await;
    loop {
        let batch = reader.batch().await;
        let event = &batch["Events"][0];
        if event["Topic"] == "Node" {
            assert_eq!(event["Type"], "NodeRegistration");
            assert_eq!(event["Payload"]["Node"]["Name"], "machine");
            assert!(!batch.to_string().contains("s3cret"), "{batch}");
            break;
        }
    }
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused_before_the_stream_begins() {
    let fixture = Fixture::leading().await;
    for query in ["topic=Nothing", "index=x", "topic=Job&payload=maybe"] {
        let answer = fixture.get(&format!("/v1/event/stream?{query}")).await;
        assert_eq!(answer.refusal().0, 400, "{query}");
    }
}
