//! The code: the codec, the prefixes, and a look at what else a key must be.

use crate::declaration::{Declaration, Form, Variant};
use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Fields, Generics, Ident, Index, Path, Type, WherePredicate, parse_quote_spanned};

/// As many fields as a tuple may have that is a prefix.
const MOST_IN_A_PREFIX: usize = 6;

/// As many fields as a tuple may have that stands for a key.
const MOST_IN_A_TUPLE: usize = 12;

pub(crate) fn implementation(declaration: &Declaration<'_>) -> TokenStream {
    let mut code = codec(declaration);
    if let Form::Struct(fields) = declaration.form {
        let parts: Vec<&Type> = fields.iter().map(|field| &field.ty).take(MOST_IN_A_PREFIX).collect();
        for length in 1..=parts.len() {
            code.extend(prefix(declaration, parts.get(..length).unwrap_or_default()));
        }
        if (1..=MOST_IN_A_TUPLE).contains(&fields.len()) {
            code.extend(borrowed(declaration, fields));
        }
    }
    code.extend(also_required(declaration));
    code
}

fn codec(declaration: &Declaration<'_>) -> TokenStream {
    let (path, ident) = (&declaration.path, declaration.ident);
    let generics = with_codecs(declaration);
    let (parameters, arguments, bounds) = generics.split_for_impl();
    let body = match &declaration.form {
        Form::Struct(fields) => Body::of_struct(declaration, fields),
        Form::Enum(variants) => Body::of_enum(declaration, variants),
    };
    let Body { encode, decode, schema, shape } = body;
    quote! {
        #[automatically_derived]
        #[allow(trivial_bounds, reason = "a field without a codec is then one error, where it stands")]
        impl #parameters #path::codec::KeyCodec for #ident #arguments #bounds {
            #[inline]
            fn encode_key(&self, out: &mut ::std::vec::Vec<u8>) { #encode }

            #[inline]
            fn decode_key(input: &mut &[u8]) -> ::std::result::Result<Self, #path::codec::CodecError> { #decode }

            fn key_schema() -> ::std::string::String { #schema }

            fn key_shape() -> ::std::string::String { #shape }
        }
    }
}

/// The parameters of the type, with the bound that every field has a codec. It stands where the type of the field does,
/// and is there for fields without parameters too: the compiler then says once what is amiss, instead of at each use.
fn with_codecs(declaration: &Declaration<'_>) -> Generics {
    let (path, mut generics) = (&declaration.path, declaration.generics.clone());
    let types = declaration.field_types();
    if !types.is_empty() {
        let bounds = &mut generics.make_where_clause().predicates;
        bounds.extend(types.into_iter().map(|field| -> WherePredicate {
            let path = at(place(field), path);
            parse_quote_spanned!(place(field)=> #field: #path::codec::KeyCodec)
        }));
    }
    generics
}

/// Where the type of a field stands, for the errors of code that names it. Names in that code mean what they do in the rest:
/// in a declaration that a macro made, the type may be from elsewhere.
fn place(field: &Type) -> Span {
    Span::call_site().located_at(field.span())
}

/// The same path, as if it were written there: an error begins where its first token is.
fn at(place: Span, path: &Path) -> TokenStream {
    let moved = |mut token: TokenTree| {
        token.set_span(token.span().located_at(place));
        token
    };
    path.to_token_stream().into_iter().map(moved).collect()
}

/// The four methods of a codec.
struct Body {
    encode: TokenStream,
    decode: TokenStream,
    schema: TokenStream,
    shape: TokenStream,
}

impl Body {
    fn of_struct(declaration: &Declaration<'_>, fields: &Fields) -> Self {
        let pattern = pattern(fields);
        let (encode, decode) = (encode(declaration, fields), decode(declaration, fields));
        Self {
            encode: quote! { let Self #pattern = self; #encode },
            decode: quote! { ::std::result::Result::Ok(Self #decode) },
            schema: layout(declaration, fields, Layout::Schema),
            shape: layout(declaration, fields, Layout::Shape),
        }
        .using(fields)
    }

    /// A key without fields leaves its arguments alone.
    fn using(mut self, fields: &Fields) -> Self {
        if fields.is_empty() {
            let (encode, decode) = (self.encode, self.decode);
            self.encode = quote! { let _ = out; #encode };
            self.decode = quote! { let _ = input; #decode };
        }
        self
    }

    fn of_enum(declaration: &Declaration<'_>, variants: &[Variant<'_>]) -> Self {
        let path = &declaration.path;
        let encoded = variants.iter().map(|Variant { tag, ident, fields }| {
            let (pattern, encode) = (pattern(fields), encode(declaration, fields));
            quote! { Self::#ident #pattern => { out.push(#tag); #encode } }
        });
        let decoded = variants.iter().map(|Variant { tag, ident, fields }| {
            let decode = decode(declaration, fields);
            quote! { #tag => ::std::result::Result::Ok(Self::#ident #decode), }
        });
        let name = declaration.ident.to_string();
        let all = |kind| {
            let variants = variants.iter().map(|Variant { tag, ident, fields }| {
                let tag = match kind {
                    Layout::Schema => tag.to_string(),
                    Layout::Shape => format!("{tag}={ident}"),
                };
                if fields.is_empty() {
                    return quote! { ::std::string::String::from(#tag) };
                }
                let fields = layout(declaration, fields, kind);
                quote! { ::std::format!("{}:{}", #tag, #fields) }
            });
            quote! { ::std::format!("enum{{{}}}", [#(#variants),*].join(",")) }
        };
        Self {
            encode: quote! { match self { #(#encoded)* } },
            decode: quote! {
                match <u8 as #path::codec::KeyCodec>::decode_key(input)? {
                    #(#decoded)*
                    #[allow(unreachable_patterns, reason = "an enum may use all 256 tags")]
                    other => ::std::result::Result::Err(#path::codec::CodecError::new(
                        ::std::format!("{} is not the tag of a {}", other, #name),
                    )),
                }
            },
            schema: all(Layout::Schema),
            shape: all(Layout::Shape),
        }
    }
}

/// `{ name: binding, .. }` for the fields, named or not: `{ 0: .. }` is good for tuples.
fn pattern(fields: &Fields) -> TokenStream {
    let members = members(fields);
    let bindings = (0..fields.len()).map(binding);
    quote! { { #(#members: #bindings),* } }
}

fn encode(declaration: &Declaration<'_>, fields: &Fields) -> TokenStream {
    let path = &declaration.path;
    let fields = fields.iter().enumerate().map(|(index, field)| {
        let (field, binding) = (&field.ty, binding(index));
        quote_spanned! { place(field)=> <#field as #path::codec::KeyCodec>::encode_key(#binding, out); }
    });
    fields.collect()
}

fn decode(declaration: &Declaration<'_>, fields: &Fields) -> TokenStream {
    let path = &declaration.path;
    let members = members(fields);
    let decoded = fields.iter().map(|field| {
        let field = &field.ty;
        quote_spanned! { place(field)=> <#field as #path::codec::KeyCodec>::decode_key(input)? }
    });
    quote! { { #(#members: #decoded),* } }
}

/// Which description of the layout: without or with the names of fields and variants.
#[derive(Clone, Copy)]
enum Layout {
    Schema,
    Shape,
}

/// An expression for the layout of `fields`, in the words of `key_codec!`.
fn layout(declaration: &Declaration<'_>, fields: &Fields, kind: Layout) -> TokenStream {
    let path = &declaration.path;
    let (types, names) =
        (fields.iter().map(|field| &field.ty), fields.iter().filter_map(|field| field.ident.as_ref()));
    let names = names.map(ToString::to_string);
    match (kind, fields) {
        (Layout::Schema, _) => quote! {
            #path::codec::fields_schema(&[#(<#types as #path::codec::KeyCodec>::key_schema()),*])
        },
        (Layout::Shape, Fields::Named(_)) => quote! {
            #path::codec::fields_shape(&[#((#names, <#types as #path::codec::KeyCodec>::key_shape())),*])
        },
        (Layout::Shape, _) => quote! {
            #path::codec::fields_schema(&[#(<#types as #path::codec::KeyCodec>::key_shape()),*])
        },
    }
}

/// A parameter for each of `fields`, which what stands for the field is, with the parameters of the type.
fn with_parts(declaration: &Declaration<'_>, fields: &[&Type]) -> (Vec<Ident>, Generics) {
    let path = &declaration.path;
    let parts: Vec<Ident> = (0..fields.len()).map(|index| format_ident!("MillpondPart{index}")).collect();
    let mut generics = declaration.generics.clone();
    for (part, field) in parts.iter().zip(fields) {
        let path = at(place(field), path);
        generics.params.push(parse_quote_spanned!(place(field)=> #part: #path::codec::AsKey<#field>));
    }
    let bounds = &mut generics.make_where_clause().predicates;
    bounds.extend(
        fields.iter().map(|field| -> WherePredicate {
            parse_quote_spanned!(place(field)=> #field: ::std::clone::Clone)
        }),
    );
    (parts, generics)
}

/// All fields as a tuple, which stands for the key where one is asked for.
fn borrowed(declaration: &Declaration<'_>, fields: &Fields) -> TokenStream {
    let (path, ident) = (&declaration.path, declaration.ident);
    let types: Vec<&Type> = fields.iter().map(|field| &field.ty).collect();
    let (parts, mut generics) = with_parts(declaration, &types);
    let (_, arguments, _) = declaration.generics.split_for_impl();
    let codec = with_codecs(declaration).where_clause.into_iter().flat_map(|bounds| bounds.predicates);
    let bounds = &mut generics.make_where_clause().predicates;
    bounds.extend(codec);
    bounds.push(parse_quote_spanned!(ident.span()=> #ident #arguments: ::std::clone::Clone));
    let (parameters, _, bounds) = generics.split_for_impl();
    let (members, indices): (Vec<_>, Vec<_>) = (members(fields), (0..types.len()).map(Index::from).collect());
    quote! {
        #[automatically_derived]
        #[allow(trivial_bounds, reason = "as it is with parameters")]
        impl #parameters #path::codec::AsKey<#ident #arguments> for (#(#parts,)*) #bounds {
            fn as_key(&self) -> ::std::borrow::Cow<'_, #ident #arguments> {
                ::std::borrow::Cow::Owned(#ident {
                    #(#members: <#parts as #path::codec::AsKey<#types>>::as_key(&self.#indices).into_owned(),)*
                })
            }

            fn encode_as_key(&self, out: &mut ::std::vec::Vec<u8>) {
                #(<#parts as #path::codec::AsKey<#types>>::encode_as_key(&self.#indices, out);)*
            }
        }
    }
}

/// The first fields as a tuple, a prefix of the key.
fn prefix(declaration: &Declaration<'_>, fields: &[&Type]) -> TokenStream {
    let (path, ident) = (&declaration.path, declaration.ident);
    let (parts, generics) = with_parts(declaration, fields);
    let (parameters, _, bounds) = generics.split_for_impl();
    let (_, arguments, _) = declaration.generics.split_for_impl();
    let indices = (0..fields.len()).map(Index::from);
    quote! {
        #[automatically_derived]
        #[allow(trivial_bounds, reason = "as it is with parameters")]
        impl #parameters #path::codec::KeyPrefix<#ident #arguments> for (#(#parts,)*) #bounds {
            #[inline]
            fn encode_prefix(&self, out: &mut ::std::vec::Vec<u8>) {
                #(<#parts as #path::codec::AsKey<#fields>>::encode_as_key(&self.#indices, out);)*
            }
        }
    }
}

/// Looks at what a key must be besides: where a derive was forgotten, the compiler says which, here and not at the first
/// topic. With parameters it depends on them.
fn also_required(declaration: &Declaration<'_>) -> TokenStream {
    if !declaration.is_one_type() {
        return TokenStream::new();
    }
    let ident = declaration.ident;
    quote! {
        const _: fn() = || {
            fn can_be_a_key<K>()
            where
                K: ::std::clone::Clone + ::std::cmp::Ord + ::std::hash::Hash,
                K: ::std::marker::Send + ::std::marker::Sync + 'static,
            {
            }
            can_be_a_key::<#ident>();
        };
    }
}

fn members(fields: &Fields) -> Vec<TokenStream> {
    let member = |(index, field): (usize, &syn::Field)| match &field.ident {
        Some(ident) => ident.to_token_stream(),
        None => Index::from(index).to_token_stream(),
    };
    fields.iter().enumerate().map(member).collect()
}

fn binding(index: usize) -> Ident {
    Ident::new(&format!("field_{index}"), Span::mixed_site())
}
