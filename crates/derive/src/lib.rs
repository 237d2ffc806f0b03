//! The two macros of Limpid. Both only save typing: what they write is what a careful person would.
//!
//! They read `proc_macro` tokens directly, so that a user's build compiles no parser of Rust.
#![forbid(unsafe_code)]

mod forward;
mod module;
mod tokens;

use proc_macro::TokenStream;

/// Makes a struct a module: its fields are its children and parameters, in the order they are written.
///
/// ```text
/// #[derive(Module)]
/// struct Net { conv: Conv2d, #[module(rename = "fc")] head: Linear, #[module(skip)] width: usize }
/// ```
/// becomes
/// ```text
/// impl ::limpid::Module for Net {
///     fn visit(&self, visitor: &mut dyn ::limpid::Visitor) {
///         ::limpid::Field::visit_field(&self.conv, "conv", visitor);
///         ::limpid::Field::visit_field(&self.head, "fc", visitor);
///     }
///     fn kind(&self) -> &'static str { "Net" }
/// }
/// ```
/// `#[module(site)]` on a field of type `Site` makes it what `Module::site` returns; `#[module(kind = name,
/// label = title, extra_repr = arguments)]` on the struct lets these methods of `Module` call methods of its own: what
/// a layer says of itself.
///
/// Fields of a tuple struct are named `0`, `1`, …, as the items of `torch.nn.Sequential`; `r#type` is named
/// `type`. Generic parameters keep the bounds that are written on the struct.
///
/// # Errors
/// At compile time, at the token: an enum or union, an unknown word in `#[module(…)]`, an empty name, a name with
/// a dot (it separates the parts of a path), and two fields of one name.
#[proc_macro_derive(Module, attributes(module))]
pub fn derive_module(item: TokenStream) -> TokenStream {
    module::expand(item).unwrap_or_else(tokens::Error::into_stream)
}

/// Opens the scope of `self` for the length of a method, so that what it records carries the module's path. Each node
/// is known by its line in the method's body.
///
/// ```text
/// #[forward]
/// pub fn forward(&self, x: &Tensor) -> Tensor { self.head.forward(&x.relu()) }
/// ```
/// becomes
/// ```text
/// pub fn forward(&self, x: &Tensor) -> Tensor {
///     let scope = ::limpid::Scope::enter(self); // closed on every way out
///     self.head.forward(&x.relu())
/// }
/// ```
/// It goes on methods of inherent and trait implementations alike.
///
/// # Errors
/// At compile time: words after `forward`, an item that is no method with `&self` and a body, an `async` method
/// (its scope would stay open on the thread while it sleeps).
#[proc_macro_attribute]
pub fn forward(words: TokenStream, item: TokenStream) -> TokenStream {
    forward::expand(words, item.clone()).unwrap_or_else(|error| {
        // The method itself stays, so that its callers do not add errors of their own.
        let mut out = error.into_stream();
        out.extend(item);
        out
    })
}
