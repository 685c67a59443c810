//! The tags of variants: one byte each, in the order in which `derive(Ord)` has the variants.
//!
//! `derive(Ord)` compares discriminants, which are what the declaration says and else one more than that of the variant
//! before. A tag is what `#[key(tag = 3)]` says, else the discriminant if the declaration has one, else one more than the
//! tag before. So discriminants have to be known here, and an expression is not.

use crate::options;
use syn::spanned::Spanned;
use syn::{Error, Expr, ExprLit, ExprUnary, Lit, Result, UnOp, Variant};

/// The tags of `variants`, in the order of their declaration.
pub(crate) fn tags<'v>(variants: impl IntoIterator<Item = &'v Variant>) -> Result<Vec<u8>> {
    let (mut tags, mut ordered) = (Vec::new(), Vec::new());
    let (mut next_tag, mut next_discriminant) = (0, 0);
    for variant in variants {
        let declared = variant.discriminant.as_ref().map(|(_, value)| literal(value)).transpose()?;
        let discriminant = declared.unwrap_or(next_discriminant);
        let tag = match options::tag(&variant.attrs)? {
            Some(tag) => tag,
            None => one_byte(variant, declared.unwrap_or(next_tag))?,
        };
        next_tag = i128::from(tag) + 1;
        next_discriminant = discriminant.saturating_add(1);
        tags.push(tag);
        ordered.push((discriminant, tag, variant));
    }
    ordered.sort_by_key(|(discriminant, ..)| *discriminant);
    match ordered.iter().zip(ordered.iter().skip(1)).find(|((_, a, _), (_, b, _))| a >= b) {
        None => Ok(tags),
        Some(((_, before, first), (_, tag, variant))) => Err(Error::new_spanned(
            variant,
            format!(
                "`{}` has the tag {tag} and comes in `Ord` after `{}`, which has {before}: tags must ascend as the variants \
                 do, because rows are kept in the order of their bytes",
                variant.ident, first.ident
            ),
        )),
    }
}

fn one_byte(variant: &Variant, tag: i128) -> Result<u8> {
    u8::try_from(tag).map_err(|_| {
        let message =
            format!("the tag of `{}` would be {tag}, and is one byte: say `#[key(tag = 3)]`", variant.ident);
        Error::new_spanned(variant, message)
    })
}

fn literal(discriminant: &Expr) -> Result<i128> {
    match discriminant {
        Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) => number.base10_parse(),
        Expr::Lit(ExprLit { lit: Lit::Byte(byte), .. }) => Ok(byte.value().into()),
        Expr::Unary(ExprUnary { op: UnOp::Neg(_), expr, .. }) => literal(expr).map(|number| -number),
        Expr::Paren(inner) => literal(&inner.expr),
        Expr::Group(inner) => literal(&inner.expr),
        other => Err(Error::new(
            other.span(),
            "`derive(Ord)` compares discriminants, so `derive(Key)` has to know them: write a number",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::{ItemEnum, parse_quote};

    fn tags_of(declared: &ItemEnum) -> std::result::Result<Vec<u8>, String> {
        tags(&declared.variants).map_err(|error| error.to_string())
    }

    #[test]
    fn tags_count_on_from_what_is_said() {
        let plain: ItemEnum = parse_quote!(
            enum E {
                A,
                B(u8),
                C { c: u8 },
            }
        );
        assert_eq!(tags_of(&plain), Ok(vec![0, 1, 2]));
        let gaps: ItemEnum = parse_quote!(
            enum E {
                A,
                #[key(tag = 4)]
                B,
                C,
                #[key(tag = 0xFF)]
                D,
            }
        );
        assert_eq!(tags_of(&gaps), Ok(vec![0, 4, 5, 255]));
        let discriminants: ItemEnum = parse_quote!(
            enum E {
                A = 7,
                B,
                C = b'a',
                D = (3),
            }
        );
        assert_eq!(tags_of(&discriminants), Ok(vec![7, 8, 97, 3]));
        let large: ItemEnum = parse_quote!(
            enum E {
                #[key(tag = 0)]
                A = -5,
                B,
                #[key(tag = 9)]
                C = 404,
                D,
            }
        );
        assert_eq!(tags_of(&large), Ok(vec![0, 1, 9, 10]));
    }

    #[test]
    fn tags_that_would_not_keep_the_order_are_refused() {
        let same: ItemEnum = parse_quote!(
            enum E {
                #[key(tag = 1)]
                A,
                #[key(tag = 1)]
                B,
            }
        );
        assert!(
            tags_of(&same)
                .unwrap_err()
                .starts_with("`B` has the tag 1 and comes in `Ord` after `A`, which has 1")
        );
        let by_discriminant: ItemEnum = parse_quote!(
            enum E {
                #[key(tag = 0)]
                A = 5,
                #[key(tag = 1)]
                B = 3,
            }
        );
        assert!(
            tags_of(&by_discriminant)
                .unwrap_err()
                .starts_with("`A` has the tag 0 and comes in `Ord` after `B`")
        );
    }

    #[test]
    fn tags_of_more_than_a_byte_are_refused() {
        let negative: ItemEnum = parse_quote!(
            enum E {
                A = -1,
            }
        );
        assert!(tags_of(&negative).unwrap_err().starts_with("the tag of `A` would be -1"));
        let beyond: ItemEnum = parse_quote!(
            enum E {
                #[key(tag = 255)]
                A,
                B,
            }
        );
        assert!(tags_of(&beyond).unwrap_err().starts_with("the tag of `B` would be 256"));
        let said: ItemEnum = parse_quote!(
            enum E {
                #[key(tag = 256)]
                A,
            }
        );
        assert_eq!(tags_of(&said), Err("a tag is one byte: 0 to 255".to_owned()));
        let unknown: ItemEnum = parse_quote!(
            enum E {
                A = FIRST,
            }
        );
        assert!(tags_of(&unknown).unwrap_err().ends_with("write a number"));
    }
}
