//! Fields with arguments: `.Tags.Contains "a"`, `.key.Value`, `scratch.Set "a" 1`. The language
//! library reads fields of maps only, so each access is rewritten into a call of [`ACCESS`], which
//! no template can name.

use gotmpl::{
    TemplateError,
    parse::{
        ActionNode, BranchNode, CommandNode, Expr, ListNode, Node, Number, Parser, PipeNode, Pos,
        TemplateNode,
    },
};

/// Name of the function that follows fields. Its arguments are the value, the number of the fields,
/// their names, and what the last of them is called with.
pub(crate) const ACCESS: &str = "\0access";

type Named = Vec<(String, ListNode)>;

/// Reads a text; answers with its tree and those that it defines by name.
pub(crate) fn parse(
    name: &str,
    text: &str,
    left: &str,
    right: &str,
) -> Result<(ListNode, Named), TemplateError> {
    let name = (!name.is_empty()).then_some(name);
    let (tree, defined) = Parser::with_name(name, text, left, right)?.parse()?;
    let defined = defined.into_iter();
    let defined = defined.map(|one| (one.name.to_string(), list(one.body)));
    Ok((list(tree), defined.collect()))
}

fn list(tree: ListNode) -> ListNode {
    ListNode {
        pos: tree.pos,
        nodes: tree.nodes.into_iter().map(node).collect(),
    }
}

fn node(node: Node) -> Node {
    match node {
        Node::List(inner) => Node::List(list(inner)),
        Node::Action(action) => Node::Action(ActionNode {
            pos: action.pos,
            pipe: pipe(action.pipe),
        }),
        Node::If(inner) => Node::If(branch(inner)),
        Node::Range(inner) => Node::Range(branch(inner)),
        Node::With(inner) => Node::With(branch(inner)),
        Node::Template(call) => Node::Template(TemplateNode {
            pos: call.pos,
            name: call.name,
            pipe: call.pipe.map(pipe),
        }),
        other @ (Node::Text(_) | Node::Define(_) | Node::Break(_) | Node::Continue(_)) => other,
    }
}

fn branch(inner: BranchNode) -> BranchNode {
    BranchNode {
        pos: inner.pos,
        pipe: pipe(inner.pipe),
        body: list(inner.body),
        else_body: inner.else_body.map(list),
    }
}

fn pipe(inner: PipeNode) -> PipeNode {
    PipeNode {
        commands: inner.commands.into_iter().map(command).collect(),
        ..inner
    }
}

fn command(inner: CommandNode) -> CommandNode {
    let CommandNode { pos, args } = inner;
    let mut args = args.into_iter();
    let Some(first) = args.next() else {
        return CommandNode {
            pos,
            args: Vec::new(),
        };
    };
    let rest = args.map(expression);
    // What is piped comes last, so it reaches a method, too.
    let args = match accessed(first) {
        Ok(access) => access.into_iter().chain(rest).collect(),
        Err(first) => std::iter::once(expression(first)).chain(rest).collect(),
    };
    CommandNode { pos, args }
}

fn expression(inner: Expr) -> Expr {
    if let Expr::Pipe(pos, inner) = inner {
        return Expr::Pipe(pos, pipe(inner));
    }
    let pos = inner.pos();
    match accessed(inner) {
        Ok(args) => alone(pos, args),
        Err(other) => other,
    }
}

/// A command of its own as an expression.
fn alone(pos: Pos, args: Vec<Expr>) -> Expr {
    Expr::Pipe(
        pos,
        PipeNode {
            pos,
            decl: Vec::new(),
            commands: vec![CommandNode { pos, args }],
            is_assign: false,
        },
    )
}

/// The command that follows the fields of an expression; the expression itself when it has none.
fn accessed(inner: Expr) -> Result<Vec<Expr>, Expr> {
    let (pos, base, names) = match inner {
        Expr::Field(pos, names) if !names.is_empty() => (pos, Expr::Dot(pos), names),
        Expr::Variable(pos, name, names) if !names.is_empty() => {
            (pos, Expr::Variable(pos, name, Vec::new()), names)
        }
        Expr::Chain(pos, base, names) if !names.is_empty() => match *base {
            // The function is called by itself: what follows belongs to the method.
            name @ Expr::Identifier(..) => (pos, alone(pos, vec![name]), names),
            other => (pos, expression(other), names),
        },
        other => return Err(other),
    };
    let count = i64::try_from(names.len()).unwrap_or(i64::MAX);
    let mut args = vec![
        Expr::Identifier(pos, ACCESS.into()),
        base,
        Expr::Number(pos, Number::Int(count)),
    ];
    let names = names.iter();
    args.extend(names.map(|name| Expr::String(pos, name.as_str().into())));
    Ok(args)
}
