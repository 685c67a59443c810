//! How a shape may change while the old records stay: what a codec reads under either shape.

use super::difference::difference;
use super::node::{Node, Parts};

/// What a codec can read that was written before its type changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Growth {
    /// Nothing but the same shape.
    None,
    /// Enums may have more variants behind those they had.
    Variants,
    /// Fields that may be left out may come and go, enums may have more variants, and what was there may become optional.
    Fields,
}

impl Growth {
    /// The shape that covers both, if `declared` reads whatever was written as `stored`.
    ///
    /// # Errors
    /// What differs.
    pub(crate) fn union(self, stored: &Node, declared: &Node) -> Result<Node, String> {
        if stored.is_unknown() || stored == declared {
            return Ok(declared.clone());
        }
        if self == Self::Fields && stored.is_anything() {
            return Ok(stored.clone());
        }
        if declared.is_unknown() || declared.is_raw() || (self == Self::Fields && declared.is_anything()) {
            return Ok(stored.clone());
        }
        let grown = match (stored.parts(), declared.parts()) {
            (Some(Parts::Named(name, a)), Some(Parts::Named(other, b))) => {
                // Where something is known of both, that decides: two services may call one thing by two names.
                if !a.is_told() && !b.is_told() && name != other {
                    return Err(format!("it was `{name}` and is `{other}`"));
                }
                return Ok(Node::named(name, self.union(a, b)?));
            }
            (Some(Parts::Named(_, a)), _) => return self.union(a, declared),
            (_, Some(Parts::Named(_, b))) => return self.union(stored, b),
            (Some(a), Some(b)) => self.parts(a, b)?,
            _ => None,
        };
        match grown {
            Some(parts) => Ok(Node::of(parts)),
            None if self == Self::Fields => self.optional(stored, declared),
            None => refuse(stored, declared),
        }
    }

    fn parts(self, stored: &Parts, declared: &Parts) -> Result<Option<Parts>, String> {
        Ok(Some(match (stored, declared) {
            (Parts::Option(a), Parts::Option(b)) => Parts::Option(self.union(a, b)?),
            (Parts::Seq(a), Parts::Seq(b)) => Parts::Seq(self.union(a, b)?),
            (Parts::Array(a, n), Parts::Array(b, m)) if n == m => Parts::Array(self.union(a, b)?, *n),
            (Parts::Map(key, value), Parts::Map(other_key, other_value)) => {
                Parts::Map(self.union(key, other_key)?, self.union(value, other_value)?)
            }
            (Parts::Tuple(a), Parts::Tuple(b)) if a.len() == b.len() => {
                Parts::Tuple(a.iter().zip(b).map(|(a, b)| self.union(a, b)).collect::<Result<_, _>>()?)
            }
            (Parts::Struct(a), Parts::Struct(b)) => Parts::Struct(match self {
                Self::Fields => self.fields(a, b)?,
                Self::None | Self::Variants => self.same("field", a, b)?,
            }),
            (Parts::Enum(a), Parts::Enum(b)) => Parts::Enum(match self {
                Self::Fields => self.variants(a, b)?,
                Self::Variants if a.len() < b.len() => {
                    let mut variants = self.same("variant", a, b.get(..a.len()).unwrap_or_default())?;
                    variants.extend(b.iter().skip(a.len()).cloned());
                    variants
                }
                Self::None | Self::Variants => self.same("variant", a, b)?,
            }),
            _ => return Ok(None),
        }))
    }

    /// Members of the same names in the same order.
    fn same(
        self,
        what: &str,
        stored: &[(String, Node)],
        declared: &[(String, Node)],
    ) -> Result<Vec<(String, Node)>, String> {
        let names = |all: &[(String, Node)]| all.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        if names(stored) != names(declared) {
            let as_node = |all: &[(String, Node)]| match what {
                "variant" => Node::of(Parts::Enum(all.to_vec())),
                _ => Node::of(Parts::Struct(all.to_vec())),
            };
            return refuse(&as_node(stored), &as_node(declared));
        }
        let united = stored.iter().zip(declared).map(|((name, a), (_, b))| self.member(name, a, b));
        united.collect()
    }

    /// The fields of either, whatever their order.
    fn fields(
        self,
        stored: &[(String, Node)],
        declared: &[(String, Node)],
    ) -> Result<Vec<(String, Node)>, String> {
        let find = |all: &[(String, Node)], name: &str| all.iter().find(|(other, _)| other == name).cloned();
        let mut united = Vec::with_capacity(declared.len());
        for (name, node) in stored {
            united.push(match find(declared, name) {
                Some((_, new)) if node.may_be_absent() && !new.may_be_absent() => {
                    return Err(format!("field `{name}` can be absent, and may not be any more"));
                }
                Some((_, new)) => {
                    let (_, both) = self.member(name, node.present(), new.present())?;
                    (name.clone(), if node.may_be_absent() { Node::of(Parts::Default(both)) } else { both })
                }
                None if node.may_be_absent() => (name.clone(), node.clone()),
                None => return Err(format!("field `{name}` is gone, which may not be left out")),
            });
        }
        for (name, node) in declared.iter().filter(|(name, _)| find(stored, name).is_none()) {
            if !node.may_be_absent() {
                return Err(format!("field `{name}` is new and may not be left out (`#[serde(default)]`?)"));
            }
            united.push((name.clone(), node.clone()));
        }
        united.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(united)
    }

    /// The variants of either, which are known by their names.
    fn variants(
        self,
        stored: &[(String, Node)],
        declared: &[(String, Node)],
    ) -> Result<Vec<(String, Node)>, String> {
        let mut united = declared.to_vec();
        for (name, node) in stored {
            match united.iter_mut().find(|(known, _)| known == name) {
                Some((_, known)) => *known = self.member(name, node, known)?.1,
                None => return Err(format!("variant `{name}` is gone")),
            }
        }
        Ok(united)
    }

    fn member(self, name: &str, stored: &Node, declared: &Node) -> Result<(String, Node), String> {
        match self.union(stored, declared) {
            Ok(node) => Ok((name.to_owned(), node)),
            Err(differs) => Err(format!("in `{name}`: {differs}")),
        }
    }

    /// Something that may be absent from now on.
    fn optional(self, stored: &Node, declared: &Node) -> Result<Node, String> {
        match declared.parts() {
            Some(Parts::Option(b)) => self.union(stored, b).map(|node| Node::of(Parts::Option(node))),
            _ => refuse(stored, declared),
        }
    }
}

fn refuse<T>(stored: &Node, declared: &Node) -> Result<T, String> {
    Err(difference(stored, declared).unwrap_or_else(|| "their parts differ".to_owned()))
}
