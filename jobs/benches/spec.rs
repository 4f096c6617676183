//! Job files to canonical jobs: the example, and a generated file of ten thousand lines.

#![expect(clippy::unwrap_used, reason = "a step that fails ends the measurement")]

use criterion::{Criterion, criterion_group, criterion_main};
use jobs::spec::{Defaults, Surroundings, Variables, canonicalize_and_validate, parse};
use std::hint::black_box;

const EXAMPLE: &str = include_str!("../tests/spec/published/init.nomad");

/// Lines of the generated file.
const LINES: usize = 10_000;

/// A job of many groups, each with a network, a service and a task.
fn generated() -> String {
    let mut text = String::from("job \"large\" {\n  datacenters = [\"dc1\"]\n");
    let mut lines = 3;
    let mut number = 0;
    while lines < LINES {
        let group = format!(
            r#"  group "g{number}" {{
    count = 2
    network {{
      port "http" {{
        to = 8080
      }}
    }}
    service {{
      name = "web-{number}"
      port = "http"
      tags = ["urlprefix-/g{number}", "v1"]
      check {{
        type     = "http"
        path     = "/health"
        interval = "10s"
        timeout  = "2s"
      }}
    }}
    task "web" {{
      driver         = "raw_exec"
      shutdown_delay = "1s"
      config {{
        command = "/bin/web"
        args    = ["--port", "${{NOMAD_PORT_http}}", "--name", "g{number}"]
      }}
      env {{
        NUMBER = {number}
      }}
      resources {{
        cpu    = 100
        memory = 64
      }}
    }}
  }}
"#
        );
        lines += group.lines().count();
        text.push_str(&group);
        number += 1;
    }
    text.push_str("}\n");
    text
}

fn check(text: &str) {
    let parsed = parse(
        text,
        "job.nomad",
        &Variables::default(),
        &Surroundings::default(),
    )
    .unwrap();
    let validation = canonicalize_and_validate(parsed, &Defaults::default());
    assert!(validation.errors.is_empty(), "{:?}", validation.errors);
    black_box(validation);
}

fn job_files(criterion: &mut Criterion) {
    let large = generated();
    criterion.bench_function("parse and validate the example", |bencher| {
        bencher.iter(|| check(black_box(EXAMPLE)));
    });
    let mut group = criterion.benchmark_group("large");
    group.sample_size(10);
    group.bench_function("parse and validate 10,000 lines", |bencher| {
        bencher.iter(|| check(black_box(&large)));
    });
    group.finish();
}

criterion_group!(benches, job_files);
criterion_main!(benches);
