use crate::job;
use jobs::model::{ABSENT, Lack, absent_refusal};
use jobs::spec::{Defaults, Surroundings, Variables, canonicalize_and_validate, parse};
use std::path::Path;

const BEGIN: &str = "<!-- begin: absent -->\n";
const END: &str = "<!-- end: absent -->\n";

/// The table of what this version does not do, as the docs have it.
fn table() -> String {
    let mut text = String::from("| in a job file | what happens | why |\n| --- | --- | --- |\n");
    for absent in ABSENT {
        let lack = match absent.lack {
            Lack::Ignored => "runs without it, with a warning",
            Lack::Refused => "registered, not placed",
        };
        let (name, sentence) = (absent.name, absent.sentence);
        text.push_str(&format!("| `{name}` | {lack} | {sentence} |\n"));
    }
    text
}

#[test]
fn the_docs_list_what_the_code_lacks() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/job-specification.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (head, rest) = page.split_once(BEGIN).unwrap();
    let (listed, tail) = rest.split_once(END).unwrap();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, format!("{head}{BEGIN}{}{END}{tail}", table())).unwrap();
        return;
    }
    assert_eq!(listed, table(), "UPDATE_GOLDEN=1 rewrites it");
}

/// Warnings and the refusal of a job with these lines in its group and in its task.
fn outcome_of(of_group: &str, of_task: &str) -> (Vec<String>, Option<String>) {
    let text = format!(
        "job \"a\" {{\n group \"g\" {{\n{of_group}\n task \"t\" {{\n driver = \"raw_exec\"\n{of_task}\n }}\n }}\n}}"
    );
    let parsed = parse(&text, "a", &Variables::default(), &Surroundings::default()).unwrap();
    let validation = canonicalize_and_validate(parsed, &Defaults::default());
    assert_eq!(validation.errors, Vec::<String>::new(), "{text}");
    let job = validation.job.unwrap();
    let refusal = absent_refusal(&job.task_groups[0]);
    (validation.warnings, refusal)
}

/// Warnings and the refusal of a job with these lines in its group.
fn outcome(lines: &str) -> (Vec<String>, Option<String>) {
    outcome_of(lines, "")
}

/// Lines of a group and of its task that ask for what a row of the table is about.
const ASKING: &[(&str, &str, &str)] = &[
    (
        "network.mode of a task",
        "",
        "resources {\n network {\n mode = \"bridge\"\n }\n }",
    ),
    (
        "network.dns with mode \"host\"",
        "network {\n dns {\n servers = [\"10.0.0.1\"]\n }\n }",
        "",
    ),
    (
        "network.hostname with mode \"host\"",
        "network {\n hostname = \"h\"\n }",
        "",
    ),
    (
        "network.port.ignore_collision",
        "network {\n port \"p\" {\n static = 80\n ignore_collision = true\n }\n }",
        "",
    ),
    (
        "network.port.host_network of a task",
        "",
        "resources {\n network {\n port \"p\" {\n host_network = \"public\"\n }\n }\n }",
    ),
    (
        "group.volume with type \"csi\"",
        "volume \"v\" {\n type = \"csi\"\n source = \"s\"\n access_mode = \"single-node-writer\"\n \
         attachment_mode = \"file-system\"\n }",
        "",
    ),
    (
        "group.volume with per_alloc",
        "volume \"v\" {\n type = \"host\"\n source = \"s\"\n per_alloc = true\n }",
        "",
    ),
    (
        "group.volume with sticky",
        "volume \"v\" {\n type = \"host\"\n source = \"s\"\n sticky = true\n }",
        "",
    ),
    (
        "group.disconnect",
        "disconnect {\n lost_after = \"1h\"\n }",
        "",
    ),
    (
        "group.disconnect.stop_on_client_after",
        "disconnect {\n stop_on_client_after = \"1h\"\n }",
        "",
    ),
    ("consul", "", "consul {}"),
    ("task.vault", "", "vault {\n role = \"r\"\n }"),
    (
        "task.secret",
        "",
        "secret \"s\" {\n provider = \"vault\"\n path = \"p\"\n }",
    ),
    (
        "task.csi_plugin",
        "",
        "csi_plugin {\n id = \"p\"\n type = \"node\"\n mount_dir = \"/csi\"\n }",
    ),
    (
        "task.schedule",
        "",
        "schedule {\n cron {\n start = \"0 30 9 * * *\"\n end = \"0 16\"\n }\n }",
    ),
    (
        "task.scaling",
        "",
        "scaling \"cpu\" {\n min = 100\n max = 500\n }",
    ),
    (
        "task.identity.extra_claims",
        "",
        "identity {\n name = \"a\"\n aud = [\"x\"]\n extra_claims = [\"c\"]\n }",
    ),
    (
        "task.volume_mount.selinux_label",
        "volume \"v\" {\n type = \"host\"\n source = \"s\"\n }",
        "volume_mount {\n volume = \"v\"\n destination = \"/v\"\n selinux_label = \"Z\"\n }",
    ),
    ("task.kind", "", "kind = \"k\""),
    (
        "task.resources.device",
        "",
        "resources {\n device \"gpu\" {}\n }",
    ),
    (
        "task.resources.numa with \"prefer\"",
        "",
        "resources {\n cores = 1\n numa {\n affinity = \"prefer\"\n }\n }",
    ),
    (
        "task.resources.numa with \"require\"",
        "",
        "resources {\n cores = 1\n numa {\n affinity = \"require\"\n }\n }",
    ),
    (
        "task.resources.secrets",
        "",
        "resources {\n secrets = 8\n }",
    ),
    (
        "service.connect",
        "network {\n port \"p\" {}\n }\n service {\n port = \"p\"\n connect {\n native = true\n }\n task = \"t\"\n }",
        "",
    ),
    (
        "service.address_mode with \"driver\", \"alloc\" or \"alloc_ipv6\"",
        "network {\n port \"p\" {}\n }\n service {\n port = \"p\"\n address_mode = \"alloc\"\n }",
        "",
    ),
    (
        "service.address_mode with \"driver\", \"alloc\" or \"alloc_ipv6\", and a number as port",
        "",
        "service {\n port = \"80\"\n address_mode = \"driver\"\n }",
    ),
    (
        "service.check.address_mode with \"driver\", \"alloc\" or \"alloc_ipv6\"",
        "network {\n port \"p\" {}\n }\n service {\n port = \"p\"\n check {\n type = \"tcp\"\n \
         interval = \"5s\"\n timeout = \"1s\"\n address_mode = \"alloc_ipv6\"\n }\n }",
        "",
    ),
    (
        "service.check.address_mode with \"driver\", \"alloc\" or \"alloc_ipv6\", and a number as port",
        "network {\n port \"p\" {}\n }\n service {\n port = \"p\"\n check {\n type = \"tcp\"\n port = \"80\"\n \
         interval = \"5s\"\n timeout = \"1s\"\n address_mode = \"alloc\"\n }\n }",
        "",
    ),
    (
        "service.enable_tag_override",
        "service {\n enable_tag_override = true\n }",
        "",
    ),
    (
        "service.identity",
        "service {\n identity {\n aud = [\"a\"]\n }\n }",
        "",
    ),
    ("service.cluster", "service {\n cluster = \"east\"\n }", ""),
    ("service.kind", "service {\n kind = \"api-gateway\"\n }", ""),
    (
        "service.check with type \"grpc\"",
        "network {\n port \"p\" {}\n }\n service {\n port = \"p\"\n check {\n type = \"grpc\"\n \
         interval = \"5s\"\n timeout = \"1s\"\n }\n }",
        "",
    ),
    (
        "service.check.expose",
        "network {\n mode = \"bridge\"\n port \"p\" {}\n }\n service {\n port = \"1\"\n connect {\n \
         sidecar_service {}\n }\n check {\n type = \"http\"\n path = \"/\"\n port = \"p\"\n \
         interval = \"5s\"\n timeout = \"1s\"\n expose = true\n }\n }",
        "",
    ),
    (
        "service.check.tls_server_name",
        "network {\n port \"p\" {}\n }\n service {\n port = \"p\"\n check {\n type = \"http\"\n path = \"/\"\n \
         interval = \"5s\"\n timeout = \"1s\"\n tls_server_name = \"x\"\n }\n }",
        "",
    ),
    (
        "service.check.advertise",
        "network {\n port \"p\" {}\n }\n service {\n port = \"p\"\n check {\n type = \"tcp\"\n \
         interval = \"5s\"\n timeout = \"1s\"\n advertise = \"x\"\n }\n }",
        "",
    ),
];

