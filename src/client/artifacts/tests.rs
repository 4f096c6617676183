use super::*;
use jobs::model::AllocId;
use std::{collections::BTreeMap, fs};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// Answers every request with `body`; returns its address.
async fn serve(body: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let read = stream.read(&mut request).await.unwrap();
            let code = if request[..read].starts_with(b"GET /missing") {
                "404 Not Found"
            } else {
                "200 OK"
            };
            let head = format!(
                "HTTP/1.1 {code}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&body).await.unwrap();
        }
    });
    format!("http://{address}")
}

fn tar_gz(entries: &[(&str, &str)], link: Option<(&str, &str)>) -> Vec<u8> {
    let encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut archive = tar::Builder::new(encoder);
    for (name, content) in entries {
        let mut header = tar::Header::new_gnu();
        // Written by hand: the builder itself refuses names that leave the archive.
        let bytes = name.as_bytes();
        header.as_gnu_mut().unwrap().name[..bytes.len()].copy_from_slice(bytes);
        header.set_size(content.len() as u64);
        header.set_mode(0o4755);
        header.set_cksum();
        archive.append(&header, content.as_bytes()).unwrap();
    }
    if let Some((name, to)) = link {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        archive.append_link(&mut header, name, to).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}

struct Case {
    _dir: tempfile::TempDir,
    alloc: AllocDir,
    result: Result<(), String>,
}

impl Case {
    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.alloc.root().join(path)).ok()
    }
}

async fn run(source: String, mode: &str, dest: &str, options: &[(&str, &str)]) -> Case {
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let dir = tempfile::tempdir().unwrap();
    let alloc = AllocDir::new(dir.path(), AllocId::named("a1"));
    alloc.build().unwrap();
    alloc
        .build_task("web", crate::allocdir::Reader::Agent)
        .unwrap();
    let options: BTreeMap<String, String> = options
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let artifact = Artifact {
        getter_source: source,
        getter_mode: mode.into(),
        relative_dest: dest.replace("ALLOC", &alloc.root().join("alloc").to_string_lossy()),
        getter_options: options,
        ..Artifact::default()
    };
    let fetcher = Fetcher {
        dir: &alloc,
        task: "web",
        user: "",
        local_dirs: &[std::env::temp_dir(), "/no".into()],
        threads: &Threads::new("test", 2),
    };
    let result = fetcher
        .fetch(&artifact)
        .await
        .map_err(|error| error.to_string());
    Case {
        _dir: dir,
        alloc,
        result,
    }
}

#[tokio::test]
async fn a_plain_file_lands_below_its_destination() {
    let server = serve(b"content".to_vec()).await;
    let case = run(format!("{server}/dir/app.bin?x=1"), "any", "", &[]).await;
    case.result.as_ref().unwrap();
    assert_eq!(case.read("web/local/app.bin").unwrap(), "content");
    let case = run(
        format!("{server}/app.jar"),
        "file",
        "local/x/renamed.jar",
        &[],
    )
    .await;
    case.result.as_ref().unwrap();
    assert_eq!(case.read("web/local/x/renamed.jar").unwrap(), "content");
    let case = run(format!("{server}/app.bin"), "any", "ALLOC/data", &[]).await;
    case.result.as_ref().unwrap();
    assert_eq!(case.read("alloc/data/app.bin").unwrap(), "content");
}

#[tokio::test]
async fn an_archive_is_unpacked_by_its_name() {
    let server = serve(tar_gz(
        &[("bin/tool", "t"), ("./readme", "r")],
        Some(("link", "readme")),
    ))
    .await;
    let case = run(format!("{server}/app.tar.gz"), "any", "local/app", &[]).await;
    case.result.as_ref().unwrap();
    assert_eq!(case.read("web/local/app/bin/tool").unwrap(), "t");
    assert_eq!(case.read("web/local/app/link").unwrap(), "r");
    let mode = PermissionsExt::mode(
        &fs::metadata(case.alloc.root().join("web/local/app/bin/tool"))
            .unwrap()
            .permissions(),
    );
    assert_eq!(mode & 0o7777, 0o755, "no setuid out of an archive");
    let case = run(
        format!("{server}/app.tar.gz"),
        "any",
        "",
        &[("archive", "false")],
    )
    .await;
    case.result.as_ref().unwrap();
    assert!(case.read("web/local/readme").is_none());
    assert!(case.alloc.root().join("web/local/app.tar.gz").exists());
}

