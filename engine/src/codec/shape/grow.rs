//! How a shape may change while the old records stay: what a codec reads under either shape.

use super::difference::difference;
use super::node::{ShapeNode, ShapeParts};

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
    pub(crate) fn union(self, stored: &ShapeNode, declared: &ShapeNode) -> Result<ShapeNode, String> {
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
            (Some(ShapeParts::Named(name, a)), Some(ShapeParts::Named(other, b))) => {
                // Where something is known of both, that decides: two services may call one thing by two names.
                if !a.is_told() && !b.is_told() && name != other {
                    return Err(format!("it was `{name}` and is `{other}`"));
                }
                return Ok(ShapeNode::named(name, self.union(a, b)?));
            }
            (Some(ShapeParts::Named(_, a)), _) => return self.union(a, declared),
            (_, Some(ShapeParts::Named(_, b))) => return self.union(stored, b),
            (Some(a), Some(b)) => self.parts(a, b)?,
            _ => None,
        };
        match grown {
            Some(parts) => Ok(ShapeNode::of(parts)),
            None if self == Self::Fields => self.optional(stored, declared),
            None => refuse(stored, declared),
        }
    }

    fn parts(self, stored: &ShapeParts, declared: &ShapeParts) -> Result<Option<ShapeParts>, String> {
        Ok(Some(match (stored, declared) {
            (ShapeParts::Option(a), ShapeParts::Option(b)) => ShapeParts::Option(self.union(a, b)?),
            (ShapeParts::Seq(a), ShapeParts::Seq(b)) => ShapeParts::Seq(self.union(a, b)?),
            (ShapeParts::Array(a, n), ShapeParts::Array(b, m)) if n == m => {
                ShapeParts::Array(self.union(a, b)?, *n)
            }
            (ShapeParts::Map(key, value), ShapeParts::Map(other_key, other_value)) => {
                ShapeParts::Map(self.union(key, other_key)?, self.union(value, other_value)?)
            }
            (ShapeParts::Tuple(a), ShapeParts::Tuple(b)) if a.len() == b.len() => {
                ShapeParts::Tuple(a.iter().zip(b).map(|(a, b)| self.union(a, b)).collect::<Result<_, _>>()?)
            }
            (ShapeParts::Struct(a), ShapeParts::Struct(b)) => ShapeParts::Struct(match self {
                Self::Fields => self.fields(a, b)?,
                Self::None | Self::Variants => self.same("field", a, b)?,
            }),
            (ShapeParts::Enum(a), ShapeParts::Enum(b)) => ShapeParts::Enum(match self {
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
        stored: &[(String, ShapeNode)],
        declared: &[(String, ShapeNode)],
    ) -> Result<Vec<(String, ShapeNode)>, String> {
        let names =
            |all: &[(String, ShapeNode)]| all.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        if names(stored) != names(declared) {
            let as_node = |all: &[(String, ShapeNode)]| match what {
                "variant" => ShapeNode::of(ShapeParts::Enum(all.to_vec())),
                _ => ShapeNode::of(ShapeParts::Struct(all.to_vec())),
            };
            return refuse(&as_node(stored), &as_node(declared));
        }
        let united = stored.iter().zip(declared).map(|((name, a), (_, b))| self.member(name, a, b));
        united.collect()
    }

    /// The fields of either, whatever their order.
    fn fields(
        self,
        stored: &[(String, ShapeNode)],
        declared: &[(String, ShapeNode)],
    ) -> Result<Vec<(String, ShapeNode)>, String> {
        let find =
            |all: &[(String, ShapeNode)], name: &str| all.iter().find(|(other, _)| other == name).cloned();
        let mut united = Vec::with_capacity(declared.len());
        for (name, node) in stored {
            united.push(match find(declared, name) {
                Some((_, new)) if node.may_be_absent() && !new.may_be_absent() => {
                    return Err(format!("field `{name}` can be absent, and may not be any more"));
                }
                Some((_, new)) => {
                    let (_, both) = self.member(name, node.present(), new.present())?;
                    (
                        name.clone(),
                        if node.may_be_absent() { ShapeNode::of(ShapeParts::Default(both)) } else { both },
                    )
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
        stored: &[(String, ShapeNode)],
        declared: &[(String, ShapeNode)],
    ) -> Result<Vec<(String, ShapeNode)>, String> {
        let mut united = declared.to_vec();
        for (name, node) in stored {
            match united.iter_mut().find(|(known, _)| known == name) {
                Some((_, known)) => *known = self.member(name, node, known)?.1,
                None => return Err(format!("variant `{name}` is gone")),
            }
        }
        Ok(united)
    }

    fn member(
        self,
        name: &str,
        stored: &ShapeNode,
        declared: &ShapeNode,
    ) -> Result<(String, ShapeNode), String> {
        match self.union(stored, declared) {
            Ok(node) => Ok((name.to_owned(), node)),
            Err(differs) => Err(format!("in `{name}`: {differs}")),
        }
    }

    /// Something that may be absent from now on.
    fn optional(self, stored: &ShapeNode, declared: &ShapeNode) -> Result<ShapeNode, String> {
        match declared.parts() {
            Some(ShapeParts::Option(b)) => {
                self.union(stored, b).map(|node| ShapeNode::of(ShapeParts::Option(node)))
            }
            _ => refuse(stored, declared),
        }
    }
}

fn refuse<T>(stored: &ShapeNode, declared: &ShapeNode) -> Result<T, String> {
    Err(difference(stored, declared).unwrap_or_else(|| "their parts differ".to_owned()))
}
