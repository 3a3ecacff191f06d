//! Taking the function apart and putting the runtime around it.

use proc_macro::{Delimiter, Group, Ident, Literal, Punct, Spacing, Span, TokenStream, TokenTree};

use crate::options::Options;

/// Which of the two attributes is being expanded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Main,
    Test,
}

/// A wrong use: where it is, and what to write instead.
pub(crate) struct Wrong {
    span: Span,
    message: String,
}

impl Wrong {
    pub(crate) fn at(span: Span, message: impl Into<String>) -> Self {
        Self {
            span,
            message: message.into(),
        }
    }
}

/// The written function, cut where the runtime goes in.
struct Function {
    /// Attributes and visibility.
    outer: Vec<TokenTree>,
    /// From `async` to the body, unchanged.
    inner: Vec<TokenTree>,
    name: Ident,
    /// From `fn` to the return type: the inner signature without `async`.
    signature: Vec<TokenTree>,
}

/// The function with its runtime, or a `compile_error!`.
pub(crate) fn expand(kind: Kind, options: TokenStream, item: TokenStream) -> TokenStream {
    let item: Vec<TokenTree> = item.into_iter().collect();
    let expanded = Options::parse(options)
        .and_then(|options| Ok(assemble(kind, &options, Function::parse(kind, &item)?)));
    expanded.unwrap_or_else(|wrong| compile_error(&wrong, &item))
}

fn assemble(kind: Kind, options: &Options, function: Function) -> TokenStream {
    let mut body: TokenStream = function.inner.into_iter().collect();
    let krate = options.crate_path();
    let calls = options.builder_calls(kind);
    let failed = match kind {
        Kind::Main => {
            "{ ::std::eprintln!(\"corering: cannot start: {error}\"); \
             ::std::process::exit(1) }"
        }
        Kind::Test => "::std::panic!(\"corering: cannot start: {error}\")",
    };
    let start = format!(
        "#[allow(unused_mut)] \
         let mut runtime = match {krate}::Runtime::builder(){calls}.build() {{ \
             ::std::result::Result::Ok(runtime) => runtime, \
             ::std::result::Result::Err(error) => {failed}, \
         }}; \
         runtime.block_on({name}())",
        name = function.name,
    );
    body.extend(
        start
            .parse::<TokenStream>()
            .expect("the text above is well formed"),
    );

    let mut out = TokenStream::new();
    if kind == Kind::Test {
        let test = "#[::core::prelude::v1::test]";
        out.extend(
            test.parse::<TokenStream>()
                .expect("the text above is well formed"),
        );
    }
    out.extend(function.outer);
    out.extend(function.signature);
    out.extend([TokenTree::Group(Group::new(Delimiter::Brace, body))]);
    out
}

impl Function {
    fn parse(kind: Kind, item: &[TokenTree]) -> Result<Self, Wrong> {
        let attribute = match kind {
            Kind::Main => "#[corering::main]",
            Kind::Test => "#[corering::test]",
        };
        let wrong = |span, text: &str| Wrong::at(span, format!("`{attribute}` {text}"));
        let Some(fn_at) = item.iter().position(|token| is_word(token, "fn")) else {
            let span = item.first().map_or_else(Span::call_site, TokenTree::span);
            return Err(wrong(
                span,
                "goes on a function: write `async fn name() { .. }`",
            ));
        };
        if fn_at == 0 || !is_word(&item[fn_at - 1], "async") {
            return Err(wrong(
                item[fn_at].span(),
                "needs an async function: write `async fn`",
            ));
        }
        let (outer, inner) = item.split_at(fn_at - 1);
        if let Some(span) = plain_test(outer).filter(|_| kind == Kind::Test) {
            return Err(wrong(span, "already makes this a test: remove `#[test]`"));
        }
        let [
            _,
            _,
            TokenTree::Ident(name),
            TokenTree::Group(arguments),
            ..,
            last,
        ] = inner
        else {
            let span = inner.get(3).map_or_else(Span::call_site, TokenTree::span);
            return Err(wrong(
                span,
                "takes no type parameters: write `async fn name() { .. }`",
            ));
        };
        if !arguments.stream().is_empty() {
            return Err(wrong(arguments.span(), "takes no arguments: write `()`"));
        }
        if !matches!(last, TokenTree::Group(body) if body.delimiter() == Delimiter::Brace) {
            return Err(wrong(last.span(), "needs a body: write `{ .. }`"));
        }
        Ok(Self {
            outer: outer.to_vec(),
            inner: inner.to_vec(),
            name: name.clone(),
            signature: inner[1..inner.len() - 1].to_vec(),
        })
    }
}

fn is_word(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident.to_string() == word)
}

/// Where a plain `#[test]` stands among the attributes, if one does.
fn plain_test(outer: &[TokenTree]) -> Option<Span> {
    outer.iter().find_map(|token| match token {
        TokenTree::Group(group)
            if group.delimiter() == Delimiter::Bracket && group.stream().to_string() == "test" =>
        {
            Some(group.span())
        }
        _ => None,
    })
}

/// `compile_error!` at the wrong words, and for a program an empty `main`, so that the compiler
/// does not add that `main` is missing.
fn compile_error(wrong: &Wrong, item: &[TokenTree]) -> TokenStream {
    let span = wrong.span;
    let mut message = Literal::string(&wrong.message);
    message.set_span(span);
    let mut arguments = Group::new(
        Delimiter::Brace,
        TokenStream::from(TokenTree::Literal(message)),
    );
    arguments.set_span(span);

    let mut out = Vec::new();
    for word in ["core", "compile_error"] {
        for spacing in [Spacing::Joint, Spacing::Alone] {
            out.push(TokenTree::Punct(Punct::new(':', spacing)));
        }
        out.push(TokenTree::Ident(Ident::new(word, span)));
    }
    out.push(TokenTree::Punct(Punct::new('!', Spacing::Alone)));
    out.push(TokenTree::Group(arguments));
    for token in &mut out {
        token.set_span(span);
    }
    let mut out: TokenStream = out.into_iter().collect();
    let names_main = |pair: &[TokenTree]| is_word(&pair[0], "fn") && is_word(&pair[1], "main");
    if item.windows(2).any(names_main) {
        out.extend(
            "fn main() {}"
                .parse::<TokenStream>()
                .expect("the text is well formed"),
        );
    }
    out
}
