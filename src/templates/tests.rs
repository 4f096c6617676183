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
        denied: Arc::default(),
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
fn functions_that_are_denied_are_refused_by_name() {
    let denied = ["env", "len", "plugin"].map(str::to_owned);
    let options = Options {
        denied: Arc::new(denied.into()),
        ..options()
    };
    for (text, name) in [
        ("{{ env \"NAME\" }}", "env"),
        ("{{ \"NAME\" | env }}", "env"),
        ("{{ len \"a\" }}", "len"),
        ("{{ plugin \"a\" }}", "plugin"),
    ] {
        let Err(Error::Broken(problem)) = render(text, &options, &world()) else {
            panic!("{text}");
        };
        let expected = format!("the function {name} is switched off on this node");
        assert!(problem.contains(&expected), "{problem}");
    }
    let fine = render("{{ toUpper \"a\" }}", &options, &world());
    assert_eq!(fine, Ok(Rendered::Done("A".into())));
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

/// The template is broken, and the problem says so.
fn fails(text: &str, said: &str) {
    match render(text, &options(), &world()) {
        Err(Error::Broken(problem)) => assert!(problem.contains(said), "{text}: {problem}"),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn yaml_and_toml_are_read_and_written() {
    check(&[
        (
            "{{ with parseYAML \"a: 1\\nb:\\n- x\\n- y\\nc: {d: true, e: 1.5, f: null}\" }}{{ .a }} {{ index .b 1 }} {{ .c.d }} {{ .c.e }}{{ end }}",
            "1 y true 1.5",
        ),
        ("{{ parseYAML \"\" | toJSON }}", "{}"),
        (
            "{{ \"{\\\"b\\\":[1,\\\"x y\\\"],\\\"a\\\":{\\\"c\\\":\\\"true\\\",\\\"d\\\":null}}\" | parseJSON | toYAML }}",
            "a:\n  c: \"true\"\n  d: null\nb:\n- 1\n- x y",
        ),
        (
            "{{ \"{\\\"b\\\":[1,2],\\\"a\\\":{\\\"c\\\":\\\"x\\\"},\\\"d\\\":1.5}\" | parseJSON | toTOML }}",
            "b = [1, 2]\nd = 1.5\n\n[a]\nc = \"x\"",
        ),
    ]);
    fails("{{ parseYAML \"a: [1\" }}", "parseYAML: ");
    // What names itself again and again is not written out.
    let mut bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for (name, last) in ('b'..='i').zip('a'..) {
        let refers = format!("*{last}");
        bomb.push_str(&format!(
            "{name}: &{name} [{}]\n",
            [refers.as_str(); 9].join(",")
        ));
    }
    fails(
        &format!("{{{{ parseYAML `{bomb}` | toJSON }}}}"),
        "parseYAML: ",
    );
}

#[test]
fn texts_are_worked_on_as_sprig_does() {
    check(&[
        ("{{ sprig_trim \"  hello \" }}|", "hello|"),
        ("{{ sprig_trimAll \"$\" \"$5.00\" }}", "5.00"),
        ("{{ sprig_trimSuffix \"-\" \"hello-\" }}", "hello"),
        ("{{ sprig_trimPrefix \"-\" \"-hello\" }}", "hello"),
        ("{{ sprig_nospace \"hello w o r l d\" }}", "helloworld"),
        (
            "{{ sprig_upper \"hello\" }}{{ sprig_lower \"HELLO\" }}",
            "HELLOhello",
        ),
        ("{{ sprig_title \"hello world\" }}", "Hello World"),
        ("{{ sprig_untitle \"Hello World\" }}", "hello world"),
        ("{{ sprig_repeat 3 \"hello\" }}", "hellohellohello"),
        ("{{ sprig_substr 0 5 \"hello world\" }}", "hello"),
        ("{{ sprig_substr 6 -1 \"hello world\" }}", "world"),
        ("{{ sprig_trunc 5 \"hello world\" }}", "hello"),
        ("{{ sprig_trunc -5 \"hello world\" }}", "world"),
        ("{{ sprig_abbrev 5 \"hello world\" }}", "he..."),
        (
            "{{ sprig_abbrevboth 5 10 \"1234 5678 9123\" }}",
            "...5678...",
        ),
        ("{{ sprig_initials \"First Try\" }}", "FT"),
        ("{{ sprig_contains \"cat\" \"catch\" }}", "true"),
        (
            "{{ sprig_hasPrefix \"cat\" \"catch\" }}{{ sprig_hasSuffix \"cat\" \"catch\" }}",
            "truefalse",
        ),
        (
            "{{ sprig_quote \"a\" 1 }} {{ sprig_squote \"b\" }}",
            "\"a\" \"1\" 'b'",
        ),
        (
            "{{ sprig_cat \"hello\" \"beautiful\" \"world\" }}",
            "hello beautiful world",
        ),
        ("{{ sprig_indent 4 \"a\\nb\" }}", "    a\n    b"),
        ("x:{{ sprig_nindent 2 \"a\\nb\" }}", "x:\n  a\n  b"),
        (
            "{{ \"I Am Henry VIII\" | sprig_replace \" \" \"-\" }}",
            "I-Am-Henry-VIII",
        ),
        ("{{ sprig_plural \"one\" \"many\" 2 }}", "many"),
        (
            "{{ sprig_snakecase \"FirstName\" }} {{ sprig_kebabcase \"HTTPServer\" }}",
            "first_name http-server",
        ),
        ("{{ sprig_camelcase \"http_server\" }}", "HttpServer"),
        ("{{ sprig_swapcase \"aBc\" }}", "AbC"),
        (
            "{{ sprig_wrap 6 \"one two three-four x\" }}",
            "one\ntwo\nthree-four\nx",
        ),
        (
            "{{ sprig_wrapWith 5 \"\\t\" \"Hello World\" }}",
            "Hello\tWorld",
        ),
        ("{{ sprig_regexMatch \"^[a-z]+$\" \"abc\" }}", "true"),
        ("{{ sprig_regexFind \"[a-zA-Z][1-9]\" \"abcd1234\" }}", "d1"),
        (
            "{{ sprig_regexFindAll \"[2,4,6,8]\" \"123456789\" -1 }}",
            "[2 4 6 8]",
        ),
        (
            "{{ sprig_regexReplaceAll \"a(x*)b\" \"-ab-axxb-\" \"${1}W\" }}",
            "-W-xxW-",
        ),
        (
            "{{ sprig_regexReplaceAllLiteral \"a(x*)b\" \"-ab-axxb-\" \"${1}\" }}",
            "-${1}-${1}-",
        ),
        ("{{ sprig_regexSplit \"z+\" \"pizza\" -1 }}", "[pi a]"),
        ("{{ sprig_regexQuoteMeta \"1.2.3\" }}", "1\\.2\\.3"),
        (
            "{{ sprig_base \"foo/bar/baz\" }} {{ sprig_dir \"foo/bar/baz\" }} {{ sprig_clean \"foo/bar/../baz\" }} {{ sprig_ext \"foo.bar\" }} {{ sprig_isAbs \"/a\" }}",
            "baz foo/bar foo/baz .bar true",
        ),
        (
            "{{ sprig_join \"_\" (sprig_list \"a\" 1) }}{{ sprig_join \",\" \"x\" }}",
            "a_1x",
        ),
        (
            "{{ (sprig_split \"$\" \"foo$bar$baz\")._1 }} {{ (sprig_splitn \"$\" 2 \"foo$bar$baz\")._1 }}",
            "bar bar$baz",
        ),
        (
            "{{ sprig_splitList \",\" \"a,b\" | sprig_join \"-\" }}",
            "a-b",
        ),
        ("{{ sprig_sortAlpha (sprig_list \"b\" \"a\") }}", "[a b]"),
    ]);
    fails("{{ sprig_repeat 1000000000000 \"abc\" }}", "sprig_repeat: ");
    fails("{{ sprig_fail \"no such thing\" }}", "no such thing");
    fails("{{ sprig_regexFind \"(\" \"a\" }}", "sprig_regexFind: ");
}

#[test]
fn numbers_lists_and_maps_are_worked_on_as_sprig_does() {
    check(&[
        (
            "{{ sprig_add 1 2 3 }} {{ sprig_add1 4 }} {{ sprig_sub 5 3 }} {{ sprig_mul 1 2 3 }} {{ sprig_div 7 2 }} {{ sprig_mod 7 2 }}",
            "6 5 2 6 3 1",
        ),
        (
            "{{ sprig_max 1 2 3 }} {{ sprig_min 1 2 3 }} {{ sprig_biggest 2 9 }}",
            "3 1 9",
        ),
        (
            "{{ sprig_addf 1.5 2 }} {{ sprig_divf 10 4 }} {{ sprig_ceil 123.001 }} {{ sprig_floor 123.9 }}",
            "3.5 2.5 124 123",
        ),
        (
            "{{ sprig_round 123.555555 3 }} {{ sprig_round 123.555555 3 0.6 }}",
            "123.556 123.555",
        ),
        (
            "{{ sprig_int \"12\" }} {{ sprig_int \"x\" }} {{ sprig_float64 \"1.5\" }} {{ sprig_toDecimal \"0777\" }}",
            "12 0 1.5 511",
        ),
        (
            "{{ sprig_until 3 }} {{ sprig_untilStep 3 10 3 }} {{ sprig_untilStep 0 3 0 }}",
            "[0 1 2] [3 6 9] []",
        ),
        (
            "{{ sprig_seq 5 }}|{{ sprig_seq -3 }}|{{ sprig_seq 0 2 }}|{{ sprig_seq 2 -2 }}|{{ sprig_seq 0 2 10 }}|{{ sprig_seq 0 -2 -5 }}",
            "1 2 3 4 5|1 0 -1 -2 -3|0 1 2|2 1 0 -1 -2|0 2 4 6 8 10|0 -2 -4",
        ),
        (
            "{{ $l := sprig_list 1 2 3 4 5 }}{{ sprig_first $l }} {{ sprig_rest $l }} {{ sprig_last $l }} {{ sprig_initial $l }}",
            "1 [2 3 4 5] 5 [1 2 3 4]",
        ),
        (
            "{{ $l := sprig_list 1 2 }}{{ sprig_append $l 3 }} {{ sprig_prepend $l 0 }} {{ sprig_concat $l (sprig_list 6 7) }} {{ sprig_reverse $l }}",
            "[1 2 3] [0 1 2] [1 2 6 7] [2 1]",
        ),
        (
            "{{ sprig_uniq (sprig_list 1 1 2) }} {{ sprig_without (sprig_list 1 2 3) 1 3 }} {{ sprig_has 4 (sprig_list 1 4) }} {{ sprig_compact (sprig_list 1 0 \"\" 2) }}",
            "[1 2] [2] true [1 2]",
        ),
        (
            "{{ sprig_slice (sprig_list 1 2 3 4 5) 1 3 }} {{ sprig_chunk 3 (sprig_list 1 2 3 4) }}",
            "[2 3] [[1 2 3] [4]]",
        ),
        (
            "{{ $d := sprig_dict \"a\" 1 \"b\" 2 }}{{ sprig_get $d \"a\" }}{{ sprig_get $d \"x\" }} {{ sprig_hasKey $d \"b\" }} {{ sprig_keys $d }} {{ sprig_values $d }}",
            "1 true [a b] [1 2]",
        ),
        (
            "{{ $d := sprig_dict \"a\" 1 \"b\" 2 }}{{ sprig_pick $d \"a\" | sprig_toJson }}{{ sprig_omit $d \"a\" | sprig_toJson }}{{ sprig_pluck \"a\" $d (sprig_dict \"a\" 5) }}",
            "{\"a\":1}{\"b\":2}[1 5]",
        ),
        (
            "{{ sprig_merge (sprig_dict \"a\" 1) (sprig_dict \"a\" 2 \"b\" 3) | sprig_toJson }}{{ sprig_mergeOverwrite (sprig_dict \"a\" 1) (sprig_dict \"a\" 2) | sprig_toJson }}",
            "{\"a\":1,\"b\":3}{\"a\":2}",
        ),
        (
            "{{ $d := sprig_dict \"a\" (sprig_dict \"b\" 7) }}{{ sprig_dig \"a\" \"b\" 0 $d }} {{ sprig_dig \"a\" \"c\" \"none\" $d }}",
            "7 none",
        ),
    ]);
    fails("{{ sprig_div 1 0 }}", "a division by zero");
    fails("{{ sprig_until 100000000 }}", "more than 1000000 numbers");
    fails(
        "{{ sprig_untilStep -9223372036854775807 9223372036854775807 1 }}",
        "more than 1000000 numbers",
    );
    fails("{{ sprig_chunk 0 (sprig_list 1) }}", "at least one item");
    fails("{{ sprig_slice (sprig_list 1) 2 1 }}", "no items 2 to 1");
    fails(
        "{{ sprig_set (sprig_dict) \"a\" 1 }}",
        "a map does not change in place",
    );
    fails(
        "{{ sprig_randInt 1 2 }}",
        "templates give the same for the same",
    );
}

#[test]
fn kinds_defaults_and_encodings_are_those_of_sprig() {
    check(&[
        (
            "{{ sprig_default \"foo\" \"\" }}{{ sprig_default \"foo\" \"bar\" }}{{ sprig_default \"foo\" }}",
            "foobarfoo",
        ),
        (
            "{{ sprig_empty 0 }} {{ sprig_coalesce 0 \"\" 2 }} {{ sprig_all 1 0 }} {{ sprig_any 1 0 }} {{ sprig_ternary \"yes\" \"no\" true }}",
            "true 2 false true yes",
        ),
        (
            "{{ sprig_kindOf \"a\" }} {{ sprig_kindOf 1 }} {{ sprig_kindOf (sprig_list) }} {{ sprig_kindIs \"map\" (sprig_dict) }} {{ sprig_typeOf 1.5 }} {{ sprig_deepEqual (sprig_list 1) (sprig_list 1) }}",
            "string int slice true float64 true",
        ),
        (
            "{{ sprig_b64enc \"a b\" }} {{ sprig_b64dec \"YSBi\" }} {{ sprig_b32enc \"hello!\" }} {{ sprig_b32dec \"NBSWY3DPEE======\" }}",
            "YSBi a b NBSWY3DPEE====== hello!",
        ),
        (
            "{{ sprig_sha1sum \"Hello world!\" }}",
            "d3486ae9136e7856bc42212385ea797094475802",
        ),
        (
            "{{ sprig_sha256sum \"Hello world!\" }}",
            "c0535e4be2b79ffd93291305436bf889314e4a3faec05ecffcbb7df31ad9e51a",
        ),
        ("{{ sprig_adler32sum \"Wikipedia\" }}", "300286872"),
        (
            "{{ (sprig_fromJson \"{\\\"a\\\":[1]}\").a }}{{ sprig_fromJson \"{\" }}",
            "[1]<no value>",
        ),
        (
            "{{ sprig_toRawJson \"<b>\" }}{{ sprig_toJson \"<b>\" }}",
            "\"<b>\"\"\\u003cb\\u003e\"",
        ),
    ]);
    fails("{{ sprig_mustFromJson \"{\" }}", "sprig_mustFromJson: ");
    fails("{{ sprig_b32dec \"1\" }}", "it is not in base 32");
}
