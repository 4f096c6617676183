//! Fetches the files that a task needs: over http(s), from a git repository, from an object store
//! or from a path of this machine, checked and unpacked.
//!
//! Nothing is ever written outside of the allocation's directory, whatever names an archive holds.

mod checksum;
mod git;
mod local;
mod s3;
mod source;
mod unpack;

use super::allocdir::AllocDir;
use checksum::{Checksum, Digester};
use config::ArtifactLimits;
use futures_util::StreamExt;
use jobs::model::{Artifact, Timestamp};
use reqwest::Client;
use source::{Options, Origin};
use std::{
    fs::File,
    io::{self, Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Component, Path, PathBuf},
    time::Duration,
};
use sys::{
    clock,
    directory::{Directory, Links},
    threads::Threads,
};
use tokio::time::timeout;

/// Bytes that are written at a time.
const PIECE_BYTES: usize = 1024 * 1024;
/// Redirects that are followed.
const REDIRECTS_MAX: usize = 10;

/// Why an artifact could not be fetched. Trying again may help.
#[derive(Debug, thiserror::Error)]
#[error("failed to download artifact \"{source_text}\": {reason}")]
pub(super) struct ArtifactError {
    source_text: String,
    reason: Reason,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
enum Reason {
    #[error("{scheme} sources are not supported yet")]
    Unsupported { scheme: String },
    #[error("`{text}` is no address: it must begin with http://, https://, file:// or /")]
    NoAddress { text: String },
    #[error(
        "invalid checksum `{text}`: it must be md5, sha1, sha256 or sha512, a colon, and as many hex digits as that has"
    )]
    NoChecksum { text: String },
    #[error("option `{name}` is not supported yet")]
    UnsupportedOption { name: String },
    #[error("unknown mode `{mode}`: it must be any, file or dir")]
    UnknownMode { mode: String },
    #[error("checksums did not match. Expected {expected}, got {found}")]
    Mismatch { expected: String, found: String },
    #[error("bad response code: {code}")]
    Status { code: u16 },
    #[error("request failed: {text}")]
    Request { text: String },
    #[error("it is larger than {bytes_max} bytes")]
    TooLarge { bytes_max: u64 },
    #[error("it holds more than {files_max} files")]
    TooMany { files_max: usize },
    #[error("it took longer than {} s", limit.as_secs())]
    TimedOut { limit: Duration },
    #[error("destination `{dest}` leaves the allocation's directory")]
    Escapes { dest: String },
    #[error("artifact includes symlink that resolves outside of sandbox: {name}")]
    Link { name: String },
    #[error("entry `{name}` of the archive leaves the destination")]
    Entry { name: String },
    #[error("it is no archive, and mode \"dir\" needs one")]
    NoArchive,
    #[error("mode \"file\" needs an archive of exactly one file, and this one holds {files}")]
    NotOneFile { files: usize },
    #[error("`{path}` is a directory; only files can be fetched from this machine")]
    IsDirectory { path: String },
    #[error("`{path}` is no regular file")]
    NoFile { path: String },
    #[error(
        "this node does not allow to read `{path}`: local artifacts must lie below a directory of \
         `client {{ artifact_directories = [\"{proposal}\"] }}` in the agent's configuration, which names {allowed}"
    )]
    NotAllowed {
        path: String,
        /// The directory to add.
        proposal: String,
        /// Those that are there.
        allowed: String,
    },
    #[error("`{path}` cannot be read as user `{user}`: {error}")]
    Unreadable {
        path: String,
        user: String,
        error: io::Error,
    },
    #[error("`{path}` leads out of `{dir}`, below which this node allows local artifacts")]
    LeavesAllowed { path: String, dir: String },
    #[error("the program `{program}` is not installed on this node")]
    NoProgram { program: &'static str },
    #[error("git: {text}")]
    Git { text: String },
    #[error("option `sshkey` is no private key in base64")]
    BadKey,
    #[error("archive type `{kind}` is not supported")]
    UnknownArchive { kind: String },
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// What an artifact asks for.
struct Request {
    origin: Origin,
    options: Options,
    checksum: Option<Checksum>,
    /// Below the allocation's directory.
    dest: PathBuf,
    /// What it may cost.
    limits: ArtifactLimits,
}

impl Request {
    /// How long it may take.
    fn timeout(&self) -> Duration {
        match self.origin {
            Origin::Http(_) | Origin::Path(_) => self.limits.http_timeout,
            Origin::S3(..) => self.limits.s3_timeout,
            Origin::Git(_) => self.limits.git_timeout,
        }
    }
}

/// Fetches the artifacts of one task.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fetcher<'a> {
    /// Of its allocation.
    pub(super) dir: &'a AllocDir,
    /// Its name.
    pub(super) task: &'a str,
    /// Whose rights count for local files; empty for the agent's own.
    pub(super) user: &'a str,
    /// Directories below which local files may lie.
    pub(super) local_dirs: &'a [PathBuf],
    /// For everything that waits for the disk.
    pub(super) threads: &'a Threads,
    /// What each may cost.
    pub(super) limits: ArtifactLimits,
}

