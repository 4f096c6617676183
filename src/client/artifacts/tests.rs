use super::*;
use jobs::model::AllocId;
use std::{collections::BTreeMap, fs};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
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
    run_within(source, mode, dest, options, ArtifactLimits::default()).await
}

async fn run_within(
    source: String,
    mode: &str,
    dest: &str,
    options: &[(&str, &str)],
    limits: ArtifactLimits,
) -> Case {
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
        limits,
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
async fn an_artifact_costs_no_more_than_the_operator_allows() {
    let usual = ArtifactLimits::default();
    let server = serve(b"content".to_vec()).await;
    for (bytes, part) in [(7, None), (6, Some("larger than 6 bytes"))] {
        let limits = ArtifactLimits {
            download_bytes_max: bytes,
            ..usual
        };
        let source = format!("{server}/app.bin");
        let case = run_within(source, "any", "", &[], limits).await;
        match part {
            None => assert_eq!(case.result, Ok(())),
            Some(part) => assert!(case.result.unwrap_err().contains(part)),
        }
    }
    let limits = ArtifactLimits {
        http_timeout: Duration::ZERO,
        ..usual
    };
    let late = run_within(format!("{server}/app.bin"), "any", "", &[], limits).await;
    let late = late.result.unwrap_err();
    assert!(late.contains("it took longer than 0 s"), "{late}");
    let packed = serve(tar_gz(&[("a", "abc"), ("b", "def")], None)).await;
    for (files_max, unpacked_bytes_max, part) in [
        (2, 6, None),
        (1, 6, Some("more than 1 files")),
        (2, 5, Some("larger than 5 bytes")),
    ] {
        let limits = ArtifactLimits {
            files_max,
            unpacked_bytes_max,
            ..usual
        };
        let source = format!("{packed}/app.tar.gz");
        let case = run_within(source, "any", "", &[], limits).await;
        match part {
            None => assert_eq!(case.result, Ok(())),
            Some(part) => assert!(case.result.unwrap_err().contains(part), "{part}"),
        }
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
            "hg::https://example.com/x".into(),
            "any",
            "hg sources are not supported yet",
        ),
        ("git::file:///x".into(), "any", "is no address"),
        ("git::--upload-pack=x".into(), "any", "is no address"),
        (
            "git::https://x/y//../z".into(),
            "any",
            "leaves the allocation",
        ),
        (
            "git::https://x/y?checksum=a".into(),
            "any",
            "option `checksum`",
        ),
        ("github.com/a".into(), "any", "is no address"),
        ("s3::ftp://x/y".into(), "any", "is no address"),
        ("s3::https://x/y?ref=a".into(), "any", "option `ref`"),
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

#[test]
fn repositories_are_written_in_many_ways() {
    for (text, url, inside, reference) in [
        ("github.com/a/b", "https://github.com/a/b.git", "", ""),
        (
            "github.com/a/b.git//c/d?ref=v1",
            "https://github.com/a/b.git",
            "c/d",
            "v1",
        ),
        (
            "gitlab.com/a/b/c//d",
            "https://gitlab.com/a/b.git",
            "c/d",
            "",
        ),
        (
            "git::https://host:81/a.git?depth=1&ref=main",
            "https://host:81/a.git",
            "",
            "main",
        ),
        ("git@host:a/b.git//c", "git@host:a/b.git", "c", ""),
        (
            "git::ssh://git@host/a?sshkey=a2V5",
            "ssh://git@host/a",
            "",
            "",
        ),
    ] {
        let (origin, options) = source::parse(text, &BTreeMap::new()).unwrap();
        let Origin::Git(found) = origin else {
            panic!("{text}: {origin:?}");
        };
        let found_reference = found.reference.unwrap_or_default();
        assert_eq!(
            (
                found.url.as_str(),
                found.inside.as_str(),
                found_reference.as_str()
            ),
            (url, inside, reference),
            "{text}"
        );
        assert_eq!(options.archive.as_deref(), Some("tar"), "{text}");
    }
}

/// Answers with the files below a directory; returns the address and the heads of requests.
async fn serve_files(root: PathBuf) -> (String, mpsc::Receiver<String>) {
    let (sender, heads) = mpsc::channel(64);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.unwrap() > 0 {}
            let head = String::from_utf8(head).unwrap();
            let target = head.split(' ').nth(1).unwrap_or_default();
            let path = target.split('?').next().unwrap_or_default();
            let (code, body) = match fs::read(root.join(path.trim_start_matches('/'))) {
                Ok(body) => ("200 OK", body),
                Err(_) => ("404 Not Found", Vec::new()),
            };
            sender.try_send(head).ok();
            let head = format!(
                "HTTP/1.1 {code}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            stream.write_all(head.as_bytes()).await.ok();
            stream.write_all(&body).await.ok();
        }
    });
    (format!("http://{address}"), heads)
}

