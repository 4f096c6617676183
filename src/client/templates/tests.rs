use super::*;
use crate::allocdir::Reader;
use jobs::model::{AllocId, Wait};
use rpc::{message::Hello, session::Session};
use std::path::Path;
use tokio::sync::mpsc;

/// Longer than anything here may take on a busy machine.
const LONG: Duration = Duration::from_secs(30);

fn template(text: &str, dest: &str) -> Template {
    Template {
        embedded_tmpl: text.into(),
        dest_path: dest.into(),
        change_mode: "restart".into(),
        ..Template::default()
    }
}

/// Templates of a task without servers, and what is told of them.
fn begun(
    dir: &Path,
    templates: Vec<Template>,
    begin: Begin,
) -> (Templates, mpsc::Receiver<String>, AllocDir, Session) {
    let dir = AllocDir::new(dir, AllocId::named("a1"));
    dir.build().unwrap();
    dir.build_task("web", Reader::Agent).unwrap();
    let (session, handle, _) = Session::new(([127, 0, 0, 1], 1).into(), Hello::default());
    let (sender, told) = mpsc::channel(16);
    let variables = [("NAME".to_owned(), "trivet".to_owned())];
    let setting = Setting {
        dir: dir.clone(),
        task: "web".into(),
        variables: Arc::new(variables.into()),
        place: Place {
            node: "n".into(),
            namespace: "default".into(),
            alloc_id: AllocId::named("a1"),
            task: "web".into(),
        },
        session: handle,
        threads: Threads::new("test", 1),
        wanted: templates.into_iter().map(Wanted::from).collect(),
        rules: TemplateRules::default(),
        tell: Box::new(move |text| sender.try_send(text).unwrap()),
        add: Box::new(|_| {}),
    };
    (Templates::begin(setting, begin), told, dir, session)
}

fn read(dir: &AllocDir, path: &str) -> String {
    std::fs::read_to_string(dir.task("web").join(path)).unwrap()
}

#[test]
fn values_are_calm_as_templates_or_the_operator_say() {
    let seconds = Duration::from_secs;
    let waiting = |wait: Option<(i64, i64)>| {
        let wait = wait.map(|(min, max)| {
            Box::new(Wait {
                min: Some(Span::from_secs(min)),
                max: Some(Span::from_secs(max)),
            })
        });
        Wanted::from(Template {
            wait,
            ..Template::default()
        })
    };
    let usual = (CALM_MIN, CALM_MAX);
    let of_node = Some((seconds(5), seconds(20)));
    let bounds = Some((seconds(1), seconds(10)));
    for (waits, calm_of_node, calm_bounds, expected) in [
        (vec![None], None, None, usual),
        (vec![None], of_node, None, (seconds(5), seconds(20))),
        (
            vec![None, Some((3, 60))],
            of_node,
            None,
            (seconds(3), seconds(60)),
        ),
        (
            vec![None, Some((3, 60))],
            None,
            bounds,
            (seconds(3), seconds(10)),
        ),
        (vec![None], None, bounds, (seconds(1), seconds(2))),
    ] {
        let rules = TemplateRules {
            calm: calm_of_node,
            calm_bounds,
            ..TemplateRules::default()
        };
        let wanted: Vec<Wanted> = waits.iter().copied().map(waiting).collect();
        assert_eq!(calm(&wanted, &rules), expected, "{waits:?} {rules:?}");
    }
}

#[tokio::test]
async fn files_are_there_before_the_start_and_add_variables() {
    let dir = tempfile::tempdir().unwrap();
    let mut of_task = template("A={{ env \"NAME\" }}\nB=\"x y\"\n", "secrets/a.env");
    of_task.envvars = true;
    let mut copy = template("", "local/copy");
    copy.source_path = "local/source".into();
    let all = vec![
        of_task,
        template("hi", "local/source"),
        template("{{ file \"local/source\" }}", "local/b"),
    ];
    // What one reads of another is there when the task is set up again.
    let (mut first, ..) = begun(dir.path(), all[..2].to_vec(), Begin::BeforeStart);
    timeout(LONG, first.ready()).await.unwrap().unwrap();
    let again = all.into_iter().chain([copy]).collect();
    let (mut templates, _told, alloc, _session) = begun(dir.path(), again, Begin::BeforeStart);
    let added = timeout(LONG, templates.ready()).await.unwrap().unwrap();
    assert_eq!(added["A"], "trivet");
    assert_eq!(added["B"], "x y");
    assert_eq!(read(&alloc, "local/b"), "hi");
    assert_eq!(read(&alloc, "local/copy"), "hi");
}

