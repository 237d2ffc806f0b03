//! What both macros need of tokens: errors at a place, code at a place, and lists between angle brackets.

use proc_macro::{Delimiter, Group, Ident, Literal, Punct, Spacing, Span, TokenStream, TokenTree};

/// What is wrong with the user's tokens, and where.
#[derive(Debug)]
pub struct Error {
    span: Span,
    message: String,
}

impl Error {
    pub fn new(span: Span, message: impl Into<String>) -> Error {
        Error { span, message: message.into() }
    }

    /// `::core::compile_error! { "message" }`, reported at the place of the error.
    pub fn into_stream(self) -> TokenStream {
        let message = TokenStream::from(TokenTree::from(Literal::string(&self.message)));
        let mut tokens: Vec<TokenTree> = code("::core::compile_error!", self.span).into_iter().collect();
        tokens.push(Group::new(Delimiter::Brace, message).into());
        tokens.iter_mut().for_each(|token| token.set_span(self.span));
        tokens.into_iter().collect()
    }
}

/// The tokens of `text`: names resolve where the macro was called, errors are reported at `place`.
pub fn code(text: &str, place: Span) -> TokenStream {
    fn moved(tokens: TokenStream, span: Span) -> TokenStream {
        let place = |mut token: TokenTree| {
            if let TokenTree::Group(group) = &token {
                token = Group::new(group.delimiter(), moved(group.stream(), span)).into();
            }
            token.set_span(span);
            token
        };
        tokens.into_iter().map(place).collect()
    }
    let tokens = text.parse().expect("the macro's own text is Rust");
    moved(tokens, Span::call_site().located_at(place))
}

pub fn is_punct(token: &TokenTree, wanted: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == wanted)
}

pub fn is_word(token: &TokenTree, wanted: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident.to_string() == wanted)
}

pub fn as_group(token: &TokenTree, delimiter: Delimiter) -> Option<&Group> {
    match token {
        TokenTree::Group(group) if group.delimiter() == delimiter => Some(group),
        _ => None,
    }
}

/// A name without the `r#` of a raw identifier.
pub fn plain(ident: &Ident) -> String {
    let name = ident.to_string();
    name.strip_prefix("r#").map(str::to_owned).unwrap_or(name)
}

/// How many angle brackets are open, token by token. The `>` of an arrow `->` or `=>` closes none.
#[derive(Default)]
struct Angles {
    open: usize,
    in_arrow: bool,
}

impl Angles {
    /// The brackets that are open after `token`.
    fn after(&mut self, token: &TokenTree) -> usize {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == '<' => self.open += 1,
            TokenTree::Punct(punct) if punct.as_char() == '>' && !self.in_arrow => {
                self.open = self.open.saturating_sub(1);
            }
            _ => {}
        }
        self.in_arrow = matches!(token, TokenTree::Punct(punct) if starts_arrow(punct));
        self.open
    }
}

fn starts_arrow(punct: &Punct) -> bool {
    punct.spacing() == Spacing::Joint && matches!(punct.as_char(), '-' | '=')
}

/// The pieces between the commas that stand outside all brackets; a last empty piece is dropped.
pub fn split_commas(tokens: impl IntoIterator<Item = TokenTree>) -> Vec<Vec<TokenTree>> {
    let mut angles = Angles::default();
    let mut pieces = vec![Vec::new()];
    for token in tokens {
        if angles.after(&token) == 0 && is_punct(&token, ',') {
            pieces.push(Vec::new());
        } else {
            pieces.last_mut().expect("one piece is always there").push(token);
        }
    }
    pieces.pop_if(|piece| piece.is_empty());
    pieces
}

/// What stands between `<` and its `>` at the front of `tokens`, and what follows; nothing and all without a `<`.
pub fn split_generics(tokens: &[TokenTree]) -> (&[TokenTree], &[TokenTree]) {
    if !tokens.first().is_some_and(|token| is_punct(token, '<')) {
        return (&[], tokens);
    }
    let mut angles = Angles::default();
    let end = tokens.iter().position(|token| angles.after(token) == 0).unwrap_or(tokens.len() - 1);
    (&tokens[1..end], &tokens[end + 1..])
}
