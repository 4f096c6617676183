//! Which credentials go with the pull of an image.

use crate::drivers::options::Options;
use base64::{Engine, engine::general_purpose::STANDARD};
use bollard::auth::DockerCredentials;
use jobs::model::TaskConfig;
use serde::Deserialize;
use std::{collections::BTreeMap, process::Stdio, time::Duration};
use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

/// The registry of images that name none, as credentials know it.
const HUB: &str = "https://index.docker.io/v1/";
/// A helper that says nothing for so long is none.
const HELPER_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a file with credentials.
const CONFIG_BYTES_MAX: u64 = 1024 * 1024;

/// Where credentials come from unless the task has its own.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources {
    /// A file such as `/root/.docker/config.json`.
    pub(super) config: Option<String>,
    /// `docker-credential-<helper>`.
    pub(super) helper: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ConfigFile {
    auths: BTreeMap<String, Entry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Entry {
    /// `user:password` in base64.
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: String,
}

/// The registry that an image comes from, as credentials know it.
pub(super) fn registry(image: &str) -> String {
    match image.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => {
            if first == "docker.io" || first == "index.docker.io" {
                HUB.to_owned()
            } else {
                first.to_owned()
            }
        }
        _ => HUB.to_owned(),
    }
}

/// The credentials for `image`: the task's own, then those of the file, then those of the helper;
/// none for none.
///
/// # Errors
/// A sentence, without secrets, when a source cannot be asked.
pub(super) async fn credentials(
    config: &TaskConfig,
    sources: &Sources,
    image: &str,
) -> Result<Option<DockerCredentials>, String> {
    let own = Options::Task(config).blocks("auth").into_iter().next();
    if let Some(own) = own
        && let Some(username) = own.text("username")
    {
        return Ok(Some(DockerCredentials {
            username: Some(username),
            password: own.text("password"),
            email: own.text("email"),
            serveraddress: own.text("server_address").or_else(|| Some(registry(image))),
            ..DockerCredentials::default()
        }));
    }
    let server = registry(image);
    if let Some(path) = &sources.config
        && let Some(found) = from_file(path, &server).await?
    {
        return Ok(Some(found));
    }
    match &sources.helper {
        Some(helper) => from_helper(helper, &server).await,
        None => Ok(None),
    }
}

async fn from_file(path: &str, server: &str) -> Result<Option<DockerCredentials>, String> {
    let unreadable = |why: String| format!("failed to read the credentials in `{path}`: {why}");
    let found = tokio::fs::metadata(path).await;
    let found = found.map_err(|error| unreadable(error.to_string()))?;
    if !found.is_file() || found.len() > CONFIG_BYTES_MAX {
        return Err(unreadable("it is no file of credentials".into()));
    }
    let text = tokio::fs::read(path).await;
    let text = text.map_err(|error| unreadable(error.to_string()))?;
    // The parser's words may hold a part of the text.
    let file: ConfigFile =
        serde_json::from_slice(&text).map_err(|_| unreadable("it is no such JSON".into()))?;
    let helper = find(&file.cred_helpers, server).cloned();
    let helper = helper.or_else(|| Some(file.creds_store.clone()).filter(|name| !name.is_empty()));
    if let Some(helper) = helper {
        return from_helper(&helper, server).await;
    }
    let Some(entry) = find(&file.auths, server) else {
        return Ok(None);
    };
    let (mut username, mut password) = (entry.username.clone(), entry.password.clone());
    if !entry.auth.is_empty() {
        let decoded = STANDARD.decode(entry.auth.trim_end_matches('\0'));
        let decoded = decoded.ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let both = decoded.as_deref().and_then(|text| text.split_once(':'));
        let (user, secret) =
            both.ok_or_else(|| unreadable(format!("the entry of `{server}` is damaged")))?;
        (username, password) = (user.to_owned(), secret.to_owned());
    }
    let token = Some(entry.identitytoken.clone()).filter(|token| !token.is_empty());
    Ok(Some(DockerCredentials {
        username: Some(username),
        password: Some(password),
        serveraddress: Some(server.to_owned()),
        identitytoken: token,
        ..DockerCredentials::default()
    }))
}

