//! The notation of policies, HCL 1 and the JSON it takes in its stead, read as the real servers read it: with their texts for
//! what is wrong and their oddities for what is not. What the tree means is not said here (see [`super::decode`]).

use std::fmt;

use crate::flavour::Flavour;

mod json;
mod native;
mod scan;

/// Deepest nesting that is read; real policies need three levels.
const MAX_DEPTH: usize = 64;

/// Line and column, both from 1; nothing that was read from JSON has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pos(Option<(usize, usize)>);

impl fmt::Display for Pos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some((line, column)) => write!(f, "{line}:{column}"),
            None => f.write_str("-"),
        }
    }
}

/// A complaint about a place.
pub(super) fn at(pos: Pos, text: impl fmt::Display) -> String {
    format!("At {pos}: {text}")
}

/// What stands on the right side.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Object(Pos, Vec<Item>),
    List(Pos, Vec<Node>),
    Literal(Pos, Literal),
}

/// A value without parts.
#[derive(Clone, Debug)]
pub(super) enum Literal {
    Text(String),
    /// As it is written.
    Number(String),
    Float(String),
    Bool(bool),
}

/// `key "key" { … }` or `key = …`.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub keys: Vec<Key>,
    /// The line of the `=`; 0 without.
    pub assigned: usize,
    pub value: Node,
}

#[derive(Clone, Debug)]
pub(super) struct Key {
    pub name: String,
    pub pos: Pos,
}

impl Node {
    pub(super) fn pos(&self) -> Pos {
        match self {
            Self::Object(pos, _) | Self::List(pos, _) | Self::Literal(pos, _) => *pos,
        }
    }

    /// The name that error texts have for it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Object(..) => "*ast.ObjectType",
            Self::List(..) => "*ast.ListType",
            Self::Literal(..) => "*ast.LiteralType",
        }
    }
}

/// The items of the text, or the servers' complaint.
pub(super) fn parse(text: &str, flavour: Flavour) -> Result<Vec<Item>, String> {
    if text.trim_start().starts_with('{') {
        json::parse(text)
    } else {
        native::parse(text, flavour)
    }
}
