use super::{Error, Options, Query, Rendered, World, render};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

#[derive(Debug, Default)]
struct Given(BTreeMap<String, Value>);

impl World for Given {
    fn variable(&self, name: &str) -> Option<String> {
        match name {
            "NAME" => Some("trivet".into()),
            "LIST" => Some("a,b,c".into()),
            _ => None,
        }
    }

    fn file(&self, path: &str) -> Result<String, String> {
        match path {
            "local/a" => Ok("content".into()),
            _ => Err(format!("`{path}` cannot be read")),
        }
    }

    fn now(&self) -> i64 {
        1_136_214_245
    }

    fn ask(&self, query: &Query) -> Option<Value> {
        self.0.get(&query.to_string()).cloned()
    }
}

fn world() -> Arc<dyn World> {
    let instance = |name: &str, port: u16, tags: &[&str]| json!({"Name": name, "Address": "10.0.0.1", "Port": port, "Tags": tags, "ServiceMeta": {"v": "1"}});
    let variable = json!({
        "Items": {"user": "web", "password": "x"}, "Path": "nomad/jobs/web", "Namespace": "default",
    });
    let answers = [
        ("kv.block(app/name)", json!("one")),
        ("kv.block(app/empty)", json!("")),
        ("kv.block(app/none)", Value::Null),
        (
            "kv.list(app)",
            json!([
                {"Key": "app/", "Value": ""},
                {"Key": "app/deep/a", "Value": "1"},
                {"Key": "app/deep/b", "Value": "2"},
                {"Key": "app/name", "Value": "one"},
            ]),
        ),
        ("kv.list(none)", json!([])),
        (
            "health.service(web|passing)",
            json!([
                instance("web", 80, &["a", "b"]),
                instance("web", 81, &["b"])
            ]),
        ),
        (
            "health.service(v1.web|any,warning)",
            json!([instance("web", 82, &["v1"])]),
        ),
        ("catalog.services", json!([{"Name": "web", "Tags": ["a"]}])),
        ("nomad.service(db)", json!([instance("db", 5432, &[])])),
        ("nomad.var.block(nomad/jobs/web)", variable),
        ("nomad.var.block(none@prod)", Value::Null),
        (
            "nomad.var.list(nomad/)",
            json!([{"Path": "nomad/jobs/web"}]),
        ),
        ("nomad.var.list(none)", json!([])),
    ];
    let answers = answers.into_iter();
    Arc::new(Given(
        answers
            .map(|(name, answer)| (name.to_owned(), answer))
            .collect(),
    ))
}

fn options() -> Options {
    Options {
        name: "local/out".into(),
        left: String::new(),
        right: String::new(),
        missing_key_fails: false,
    }
}

fn check(cases: &[(&str, &str)]) {
    let world = world();
    for (text, expected) in cases {
        let rendered = render(text, &options(), &world);
        assert_eq!(
            rendered,
            Ok(Rendered::Done((*expected).to_owned())),
            "{text}"
        );
    }
}

#[test]
fn the_language_is_that_of_go() {
    check(&[
        ("hi {{ env \"NAME\" }}!\n", "hi trivet!\n"),
        ("{{ $x := 1 }}{{ $x = 2 }}{{ $x }}", "2"),
        ("a {{- \"b\" -}} c", "abc"),
        (
            "{{ if false }}a{{ else if true }}b{{ else }}c{{ end }}",
            "b",
        ),
        ("{{ with \"\" }}a{{ else with \"x\" }}{{ . }}{{ end }}", "x"),
        (
            "{{ range $i, $v := env \"LIST\" | split \",\" }}{{ $i }}{{ $v }} {{ end }}",
            "0a 1b 2c ",
        ),
        (
            "{{ range loop 9 }}{{ if eq . 2 }}{{ continue }}{{ end }}{{ if gt . 4 }}{{ break }}{{ end }}{{ . }}{{ end }}",
            "0134",
        ),
        ("{{ range 3 }}{{ . }}{{ end }}", "012"),
        (
            "{{ define \"t\" }}<{{ . }}>{{ end }}{{ template \"t\" \"x\" }}",
            "<x>",
        ),
        ("{{ block \"b\" 1 }}[{{ . }}]{{ end }}", "[1]"),
        (
            "{{ printf \"%q %05d %.2f %v\" \"a\" 42 1.5 true }}",
            "\"a\" 00042 1.50 true",
        ),
        (
            "{{ slice \"abcd\" 1 3 }} {{ len \"abc\" }} {{ index (parseJSON `[1,2]`) 1 }}",
            "bc 3 2",
        ),
        (
            "{{ and 1 0 }} {{ or 0 \"x\" }} {{ not true }} {{ eq 1 2 1 }}",
            "0 x false true",
        ),
        ("{{/* nothing */}}{{ print \"a\" 1 2 \"b\" }}", "a1 2b"),
    ]);
}

