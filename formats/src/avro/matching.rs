//! Which schemas match: what a value that was written as one may be read as.

use super::schema::{Base, Placed};
use apache_avro::schema::{Alias, Name};

/// How well a reader's schema takes what a writer's has written, as far as can be told without looking inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    Not,
    /// By promotion.
    Promoted,
    /// The same kind; of named types those of the same name without its namespace, or by an alias.
    Alike,
    /// The same type.
    Same,
}

/// How `reader` fits `writer`; neither is a union or a reference. With `any_names`, names do not matter.
pub(super) fn fit(writer: &Placed<'_>, reader: &Placed<'_>, any_names: bool) -> Fit {
    let named = |w: &Name, r: &Name, aliases: Option<&Vec<Alias>>| {
        let (w, full) = (w.fully_qualified_name(writer.space.as_deref()), writer.full(w));
        let space = r.fully_qualified_name(reader.space.as_deref()).namespace().map(str::to_owned);
        let aliased =
            aliases.is_some_and(|all| all.iter().any(|alias| alias.fullname(space.as_deref()) == full));
        match () {
            () if full == reader.full(r) => Fit::Same,
            () if w.name() == r.name() || aliased || any_names => Fit::Alike,
            () => Fit::Not,
        }
    };
    match (writer.base(), reader.base()) {
        (Base::Null, Base::Null)
        | (Base::Boolean, Base::Boolean)
        | (Base::Int, Base::Int)
        | (Base::Long, Base::Long)
        | (Base::Float, Base::Float)
        | (Base::Double, Base::Double)
        | (Base::String, Base::String)
        | (Base::Array(_), Base::Array(_))
        | (Base::Map(_), Base::Map(_)) => Fit::Same,
        (Base::Bytes, Base::Bytes) => decimals(writer, reader),
        (Base::Int, Base::Long | Base::Float | Base::Double)
        | (Base::Long, Base::Float | Base::Double)
        | (Base::Float, Base::Double)
        | (Base::String, Base::Bytes)
        | (Base::Bytes, Base::String) => Fit::Promoted,
        (Base::Record(w), Base::Record(r)) => named(&w.name, &r.name, r.aliases.as_ref()),
        (Base::Enum(w), Base::Enum(r)) => named(&w.name, &r.name, r.aliases.as_ref()),
        (Base::Fixed(w), Base::Fixed(r)) if w.size == r.size => {
            named(&w.name, &r.name, r.aliases.as_ref()).min(decimals(writer, reader))
        }
        _ => Fit::Not,
    }
}

/// Numbers of another scale would be other numbers.
fn decimals(writer: &Placed<'_>, reader: &Placed<'_>) -> Fit {
    match (writer.decimal(), reader.decimal()) {
        (Some(w), Some(r)) if w != r => Fit::Not,
        _ => Fit::Same,
    }
}
