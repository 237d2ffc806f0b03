//! `#[forward]`.

use crate::tokens::{Error, as_group, code, is_punct, is_word, split_generics};
use proc_macro::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};

const METHOD: &str = "#[forward] goes on a method with `&self`";

pub fn expand(words: TokenStream, item: TokenStream) -> Result<TokenStream, Error> {
    if let Some(word) = words.into_iter().next() {
        return Err(Error::new(word.span(), "#[forward] takes no words"));
    }
    let tokens: Vec<TokenTree> = item.into_iter().collect();
    let at = tokens.iter().position(|token| is_word(token, "fn"));
    let at = at.ok_or_else(|| Error::new(Span::call_site(), METHOD))?;
    if let Some(word) = tokens[..at].iter().find(|token| is_word(token, "async")) {
        return Err(Error::new(word.span(), "#[forward] can not keep the scope of an async method open"));
    }
    let receiver = receiver(&tokens[at..])?;
    let [signature @ .., last] = tokens.as_slice() else { return Err(Error::new(Span::call_site(), METHOD)) };
    let Some(body) = as_group(last, Delimiter::Brace) else {
        return Err(Error::new(last.span(), "#[forward] needs a method with a body; put it on the implementation"));
    };

    let mut out = TokenStream::new();
    out.extend(signature.iter().cloned());
    out.extend([TokenTree::from(scoped(body, receiver))]);
    Ok(out)
}

/// The `self` of `&self` or `&'a self`; an error at the parameters otherwise.
fn receiver(function: &[TokenTree]) -> Result<Ident, Error> {
    let (_, rest) = split_generics(function.get(2..).unwrap_or_default());
    let group = rest.first().and_then(|token| as_group(token, Delimiter::Parenthesis));
    let group = group.ok_or_else(|| Error::new(function[0].span(), METHOD))?;
    let tokens: Vec<TokenTree> = group.stream().into_iter().collect();
    let receiver = match tokens.as_slice() {
        [reference, rest @ ..] if is_punct(reference, '&') => match rest {
            [quote, _lifetime, word, ..] if is_punct(quote, '\'') => Some(word),
            [word, ..] => Some(word),
            [] => None,
        },
        _ => None,
    };
    match receiver {
        Some(TokenTree::Ident(word)) if word.to_string() == "self" => Ok(word.clone()),
        _ => Err(Error::new(group.span(), METHOD)),
    }
}

/// The body behind a guard. The guard's name is the macro's own (mixed site), so that no name of the body meets it;
/// `self` is the one of the parameters, also in methods that another macro wrote.
fn scoped(body: &Group, receiver: Ident) -> Group {
    let mut inside = code("let", body.span());
    inside.extend([TokenTree::from(Ident::new("_scope", Span::mixed_site()))]);
    inside.extend(code("= ::limpid::Scope::enter", body.span()));
    inside.extend([TokenTree::from(Group::new(Delimiter::Parenthesis, TokenTree::from(receiver).into()))]);
    inside.extend(code(";", body.span()));
    inside.extend(body.stream());
    let mut block = Group::new(Delimiter::Brace, inside);
    block.set_span(body.span());
    block
}
