//! `#[key(..)]`: what may be said on a type and on a variant, and that nothing else may.

use syn::meta::ParseNestedMeta;
use syn::{Attribute, Error, LitInt, Path, Result, parse_quote};

/// Where millpond is found: `::millpond`, or what `#[key(crate = path)]` says.
pub(crate) fn path_of_crate(attributes: &[Attribute]) -> Result<Path> {
    let mut path = None;
    each(attributes, |option| {
        if !option.path.is_ident("crate") {
            return Err(
                option.error("on a type there is `crate = path` only; `tag = 3` belongs on a variant")
            );
        }
        once(&option, path.as_ref())?;
        path = Some(option.value()?.call(Path::parse_mod_style)?);
        Ok(())
    })?;
    Ok(path.unwrap_or_else(|| parse_quote!(::millpond)))
}

/// The tag that `#[key(tag = 3)]` gives to a variant.
pub(crate) fn tag(attributes: &[Attribute]) -> Result<Option<u8>> {
    let mut tag = None;
    each(attributes, |option| {
        if !option.path.is_ident("tag") {
            return Err(option.error("on a variant there is `tag = 3` only"));
        }
        once(&option, tag.as_ref())?;
        let literal: LitInt = option.value()?.parse()?;
        let parsed = literal.base10_parse::<u8>();
        tag = Some(parsed.map_err(|_| Error::new(literal.span(), "a tag is one byte: 0 to 255"))?);
        Ok(())
    })?;
    Ok(tag)
}

/// Refuses options on a field: all of them are stored, as they are.
pub(crate) fn none(attributes: &[Attribute]) -> Result<()> {
    each(attributes, |option| Err(option.error("there are no options on a field: all of a key is stored")))
}

fn each(attributes: &[Attribute], mut read: impl FnMut(ParseNestedMeta<'_>) -> Result<()>) -> Result<()> {
    let ours = attributes.iter().filter(|attribute| attribute.path().is_ident("key"));
    ours.into_iter().try_for_each(|attribute| attribute.parse_nested_meta(&mut read))
}

fn once<T>(option: &ParseNestedMeta<'_>, before: Option<&T>) -> Result<()> {
    match before {
        None => Ok(()),
        Some(_) => Err(option.error("this is said twice")),
    }
}
