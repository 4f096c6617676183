//! Where the full screen gets its news from: the event stream, and reads that follow from it.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::{Buf as _, BytesMut};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout},
};

use super::state::{Action, Alloc, News};
use crate::http::{Http, segment};

/// Changes that come within this time lead to one reading.
const PAUSE: Duration = Duration::from_millis(300);
/// Before a stream that broke is opened again.
const RETRY: Duration = Duration::from_secs(2);
/// The agent says every 10 seconds that it is there.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Bytes of one line of a stream; longer ones are cut.
const LINE_BYTES_MAX: usize = 16 << 20;

/// Namespace and id of the job that is looked at.
pub(super) type Job = Option<(String, String)>;

/// Tells of everything that changes, until nobody listens.
pub(super) async fn events(http: Http, news: mpsc::Sender<News>, changed: watch::Sender<u64>) {
    const QUERY: [(&str, &str); 9] = [
        ("topic", "Job"),
        ("topic", "Allocation"),
        ("topic", "Deployment"),
        ("topic", "Evaluation"),
        ("topic", "Node"),
        ("topic", "Traffic"),
        ("namespace", "*"),
        ("payload", "false"),
        ("replay", "false"),
    ];
    while !news.is_closed() {
        let told = follow(&http, "/v1/event/stream", &QUERY, async |line| {
            for event in line["Events"].as_array().into_iter().flatten() {
                let told = if event["Topic"] == "Traffic" {
                    let traffic = event["Payload"]["Traffic"].clone();
                    News::Traffic(serde_json::from_value(traffic).unwrap_or_default())
                } else {
                    changed.send_modify(|count| *count += 1);
                    News::Event(written(event))
                };
                if news.send(told).await.is_err() {
                    return;
                }
            }
        });
        // What changed before the stream was open is read once.
        changed.send_modify(|count| *count += 1);
        if let Err(error) = told.await {
            let said = News::Said(format!("{error:#}; trying again"));
            if news.send(said).await.is_err() {
                return;
            }
        }
        sleep(RETRY).await;
    }
}

fn written(event: &Value) -> String {
    let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
    let of: Vec<&str> = event["FilterKeys"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    format!(
        "{:>8}  {:<10}  {:<30}  {}  {}",
        event["Index"],
        text("Topic"),
        text("Type"),
        text("Key"),
        of.join(" ")
    )
}

/// Reads jobs and allocations again after changes.
pub(super) async fn rows(
    http: Http,
    news: mpsc::Sender<News>,
    mut changed: watch::Receiver<u64>,
    job: watch::Receiver<Job>,
) {
    let mut job = job;
    loop {
        changed.borrow_and_update();
        let looked_at = job.borrow_and_update().clone();
        let jobs = http.get("/v1/trivet/jobs", &[("namespace", "*")]).await;
        let told = match jobs {
            Ok(jobs) => News::Jobs(jobs),
            Err(error) => News::Said(error.to_string()),
        };
        if news.send(told).await.is_err() {
            return;
        }
        if let Some((namespace, id)) = looked_at {
            let path = format!("/v1/job/{}/allocations", segment(&id));
            let allocs = http.in_namespace(&namespace).get(&path, &[]).await;
            let told = match allocs {
                Ok(allocs) => News::Allocs(allocs),
                Err(error) => News::Said(error.to_string()),
            };
            if news.send(told).await.is_err() {
                return;
            }
        }
        tokio::select! {
            more = changed.changed() => {
                if more.is_err() { return }
                sleep(PAUSE).await;
            }
            more = job.changed() => if more.is_err() { return },
        }
    }
}

/// Follows the output of a job.
pub(super) async fn output(http: Http, news: mpsc::Sender<News>, namespace: String, job: String) {
    let query = [
        ("job", job.as_str()),
        ("namespace", namespace.as_str()),
        ("type", "both"),
        ("origin", "end"),
        ("offset", "8000"),
        ("follow", "true"),
    ];
    let mut rests: BTreeMap<String, String> = BTreeMap::new();
    let told = follow(&http, "/v1/trivet/logs", &query, async |piece| {
        for line in lines(&mut rests, &piece) {
            if news.send(News::Log(line)).await.is_err() {
                return;
            }
        }
    });
    if let Err(error) = told.await {
        // Nobody may listen any more.
        drop(news.send(News::Said(format!("{error:#}"))).await);
    }
}

/// Whole lines of what was written, with where they come from.
fn lines(rests: &mut BTreeMap<String, String>, piece: &Value) -> Vec<String> {
    let text = |name: &str| piece[name].as_str().unwrap_or_default();
    if !text("Note").is_empty() {
        return vec![text("Note").to_owned()];
    }
    let data = BASE64.decode(text("Data")).unwrap_or_default();
    if data.is_empty() {
        return Vec::new();
    }
    let from = format!("{} {}", text("Name"), text("Task"));
    let rest = rests.entry(format!("{from} {}", text("Type"))).or_default();
    rest.push_str(&String::from_utf8_lossy(&data));
    let mut found: Vec<String> = rest.split('\n').map(str::to_owned).collect();
    *rest = found.pop().unwrap_or_default();
    if rest.len() > LINE_BYTES_MAX {
        found.push(std::mem::take(rest));
    }
    found
        .into_iter()
        .map(|line| format!("{from}  {line}"))
        .collect()
}

/// Hands every line of a stream of JSON to `take`, until it ends.
async fn follow(
    http: &Http,
    path: &str,
    query: &[(&str, &str)],
    mut take: impl AsyncFnMut(Value),
) -> anyhow::Result<()> {
    let mut stream = http.stream(path, query).await?;
    let mut bytes = BytesMut::new();
    loop {
        let piece = timeout(SILENCE_MAX, stream.next()).await;
        let Some(piece) = piece.map_err(|_| anyhow::anyhow!("the agent is silent"))? else {
            return Ok(());
        };
        bytes.extend_from_slice(&piece?);
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let line = bytes.split_to(end);
            bytes.advance(1);
            take(serde_json::from_slice(&line)?).await;
        }
        anyhow::ensure!(
            bytes.len() <= LINE_BYTES_MAX,
            "a line of the stream is too long"
        );
    }
}

