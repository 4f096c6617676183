//! Which attributes and blocks a job file may hold, and which JSON keys they become.

mod connect;
mod grants;
mod group;
mod job;
mod network;
mod placement;
mod policy;
mod resources;
mod service;
mod task;
mod template;

#[cfg(test)]
mod tests;

pub(in crate::spec) use job::JOB;

use crate::spec::asked::Wrong;
use serde_json::{Map, Value};

/// What may stand in the body of a block.
#[derive(Debug)]
pub(in crate::spec) struct Schema {
    pub(in crate::spec) attributes: &'static [Attribute],
    pub(in crate::spec) blocks: &'static [BlockType],
    /// Brings the decoded object into the shape of the API.
    pub(in crate::spec) finish: fn(&mut Map<String, Value>),
    /// Says what is wrong with the whole block, label included, where its place is known.
    pub(in crate::spec) check: fn(&Value) -> Vec<Wrong>,
    /// Names that others have here, with what to write instead.
    pub(in crate::spec) foreign: &'static [(&'static str, &'static str)],
}

/// Nothing may stand there.
const BARE: Schema = Schema {
    attributes: &[],
    blocks: &[],
    finish: keep,
    check: agree,
    foreign: &[],
};

/// One attribute.
#[derive(Debug)]
pub(in crate::spec) struct Attribute {
    pub(in crate::spec) name: &'static str,
    pub(in crate::spec) key: &'static str,
    pub(in crate::spec) kind: Kind,
    pub(in crate::spec) required: bool,
}

/// What an attribute holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::spec) enum Kind {
    Text,
    Whole,
    Flag,
    /// Text such as `30s`; a bare number is nanoseconds.
    Duration,
    TextList,
    /// Whole numbers.
    WholeList,
    Number,
    NumberList,
    /// Texts by name, written with an equals sign.
    TextMap,
}

/// One type of nested block.
#[derive(Debug)]
pub(in crate::spec) struct BlockType {
    pub(in crate::spec) name: &'static str,
    pub(in crate::spec) key: &'static str,
    /// The JSON key of the label; none for blocks without one.
    pub(in crate::spec) label: Option<&'static str>,
    pub(in crate::spec) times: Times,
    pub(in crate::spec) content: Content,
}

/// How often a block may stand, and what becomes of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::spec) enum Times {
    /// Once: an object.
    One,
    /// Any number: a list of objects.
    Many,
    /// Any number: objects by their label.
    Named,
}

/// What a nested block holds.
#[derive(Debug)]
pub(in crate::spec) enum Content {
    /// What a schema says.
    Schema(&'static Schema),
    /// Any names with text values; `true` when the attribute form `meta = {…}` is good too.
    Texts(bool),
    /// The same for the labels of a service, of which those that say how canaries are let in are
    /// checked where they stand.
    Labels,
    /// Any names with lists of texts.
    TextLists,
    /// Anything: drivers check it later.
    Free,
}

fn keep(_: &mut Map<String, Value>) {}

fn agree(_: &Value) -> Vec<Wrong> {
    Vec::new()
}

const fn attr(name: &'static str, key: &'static str, kind: Kind) -> Attribute {
    Attribute {
        name,
        key,
        kind,
        required: false,
    }
}

const fn text(name: &'static str, key: &'static str) -> Attribute {
    attr(name, key, Kind::Text)
}

const fn whole(name: &'static str, key: &'static str) -> Attribute {
    attr(name, key, Kind::Whole)
}

const fn flag(name: &'static str, key: &'static str) -> Attribute {
    attr(name, key, Kind::Flag)
}

const fn duration(name: &'static str, key: &'static str) -> Attribute {
    attr(name, key, Kind::Duration)
}

const fn texts(name: &'static str, key: &'static str) -> Attribute {
    attr(name, key, Kind::TextList)
}

const fn whole_list(name: &'static str, key: &'static str) -> Attribute {
    attr(name, key, Kind::WholeList)
}

const fn number(name: &'static str, key: &'static str) -> Attribute {
    attr(name, key, Kind::Number)
}

const fn numbers(name: &'static str, key: &'static str) -> Attribute {
    attr(name, key, Kind::NumberList)
}

const fn text_map(name: &'static str, key: &'static str) -> Attribute {
    attr(name, key, Kind::TextMap)
}

const fn required(attribute: Attribute) -> Attribute {
    Attribute {
        required: true,
        ..attribute
    }
}

const fn one(name: &'static str, key: &'static str, schema: &'static Schema) -> BlockType {
    BlockType {
        name,
        key,
        label: None,
        times: Times::One,
        content: Content::Schema(schema),
    }
}

const fn many(name: &'static str, key: &'static str, schema: &'static Schema) -> BlockType {
    BlockType {
        times: Times::Many,
        ..one(name, key, schema)
    }
}

const fn labeled(
    name: &'static str,
    key: &'static str,
    label: &'static str,
    schema: &'static Schema,
) -> BlockType {
    BlockType {
        label: Some(label),
        ..many(name, key, schema)
    }
}

const fn named(name: &'static str, key: &'static str, schema: &'static Schema) -> BlockType {
    BlockType {
        times: Times::Named,
        ..labeled(name, key, "Name", schema)
    }
}

const fn opaque(name: &'static str, key: &'static str, content: Content) -> BlockType {
    BlockType {
        name,
        key,
        label: None,
        times: Times::One,
        content,
    }
}

/// A block with attributes only.
const fn plain(attributes: &'static [Attribute]) -> Schema {
    Schema { attributes, ..BARE }
}

/// A block with attributes and blocks, kept as it is.
const fn nested(attributes: &'static [Attribute], blocks: &'static [BlockType]) -> Schema {
    Schema {
        attributes,
        blocks,
        ..BARE
    }
}

/// Sets what a block that is written has though nobody wrote it.
fn preset(object: &mut Map<String, Value>, key: &str, value: impl Into<Value>) {
    object.entry(key).or_insert_with(|| value.into());
}

const META: BlockType = opaque("meta", "Meta", Content::Texts(true));