impl Fetcher<'_> {
    /// Fetches one artifact, whose texts are resolved.
    ///
    /// # Errors
    /// [`ArtifactError`]; what was fetched so far is gone or incomplete, and fetching again
    /// replaces it.
    pub(super) async fn fetch(&self, artifact: &Artifact) -> Result<(), ArtifactError> {
        let fetched = async {
            let request = request(artifact, self.dir, self.task, self.limits)?;
            let limit = request.timeout();
            let fetched = timeout(limit, self.try_fetch(artifact, request)).await;
            fetched.unwrap_or(Err(Reason::TimedOut { limit }))
        };
        fetched.await.map_err(|reason| ArtifactError {
            source_text: shown(&artifact.getter_source).to_owned(),
            reason,
        })
    }

    async fn try_fetch(&self, artifact: &Artifact, request: Request) -> Result<(), Reason> {
        let dir = self.dir.clone();
        // Without a name, and in a directory that no task without privileges writes to: nobody can
        // exchange it before it is unpacked.
        let unnamed = move || Ok(tempfile::tempfile_in(dir.open()?.reach())?);
        let mut landing = Landing::new(
            self.threads,
            request.checksum.as_ref(),
            self.limits.download_bytes_max,
        );
        landing.file = Some(self.on_disk(unnamed).await?);
        match &request.origin {
            Origin::Http(url) => download(artifact, url, Vec::new(), &mut landing).await?,
            Origin::S3(url, keys) => {
                let headers = s3::headers(keys, url, &compact(clock::now()));
                download(artifact, url.as_str(), headers, &mut landing).await?;
            }
            Origin::Git(repository) => {
                let dir = self.dir.clone();
                // No task without privileges writes there.
                let aside = move || Ok(tempfile::tempdir_in(dir.root())?);
                let aside = self.on_disk(aside).await?;
                git::fetch(repository, aside.path(), &mut landing).await?;
                self.on_disk(move || Ok(aside.close()?)).await?;
            }
            Origin::Path(path) => {
                let path = local::Wanted::new(path, self.local_dirs, self.user)?;
                let mut source = self.on_disk(move || path.open()).await?;
                loop {
                    let read = move || {
                        let mut piece = Vec::new();
                        (&mut source)
                            .take(PIECE_BYTES as u64)
                            .read_to_end(&mut piece)?;
                        Ok((source, piece))
                    };
                    let (again, piece) = self.on_disk(read).await?;
                    if piece.is_empty() {
                        break;
                    }
                    source = again;
                    landing.take(&piece).await?;
                }
            }
        }
        let file = landing.finish().await?;
        let dir = self.dir.clone();
        let mode = artifact.getter_mode.clone();
        self.on_disk(move || place(file, &request, &dir, &mode))
            .await
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Reason> + Send + 'static,
    ) -> Result<T, Reason> {
        on_disk(self.threads, work).await
    }
}

async fn on_disk<T: Send + 'static>(
    threads: &Threads,
    work: impl FnOnce() -> Result<T, Reason> + Send + 'static,
) -> Result<T, Reason> {
    threads.run(move || Ok(work())).await?
}

/// A file that arrives in pieces, which are gathered, written and digested where waiting for the
/// disk holds nobody up.
struct Landing<'a> {
    threads: &'a Threads,
    /// None only while a piece is being written, and after that failed.
    file: Option<File>,
    digester: Option<Digester>,
    piece: Vec<u8>,
    bytes: u64,
    bytes_max: u64,
}

impl<'a> Landing<'a> {
    fn new(threads: &'a Threads, checksum: Option<&Checksum>, bytes_max: u64) -> Self {
        Self {
            threads,
            file: None,
            digester: Some(Digester::new(checksum)),
            piece: Vec::new(),
            bytes: 0,
            bytes_max,
        }
    }

    async fn take(&mut self, data: &[u8]) -> Result<(), Reason> {
        self.bytes += data.len() as u64;
        if self.bytes > self.bytes_max {
            return Err(Reason::TooLarge {
                bytes_max: self.bytes_max,
            });
        }
        self.piece.extend_from_slice(data);
        if self.piece.len() < PIECE_BYTES {
            return Ok(());
        }
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), Reason> {
        let (Some(mut file), Some(mut digester)) = (self.file.take(), self.digester.take()) else {
            return Err(Reason::Io(io::Error::other("writing failed before")));
        };
        let piece = std::mem::take(&mut self.piece);
        let write = move || {
            digester.update(&piece);
            file.write_all(&piece)?;
            Ok((file, digester))
        };
        let (file, digester) = on_disk(self.threads, write).await?;
        self.file = Some(file);
        self.digester = Some(digester);
        Ok(())
    }

    /// The complete file, when its checksum is right.
    async fn finish(mut self) -> Result<File, Reason> {
        self.flush().await?;
        if let Some(digester) = self.digester {
            digester.check()?;
        }
        self.file
            .ok_or_else(|| Reason::Io(io::Error::other("writing failed before")))
    }
}

