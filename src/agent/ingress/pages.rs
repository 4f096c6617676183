//! Pages for answers of the ingress itself, read again while they are in use.

use super::certificates::{Files, Read, keys};
use config::PagePlace;
use proxy::ErrorPages;
use std::{io, path::Path, time::Duration};
use tokio::time::sleep;

/// The largest page, in bytes.
const PAGE_BYTES_MAX: usize = 256 << 10;
/// How much all of them may be together, in bytes.
const ALL_BYTES_MAX: usize = 8 << 20;
/// So many names of a directory are looked at.
const NAMES_MAX: usize = 10_000;
/// Between two looks at a place that cannot wait for changes, and between two tries.
const REFRESH: Duration = Duration::from_secs(3);

/// Reads pages again and again, for ever: what was read last stays in use when they cannot be read.
pub(super) async fn keep_fresh(place: PagePlace, proxy: proxy::Handle) {
    let mut before: Option<Files> = None;
    let mut index = None;
    let mut said = String::new();
    loop {
        match read(&place, index).await {
            Ok(read) => {
                said.clear();
                index = read.index;
                if before.as_ref() != Some(&read.files) {
                    let (pages, left_out) = pages(&read.files);
                    for reason in left_out {
                        tracing::error!(reason, "a page is left out");
                    }
                    proxy.set_error_pages(pages);
                    before = Some(read.files);
                }
                if index.is_none() {
                    sleep(REFRESH).await;
                }
            }
            Err(reason) => {
                if reason != said {
                    tracing::error!(reason, "pages of the ingress stay as they are");
                }
                said = reason;
                index = None;
                sleep(REFRESH).await;
            }
        }
    }
}

async fn read(place: &PagePlace, index: Option<u64>) -> Result<Read, String> {
    match place {
        PagePlace::Keys(url) => {
            let found = keys(url, index).await?;
            // Without a key there is no page.
            Ok(found.unwrap_or_default())
        }
        PagePlace::Directory(directory) => {
            let directory = directory.clone();
            let reading = tokio::task::spawn_blocking(move || {
                let read = directory_files(&directory);
                read.map_err(|error| format!("`{}`: {error}", directory.display()))
            });
            let files = crate::agent::runtimes::join(reading).await?;
            Ok(Read { files, index: None })
        }
    }
}

/// The files of a directory that have the name of a page. Of one that is too large, as much as
/// shows that.
fn directory_files(directory: &Path) -> io::Result<Files> {
    let mut files = Files::new();
    for entry in std::fs::read_dir(directory)?.take(NAMES_MAX) {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !ErrorPages::default().add(&name, "") {
            continue;
        }
        let file = std::fs::File::open(entry.path())?;
        let mut page = Vec::new();
        io::Read::read_to_end(
            &mut io::Read::take(file, PAGE_BYTES_MAX as u64 + 1),
            &mut page,
        )?;
        files.insert(name, page);
    }
    Ok(files)
}

/// The pages of files, and why others are left out.
fn pages(files: &Files) -> (ErrorPages, Vec<String>) {
    let (mut pages, mut left_out) = (ErrorPages::default(), Vec::new());
    let mut left = ALL_BYTES_MAX;
    for (name, page) in files {
        if page.len() > PAGE_BYTES_MAX {
            left_out.push(format!("`{name}` is larger than 256 KiB"));
        } else if page.len() > left {
            left_out.push(format!(
                "`{name}`: all pages together are larger than 8 MiB"
            ));
        } else if pages.add(name, page.clone()) {
            left -= page.len();
        } else {
            left_out.push(format!(
                "`{name}` is no name of a page; write `503.html`, or `5xx.html` for all statuses of a hundred"
            ));
        }
    }
    (pages, left_out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::ingress::served;

    #[test]
    fn pages_are_bounded_and_named_by_their_status() {
        let large = vec![b'x'; PAGE_BYTES_MAX];
        let mut files = Files::from([
            ("503.html".to_owned(), b"later".to_vec()),
            ("5xx.html".to_owned(), large.clone()),
            ("404.html".to_owned(), [&large[..], b"x"].concat()),
            ("index.html".to_owned(), Vec::new()),
        ]);
        let mut expected = ErrorPages::default();
        expected.add("503.html", "later");
        expected.add("5xx.html", large.clone());
        let (found, left_out) = pages(&files);
        assert_eq!(found, expected);
        assert_eq!(left_out.len(), 2, "{left_out:?}");
        assert!(left_out[0].contains("`404.html` is larger"), "{left_out:?}");
        assert!(left_out[1].contains("`index.html` is no"), "{left_out:?}");
        files.extend((500..540).map(|status| (format!("{status}.html"), large.clone())));
        let (_, left_out) = pages(&files);
        // Two are left out as before; of the rest, 32 are as large as all may be.
        assert_eq!(left_out.len(), 2 + 41 - 32, "{left_out:?}");
    }

    #[tokio::test]
    async fn a_directory_is_read_for_pages_only() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, page: &[u8]| {
            std::fs::write(directory.path().join(name), page).unwrap();
        };
        write("503.html", b"later");
        write("page.css", b"x");
        write("4xx.html", &vec![b'x'; PAGE_BYTES_MAX + 100]);
        std::fs::create_dir(directory.path().join("old")).unwrap();
        let place = PagePlace::Directory(directory.path().into());
        let read_now = read(&place, None).await.unwrap();
        let sizes: Vec<(&str, usize)> = read_now
            .files
            .iter()
            .map(|(name, page)| (name.as_str(), page.len()))
            .collect();
        assert_eq!(sizes, [("4xx.html", PAGE_BYTES_MAX + 1), ("503.html", 5)]);
        let nowhere = PagePlace::Directory("/nowhere/at/all".into());
        let failed = read(&nowhere, None).await.unwrap_err();
        assert!(failed.contains("/nowhere/at/all"), "{failed}");
    }

    #[tokio::test]
    async fn keys_are_pages_and_there_may_be_none() {
        let address = served::serve(|path| async move {
            let found = path.starts_with("/v1/kv/pages?");
            let body = r#"[{"Key": "pages/503.html", "Value": "bGF0ZXI="}]"#;
            let (status, body) = if found { (200, body) } else { (404, "") };
            (status, "X-Consul-Index: 7\r\n".to_owned(), body.into())
        });
        let address = address.await;
        let place = |prefix: &str| PagePlace::Keys(format!("http://{address}/v1/kv/{prefix}"));
        let found = read(&place("pages"), None).await.unwrap();
        assert_eq!(found.index, Some(7));
        assert_eq!(found.files["503.html"], b"later");
        let none = read(&place("none"), Some(7)).await.unwrap();
        assert!(none.files.is_empty() && none.index.is_none());
    }
}
