//! `#[derive(Module)]`.

use crate::tokens::{Error, as_group, code, is_punct, is_word, plain, split_commas, split_generics};
use proc_macro::{Delimiter, Group, Ident, Literal, Span, TokenStream, TokenTree};

const STRUCT: &str = "a module is a struct: an enum or a union has no fields to visit";
const WORDS: &str = "#[module(…)] on a field knows `skip`, `site` and `rename = \"name\"`";
const STRUCT_WORDS: &str = "#[module(…)] on a struct knows `kind`, `label` and `extra_repr`, each `= method`";

/// A field: `member` is how Rust names it, `name` is its part of the path.
struct Field {
    member: TokenTree,
    name: String,
    /// Whether it is the identity of the module instead of a part of it.
    site: bool,
}

/// What `#[module(…)]` says of a field.
#[derive(Default)]
struct Words {
    skip: bool,
    site: bool,
    rename: Option<String>,
}

pub fn expand(item: TokenStream) -> Result<TokenStream, Error> {
    let tokens: Vec<TokenTree> = item.into_iter().collect();
    let (kind, texts, rest) = header(&tokens)?;
    let (generics, rest) = split_generics(rest);
    let (fields, bounds) = body(rest)?;
    let (declared, used) = parameters(generics);
    let (sites, fields): (Vec<Field>, Vec<Field>) = fields.into_iter().partition(|field| field.site);
    let visitor = if fields.is_empty() { "_visitor" } else { "visitor" };
    let mut visits = TokenStream::new();
    for field in fields {
        visits.extend(visit(field));
    }
    let span = kind.span();
    let mut methods = code(&format!("fn visit(&self, {visitor}: &mut dyn ::limpid::Visitor)"), span);
    methods.extend([TokenTree::from(Group::new(Delimiter::Brace, visits))]);
    if !texts.iter().any(|(text, _)| *text == "kind") {
        methods.extend(code(&format!("fn kind(&self) -> &'static str {{ {:?} }}", plain(kind)), span));
    }
    for (text, method) in texts {
        let returns = if text == "kind" { "&'static str" } else { "::std::string::String" };
        methods.extend(code(&format!("fn {text}(&self) -> {returns}"), span));
        let call = code("Self::", method.span()).into_iter().chain([method.into()]);
        let call = call.chain(code("(self)", span)).collect();
        methods.extend([TokenTree::from(Group::new(Delimiter::Brace, call))]);
    }
    match sites.as_slice() {
        [] => {}
        [site] => {
            methods.extend(code("fn site(&self) -> ::std::option::Option<&::limpid::Site>", span));
            let mut field = code("&self.", span);
            field.extend([site.member.clone()]);
            let mut some = code("::std::option::Option::Some", span);
            some.extend([TokenTree::from(Group::new(Delimiter::Parenthesis, field))]);
            methods.extend([TokenTree::from(Group::new(Delimiter::Brace, some))]);
        }
        [_, second, ..] => return Err(Error::new(second.member.span(), "a module has one site")),
    }

    let mut out = code("#[automatically_derived] impl", span);
    out.extend(declared);
    out.extend(code("::limpid::Module for", span));
    out.extend([TokenTree::from(kind.clone())]);
    out.extend(used);
    out.extend(bounds.iter().cloned());
    out.extend([TokenTree::from(Group::new(Delimiter::Brace, methods))]);
    Ok(out)
}

