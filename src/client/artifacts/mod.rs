//! Fetches the files that a task needs: over http(s) or from a path of this machine, checked and unpacked.
//!
//! Nothing is ever written outside of the allocation's directory, whatever names an archive holds.

mod checksum;
mod source;
mod unpack;

use super::allocdir::AllocDir;
use crate::sys::files::{Directory, stays_below};
use checksum::{Checksum, Digester};
use futures_util::StreamExt;
use jobs::model::Artifact;
use reqwest::Client;
use source::{Options, Origin};
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::timeout;

/// Longest time for one artifact.
const FETCH_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// Largest download.
const DOWNLOAD_BYTES_MAX: u64 = 100 * 1024 * 1024 * 1024;
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
    #[error("no answer within 30 minutes")]
    TimedOut,
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
}

/// Fetches one artifact, whose texts are resolved, for `task`.
///
/// # Errors
/// [`ArtifactError`]; what was fetched so far is gone or incomplete, and fetching again replaces it.
pub(super) async fn fetch(
    artifact: &Artifact,
    dir: &AllocDir,
    task: &str,
) -> Result<(), ArtifactError> {
    let fetched = timeout(FETCH_TIMEOUT, try_fetch(artifact, dir, task)).await;
    fetched
        .unwrap_or(Err(Reason::TimedOut))
        .map_err(|reason| ArtifactError {
            source_text: artifact.getter_source.clone(),
            reason,
        })
}

async fn try_fetch(artifact: &Artifact, dir: &AllocDir, task: &str) -> Result<(), Reason> {
    let request = request(artifact, dir, task)?;
    // Where no task without privileges can exchange it before it is unpacked.
    let file = tempfile::tempfile_in(dir.task(task).join("private"))?;
    let file = match &request.origin {
        Origin::Http(url) => download(artifact, url, file, request.checksum.as_ref()).await?,
        Origin::Path(path) => {
            let (path, checksum) = (path.clone(), request.checksum.clone());
            blocking(move || copy(&path, file, checksum.as_ref())).await?
        }
    };
    let root = dir.root().to_owned();
    let mode = artifact.getter_mode.clone();
    blocking(move || place(file, &request, &root, &mode)).await
}

fn request(artifact: &Artifact, dir: &AllocDir, task: &str) -> Result<Request, Reason> {
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
    if !stays_below(&dest) {
        return Err(escapes());
    }
    Ok(Request {
        origin,
        options,
        checksum,
        dest,
    })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Reason> + Send + 'static,
) -> Result<T, Reason> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(_) => Err(Reason::Io(io::Error::other("unpacking broke"))),
    }
}

async fn download(
    artifact: &Artifact,
    url: &str,
    mut file: File,
    checksum: Option<&Checksum>,
) -> Result<File, Reason> {
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
    let response = request.send().await.map_err(|error| failed(&error))?;
    if !response.status().is_success() {
        return Err(Reason::Status {
            code: response.status().as_u16(),
        });
    }
    let mut digester = Digester::new(checksum);
    let mut bytes = 0;
    let mut body = response.bytes_stream();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| failed(&error))?;
        bytes += chunk.len() as u64;
        if bytes > DOWNLOAD_BYTES_MAX {
            return Err(too_large());
        }
        digester.update(&chunk);
        file.write_all(&chunk)?;
    }
    digester.check()?;
    Ok(file)
}

fn copy(path: &Path, mut file: File, checksum: Option<&Checksum>) -> Result<File, Reason> {
    let mut source = File::open(path)?;
    if source.metadata()?.is_dir() {
        return Err(Reason::IsDirectory {
            path: path.display().to_string(),
        });
    }
    let mut digester = Digester::new(checksum);
    let mut chunk = vec![0; 128 * 1024];
    let mut bytes = 0;
    loop {
        let read = source.read(&mut chunk)?;
        let data = chunk.get(..read).unwrap_or_default();
        if data.is_empty() {
            break;
        }
        bytes += read as u64;
        if bytes > DOWNLOAD_BYTES_MAX {
            return Err(too_large());
        }
        digester.update(data);
        file.write_all(data)?;
    }
    digester.check()?;
    Ok(file)
}

/// Puts a complete and checked file where it belongs.
fn place(file: File, request: &Request, root: &Path, mode: &str) -> Result<(), Reason> {
    let root = Directory::open(root)?;
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
        unpack::unpack(kind, file, &name, &dest)?;
        return Ok(());
    }
    let parent = request.dest.parent().unwrap_or(Path::new(""));
    let parent = root.create_directory(parent)?;
    let aside = tempfile::tempdir_in(parent.reach())?;
    let unpacked = unpack::unpack(kind, file, &name, &Directory::open(aside.path())?)?;
    let [only] = unpacked.as_slice() else {
        return Err(Reason::NotOneFile {
            files: unpacked.len(),
        });
    };
    let from = Directory::open(aside.path())?.open_file(only)?;
    let mode = std::os::unix::fs::PermissionsExt::mode(&from.metadata()?.permissions());
    write_file(&root, &request.dest, from, mode & 0o777)
}

fn write_file(root: &Directory, path: &Path, mut file: File, mode: u32) -> Result<(), Reason> {
    io::Seek::rewind(&mut file)?;
    let dir = root.create_directory(path.parent().unwrap_or(Path::new("")))?;
    let name = path.file_name().ok_or_else(|| Reason::Escapes {
        dest: path.display().to_string(),
    })?;
    // A directory in the way is the user's mistake and gives a clear error; a file is replaced.
    fs::remove_file(dir.reach().join(name)).ok();
    let mut to = dir.create_file(Path::new(name), mode)?;
    io::copy(&mut file, &mut to)?;
    Ok(())
}

fn too_large() -> Reason {
    Reason::TooLarge {
        bytes_max: DOWNLOAD_BYTES_MAX,
    }
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
