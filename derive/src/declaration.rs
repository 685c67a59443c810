//! What was declared, checked: everything that the derive can refuse is refused here.

use crate::{options, tags};
use proc_macro2::{Span, TokenStream, TokenTree};
use quote::ToTokens;
use std::collections::HashSet;
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Fields, GenericParam, Generics, Ident, Path, Result, Type};

/// A type that becomes a key.
pub(crate) struct Declaration<'d> {
    pub(crate) ident: &'d Ident,
    pub(crate) generics: &'d Generics,
    /// Where millpond is found.
    pub(crate) path: Path,
    pub(crate) form: Form<'d>,
}

pub(crate) enum Form<'d> {
    Struct(&'d Fields),
    Enum(Vec<Variant<'d>>),
}

pub(crate) struct Variant<'d> {
    pub(crate) tag: u8,
    pub(crate) ident: &'d Ident,
    pub(crate) fields: &'d Fields,
}

impl<'d> Declaration<'d> {
    /// # Errors
    /// What cannot be a key, at the place where it stands.
    pub(crate) fn new(input: &'d DeriveInput) -> Result<Self> {
        let path = options::path_of_crate(&input.attrs)?;
        if let Some(lifetime) = input.generics.lifetimes().next() {
            return Err(Error::new(
                lifetime.span(),
                "a key is kept, and read back from bytes, so it cannot borrow: let it own what it is made of",
            ));
        }
        let form = match &input.data {
            Data::Struct(data) => Form::Struct(&data.fields),
            Data::Enum(data) if data.variants.is_empty() => {
                return Err(Error::new_spanned(
                    &input.ident,
                    "an enum without variants has no values to be keys",
                ));
            }
            Data::Enum(data) => {
                let tags = tags::tags(&data.variants)?;
                let variants = tags.into_iter().zip(&data.variants);
                let variant = |(tag, variant): (u8, &'d syn::Variant)| Variant {
                    tag,
                    ident: &variant.ident,
                    fields: &variant.fields,
                };
                Form::Enum(variants.map(variant).collect())
            }
            Data::Union(data) => {
                return Err(Error::new(
                    data.union_token.span(),
                    "a union does not say what it holds: use an enum",
                ));
            }
        };
        let declaration = Self { ident: &input.ident, generics: &input.generics, path, form };
        declaration.fields().try_for_each(|field| {
            options::none(&field.attrs)?;
            names_itself(field.ty.to_token_stream()).map_or(Ok(()), |place| {
                Err(Error::new(
                    place,
                    "`Self` is another type in some of the code that is made: write the name of the type",
                ))
            })
        })?;
        Ok(declaration)
    }

    pub(crate) fn fields(&self) -> impl Iterator<Item = &'d syn::Field> {
        let all: Vec<&'d Fields> = match &self.form {
            Form::Struct(fields) => vec![fields],
            Form::Enum(variants) => variants.iter().map(|variant| variant.fields).collect(),
        };
        all.into_iter().flatten()
    }

    /// The types of all fields, each once.
    pub(crate) fn field_types(&self) -> Vec<&'d Type> {
        let mut seen = HashSet::new();
        let types = self.fields().map(|field| &field.ty);
        types.filter(|field| seen.insert(field.to_token_stream().to_string())).collect()
    }

    /// Whether it is one type, rather than one for each choice of parameters.
    pub(crate) fn is_one_type(&self) -> bool {
        !self
            .generics
            .params
            .iter()
            .any(|param| matches!(param, GenericParam::Type(_) | GenericParam::Const(_)))
    }
}

/// Where `Self` stands, if it does.
fn names_itself(tokens: TokenStream) -> Option<Span> {
    tokens.into_iter().find_map(|token| match token {
        TokenTree::Ident(ident) if ident == "Self" => Some(ident.span()),
        TokenTree::Group(group) => names_itself(group.stream()),
        _ => None,
    })
}