/// The entry of a server, with or without scheme and path.
fn find<'a, T>(entries: &'a BTreeMap<String, T>, server: &str) -> Option<&'a T> {
    let host = |text: &str| {
        let text = text.trim_start_matches("https://");
        let text = text.trim_start_matches("http://");
        text.split('/').next().unwrap_or_default().to_owned()
    };
    let wanted = host(server);
    entries.get(server).or_else(|| {
        entries
            .iter()
            .find_map(|(key, value)| (host(key) == wanted).then_some(value))
    })
}

async fn from_helper(helper: &str, server: &str) -> Result<Option<DockerCredentials>, String> {
    let program = format!("docker-credential-{helper}");
    let failed =
        |why: String| format!("failed to ask `{program}` for the credentials of `{server}`: {why}");
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    if let Some(mut input) = child.stdin.take() {
        let written = input.write_all(server.as_bytes()).await;
        written.map_err(|error| failed(error.to_string()))?;
    }
    let output = timeout(HELPER_TIMEOUT, child.wait_with_output()).await;
    let output = output
        .map_err(|_| failed("it does not answer".into()))?
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout);
        if said.contains("credentials not found") {
            return Ok(None);
        }
        return Err(failed(format!("it ended with {}", output.status)));
    }
    let answer: HelperAnswer = serde_json::from_slice(&output.stdout)
        .map_err(|_| failed("its answer is no JSON with Username and Secret".into()))?;
    let is_token = answer.username == "<token>";
    Ok(Some(DockerCredentials {
        username: (!is_token).then(|| answer.username.clone()),
        password: (!is_token).then(|| answer.secret.clone()),
        identitytoken: is_token.then_some(answer.secret),
        serveraddress: Some(server.to_owned()),
        ..DockerCredentials::default()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_registry_stands_before_the_first_slash_when_it_looks_like_a_host() {
        for (image, expected) in [
            ("redis", HUB),
            ("library/redis:7", HUB),
            ("docker.io/library/redis", HUB),
            ("ghcr.io/a/b", "ghcr.io"),
            ("localhost/a", "localhost"),
            ("host:5000/a:1", "host:5000"),
        ] {
            assert_eq!(registry(image), expected, "{image}");
        }
    }

    async fn ask(task: serde_json::Value, sources: &Sources, image: &str) -> String {
        let config: TaskConfig = serde_json::from_value(task).unwrap();
        match credentials(&config, sources, image).await {
            Ok(None) => "none".into(),
            Ok(Some(found)) => format!(
                "{}:{}",
                found.username.unwrap_or_default(),
                found.password.or(found.identitytoken).unwrap_or_default()
            ),
            Err(error) => error,
        }
    }

    #[tokio::test]
    async fn the_task_comes_before_the_file_and_the_file_before_the_helper() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.json");
        let auth = STANDARD.encode("filed:secret");
        let text = format!(r#"{{"auths": {{"https://ghcr.io/v2": {{"auth": "{auth}"}}}}}}"#);
        fs::write(&file, text).unwrap();
        let sources = Sources {
            config: Some(file.display().to_string()),
            helper: None,
        };
        let none = serde_json::json!({});
        let own = serde_json::json!({"auth": [{"username": "u", "password": "p"}]});
        assert_eq!(ask(own, &sources, "ghcr.io/a").await, "u:p");
        assert_eq!(
            ask(none.clone(), &sources, "ghcr.io/a").await,
            "filed:secret"
        );
        assert_eq!(ask(none.clone(), &sources, "redis").await, "none");
        let lost = Sources {
            helper: Some("no-such-helper".into()),
            ..sources
        };
        let refused = ask(none, &lost, "redis").await;
        assert!(
            refused.contains("docker-credential-no-such-helper"),
            "{refused}"
        );
        assert!(!refused.contains("secret"), "{refused}");
    }
}