#[tokio::test]
async fn a_file_inside_an_archive_can_be_the_destination() {
    let server = serve(tar_gz(&[("x/tool", "t")], None)).await;
    let case = run(format!("{server}/a.tgz"), "file", "local/tool", &[]).await;
    case.result.as_ref().unwrap();
    assert_eq!(case.read("web/local/tool").unwrap(), "t");
}

#[tokio::test]
async fn nothing_leaves_the_allocation() {
    let server = serve(tar_gz(&[("../../../escaped", "x")], None)).await;
    let case = run(format!("{server}/a.tgz"), "any", "", &[]).await;
    assert!(
        case.result
            .as_ref()
            .unwrap_err()
            .contains("leaves the destination")
    );
    let server = serve(tar_gz(&[], Some(("out", "../../../../etc/passwd")))).await;
    let case = run(format!("{server}/a.tgz"), "any", "", &[]).await;
    assert!(
        case.result
            .as_ref()
            .unwrap_err()
            .contains("symlink that resolves outside")
    );
    let case = run(format!("{server}/a.bin"), "any", "../../other", &[]).await;
    assert!(
        case.result
            .as_ref()
            .unwrap_err()
            .contains("leaves the allocation's directory")
    );
}

#[tokio::test]
async fn checksums_are_compared() {
    let server = serve(b"content".to_vec()).await;
    let right = "sha256:ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73";
    let case = run(format!("{server}/f"), "any", "", &[("checksum", right)]).await;
    case.result.as_ref().unwrap();
    let case = run(
        format!("{server}/f?checksum={}", right.replace("ed7", "ed8")),
        "any",
        "",
        &[],
    )
    .await;
    assert!(
        case.result
            .as_ref()
            .unwrap_err()
            .contains("checksums did not match")
    );
    let case = run(
        format!("{server}/f"),
        "any",
        "",
        &[("checksum", "sha256:12")],
    )
    .await;
    assert!(
        case.result
            .as_ref()
            .unwrap_err()
            .contains("invalid checksum")
    );
}

#[tokio::test]
async fn failures_name_the_source_and_the_reason() {
    let server = serve(Vec::new()).await;
    for (source, mode, expected) in [
        (format!("{server}/missing"), "any", "bad response code: 404"),
        (
            "git::https://example.com/x".into(),
            "any",
            "git sources are not supported yet",
        ),
        (
            "github.com/a/b".into(),
            "any",
            "git sources are not supported yet",
        ),
        (
            "s3::https://x/y".into(),
            "any",
            "s3 sources are not supported yet",
        ),
        ("nothing".into(), "any", "is no address"),
        (format!("{server}/plain"), "dir", "it is no archive"),
        ("/no/such/file".into(), "any", "No such file"),
        (
            "/etc/passwd".into(),
            "any",
            "this node does not allow to read `/etc/passwd`",
        ),
        (
            "file:///no/../etc/passwd".into(),
            "any",
            "this node does not allow to read `/etc/passwd`",
        ),
        (
            format!("{server}/x.tar.bz2"),
            "any",
            "`tar.bz2` is not supported",
        ),
        (format!("{server}/x.zip"), "any", ""),
    ] {
        let case = run(source.clone(), mode, "", &[]).await;
        let text = case.result.unwrap_err();
        assert!(
            text.starts_with(&format!("failed to download artifact \"{source}\": ")),
            "{text}"
        );
        assert!(text.contains(expected), "{text}");
    }
}

#[tokio::test]
async fn a_path_of_this_machine_is_copied() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tool");
    fs::write(&path, "t").unwrap();
    let case = run(path.to_string_lossy().into_owned(), "any", "", &[]).await;
    case.result.as_ref().unwrap();
    assert_eq!(case.read("web/local/tool").unwrap(), "t");
    let case = run(
        format!("file://{}", path.display()),
        "file",
        "local/run",
        &[],
    )
    .await;
    case.result.as_ref().unwrap();
    assert_eq!(case.read("web/local/run").unwrap(), "t");
}
