//! What differs between two shapes, told for people: where, what was there and what is there now.

use super::node::{ShapeNode, ShapeParts};

/// The longest part of a shape that a message shows.
const MAX_SHOWN: usize = 160;

/// What differs between `stored` and `declared`; `None` if they agree as far as both are known.
pub(super) fn difference(stored: &ShapeNode, declared: &ShapeNode) -> Option<String> {
    at("", stored, declared)
}

fn at(path: &str, stored: &ShapeNode, declared: &ShapeNode) -> Option<String> {
    // Whether a field may be left out changes nothing of what is there.
    let (stored, declared) = (stored.present(), declared.present());
    if stored.is_unknown() || declared.is_unknown() || stored == declared {
        return None;
    }
    let (Some(a), Some(b)) = (stored.parts(), declared.parts()) else {
        return match (stored.parts(), declared.parts()) {
            (Some(ShapeParts::Named(_, inner)), None) => at(path, inner, declared),
            (None, Some(ShapeParts::Named(_, inner))) => at(path, stored, inner),
            _ => Some(other(path, stored, declared)),
        };
    };
    let both = |path: &str, a: &ShapeNode, b: &ShapeNode| at(path, a, b);
    match (a, b) {
        (ShapeParts::Named(name, a), ShapeParts::Named(other, b)) => {
            let renamed = || format!("{}was `{name}` and is `{other}`", place(path));
            (name != other).then(renamed).or_else(|| both(path, a, b))
        }
        (ShapeParts::Named(_, inner), _) => both(path, inner, declared),
        (_, ShapeParts::Named(_, inner)) => both(path, stored, inner),
        (ShapeParts::Option(a), ShapeParts::Option(b)) => both(&format!("{path}?"), a, b),
        (ShapeParts::Seq(a), ShapeParts::Seq(b)) => both(&format!("{path}[]"), a, b),
        (ShapeParts::Array(a, n), ShapeParts::Array(b, m)) if n == m => both(&format!("{path}[]"), a, b),
        (ShapeParts::Map(key, value), ShapeParts::Map(other_key, other_value)) => {
            both(&format!("{path}.key"), key, other_key)
                .or_else(|| both(&format!("{path}.value"), value, other_value))
        }
        (ShapeParts::Tuple(a), ShapeParts::Tuple(b)) | (ShapeParts::Either(a), ShapeParts::Either(b))
            if a.len() == b.len() =>
        {
            let mut pairs = a.iter().zip(b).enumerate();
            pairs.find_map(|(index, (a, b))| both(&format!("{path}.{index}"), a, b))
        }
        (ShapeParts::Struct(a), ShapeParts::Struct(b)) => members("field", path, ".", a, b),
        (ShapeParts::Enum(a), ShapeParts::Enum(b)) => members("variant", path, "::", a, b),
        _ => Some(other(path, stored, declared)),
    }
}

/// What differs between fields or variants, which have an order.
fn members(
    what: &str,
    path: &str,
    mark: &str,
    stored: &[(String, ShapeNode)],
    declared: &[(String, ShapeNode)],
) -> Option<String> {
    let has = |all: &[(String, ShapeNode)], name: &str| all.iter().any(|(known, _)| known == name);
    if let Some((name, _)) = declared.iter().find(|(name, _)| !has(stored, name)) {
        return Some(format!("{what} `{path}{mark}{name}` is new"));
    }
    if let Some((name, _)) = stored.iter().find(|(name, _)| !has(declared, name)) {
        return Some(format!("{what} `{path}{mark}{name}` is gone"));
    }
    stored.iter().zip(declared).find_map(|((name, a), (other, b))| {
        if name != other {
            return Some(format!("{what} `{path}{mark}{other}` stands where `{name}` was"));
        }
        at(&format!("{path}{mark}{name}"), a, b)
    })
}

fn other(path: &str, stored: &ShapeNode, declared: &ShapeNode) -> String {
    format!("{}was `{}` and is `{}`", place(path), shown(stored), shown(declared))
}

fn place(path: &str) -> String {
    if path.is_empty() { "it ".to_owned() } else { format!("`{path}` ") }
}

pub(super) fn shown(node: &ShapeNode) -> String {
    let text = node.to_string();
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
