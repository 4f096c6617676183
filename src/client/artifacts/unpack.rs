use super::Reason;
use config::ArtifactLimits;
use std::{
    fs::File,
    io::{self, BufReader, Read, Write},
    path::{Path, PathBuf},
};
use sys::directory::{Directory, stays_below};

/// How a file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    container: Container,
    compression: Compression,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Container {
    Tar,
    Zip,
    /// One file and nothing around it.
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compression {
    Plain,
    Gzip,
    Xz,
    Zstd,
}

const KINDS: &[(&str, Container, Compression)] = &[
    ("tar.gz", Container::Tar, Compression::Gzip),
    ("tgz", Container::Tar, Compression::Gzip),
    ("tar.xz", Container::Tar, Compression::Xz),
    ("txz", Container::Tar, Compression::Xz),
    ("tar.zst", Container::Tar, Compression::Zstd),
    ("tzst", Container::Tar, Compression::Zstd),
    ("tar", Container::Tar, Compression::Plain),
    ("zip", Container::Zip, Compression::Plain),
    ("gz", Container::None, Compression::Gzip),
    ("xz", Container::None, Compression::Xz),
    ("zst", Container::None, Compression::Zstd),
];

/// How a file of that name is packed, unless the option says otherwise; none when it is not.
pub(super) fn kind(option: Option<&str>, name: &str) -> Result<Option<Kind>, Reason> {
    let of = |(_, container, compression): &(&str, Container, Compression)| Kind {
        container: *container,
        compression: *compression,
    };
    match option {
        Some("false" | "0") => return Ok(None),
        None | Some("" | "true" | "1") => {}
        Some(asked) => {
            let known = KINDS.iter().find(|(suffix, ..)| *suffix == asked);
            return known
                .map(|kind| Some(of(kind)))
                .ok_or_else(|| Reason::UnknownArchive {
                    kind: asked.to_owned(),
                });
        }
    }
    for unsupported in ["tar.bz2", "tbz2", "bz2"] {
        if name.ends_with(&format!(".{unsupported}")) {
            return Err(Reason::UnknownArchive {
                kind: unsupported.to_owned(),
            });
        }
    }
    let found = KINDS
        .iter()
        .find(|(suffix, ..)| name.ends_with(&format!(".{suffix}")));
    Ok(found.map(of))
}

/// Unpacks `file` below `dest`; returns the paths of the files, relative to it.
pub(super) fn unpack(
    kind: Kind,
    mut file: File,
    name: &str,
    (dest, limits): (&Directory, ArtifactLimits),
) -> Result<Vec<PathBuf>, Reason> {
    io::Seek::rewind(&mut file)?;
    let mut target = Target {
        dest,
        files: Vec::new(),
        bytes_left: limits.unpacked_bytes_max,
        limits,
    };
    if kind.container == Container::Zip {
        unzip(file, &mut target)?;
        return Ok(target.files);
    }
    let mut reader: Box<dyn Read> = match kind.compression {
        Compression::Plain => Box::new(BufReader::new(file)),
        Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(BufReader::new(file))),
        Compression::Xz => Box::new(liblzma::read::XzDecoder::new_multi_decoder(file)),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::new(file)?),
    };
    if kind.container == Container::Tar {
        untar(reader, &mut target)?;
    } else {
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        target.write(Path::new(stem), 0o644, &mut reader)?;
    }
    Ok(target.files)
}

struct Target<'a> {
    dest: &'a Directory,
    files: Vec<PathBuf>,
    bytes_left: u64,
    limits: ArtifactLimits,
}

