//! The words in the parentheses: `cores = 2, pin = true, name = "web", crate = "path"`.

use proc_macro::{Literal, Span, TokenStream, TokenTree};

use crate::expand::{Kind, Wrong};

/// What was asked for; `None` is "not said".
#[derive(Default)]
pub(crate) struct Options {
    cores: Option<Cores>,
    pin: Option<bool>,
    name: Option<Literal>,
    /// The path to the runtime's crate, as tokens of the caller.
    path: Option<TokenStream>,
}

enum Cores {
    All,
    Count(Literal),
}

impl Options {
    /// Reads the options, or says which word is wrong.
    pub(crate) fn parse(input: TokenStream) -> Result<Self, Wrong> {
        let mut options = Self::default();
        let mut tokens = input.into_iter().peekable();
        while let Some(key) = tokens.next() {
            let span = key.span();
            let value = match (tokens.next(), tokens.next()) {
                (Some(TokenTree::Punct(sign)), Some(value)) if sign.as_char() == '=' => value,
                _ => return Err(unknown(&key)),
            };
            options.set(&key, span, value)?;
            match tokens.next() {
                None => break,
                Some(TokenTree::Punct(sign)) if sign.as_char() == ',' => {}
                Some(other) => {
                    return Err(Wrong::at(other.span(), "write a comma between two options"));
                }
            }
        }
        Ok(options)
    }

    fn set(&mut self, key: &TokenTree, span: Span, value: TokenTree) -> Result<(), Wrong> {
        let given_before = match key.to_string().as_str() {
            "cores" => self.cores.replace(cores(&value)?).is_some(),
            "pin" => self.pin.replace(pin(&value)?).is_some(),
            "name" => self.name.replace(name(value)?).is_some(),
            "crate" => self.path.replace(path(&value)?).is_some(),
            _ => return Err(unknown(key)),
        };
        if given_before {
            return Err(Wrong::at(
                span,
                format!("`{key}` is given twice: keep one of the two"),
            ));
        }
        Ok(())
    }

    /// The calls on the builder, `.cores(2).pin(true)`, with the defaults of `kind` filled in.
    pub(crate) fn builder_calls(&self, kind: Kind) -> String {
        let mut calls = match (&self.cores, kind) {
            (Some(Cores::All), _) => ".all_cores()".to_string(),
            (Some(Cores::Count(count)), _) => format!(".cores({count})"),
            (None, Kind::Test) => ".cores(1)".to_string(),
            (None, Kind::Main) => String::new(),
        };
        match (self.pin, kind) {
            (Some(pin), _) => calls.push_str(&format!(".pin({pin})")),
            (None, Kind::Test) => calls.push_str(".pin(false)"),
            (None, Kind::Main) => {}
        }
        if let Some(name) = &self.name {
            calls.push_str(&format!(".name({name})"));
        }
        calls
    }

    /// The path of the runtime's crate: `::corering` unless said otherwise.
    pub(crate) fn crate_path(&self) -> String {
        self.path
            .as_ref()
            .map_or_else(|| "::corering".to_string(), TokenStream::to_string)
    }
}

fn unknown(key: &TokenTree) -> Wrong {
    let known = "the options are `cores = 2` or `cores = \"all\"`, `pin = true`, \
                 `name = \"web\"` and `crate = \"path\"`";
    match key.to_string().as_str() {
        "cores" | "pin" | "name" | "crate" => Wrong::at(
            key.span(),
            format!("`{key}` needs a value after `=`: {known}"),
        ),
        other => Wrong::at(key.span(), format!("unknown option `{other}`: {known}")),
    }
}

fn cores(value: &TokenTree) -> Result<Cores, Wrong> {
    let wrong = || {
        Wrong::at(
            value.span(),
            "write a number from 1 on, or `cores = \"all\"`",
        )
    };
    let TokenTree::Literal(literal) = value else {
        return Err(wrong());
    };
    let text = literal.to_string();
    if text == "\"all\"" {
        return Ok(Cores::All);
    }
    let digits = text.replace('_', "");
    match digits.trim_end_matches("usize").parse::<usize>() {
        Ok(count) if count > 0 => Ok(Cores::Count(literal.clone())),
        _ => Err(wrong()),
    }
}

fn pin(value: &TokenTree) -> Result<bool, Wrong> {
    match value.to_string().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Wrong::at(
            value.span(),
            "write `pin = true` or `pin = false`",
        )),
    }
}

fn name(value: TokenTree) -> Result<Literal, Wrong> {
    let span = value.span();
    match value {
        TokenTree::Literal(literal) if literal.to_string().starts_with('"') => Ok(literal),
        _ => Err(Wrong::at(
            span,
            "write the name as a string: `name = \"web\"`",
        )),
    }
}

fn path(value: &TokenTree) -> Result<TokenStream, Wrong> {
    let wrong = || {
        Wrong::at(
            value.span(),
            "write the path as a string: `crate = \"my::path\"`",
        )
    };
    let text = value.to_string();
    let path = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .ok_or_else(wrong)?;
    let is_path_char = |letter: char| letter.is_alphanumeric() || "_:$".contains(letter);
    if path.is_empty() || !path.chars().all(is_path_char) {
        return Err(wrong());
    }
    let tokens: TokenStream = path.parse().map_err(|_| wrong())?;
    let respan = |mut token: TokenTree| {
        token.set_span(value.span());
        token
    };
    Ok(tokens.into_iter().map(respan).collect())
}
