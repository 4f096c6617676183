//! A daemon of containers, with a socket and a data directory of its own; its images are made of
//! files of this machine.

use super::{agent::TRIVET, programs::find};
use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tokio::time::sleep;

/// The image of every such daemon: a shell, some tools and this program.
pub(crate) const SHELL_IMAGE: &str = "local/shell:1";

/// A daemon of containers that ends with the test, and its containers with it.
pub(crate) struct Daemon {
    dir: tempfile::TempDir,
    child: Child,
}

impl Daemon {
    /// None, and a line that says why, where none can run.
    pub(crate) async fn start() -> Option<Self> {
        Self::start_on("vfs").await
    }

    /// As [`Daemon::start`], with that storage driver.
    pub(crate) async fn start_on(storage: &str) -> Option<Self> {
        let (Some(dockerd), Some(_)) = (find("dockerd"), find("docker")) else {
            skip("`dockerd` and `docker` (Debian package docker.io)");
            return None;
        };
        if !nix::unistd::geteuid().is_root() {
            skip("root");
            return None;
        }
        let dir = tempfile::tempdir().expect("a directory");
        let log = std::fs::File::create(dir.path().join("log")).expect("a log");
        let at = |name: &str| dir.path().join(name).display().to_string();
        let child = Command::new(dockerd)
            .args(["--data-root", &at("data"), "--exec-root", &at("exec")])
            .args([
                "--pidfile",
                &at("pid"),
                "-H",
                &format!("unix://{}", at("d.sock")),
            ])
            .args([
                "--storage-driver",
                storage,
                "--iptables=false",
                "--ip6tables=false",
            ])
            .args(["--bridge=none", "--ip-masq=false", "--userland-proxy=false"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("dockerd starts");
        let mut daemon = Self { dir, child };
        for _ in 0..600 {
            if daemon.docker(&["version"]).is_some() {
                daemon.import();
                return Some(daemon);
            }
            if let Ok(Some(_)) = daemon.child.try_wait() {
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
        let log = std::fs::read_to_string(daemon.dir.path().join("log")).unwrap_or_default();
        skip(&format!(
            "a daemon that starts: {}",
            log.lines().last().unwrap_or("")
        ));
        None
    }

    /// Where it listens, as its clients take it.
    pub(crate) fn socket(&self) -> String {
        format!("unix://{}", self.dir.path().join("d.sock").display())
    }

    /// What the daemon's own client prints; none when it fails.
    pub(crate) fn docker(&self, args: &[&str]) -> Option<String> {
        let output = Command::new("docker")
            .args(["-H", &self.socket()])
            .args(args)
            .env("HOME", self.dir.path())
            .stdin(Stdio::null())
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then_some(text)
    }

    /// Makes [`SHELL_IMAGE`]: this machine's shell and what it needs, and this program.
    fn import(&self) {
        let mut files = vec![PathBuf::from("/bin/sh"), PathBuf::from(TRIVET)];
        for tool in [
            "cat", "sleep", "id", "ls", "hostname", "env", "head", "tail", "tr", "seq",
        ] {
            files.extend(["/bin", "/usr/bin"].map(|dir| Path::new(dir).join(tool)));
        }
        files.retain(|file| file.is_file());
        let libraries: Vec<PathBuf> = files
            .iter()
            .flat_map(|file| {
                let listed = Command::new("ldd").arg(file).output().expect("ldd");
                let text = String::from_utf8_lossy(&listed.stdout).into_owned();
                let paths = text.split_whitespace().filter(|word| word.starts_with('/'));
                paths.map(PathBuf::from).collect::<Vec<_>>()
            })
            .collect();
        let places = files.into_iter().map(|file| {
            let name = file.file_name().expect("a name").to_owned();
            (file, Path::new("bin").join(name))
        });
        let libraries = libraries.into_iter().map(|file| {
            let place = file.strip_prefix("/").expect("absolute").to_owned();
            (file, place)
        });
        self.import_files(libraries.chain(places), SHELL_IMAGE);
    }

    /// Makes an image of files, each with its place below the root.
    pub(crate) fn import_files(
        &self,
        files: impl IntoIterator<Item = (PathBuf, PathBuf)>,
        image: &str,
    ) {
        let root = tempfile::tempdir_in(self.dir.path()).expect("a directory");
        for (file, place) in files {
            let to = root.path().join(place);
            std::fs::create_dir_all(to.parent().expect("a parent")).expect("a directory");
            std::fs::copy(&file, &to).expect("a copy");
        }
        std::fs::create_dir_all(root.path().join("etc")).expect("a directory");
        std::fs::write(
            root.path().join("etc/passwd"),
            "root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n",
        )
        .expect("a file");
        // The directory of a daemon is nobody else's, and that of its image is everybody's.
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(root.path(), mode).expect("a mode");
        let tar = self.dir.path().join("image.tar");
        let packed = Command::new("tar")
            .arg("-cf")
            .arg(&tar)
            .arg("-C")
            .arg(root.path())
            .arg(".")
            .status();
        assert!(packed.expect("tar").success());
        let tar = tar.display().to_string();
        let imported = self.docker(&["import", "-c", "ENV PATH=/bin", &tar, image]);
        assert!(imported.is_some(), "an image");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(all) = self.docker(&["ps", "-aq"]) {
            let mut args = vec!["rm", "-f"];
            args.extend(all.split_whitespace());
            if args.len() > 2 {
                self.docker(&args);
            }
        }
        // It ends what it started, and unmounts what it mounted.
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let pid = nix::unistd::Pid::from_raw(pid);
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).ok();
        }
        self.child.wait().ok();
    }
}

fn skip(what: &str) {
    let text = format!("\nSKIPPED: needs {what}\n");
    std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes()).ok();
}