#[tokio::test]
async fn a_template_that_cannot_be_rendered_says_so() {
    let both = Template {
        source_path: "local/a".into(),
        ..template("x", "local/b")
    };
    let mut no_lines = template("no line", "local/env");
    no_lines.envvars = true;
    for (template, problem) in [
        (
            template("{{ nonsense }}", "local/a"),
            "Template failed: local/a: ",
        ),
        (
            template("x", "../../a"),
            "leaves the allocation's directory",
        ),
        (
            template("{{ secret \"a\" }}", "local/a"),
            "secrets are not read from Vault",
        ),
        (both, "it has both `data` and `source`"),
        (no_lines, "line 1 of the result is no variable"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (mut templates, ..) = begun(dir.path(), vec![template], Begin::BeforeStart);
        let error = timeout(LONG, templates.ready()).await.unwrap().unwrap_err();
        assert!(error.to_string().contains(problem), "{error}");
    }
}

#[tokio::test]
async fn what_is_missing_is_told_after_a_while() {
    let dir = tempfile::tempdir().unwrap();
    let text = "{{ key \"a\" }}{{ key \"b\" }}{{ range service \"c\" }}{{ end }}{{ with nomadVar \"d\" }}{{ end }}";
    let all = vec![template(text, "local/a")];
    let (_templates, mut told, alloc, _session) = begun(dir.path(), all, Begin::BeforeStart);
    let text = timeout(LONG, told.recv()).await.unwrap().unwrap();
    assert_eq!(
        text,
        "Missing: health.service(c|passing), kv.block(a), kv.block(b), and 1 more"
    );
    assert!(!alloc.task("web").join("local/a").exists());
}

#[tokio::test]
async fn a_task_that_runs_is_told_when_its_files_are_others_now() {
    let dir = tempfile::tempdir().unwrap();
    let mut changed = template("new", "local/a");
    changed.change_mode = "signal".into();
    let same = template("same", "local/same");
    let (mut first, ..) = begun(dir.path(), vec![same.clone()], Begin::BeforeStart);
    timeout(LONG, first.ready()).await.unwrap().unwrap();
    let (templates, ..) = begun(dir.path(), vec![same, changed], Begin::Running);
    let action = timeout(LONG, templates.action()).await.unwrap();
    assert!(!action.restart, "{action:?}");
    assert_eq!(action.signals, ["SIGHUP".to_owned()].into());
}

#[tokio::test]
async fn what_a_task_was_started_with_is_asked_of_it_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let splay = Duration::from_millis(200);
    let changed = Template {
        splay: splay.into(),
        ..template("new", "local/a")
    };
    let (mut templates, ..) = begun(dir.path(), vec![changed], Begin::Running);
    // It starts before what is different asks for a start.
    timeout(LONG, templates.ready()).await.unwrap().unwrap();
    timeout(splay * 2, templates.action())
        .await
        .expect_err("it has what is different");
}

#[test]
fn what_changes_ask_for_is_asked_for_once() {
    let script = ChangeScript {
        command: Some("x".into()),
        ..ChangeScript::default()
    };
    let mode = |mode: &str| Template {
        change_mode: mode.into(),
        change_signal: "SIGUSR1".into(),
        change_script: Some(Box::new(script.clone())),
        ..Template::default()
    };
    let mut action = Action::default();
    action.add(&mode("noop"));
    assert!(action.is_nothing());
    for _ in 0..2 {
        action.add(&mode("signal"));
        action.add(&mode("script"));
    }
    let mut twice = action.clone();
    twice.merge(action.clone());
    assert_eq!(twice, action);
    assert_eq!((action.signals.len(), action.scripts.len()), (1, 1));
    action.add(&mode("restart"));
    assert!(action.restart);
}