impl Target<'_> {
    /// A path of the archive as one below the destination.
    fn path(name: &Path) -> Result<PathBuf, Reason> {
        let refused = || Reason::Entry {
            name: name.display().to_string(),
        };
        if name.is_absolute() || !stays_below(name) {
            return Err(refused());
        }
        // `./a` and `a/./b` name the same as `a` and `a/b`.
        Ok(name
            .components()
            .filter(|part| *part != std::path::Component::CurDir)
            .collect())
    }

    fn count(&self) -> Result<(), Reason> {
        let files_max = self.limits.files_max;
        if self.files.len() < files_max {
            Ok(())
        } else {
            Err(Reason::TooMany { files_max })
        }
    }

    fn write(&mut self, name: &Path, mode: u32, content: &mut dyn Read) -> Result<(), Reason> {
        self.count()?;
        let path = Self::path(name)?;
        let dir = self
            .dest
            .create_directory(path.parent().unwrap_or_else(|| Path::new("")))?;
        let Some(file_name) = path.file_name() else {
            return Err(Reason::Entry {
                name: name.display().to_string(),
            });
        };
        // The bits that give other rights than the reader's own do not come out of an archive.
        let mut file = dir.replace_file(Path::new(file_name), mode & 0o777)?;
        let mut chunk = vec![0; 128 * 1024];
        loop {
            let read = content.read(&mut chunk)?;
            let data = chunk.get(..read).unwrap_or_default();
            if data.is_empty() {
                break;
            }
            self.bytes_left = self
                .bytes_left
                .checked_sub(read as u64)
                .ok_or(Reason::TooLarge {
                    bytes_max: self.limits.unpacked_bytes_max,
                })?;
            file.write_all(data)?;
        }
        self.files.push(path);
        Ok(())
    }

    fn directory(&self, name: &Path) -> Result<(), Reason> {
        self.dest.create_directory(&Self::path(name)?)?;
        Ok(())
    }

    fn link(&mut self, name: &Path, to: &Path) -> Result<(), Reason> {
        self.count()?;
        let path = Self::path(name)?;
        let parent = path.parent().unwrap_or_else(|| Path::new(""));
        if to.is_absolute() || !stays_below(&parent.join(to)) {
            return Err(Reason::Link {
                name: name.display().to_string(),
            });
        }
        let dir = self.dest.create_directory(parent)?;
        let Some(file_name) = path.file_name() else {
            return Err(Reason::Entry {
                name: name.display().to_string(),
            });
        };
        // One from an earlier try; what else is in the way gives a clear error.
        dir.remove_file(Path::new(file_name)).ok();
        dir.link(Path::new(file_name), to)?;
        self.files.push(path);
        Ok(())
    }
}

fn untar(reader: Box<dyn Read>, target: &mut Target<'_>) -> Result<(), Reason> {
    let mut archive = tar::Archive::new(reader);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = entry.path()?.into_owned();
        let header = entry.header();
        match header.entry_type() {
            tar::EntryType::Directory => target.directory(&name)?,
            tar::EntryType::Regular | tar::EntryType::Continuous | tar::EntryType::GNUSparse => {
                let mode = header.mode().unwrap_or(0o644);
                target.write(&name, mode, &mut entry)?;
            }
            tar::EntryType::Symlink => {
                let to = entry.link_name()?.map(std::borrow::Cow::into_owned);
                target.link(&name, &to.unwrap_or_default())?;
            }
            tar::EntryType::XGlobalHeader => {}
            // Hard links and devices: no release archive needs them.
            _ => {
                return Err(Reason::Entry {
                    name: name.display().to_string(),
                });
            }
        }
    }
    Ok(())
}

fn unzip(file: File, target: &mut Target<'_>) -> Result<(), Reason> {
    let broken = |error: zip::result::ZipError| Reason::Io(io::Error::other(error));
    let mut archive = zip::ZipArchive::new(file).map_err(broken)?;
    let files_max = target.limits.files_max;
    if archive.len() > files_max {
        return Err(Reason::TooMany { files_max });
    }
    for place in 0..archive.len() {
        let mut entry = archive.by_index(place).map_err(broken)?;
        let name = PathBuf::from(entry.name().map_err(broken)?.into_owned());
        let mode = entry.unix_mode().unwrap_or(0o644);
        if entry.is_dir() {
            target.directory(&name)?;
        } else if entry.is_symlink() {
            let mut to = String::new();
            (&mut entry).take(4096).read_to_string(&mut to)?;
            target.link(&name, Path::new(&to))?;
        } else {
            target.write(&name, mode, &mut entry)?;
        }
    }
    Ok(())
}
