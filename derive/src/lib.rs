//! `#[derive(Key)]`: keys of your own, as bytes that keep their order.
//!
//! What is derived is the code that a reader would write against `codec::KeyCodec`; nothing of the layout is decided
//! here but the tags of variants. All errors are found before the compiler sees the code, except a field whose type has
//! no codec: that is a bound of the implementation, written where the field's type stands, so that it is reported there
//! and once.

mod declaration;
mod implementation;
mod options;
mod tags;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

#[doc = include_str!("key.md")]
#[proc_macro_derive(Key, attributes(key))]
pub fn derive_key(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    match declaration::Declaration::new(&input) {
        Ok(declaration) => implementation::implementation(&declaration).into(),
        Err(error) => error.into_compile_error().into(),
    }
}