#[test]
fn texts_numbers_and_lists_are_worked_with() {
    check(&[
        ("{{ envOrDefault \"NONE\" \"x\" }}{{ env \"NONE\" }}", "x"),
        (
            "{{ env \"LIST\" | split \",\" | join \"-\" | toUpper }}",
            "A-B-C",
        ),
        (
            "{{ \"a=1,b\" | splitToMap \",\" \"=\" | toJSON }}",
            r#"{"a":"1","b":""}"#,
        ),
        (
            "{{ with $x := parseJSON `{\"a\": {\"b\": [1, 2.5, \"c\"]}}` }}{{ $x.a.b }}{{ end }}",
            "[1 2.5 c]",
        ),
        (
            "{{ `{\"b\": 1, \"a\": \"<\"}` | parseJSON | toJSON }}",
            "{\"a\":\"\\u003c\",\"b\":1}",
        ),
        (
            "{{ `{\"a\": \"<\"}` | parseJSON | toUnescapedJSON }}",
            "{\"a\":\"<\"}",
        ),
        (
            "{{ if \"LIST\" | env | split \",\" | contains \"b\" }}yes{{ else }}no{{ end }}",
            "yes",
        ),
        (
            "{{ $l := split \",\" \"a,b\" }}{{ containsAll (split \",\" \"a,b\") $l }} {{ containsAny (split \",\" \"c,b\") $l }}",
            "true true",
        ),
        (
            "{{ $l := split \",\" \"a,b\" }}{{ containsNone (split \",\" \"c\") $l }} {{ containsNotAll $l $l }} {{ in $l \"a\" }}",
            "true false true",
        ),
        (
            "{{ range loop 3 }}{{ . }}{{ end }} {{ range loop 2 4 }}{{ . }}{{ end }}",
            "012 23",
        ),
        (
            "{{ 5 | subtract 2 }} {{ 7 | divide 2 }} {{ 7 | modulo 4 }} {{ add 1 2 }} {{ multiply 3 4 }} {{ minimum 1 2 }} {{ add 1 2.5 }}",
            "3 3 3 3 12 1 3.5",
        ),
        (
            "{{ \"aGk=\" | base64Decode }} {{ base64Encode \"hi\" }} {{ base64URLEncode \"??>\" }}",
            "hi aGk= Pz8-",
        ),
        (
            "{{ \"a1b\" | regexReplaceAll \"[0-9]\" \"-\" }} {{ \"ab\" | replaceAll \"a\" \"c\" }} {{ \"ab\" | regexMatch \"^a\" }}",
            "a-b cb true",
        ),
        (
            "{{ \" x \" | trimSpace }}{{ \"a\nb\" | indent 2 }} {{ trim \"-\" \"-a-\" }} {{ trimPrefix \"a\" \"ab\" }}",
            "x  a\n  b a b",
        ),
        (
            "{{ parseInt \"42\" | printf \"%03d\" }} {{ parseBool \"true\" }} {{ parseInt \"\" }} {{ parseFloat \"1.5\" }}",
            "042 true 0 1.5",
        ),
        (
            "{{ sha256Hex \"a\" | printf \"%.8s\" }} {{ md5sum \"a\" | printf \"%.8s\" }} {{ hmacSHA256Hex \"a\" \"k\" | len }}",
            "ca978112 0cc175b9 64",
        ),
        ("{{ toTitle \"hello big world\" }}", "Hello Big World"),
        (
            "{{ timestamp }} {{ timestamp \"unix\" }} {{ timestamp \"Mon Jan 02 2006\" }}",
            "2006-01-02T15:04:05Z 1136214245 Mon Jan 02 2006",
        ),
        (
            "{{ $a := parseJSON `{\"x\":1,\"m\":{\"p\":1}}` }}{{ $b := parseJSON `{\"x\":2,\"m\":{\"q\":2}}` }}{{ $a | mergeMap $b | toJSON }} {{ $a | mergeMapWithOverride $b | toJSON }}",
            r#"{"m":{"p":1,"q":2},"x":1} {"m":{"p":1,"q":2},"x":2}"#,
        ),
        (
            "{{ scratch.Set \"a\" 1 }}{{ scratch.SetX \"a\" 2 }}{{ scratch.MapSet \"m\" \"k\" \"v\" }}{{ scratch.Get \"a\" }} {{ scratch.Key \"b\" }} {{ scratch.MapValues \"m\" }}",
            "1 false [v]",
        ),
        ("{{ file \"local/a\" }}", "content"),
    ]);
}