/// Methods of the trait and the inherent ones that they call.
type Texts = Vec<(&'static str, Ident)>;

/// The struct's name, what describes it, and the tokens after the name.
fn header(tokens: &[TokenTree]) -> Result<(&Ident, Texts, &[TokenTree]), Error> {
    let mut texts = Texts::new();
    for (at, token) in tokens.iter().enumerate() {
        match (token, tokens.get(at + 1)) {
            (hash, Some(TokenTree::Group(attribute))) => {
                if let Some(words) = module_words(hash, attribute) {
                    read_texts(&words, &mut texts)?;
                }
            }
            (word, Some(TokenTree::Ident(name))) if is_word(word, "struct") => {
                return Ok((name, texts, &tokens[at + 2..]));
            }
            (word, _) if is_word(word, "enum") || is_word(word, "union") => {
                return Err(Error::new(word.span(), STRUCT));
            }
            _ => {}
        }
    }
    Err(Error::new(Span::call_site(), STRUCT))
}

/// The visited fields, and the where clause, from what follows the generics.
fn body(rest: &[TokenTree]) -> Result<(Vec<Field>, &[TokenTree]), Error> {
    if let [first, bounds @ .., _semicolon] = rest
        && let Some(tuple) = as_group(first, Delimiter::Parenthesis)
    {
        return Ok((fields(tuple)?, bounds));
    }
    match rest {
        [bounds @ .., last] => match as_group(last, Delimiter::Brace) {
            Some(named) => Ok((fields(named)?, bounds)),
            None => Ok((Vec::new(), bounds)),
        },
        [] => Ok((Vec::new(), rest)),
    }
}

fn fields(group: &Group) -> Result<Vec<Field>, Error> {
    let mut found: Vec<Field> = Vec::new();
    for (index, tokens) in split_commas(group.stream()).into_iter().enumerate() {
        let (mut said, mut rest) = (Words::default(), tokens.as_slice());
        while let [hash, TokenTree::Group(attribute), after @ ..] = rest
            && is_punct(hash, '#')
        {
            if let Some(words) = module_words(hash, attribute) {
                read_words(&words, &mut said)?;
            }
            rest = after;
        }
        if said.skip {
            continue;
        }
        let mut member = TokenTree::from(Literal::usize_unsuffixed(index));
        let mut name = index.to_string();
        if group.delimiter() == Delimiter::Parenthesis {
            member.set_span(rest.first().map_or(group.span(), TokenTree::span));
        } else if let Some(colon) = rest.iter().position(|token| is_punct(token, ':'))
            && let Some(TokenTree::Ident(ident)) = rest[..colon].last()
        {
            member = ident.clone().into();
            name = plain(ident);
        }
        let name = said.rename.unwrap_or(name);
        if found.iter().any(|other| other.name == name) {
            return Err(Error::new(member.span(), format!("two fields have the name `{name}`; rename one of them")));
        }
        found.push(Field { member, name, site: said.site });
    }
    Ok(found)
}

/// The group after `module` in `#[module(…)]`; `None` for other attributes.
fn module_words(hash: &TokenTree, attribute: &Group) -> Option<Group> {
    let inner: Vec<TokenTree> = attribute.stream().into_iter().collect();
    match inner.as_slice() {
        [word, rest @ ..] if is_punct(hash, '#') && is_word(word, "module") => Some(match rest {
            [TokenTree::Group(words)] => words.clone(),
            _ => Group::new(Delimiter::Parenthesis, inner.iter().cloned().collect()),
        }),
        _ => None,
    }
}

fn read_texts(words: &Group, texts: &mut Texts) -> Result<(), Error> {
    for piece in split_commas(words.stream()) {
        let [word, equals, TokenTree::Ident(method)] = piece.as_slice() else {
            return Err(Error::new(piece.first().map_or(words.span(), TokenTree::span), STRUCT_WORDS));
        };
        match ["kind", "label", "extra_repr"].into_iter().find(|text| is_word(word, text) && is_punct(equals, '=')) {
            Some(text) => texts.push((text, method.clone())),
            None => return Err(Error::new(word.span(), STRUCT_WORDS)),
        }
    }
    Ok(())
}

fn read_words(words: &Group, said: &mut Words) -> Result<(), Error> {
    let pieces = split_commas(words.stream());
    if pieces.is_empty() {
        return Err(Error::new(words.span(), WORDS));
    }
    for piece in pieces {
        match piece.as_slice() {
            [word] if is_word(word, "skip") => said.skip = true,
            [word] if is_word(word, "site") => said.site = true,
            [word, equals, TokenTree::Literal(literal)] if is_word(word, "rename") && is_punct(equals, '=') => {
                said.rename = Some(path_part(literal)?);
            }
            _ => return Err(Error::new(piece.first().map_or(words.span(), TokenTree::span), WORDS)),
        }
    }
    Ok(())
}

/// The text of a plain string literal that can be one part of a dotted path.
fn path_part(literal: &Literal) -> Result<String, Error> {
    let text = literal.to_string();
    let name = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or("");
    if name.is_empty() || name.contains(['.', '\\']) {
        return Err(Error::new(literal.span(), "a name is a plain string, not empty and without dots"));
    }
    Ok(name.to_owned())
}

/// `<T: Bound, const N: usize>` for the impl (without defaults) and `<T, N>` for the type.
fn parameters(generics: &[TokenTree]) -> (TokenStream, TokenStream) {
    let (mut declared, mut used) = (Vec::new(), Vec::new());
    for parameter in split_commas(generics.iter().cloned()) {
        let end = parameter.iter().position(|token| is_punct(token, '=')).unwrap_or(parameter.len());
        let colon = parameter.iter().position(|token| is_punct(token, ':')).unwrap_or(end).min(end);
        let comma = code(",", Span::call_site());
        declared.extend(parameter[..end].iter().cloned().chain(comma.clone()));
        let name_at = colon.saturating_sub(if is_punct(&parameter[0], '\'') { 2 } else { 1 });
        used.extend(parameter[name_at..colon].iter().cloned().chain(comma));
    }
    let angled = |inner: Vec<TokenTree>| {
        let [open, close] = ["<", ">"].map(|text| code(text, Span::call_site()));
        open.into_iter().chain(inner).chain(close).collect()
    };
    (angled(declared), angled(used))
}

/// `::limpid::Field::visit_field(&self.member, "name", visitor);`, its errors at the field.
fn visit(field: Field) -> TokenStream {
    let span = field.member.span();
    let mut arguments = code("&self.", span);
    arguments.extend([field.member]);
    arguments.extend(code(&format!(", {:?}, visitor", field.name), span));
    let mut out = code("::limpid::Field::visit_field", span);
    let mut call = Group::new(Delimiter::Parenthesis, arguments);
    call.set_span(Span::call_site().located_at(span));
    out.extend([TokenTree::from(call)]);
    out.extend(code(";", span));
    out
}