/// Carries out what was confirmed; answers with what to say.
pub(super) async fn carry_out(http: &Http, action: Action) -> String {
    let done = match &action {
        Action::Stop { namespace, job } => {
            let path = format!("/v1/job/{}", segment(job));
            let stopped: Result<Value, _> = http.in_namespace(namespace).delete(&path, &[]).await;
            stopped.map(|_| format!("{job} stops"))
        }
        Action::Scale { namespace, job, by } => {
            return scale(&http.in_namespace(namespace), job, *by).await;
        }
        Action::Promote { deployment } => {
            let path = format!("/v1/deployment/promote/{}", segment(deployment));
            let body = json!({"DeploymentID": deployment, "All": true});
            let promoted = http.put_value(&path, &[], &body).await;
            promoted.map(|_| "the canaries are promoted".to_owned())
        }
        Action::Pause { deployment, pause } => {
            let path = format!("/v1/deployment/pause/{}", segment(deployment));
            let body = json!({"DeploymentID": deployment, "Pause": pause});
            let paused = http.put_value(&path, &[], &body).await;
            let said = if *pause { "it is paused" } else { "it goes on" };
            paused.map(|_| said.to_owned())
        }
        Action::Fail { deployment } => {
            let path = format!("/v1/deployment/fail/{}", segment(deployment));
            let body = json!({"DeploymentID": deployment});
            let failed = http.put_value(&path, &[], &body).await;
            failed.map(|_| "the deployment failed, as asked".to_owned())
        }
        Action::Step {
            deployment,
            is_next,
        } => {
            let path = format!("/v1/trivet/rollout/{}", segment(deployment));
            let act = if *is_next { "next" } else { "back" };
            let body = json!({"Act": act, "Actor": "trivet top", "Reason": ""});
            let moved = http.put_value(&path, &[], &body).await;
            let said = if *is_next {
                "one step on"
            } else {
                "one step back"
            };
            moved.map(|_| format!("the rollout is {said}"))
        }
        Action::Revert {
            namespace,
            job,
            from,
            to,
        } => {
            let path = format!("/v1/job/{}/revert", segment(job));
            let body = json!({"JobID": job, "JobVersion": to, "EnforcePriorVersion": from});
            let http = http.in_namespace(namespace);
            let reverted = http.put_value(&path, &[], &body).await;
            reverted.map(|_| format!("{job} goes back to version {to}"))
        }
        Action::Purge { namespace, job } => {
            let path = format!("/v1/job/{}", segment(job));
            let http = http.in_namespace(namespace);
            let purged: Result<Value, _> = http.delete(&path, &[("purge", "true")]).await;
            purged.map(|_| format!("{job} is gone"))
        }
        Action::Launch { namespace, job } => {
            return launch(&http.in_namespace(namespace), job).await;
        }
        Action::Restart { namespace, job } => {
            return restart(&http.in_namespace(namespace), job).await;
        }
        Action::RestartAlloc { alloc } => {
            let path = format!("/v1/client/allocation/{}/restart", segment(alloc));
            let restarted = http.put_value(&path, &[], &json!({})).await;
            restarted.map(|_| format!("{alloc} is restarted"))
        }
        Action::StopAlloc { alloc } => {
            let path = format!("/v1/allocation/{}/stop", segment(alloc));
            let stopped = http.put_value(&path, &[], &json!({})).await;
            stopped.map(|_| format!("{alloc} stops"))
        }
    };
    done.unwrap_or_else(|error| error.to_string())
}

