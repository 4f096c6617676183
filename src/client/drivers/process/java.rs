use super::{Kind, enter::Rights, isolated, isolated::Root, lookup::Lookup};
use crate::drivers::{
    Exec, Isolation, Start, Unrunnable,
    options::{self, Kind as OptionKind, Table},
};
use futures_util::future::BoxFuture;
use jobs::model::{DriverInfo, TaskConfig};
use std::{collections::BTreeMap, path::Path, process::Stdio, time::Duration};
use sys::{limits::Limits, processes::TaskProcess};
use tokio::{process::Command, time::timeout};

const OPTIONS: Table = &[
    ("jar_path", OptionKind::Text),
    ("class", OptionKind::Text),
    ("class_path", OptionKind::Text),
    ("jvm_options", OptionKind::List),
    ("args", OptionKind::List),
    ("work_dir", OptionKind::Text),
    ("pid_mode", OptionKind::Text),
    ("ipc_mode", OptionKind::Text),
    ("cap_add", OptionKind::List),
    ("cap_drop", OptionKind::List),
];

/// A virtual machine that says nothing for so long is none.
const VERSION_TIMEOUT: Duration = Duration::from_secs(20);

/// Runs a program of the Java virtual machine that the machine has.
///
/// Where the machine can isolate programs, as `exec` does, the task has a root of its own and
/// limits; a jar is named by its path inside. Elsewhere it sees all files of the host.
///
/// Source: `java` driver.
#[derive(Debug)]
pub(in crate::drivers) struct Java {
    root: Root,
}

impl Java {
    pub(in crate::drivers) fn new(root: Root) -> Self {
        Self { root }
    }
}

impl Kind for Java {
    const NAME: &'static str = "java";
    const TAKES_SIGNALS: bool = false;

    fn isolation(&self) -> Isolation {
        self.root.sees()
    }

    fn fingerprint<'a>(&'a self, lookup: &'a Lookup) -> BoxFuture<'a, DriverInfo> {
        Box::pin(async {
            match version(lookup).await.and_then(|text| attributes(&text)) {
                Ok(attributes) => DriverInfo {
                    attributes,
                    detected: true,
                    healthy: true,
                    health_description: "Healthy".into(),
                    ..DriverInfo::default()
                },
                Err(reason) => DriverInfo {
                    health_description: reason,
                    ..DriverInfo::default()
                },
            }
        })
    }

    fn problems(&self, config: &TaskConfig) -> Vec<String> {
        let mut problems = options::problems(config, OPTIONS);
        let is_empty = |key| options::text(config, key).is_empty();
        if is_empty("jar_path") && is_empty("class") {
            problems.push("jar_path or class must be specified".into());
        }
        problems.extend(self.root.problems(config));
        problems
    }

    fn process(&self, lookup: &Lookup, task: &Start) -> Result<TaskProcess, Unrunnable> {
        let args = arguments(&task.config);
        let env = task.env.clone();
        if self.root.lack().is_some() {
            return Ok(TaskProcess {
                program: lookup.find("java", &task.dir)?,
                args,
                env,
                dir: options::work_dir(&task.config, &task.dir),
                user: task.user.clone(),
                network: task.namespace(),
                isolation: None,
            });
        }
        Ok(TaskProcess {
            program: self.root.find(task, "java")?,
            args,
            env,
            dir: options::work_dir(&task.config, Path::new("/")),
            user: Root::user(task),
            network: task.namespace(),
            isolation: Some(self.root.isolation(task)),
        })
    }

    fn rights(&self, exec: &Exec) -> Option<Rights> {
        self.root.rights(exec)
    }

    fn limits(&self, task: &Start) -> Option<Limits> {
        self.root.lack().is_none().then(|| isolated::limits(task))
    }
}

/// What `java -version` prints, or why it prints nothing.
async fn version(lookup: &Lookup) -> Result<String, String> {
    let java = lookup
        .find("java", Path::new("/nonexistent"))
        .map_err(|_| "no `java` on the agent's PATH".to_owned())?;
    let asked = Command::new(java)
        .arg("-version")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(VERSION_TIMEOUT, asked)
        .await
        .map_err(|_| "`java -version` did not answer".to_owned())?
        .map_err(|error| format!("`java -version` failed: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    } else {
        Err(format!("`java -version` failed: {}", output.status))
    }
}

/// `<jvm_options> [-cp <class_path>] (-jar <jar_path> | <class>) <args>`.
fn arguments(config: &TaskConfig) -> Vec<String> {
    let mut args = options::list(config, "jvm_options");
    let class_path = options::text(config, "class_path");
    if !class_path.is_empty() {
        args.extend(["-cp".to_owned(), class_path]);
    }
    let jar = options::text(config, "jar_path");
    if jar.is_empty() {
        args.push(options::text(config, "class"));
    } else {
        args.extend(["-jar".to_owned(), jar]);
    }
    args.extend(options::list(config, "args"));
    args
}

/// What `java -version` says of itself: version, runtime and machine, one per line.
fn attributes(text: &str) -> Result<BTreeMap<String, String>, String> {
    // Options taken from the environment are echoed first.
    let mut lines = text.lines().filter(|line| !line.starts_with("Picked up"));
    let version = lines
        .next()
        .and_then(|line| line.split('"').nth(1))
        .ok_or_else(|| "`java -version` gave no version".to_owned())?;
    let mut attributes = BTreeMap::from([
        ("driver.java".to_owned(), "true".to_owned()),
        ("driver.java.version".to_owned(), version.to_owned()),
    ]);
    for key in ["driver.java.runtime", "driver.java.vm"] {
        if let Some(line) = lines.next() {
            attributes.insert(key.to_owned(), line.trim().to_owned());
        }
    }
    Ok(attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_describes_itself_in_three_lines() {
        let text = "Picked up JAVA_TOOL_OPTIONS: -Xmx1g\nopenjdk version \"17.0.2\" 2022-01-18\n\
                    OpenJDK Runtime Environment (build 17.0.2+8)\nOpenJDK 64-Bit Server VM (build 17.0.2+8, mixed mode)\n";
        let attributes = attributes(text).unwrap();
        assert_eq!(attributes["driver.java.version"], "17.0.2");
        assert_eq!(
            attributes["driver.java.runtime"],
            "OpenJDK Runtime Environment (build 17.0.2+8)"
        );
        assert!(super::attributes("command not found").is_err());
    }

    #[test]
    fn the_command_line_has_the_published_order() {
        let config = serde_json::json!({
            "jar_path": "local/app.jar", "class_path": "lib/*", "jvm_options": ["-Xmx64m"], "args": ["a"]
        });
        let args = arguments(&serde_json::from_value(config).unwrap());
        assert_eq!(
            args,
            ["-Xmx64m", "-cp", "lib/*", "-jar", "local/app.jar", "a"]
        );
        let config = serde_json::json!({"class": "Main", "args": [1]});
        let config = serde_json::from_value(config).unwrap();
        assert_eq!(arguments(&config), ["Main", "1"]);
    }
}
