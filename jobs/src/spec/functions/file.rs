use super::{CallError, Result, encoding, failed, text_at};
use crate::spec::ReadFile;
use serde_json::Value;

/// Functions that need the caller's file system.
pub(super) const NAMES: &[&str] = &["abspath", "file", "filebase64", "fileexists", "pathexpand"];

pub(super) fn call(name: &str, args: &[Value], files: &dyn ReadFile) -> Result {
    let path = text_at(args, 0)?;
    match name {
        "file" => String::from_utf8(files.read(&path).map_err(failed)?)
            .map(Value::from)
            .map_err(|_| failed(format!("contents of {path} are not valid UTF-8"))),
        "filebase64" => Ok(encoding::to_base64(&files.read(&path).map_err(failed)?).into()),
        "fileexists" => Ok(files.exists(&path).into()),
        "pathexpand" if !path.starts_with('~') => Ok(path.into()),
        "abspath" | "pathexpand" => files.absolute(&path).map(Value::from).map_err(failed),
        _ => Err(CallError::Unknown),
    }
}

pub(super) fn basename(args: &[Value]) -> Result {
    let path = text_at(args, 0)?;
    let path = path.trim_end_matches('/');
    Ok(path.rsplit('/').next().unwrap_or_default().into())
}

pub(super) fn dirname(args: &[Value]) -> Result {
    let path = text_at(args, 0)?;
    Ok(match path.trim_end_matches('/').rsplit_once('/') {
        Some(("", _)) => "/".into(),
        Some((parent, _)) => parent.into(),
        None => ".".into(),
    })
}
