use super::{
    BARE, Content, Schema, duration, flag, keep, one, opaque, plain, preset, required, text, texts,
    whole,
};
use serde_json::{Map, Value};

pub(super) static TEMPLATE: Schema = Schema {
    attributes: &[
        text("source", "SourcePath"),
        text("destination", "DestPath"),
        text("data", "EmbeddedTmpl"),
        text("change_mode", "ChangeMode"),
        text("change_signal", "ChangeSignal"),
        flag("env", "Envvars"),
        text("perms", "Perms"),
        whole("uid", "Uid"),
        whole("gid", "Gid"),
        duration("splay", "Splay"),
        text("left_delimiter", "LeftDelim"),
        text("right_delimiter", "RightDelim"),
        flag("once", "Once"),
        flag("error_on_missing_key", "ErrMissingKey"),
        duration("vault_grace", "VaultGrace"),
    ],
    blocks: &[
        one("change_script", "ChangeScript", &CHANGE_SCRIPT),
        one("wait", "Wait", &WAIT),
    ],
    finish: finish_template,
    ..BARE
};

fn finish_template(template: &mut Map<String, Value>) {
    preset(template, "ChangeMode", "restart");
    preset(template, "Perms", "0644");
    preset(template, "Splay", 5 * SECOND);
    preset(template, "ErrMissingKey", false);
}

/// Nanoseconds.
const SECOND: i64 = 1_000_000_000;

static CHANGE_SCRIPT: Schema = Schema {
    attributes: &[
        required(text("command", "Command")),
        texts("args", "Args"),
        duration("timeout", "Timeout"),
        flag("fail_on_error", "FailOnError"),
        flag("run_on_first_render", "RunOnFirstRender"),
    ],
    blocks: &[],
    finish: finish_change_script,
    ..BARE
};

fn finish_change_script(script: &mut Map<String, Value>) {
    preset(script, "Args", Value::Array(Vec::new()));
    preset(script, "Timeout", 5 * SECOND);
    preset(script, "FailOnError", false);
    preset(script, "RunOnFirstRender", false);
}

static WAIT: Schema = plain(&[
    required(duration("min", "Min")),
    required(duration("max", "Max")),
]);

pub(super) static ARTIFACT: Schema = Schema {
    attributes: &[
        text("source", "GetterSource"),
        text("destination", "RelativeDest"),
        text("mode", "GetterMode"),
        flag("insecure", "GetterInsecure"),
        flag("chown", "Chown"),
    ],
    blocks: &[
        opaque("options", "GetterOptions", Content::Texts(false)),
        opaque("headers", "GetterHeaders", Content::Texts(false)),
    ],
    finish: keep,
    ..BARE
};