#[test]
fn the_cluster_is_read() {
    check(&[
        (
            "{{ key \"app/name\" }} {{ key \"app/name@dc1\" }}",
            "one one",
        ),
        (
            "{{ keyOrDefault \"app/none\" \"x\" }} {{ keyOrDefault \"app/empty\" \"y\" }} {{ keyExists \"app/none\" }}",
            "x y false",
        ),
        (
            "{{ with keyExistsGet \"app/name\" }}{{ .Exists }} {{ .Value }}{{ end }}",
            "true one",
        ),
        (
            "{{ range ls \"app\" }}{{ .Key }}={{ .Value }};{{ end }}",
            "name=one;",
        ),
        (
            "{{ range tree \"app\" }}{{ .Key }}={{ .Value }};{{ end }}{{ range ls \"none\" }}x{{ end }}",
            "deep/a=1;deep/b=2;name=one;",
        ),
        (
            "{{ range $folder, $pairs := tree \"app\" | byKey }}{{ $folder }}{{ range $k, $p := $pairs }} {{ $k }}{{ $p.Value }}{{ end }}{{ end }}",
            "deep a1 b2",
        ),
        (
            "{{ tree \"app\" | explode | toJSON }}",
            r#"{"deep":{"a":"1","b":"2"},"name":"one"}"#,
        ),
        (
            "{{ range service \"web\" }}server {{ .Address }}:{{ .Port }}{{ if .Tags.Contains \"a\" }} a{{ end }}\n{{ end }}",
            "server 10.0.0.1:80 a\nserver 10.0.0.1:81\n",
        ),
        (
            "{{ range service \"v1.web\" \"any, warning\" }}{{ .Port }}{{ end }}{{ range service \"v1.web|warning,any\" }}{{ .Port }}{{ end }}",
            "8282",
        ),
        (
            "{{ range $tag, $all := service \"web\" | byTag }}{{ $tag }}{{ len $all }}{{ end }}",
            "a1b2",
        ),
        (
            "{{ range $m, $all := service \"web\" | byMeta \"v\" }}{{ $m }}:{{ len $all }}{{ end }}",
            "1:2",
        ),
        (
            "{{ with service \"web\" }}{{ with index . 0 }}{{ .Port }}{{ end }}{{ (index . 1).Port }}{{ end }}",
            "8081",
        ),
        (
            "{{ range services }}{{ .Name }}{{ if .Tags | contains \"a\" }}!{{ end }}{{ end }}",
            "web!",
        ),
        (
            "{{ range nomadService \"db\" }}{{ .Port }}{{ end }}{{ range nomadService 1 (env \"NAME\") \"db\" }}{{ .Port }}{{ end }}",
            "54325432",
        ),
        (
            "{{ with nomadVar \"nomad/jobs/web\" }}{{ .user }} {{ .user.Value }} {{ .Keys }} {{ .Metadata.Path }}{{ range .Tuples }} {{ .K }}={{ .V }}{{ end }}{{ end }}",
            "web web [password user] nomad/jobs/web password=x user=web",
        ),
        (
            "{{ range $k, $v := nomadVar \"nomad/jobs/web\" }}{{ $k }}={{ $v }};{{ end }}",
            "password=x;user=web;",
        ),
        (
            "{{ nomadVarExists \"none@prod\" }} {{ range nomadVarList \"nomad/\" }}{{ .Path }}{{ end }}",
            "false nomad/jobs/web",
        ),
    ]);
}