/// Restarts the tasks of all allocations that run, one after the other.
async fn restart(http: &Http, job: &str) -> String {
    let path = format!("/v1/job/{}/allocations", segment(job));
    let allocs: Vec<Alloc> = match http.get(&path, &[]).await {
        Ok(allocs) => allocs,
        Err(error) => return error.to_string(),
    };
    let running = allocs.iter().filter(|own| own.client_status == "running");
    let (mut restarted, mut refused) = (0, None);
    for alloc in running {
        let path = format!("/v1/client/allocation/{}/restart", segment(&alloc.id));
        match http.put_value(&path, &[], &json!({})).await {
            Ok(_) => restarted += 1,
            Err(error) => refused = Some(error),
        }
    }
    match refused {
        Some(error) => format!("{restarted} allocations of {job} restarted; {error}"),
        None => format!("{restarted} allocations of {job} restarted"),
    }
}

/// Launches a periodic job, or dispatches a parameterized one without anything.
async fn launch(http: &Http, job: &str) -> String {
    let path = format!("/v1/job/{}", segment(job));
    let found = match http.get_value(&path, &[]).await {
        Ok(found) => found,
        Err(error) => return error.to_string(),
    };
    let (verb, said) = if !found["Periodic"].is_null() {
        ("periodic/force", "launched")
    } else if !found["ParameterizedJob"].is_null() {
        ("dispatch", "dispatched")
    } else {
        return format!("{job} is neither periodic nor parameterized");
    };
    let path = format!("{path}/{verb}");
    match http.put_value(&path, &[], &json!({})).await {
        Ok(_) => format!("{job} is {said}"),
        Err(error) => error.to_string(),
    }
}

/// Scales a job that has one group.
async fn scale(http: &Http, job: &str, by: i64) -> String {
    let path = format!("/v1/job/{}", segment(job));
    let found = match http.get_value(&path, &[]).await {
        Ok(found) => found,
        Err(error) => return error.to_string(),
    };
    let groups = found["TaskGroups"].as_array().cloned().unwrap_or_default();
    let [group] = groups.as_slice() else {
        return format!("{job} has several groups: use `job scale`");
    };
    let count = group["Count"]
        .as_i64()
        .unwrap_or(0)
        .saturating_add(by)
        .max(0);
    let body = json!({"Count": count, "Target": {"Job": job, "Group": group["Name"]}});
    match http.put_value(&format!("{path}/scale"), &[], &body).await {
        Ok(_) => format!("{job} is asked to have {count}"),
        Err(error) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_and_say_where_they_come_from() {
        let mut rests = BTreeMap::new();
        let piece = |kind: &str, text: &str| json!({"Name": "web.g[0]", "Task": "t", "Type": kind, "Data": BASE64.encode(text)});
        assert_eq!(
            lines(&mut rests, &piece("stdout", "one\ntw")),
            ["web.g[0] t  one"]
        );
        assert_eq!(
            lines(&mut rests, &piece("stderr", "bad\n")),
            ["web.g[0] t  bad"]
        );
        assert_eq!(
            lines(&mut rests, &piece("stdout", "o\n")),
            ["web.g[0] t  two"]
        );
        assert_eq!(lines(&mut rests, &json!({})), [""; 0]);
        assert_eq!(lines(&mut rests, &json!({"Note": "away"})), ["away"]);
    }
}