fn request(
    artifact: &Artifact,
    dir: &AllocDir,
    task: &str,
    limits: ArtifactLimits,
) -> Result<Request, Reason> {
    if !matches!(artifact.getter_mode.as_str(), "" | "any" | "file" | "dir") {
        return Err(Reason::UnknownMode {
            mode: artifact.getter_mode.clone(),
        });
    }
    if artifact.chown {
        return Err(Reason::UnsupportedOption {
            name: "chown".into(),
        });
    }
    let (origin, options) = source::parse(&artifact.getter_source, &artifact.getter_options)?;
    let checksum = options
        .checksum
        .as_deref()
        .map(checksum::parse)
        .transpose()?;
    let asked = match artifact.relative_dest.as_str() {
        "" => "local/",
        dest => dest,
    };
    let escapes = || Reason::Escapes {
        dest: asked.to_owned(),
    };
    // An absolute destination comes from `${NOMAD_ALLOC_DIR}` and the like.
    let dest = match Path::new(asked).strip_prefix(dir.root()) {
        Ok(inside) => inside.to_owned(),
        Err(_) => Path::new(task).join(asked.trim_start_matches('/')),
    };
    let dest = straight(&dest).ok_or_else(escapes)?;
    Ok(Request {
        origin,
        options,
        checksum,
        dest,
        limits,
    })
}

/// The path without `.` and `..`; none when it leaves its start.
fn straight(path: &Path) -> Option<PathBuf> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name),
            Component::ParentDir => {
                names.pop()?;
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    Some(names.into_iter().collect())
}

async fn download(
    artifact: &Artifact,
    url: &str,
    headers: Vec<(&'static str, String)>,
    landing: &mut Landing<'_>,
) -> Result<(), Reason> {
    let failed = |error: &reqwest::Error| Reason::Request { text: chain(error) };
    let client = Client::builder()
        .redirect(reqwest::redirect::Policy::limited(REDIRECTS_MAX))
        .danger_accept_invalid_certs(artifact.getter_insecure)
        .build()
        .map_err(|error| failed(&error))?;
    let mut request = client.get(url);
    for (name, value) in &artifact.getter_headers {
        request = request.header(name, value);
    }
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let response = request.send().await.map_err(|error| failed(&error))?;
    if !response.status().is_success() {
        return Err(Reason::Status {
            code: response.status().as_u16(),
        });
    }
    let mut body = response.bytes_stream();
    while let Some(chunk) = body.next().await {
        landing
            .take(&chunk.map_err(|error| failed(&error))?)
            .await?;
    }
    Ok(())
}

/// Puts a complete and checked file where it belongs. What tasks have put in the way is replaced or
/// refused, never followed.
fn place(file: File, request: &Request, dir: &AllocDir, mode: &str) -> Result<(), Reason> {
    let root = dir.open()?;
    let name = request.origin.file_name();
    let kind = unpack::kind(request.options.archive.as_deref(), &name)?;
    let Some(kind) = kind else {
        let path = match mode {
            "dir" => return Err(Reason::NoArchive),
            "file" => request.dest.clone(),
            _ => request
                .dest
                .join(request.options.filename.as_deref().unwrap_or(&name)),
        };
        return write_file(&root, &path, file, 0o644);
    };
    if mode != "file" {
        let dest = root.create_directory(&request.dest)?;
        unpack::unpack(kind, file, &name, (&dest, request.limits))?;
        return Ok(());
    }
    // In the allocation's own directory, where no task without privileges can exchange it.
    let aside = tempfile::tempdir_in(root.reach())?;
    let inside = Directory::open(aside.path())?;
    let unpacked = unpack::unpack(kind, file, &name, (&inside, request.limits))?;
    let [only] = unpacked.as_slice() else {
        return Err(Reason::NotOneFile {
            files: unpacked.len(),
        });
    };
    let from = inside.find(only, Links::Refused)?;
    let mode = from.metadata().permissions().mode();
    write_file(&root, &request.dest, from.open_file()?, mode & 0o777)
}

fn write_file(root: &Directory, path: &Path, mut file: File, mode: u32) -> Result<(), Reason> {
    io::Seek::rewind(&mut file)?;
    let dir = root.create_directory(path.parent().unwrap_or_else(|| Path::new("")))?;
    let name = path.file_name().ok_or_else(|| Reason::Escapes {
        dest: path.display().to_string(),
    })?;
    // A directory in the way is the user's mistake and gives a clear error; a file is replaced.
    let mut to = dir.replace_file(Path::new(name), mode)?;
    io::copy(&mut file, &mut to)?;
    Ok(())
}

/// The source as everybody may read it: without options when keys are among them.
fn shown(source: &str) -> &str {
    let (address, query) = source.split_once('?').unwrap_or((source, ""));
    let is_secret = |option: &str| option.starts_with("aws_") || option.starts_with("sshkey=");
    if query.split('&').any(is_secret) {
        address
    } else {
        source
    }
}

/// A time as signatures have it: `YYYYMMDDThhmmssZ`.
fn compact(now: Timestamp) -> String {
    let text = now.to_string();
    let seconds = text.split(['.', 'Z']).next().unwrap_or_default();
    let digits = seconds.chars().filter(|c| !matches!(c, '-' | ':'));
    format!("{}Z", digits.collect::<String>())
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests;