#[test]
fn what_is_missing_is_waited_for() {
    let world = world();
    for (text, missing) in [
        (
            "{{ key \"app/none\" }}{{ key \"new\" }}",
            "kv.block(app/none), kv.block(new)",
        ),
        ("{{ range safeLs \"none\" }}{{ end }}", "kv.list(none)"),
        (
            "{{ with nomadVar \"none@prod\" }}{{ .a.b.c }}{{ end }}",
            "nomad.var.block(none@prod)",
        ),
        (
            "{{ range nomadVarListSafe \"none\" }}{{ end }}",
            "nomad.var.list(none)",
        ),
        (
            "{{ range service \"new\" }}{{ end }}",
            "health.service(new|passing)",
        ),
        // Whatever fails without a value may be fine with one.
        ("{{ index (key \"new\" | split \",\") 3 }}", "kv.block(new)"),
    ] {
        let rendered = render(text, &options(), &world);
        let Ok(Rendered::Waits(waits)) = rendered else {
            panic!("{text}: {rendered:?}");
        };
        let waits: Vec<String> = waits.into_iter().collect();
        assert_eq!(waits.join(", "), missing, "{text}");
    }
}

#[test]
fn problems_say_what_is_wrong() {
    let world = world();
    let deep = "{{ if true }}".repeat(5000);
    for (text, problem) in [
        ("{{ nonsense }}", "nonsense"),
        ("a\n{{ if }}", "local/out:2"),
        (
            "{{ mustEnv \"NONE\" }}",
            "missing required environment variable NONE",
        ),
        (
            "{{ range loop 2000000 }}{{ end }}",
            "loop: more than 1000000 rounds",
        ),
        (
            "{{ range loop 1001 }}{{ range loop 1001 }}{{ end }}{{ end }}",
            "iteration",
        ),
        ("{{ 1 | divide 0 }}", "divide: a division by zero"),
        (
            "{{ secret \"a\" }}",
            "secret: secrets are not read from Vault",
        ),
        (
            "{{ service \"web\" \"Service.Tags contains a\" }}",
            "other filters are not supported",
        ),
        ("{{ key }}", "key takes 1 arguments and got 0"),
        (
            "{{ $a := \"a\" }}{{ $a.Nope }}",
            "can't evaluate field Nope in type string",
        ),
        ("{{ file \"../x\" }}", "`../x` cannot be read"),
        ("{{ regexMatch \"(\" \"a\" }}", "regexMatch: "),
        (&deep, "local/out"),
    ] {
        let error = render(text, &options(), &world).unwrap_err();
        assert!(error.to_string().contains(problem), "{text}: {error}");
    }
    let long = "{{ range loop 100000 }}0123456789012345678901234567890123456789012345678901234567{{ end }}";
    assert_eq!(render(long, &options(), &world), Err(Error::TooMuch));
}

#[test]
fn marks_and_missing_keys_are_as_asked_for() {
    let world = world();
    let mut own = Options {
        left: "[[".into(),
        right: "]]".into(),
        ..options()
    };
    let text = "[[ env \"NAME\" ]] {{ untouched }} [[ (parseJSON `{}`).x ]]";
    let done = Rendered::Done("trivet {{ untouched }} <no value>".into());
    assert_eq!(render(text, &own, &world), Ok(done));
    own.missing_key_fails = true;
    let error = render(text, &own, &world).unwrap_err();
    assert!(error.to_string().contains('x'), "{error}");
}