#[tokio::test]
async fn files_of_a_repository_are_those_of_the_commit_that_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let git = |args: &[&str]| {
        let output = std::process::Command::new("git")
            .args(args)
            .current_dir(dir.path())
            .env("HOME", dir.path())
            .envs(["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_NAME"), "a")))
            .envs(["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_EMAIL"), "a@b")))
            .output()
            .unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let commit = |text: &str| {
        fs::create_dir_all(dir.path().join("sub")).unwrap();
        fs::write(dir.path().join("sub/a"), text).unwrap();
        git(&["add", "."]);
        git(&["commit", "-q", "-m", text]);
        git(&["rev-parse", "HEAD"])
    };
    git(&["init", "-q", "-b", "main", "."]);
    commit("one");
    git(&["tag", "v1"]);
    let second = commit("two");
    commit("three");
    git(&["checkout", "-q", "-b", "other"]);
    commit("four");
    git(&["checkout", "-q", "main"]);
    git(&["update-server-info"]);
    let (server, _heads) = serve_files(dir.path().to_owned()).await;
    for (rest, file, text) in [
        ("", "web/local/sub/a", "three"),
        ("?ref=v1", "web/local/sub/a", "one"),
        (&format!("?ref={second}"), "web/local/sub/a", "two"),
        ("//sub?ref=other&depth=1", "web/local/a", "four"),
    ] {
        let case = run(format!("git::{server}/.git{rest}"), "any", "", &[]).await;
        case.result.as_ref().unwrap();
        assert_eq!(case.read(file).as_deref(), Some(text), "{rest}");
        assert_eq!(case.read("web/local/.git/HEAD"), None);
        let left = fs::read_dir(case.alloc.root()).unwrap().count();
        assert_eq!(left, 2, "the directories of the allocation and of its task");
    }
    let case = run(format!("git::{server}/.git?ref=none"), "any", "", &[]).await;
    let text = case.result.unwrap_err();
    assert!(text.contains("the repository has no `none`"), "{text}");
}

#[tokio::test]
async fn an_object_is_asked_for_with_a_signature() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("bucket")).unwrap();
    fs::write(dir.path().join("bucket/key"), "object").unwrap();
    let (server, mut heads) = serve_files(dir.path().to_owned()).await;
    let options = [
        ("aws_access_key_id", "me"),
        ("aws_access_key_secret", "hidden"),
        ("region", "eu-west-1"),
    ];
    let hidden = format!("s3::{server}/none?aws_access_key_id=me&aws_access_key_secret=hidden");
    let text = run(hidden, "any", "", &[]).await.result.unwrap_err();
    assert!(text.contains("404") && !text.contains("hidden"), "{text}");
    heads.recv().await.unwrap();
    let source = format!("s3::{server}/bucket/key");
    let case = run(source.clone(), "any", "", &options).await;
    case.result.as_ref().unwrap();
    assert_eq!(case.read("web/local/key").as_deref(), Some("object"));
    let head = heads.recv().await.unwrap();
    assert!(
        head.contains("authorization: AWS4-HMAC-SHA256 Credential=me/"),
        "{head}"
    );
    assert!(head.contains("/eu-west-1/s3/aws4_request"), "{head}");
    assert!(!head.contains("hidden"), "{head}");
    let case = run(source, "any", "", &[]).await;
    case.result.as_ref().unwrap();
    let head = heads.recv().await.unwrap();
    assert!(!head.contains("authorization"), "{head}");
}