#[test]
fn every_row_of_the_table_is_told_and_refused_where_it_says_so() {
    let listed: Vec<&str> = ABSENT.iter().map(|absent| absent.name).collect();
    let asked: Vec<&str> = ASKING.iter().map(|(name, ..)| *name).collect();
    assert_eq!(asked, listed, "a job for each row");
    for (absent, (name, of_group, of_task)) in ABSENT.iter().zip(ASKING) {
        let (warnings, refusal) = outcome_of(of_group, of_task);
        let end = match absent.lack {
            Lack::Ignored => "",
            Lack::Refused => "; nothing is placed",
        };
        let told = format!("{name} (group g): {}{end}", absent.sentence);
        assert!(warnings.contains(&told), "{name}: {warnings:#?}");
        if absent.lack == Lack::Refused {
            let why = refusal.unwrap_or_else(|| panic!("{name} is placed"));
            assert_eq!(why, format!("{name}: {}", absent.sentence));
        }
    }
}

#[test]
fn what_cannot_be_missed_is_not_placed_and_the_rest_is_said() {
    let (warnings, refusal) = outcome(
        "volume \"v\" {\n type = \"csi\"\n source = \"s\"\n access_mode = \"single-node-writer\"\n \
         attachment_mode = \"file-system\"\n }",
    );
    let sentence = "volumes of plugins are not mounted, so its data would be missing or lost; host volumes are";
    let name = "group.volume with type \"csi\"";
    assert_eq!(
        warnings,
        [format!("{name} (group g): {sentence}; nothing is placed")]
    );
    assert_eq!(refusal, Some(format!("{name}: {sentence}")));
    assert_eq!(
        outcome("volume \"v\" {\n type = \"host\"\n source = \"s\"\n }"),
        (Vec::new(), None)
    );
    let (warnings, refusal) = outcome("consul {}");
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].starts_with("consul (group g): there is one catalog"));
    assert_eq!(refusal, None);
    assert_eq!(outcome("count = 2"), (Vec::new(), None));
}

#[test]
fn the_example_jobs_lack_nothing() {
    for (path, text) in crate::files("examples") {
        let job = job(&text, &path.display().to_string());
        for group in &job.task_groups {
            assert_eq!(absent_refusal(group), None, "{}", path.display());
        }
    }
}
