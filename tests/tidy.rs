//! Style as a test: the layers of `src/`, the size of files and functions, and who may do what.
//!
//! Rules:
//! 1. What is allowed stands as data at the top, and each exception carries its reason.
//! 2. Every complaint names the file, the line and the way out.
//! 3. The source is read as text. Comments and the contents of strings are blanked first
//!    ([`masked`]), and so is whatever stands behind `#[cfg(test)]` ([`without_tests`]) or in a
//!    module called `tests`.

#![allow(clippy::disallowed_methods)] // A test reads its files the plain way.

use std::fs;
use std::path::{Path, PathBuf};

// ---------------------------------------------------------------------------------------------
// The law

/// A room of `src/`, and the rooms below it that it may name as `crate::room`.
///
/// Arrows point down only, and siblings do not know each other. A room may always name itself.
const LAYERS: &[(&str, &[&str])] = &[
    ("buf", &[]),
    ("threads", &[]),
    ("driver", &["buf", "threads"]),
    ("op", &["buf", "driver"]),
    ("task", &["threads"]),
    ("sync", &["task", "threads"]),
    ("time", &["driver"]),
    ("io", &["buf"]),
    ("net", &["buf", "driver", "io", "op", "time"]),
    ("fs", &["buf", "driver", "io", "op"]),
    ("pipe", &["driver", "op"]),
    ("process", &["driver", "op", "pipe"]),
    ("stdio", &["driver", "pipe"]),
    ("poll_fd", &["driver", "op"]),
    ("signal", &["buf", "driver", "io", "op"]),
    ("flow", &["driver", "task", "time"]),
    ("runtime", &["driver", "op", "sync", "task", "time"]),
    ("sim", &["driver", "runtime", "task"]),
    ("models", &["driver", "sync", "task", "threads"]),
    (
        "doctor",
        &["driver", "fs", "net", "op", "runtime", "task", "time"],
    ),
    ("hyper_rt", &["driver", "task", "time"]),
    ("server", &["net", "sync", "task", "time"]),
    (
        "http",
        &[
            "buf", "fs", "io", "net", "server", "sync", "task", "time", "tls",
        ],
    ),
    ("tls", &["io"]),
    ("dns", &["driver", "fs", "net", "task", "time"]),
];

/// Rooms that see only the public face: they may also name what `src/lib.rs` re-exports.
const PUBLIC_FACE: &[&str] = &["http", "server"];

/// Where `unsafe` may stand.
const UNSAFE_ROOTS: &[&str] = &["src/buf", "src/driver", "src/op", "src/task"];

/// Single files elsewhere in which `unsafe` may stand: file, reason.
const UNSAFE_FILES: &[(&str, &str)] = &[
    (
        "src/sync/mutex.rs",
        "its guards lead to the value: a `RefCell` cannot lend to one that owns the mutex",
    ),
    (
        "src/sync/rwlock.rs",
        "its guards lead to the value: a `RefCell` cannot lend to one that owns the lock",
    ),
    (
        "src/time/timeout.rs",
        "pins the limited future in place, so that a timeout allocates nothing",
    ),
    (
        "src/sim/follow.rs",
        "the text of a macro that defines two C functions in a test crate",
    ),
];

/// Text that reaches the outside world, and the places that may contain it.
const OUTSIDE: &[Outside] = &[
    Outside {
        text: "libc::",
        calls_only: true,
        allowed: &["src/driver"],
        cure: "system calls go below the seam: add a function to driver/ (types and constants of \
               libc are fine)",
    },
    Outside {
        text: "std::fs",
        calls_only: false,
        allowed: &["src/driver", "src/bin"],
        cure: "files are opened through fs/, or below the seam in driver/",
    },
    Outside {
        text: "std::net::TcpStream::connect",
        calls_only: false,
        allowed: &["src/driver"],
        cure: "connect through net/",
    },
    Outside {
        text: "std::net::TcpListener::bind",
        calls_only: false,
        allowed: &["src/driver"],
        cure: "bind through net/",
    },
    Outside {
        text: "std::net::UdpSocket::bind",
        calls_only: false,
        allowed: &["src/driver"],
        cure: "bind through net/",
    },
    Outside {
        text: "std::time::Instant",
        calls_only: false,
        allowed: &["src/driver", "src/bin"],
        cure: "time comes in as a value: ask the driver for the loop's time",
    },
    Outside {
        text: "SystemTime::now",
        calls_only: false,
        allowed: &["src/driver", "src/bin", "src/http"],
        cure: "time comes in as a value: ask the driver",
    },
    Outside {
        text: "thread::sleep",
        calls_only: false,
        allowed: &["src/driver/sys.rs"],
        cure: "a loop must not block: use time::sleep",
    },
    Outside {
        text: "loom::",
        calls_only: false,
        allowed: &["src/threads.rs", "src/models", "src/driver/bell.rs"],
        cure: "a model replaces what threads share in one place: use crate::threads",
    },
    Outside {
        text: "io_uring::",
        calls_only: false,
        allowed: &["src/driver", "src/op"],
        cure: "only an operation builds entries, and only the driver pushes them",
    },
];

const LINE_COLUMNS_MAX: usize = 100;
const FILE_LINES_MAX: usize = 900;
const FUNCTION_LINES_MAX: usize = 70;

/// Files that may be longer: file, reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// Functions that may be longer: file, function, reason.
const LONG_FUNCTIONS: &[(&str, &str, &str)] = &[];

/// From how many lines on a file must say its job first.
const HEADER_FROM_LINES: usize = 5;

/// Where source is looked for. What does not exist yet is skipped.
const SOURCE_ROOTS: &[&str] = &["src", "macros", "tests", "examples", "benches", "fuzz"];

/// Roots in which functions are measured: tests may tell a long story.
const MEASURED_ROOTS: &[&str] = &["src", "macros/src", "examples", "benches"];

/// One row of [`OUTSIDE`].
struct Outside {
    text: &'static str,
    /// Only `text` + lower-case name + `(` counts.
    calls_only: bool,
    allowed: &'static [&'static str],
    cure: &'static str,
}

// ---------------------------------------------------------------------------------------------
// The checks

#[test]
fn layers_point_down() {
    let complaints = sources(&["src"])
        .iter()
        .flat_map(layer_complaints)
        .collect();
    report(complaints);
}

#[test]
fn the_layer_table_has_no_cycle() {
    let below = |room: &str| {
        LAYERS
            .iter()
            .find(|row| row.0 == room)
            .map_or(&[][..], |row| row.1)
    };
    let mut complaints = Vec::new();
    for (room, _) in LAYERS {
        let mut reached = below(room).to_vec();
        let mut next = 0;
        while next < reached.len() {
            for lower in below(reached[next]) {
                if !reached.contains(lower) {
                    reached.push(lower);
                }
            }
            next += 1;
        }
        if reached.contains(room) {
            complaints.push(format!("tests/tidy.rs: `{room}` reaches itself in LAYERS"));
        }
    }
    report(complaints);
}

#[test]
fn unsafe_stays_in_its_rooms() {
    let mut complaints = Vec::new();
    for source in sources(&["src", "macros/src", "examples"]) {
        let excepted = UNSAFE_FILES.iter().any(|(file, _)| *file == source.path);
        if excepted || UNSAFE_ROOTS.iter().any(|root| is_below(&source.path, root)) {
            continue;
        }
        for at in words(&source.code, "unsafe") {
            complaints.push(source.complaint(
                at,
                &format!(
                    "`unsafe` outside {UNSAFE_ROOTS:?}: move it there, or add the file with its \
                     reason to UNSAFE_FILES"
                ),
            ));
        }
    }
    report(complaints);
}

#[test]
fn the_outside_is_reached_below_the_seam() {
    let mut complaints = Vec::new();
    for source in sources(&["src"]) {
        for rule in OUTSIDE {
            if rule
                .allowed
                .iter()
                .any(|place| is_below(&source.path, place))
            {
                continue;
            }
            for at in words(&source.code, rule.text) {
                let rest = &source.code[at + rule.text.len()..];
                if rule.calls_only && !starts_with_call(rest) {
                    continue;
                }
                complaints.push(source.complaint(
                    at,
                    &format!("`{}` only in {:?}: {}", rule.text, rule.allowed, rule.cure),
                ));
            }
        }
    }
    report(complaints);
}

#[test]
fn the_contract_names_tests_that_exist() {
    let page = "docs/contract.md";
    let text = fs::read_to_string(page).unwrap_or_else(|error| panic!("{page}: {error}"));
    let mut complaints = Vec::new();
    // `[name](../tests/file.rs)`
    for (at, _) in text.match_indices("](../tests/") {
        let name = text[..at].rsplit('[').next().unwrap_or_default();
        let file = text[at + "](../".len()..]
            .split(')')
            .next()
            .unwrap_or_default();
        let is_there = fs::read_to_string(file).is_ok_and(|test| {
            [format!("fn {name}("), format!("{name} =>")]
                .iter()
                .any(|form| test.contains(form))
        });
        if !is_there {
            complaints.push(format!("{page}: there is no test {name} in {file}"));
        }
    }
    report(complaints);
}

#[test]
fn files_are_short() {
    let mut complaints = Vec::new();
    for source in sources(SOURCE_ROOTS) {
        let lines = source.text.lines().count();
        let excepted = LONG_FILES.iter().any(|(file, _)| *file == source.path);
        if lines > FILE_LINES_MAX && !excepted {
            complaints.push(format!(
                "{}: {lines} lines, at most {FILE_LINES_MAX}: split it by subject",
                source.path
            ));
        }
        if lines <= FILE_LINES_MAX && excepted {
            complaints.push(format!(
                "{}: no longer long, remove it from LONG_FILES",
                source.path
            ));
        }
    }
    report(complaints);
}

#[test]
fn functions_are_short() {
    let mut complaints = Vec::new();
    for source in sources(MEASURED_ROOTS) {
        for function in functions(&source.code) {
            let excepted = LONG_FUNCTIONS
                .iter()
                .any(|(file, name, _)| *file == source.path && *name == function.name);
            if function.lines > FUNCTION_LINES_MAX && !excepted {
                complaints.push(source.complaint(
                    function.at,
                    &format!(
                        "`{}` has {} lines, at most {FUNCTION_LINES_MAX}: give its parts names",
                        function.name, function.lines
                    ),
                ));
            }
        }
    }
    report(complaints);
}

#[test]
fn lines_are_clean() {
    let mut complaints = Vec::new();
    for source in sources(SOURCE_ROOTS) {
        for (index, line) in source.text.lines().enumerate() {
            let mut complain =
                |what: &str| complaints.push(format!("{}:{}: {what}", source.path, index + 1));
            // A link and a row of a table cannot be broken.
            let begin = line.trim_start();
            let is_row = begin.starts_with("//! |") || begin.starts_with("/// |");
            let unbreakable = line.contains("://") || is_row;
            if line.chars().count() > LINE_COLUMNS_MAX && !unbreakable {
                complain(&format!(
                    "more than {LINE_COLUMNS_MAX} columns: break the line"
                ));
            }
            if line.contains('\t') {
                complain("a tab: indent with spaces, write `\\t` in strings");
            }
            if line.ends_with(char::is_whitespace) {
                complain("white space at the end of the line: remove it");
            }
        }
        if !source.text.is_empty() && !source.text.ends_with('\n') {
            complaints.push(format!(
                "{}: no newline at the end of the file",
                source.path
            ));
        }
    }
    report(complaints);
}

#[test]
fn every_module_says_its_job() {
    let mut complaints = Vec::new();
    for source in sources(&["src", "macros/src"]) {
        let is_long = source.text.lines().count() >= HEADER_FROM_LINES;
        if is_long && !source.text.starts_with("//! ") {
            complaints.push(format!(
                "{}:1: no module header: begin with `//!` and the module's job in one line",
                source.path
            ));
        }
    }
    report(complaints);
}

#[test]
fn exceptions_name_files_that_exist() {
    let files = LONG_FILES
        .iter()
        .chain(UNSAFE_FILES)
        .map(|row| (row.0, row.1));
    let functions = LONG_FUNCTIONS.iter().map(|row| (row.0, row.2));
    let mut complaints = Vec::new();
    for (file, reason) in files.chain(functions) {
        if !root().join(file).is_file() {
            complaints.push(format!(
                "tests/tidy.rs: the exception `{file}` does not exist"
            ));
        }
        if reason.is_empty() {
            complaints.push(format!(
                "tests/tidy.rs: the exception `{file}` has no reason"
            ));
        }
    }
    report(complaints);
}

fn report(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

// ---------------------------------------------------------------------------------------------
// Layers

fn layer_complaints(source: &Source) -> Vec<String> {
    let Some(room) = source.room() else {
        return Vec::new();
    };
    let Some((_, allowed)) = LAYERS.iter().find(|row| row.0 == room) else {
        return vec![format!(
            "{}: the room `{room}` is not in the table: add it to LAYERS in tests/tidy.rs with \
             what it may import",
            source.path
        )];
    };
    let mut complaints = Vec::new();
    for (at, name) in root_names(source) {
        if name == room || allowed.contains(&name.as_str()) {
            continue;
        }
        let is_room = LAYERS.iter().any(|row| row.0 == name);
        if !is_room && PUBLIC_FACE.contains(&room) && name != "*" {
            continue;
        }
        complaints.push(source.complaint(
            at,
            &format!("`{room}` imports `crate::{name}`, but may import only {allowed:?}"),
        ));
    }
    complaints
}

/// Each name directly below the crate's root that the source mentions, with its place: the `x`
/// of `crate::x::y`, of `use crate::{x, ..}`, and of `super::super::x` that climbs that far.
fn root_names(source: &Source) -> Vec<(usize, String)> {
    let code = &source.code;
    let mut names = Vec::new();
    for at in words(code, "crate") {
        if let Some(rest) = after_colons(&code[at + "crate".len()..]) {
            names.extend(first_names(rest).into_iter().map(|name| (at, name)));
        }
    }
    for at in words(code, "super") {
        let mut rest = &code[at..];
        let mut climbed = 0;
        while let Some(next) = rest.strip_prefix("super").and_then(after_colons) {
            rest = next;
            climbed += 1;
        }
        if climbed < source.depth() {
            continue;
        }
        // An inline module makes the climb one shorter than it looks, so only rooms count.
        let rooms = first_names(rest);
        let rooms = rooms
            .into_iter()
            .filter(|name| LAYERS.iter().any(|row| row.0 == name));
        names.extend(rooms.map(|name| (at, name)));
    }
    names
}

/// The first name, or all first names of a `{..}` list. A macro of the root (`name!`) is no name.
fn first_names(rest: &str) -> Vec<String> {
    if let Some(list) = rest.strip_prefix('{') {
        return list_items(list)
            .iter()
            .flat_map(|item| first_names(item.trim_start()))
            .collect();
    }
    if rest.starts_with('*') {
        return vec!["*".to_string()];
    }
    let name: String = rest.chars().take_while(|letter| is_name(*letter)).collect();
    let is_macro = rest[name.len()..].starts_with('!');
    if name.is_empty() || is_macro {
        Vec::new()
    } else {
        vec![name]
    }
}

/// The items of a list, up to the brace that closes it.
fn list_items(list: &str) -> Vec<&str> {
    let mut items = Vec::new();
    let (mut depth, mut start) = (0_i32, 0);
    for (at, letter) in list.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' if depth > 0 => {}
            ',' | '}' => {
                items.push(&list[start..at]);
                start = at + 1;
                if letter == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    items
}

fn after_colons(rest: &str) -> Option<&str> {
    rest.trim_start().strip_prefix("::").map(str::trim_start)
}

// ---------------------------------------------------------------------------------------------
// Reading source

/// A source file.
struct Source {
    /// From the repository's root, with `/`.
    path: String,
    text: String,
    /// The text with comments, strings and tests blanked: same length in bytes, same lines.
    code: String,
}

impl Source {
    fn new(path: String, text: String) -> Self {
        let is_test = path.starts_with("src/") && is_test_module(&path);
        let code = if is_test {
            blanked(&text)
        } else {
            without_tests(masked(&text))
        };
        Self { path, text, code }
    }

    /// The top-level module that the file belongs to; none for `lib.rs` and for binaries.
    fn room(&self) -> Option<&str> {
        let below = self.path.strip_prefix("src/")?;
        let first = below.split('/').next()?;
        let name = first.strip_suffix(".rs").unwrap_or(first);
        (!matches!(name, "lib" | "main" | "bin")).then_some(name)
    }

    /// How many modules deep the file is: 1 for `src/net.rs` and `src/net/mod.rs`.
    fn depth(&self) -> usize {
        let below = self.path.trim_start_matches("src/");
        below.split('/').filter(|part| *part != "mod.rs").count()
    }

    fn complaint(&self, at: usize, what: &str) -> String {
        let line = self.code[..at].matches('\n').count() + 1;
        format!("{}:{line}: {what}", self.path)
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All `.rs` files below the given folders, in order of their names.
fn sources(folders: &[&str]) -> Vec<Source> {
    let mut files = Vec::new();
    for folder in folders {
        collect(&root().join(folder), &mut files);
    }
    files.sort();
    files.into_iter().map(read).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn read(file: PathBuf) -> Source {
    let path = file.strip_prefix(root()).expect("found below the root");
    let path = path.to_str().expect("names here are UTF-8").to_string();
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{path}: {error}"));
    Source::new(path, text)
}

fn is_below(path: &str, place: &str) -> bool {
    path == place
        || path
            .strip_prefix(place)
            .is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
}

/// `src/room/tests.rs` and what is below `src/room/tests/`: modules behind `#[cfg(test)]`.
fn is_test_module(path: &str) -> bool {
    path.split('/')
        .any(|part| part == "tests" || part == "tests.rs")
}

fn is_name(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// Every place where `text` stands as whole words.
fn words(code: &str, text: &str) -> Vec<usize> {
    let is_whole = |at: usize| {
        let before = code[..at].chars().next_back();
        let after = code[at + text.len()..].chars().next();
        !before.is_some_and(is_name) && (text.ends_with(':') || !after.is_some_and(is_name))
    };
    code.match_indices(text)
        .map(|(at, _)| at)
        .filter(|at| is_whole(*at))
        .collect()
}

/// Whether a lower-case name and its `(` follow: a call, not a type or a constant.
fn starts_with_call(rest: &str) -> bool {
    let name_len = rest.find(|letter| !is_name(letter)).unwrap_or(rest.len());
    rest.starts_with(char::is_lowercase) && rest[name_len..].trim_start().starts_with('(')
}

/// A function: where its `fn` stands, and its lines from there to the closing brace.
struct Function {
    name: String,
    at: usize,
    lines: usize,
}

fn functions(code: &str) -> Vec<Function> {
    let mut found = Vec::new();
    for at in words(code, "fn") {
        let rest = code[at + 2..].trim_start();
        let name: String = rest.chars().take_while(|letter| is_name(*letter)).collect();
        // `fn(u8)` is a type; a signature without a body has no length.
        if name.is_empty() {
            continue;
        }
        if let Some(end) = item_end(&code[at..]).filter(|end| code[at..][..*end].ends_with('}')) {
            let lines = code[at..][..end].matches('\n').count() + 1;
            found.push(Function { name, at, lines });
        }
    }
    found
}

/// Where the item that begins here ends: behind its braces, or behind its semicolon.
fn item_end(code: &str) -> Option<usize> {
    let mut depth = 0_i32;
    for (at, letter) in code.char_indices() {
        match letter {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' => depth -= 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            ';' if depth == 0 => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// Blanks what stands behind `#[cfg(test)]` and `#[cfg(all(test, ..))]`.
fn without_tests(mut code: String) -> String {
    for start in ["#[cfg(test)]", "#[cfg(all(test,"] {
        while let Some(at) = code.find(start) {
            let attribute_len = code[at..].find(']').map_or(start.len(), |len| len + 1);
            let item = at + attribute_len;
            let end = item + item_end(&code[item..]).unwrap_or(code.len() - item);
            let blank = blanked(&code[at..end]);
            code.replace_range(at..end, &blank);
        }
    }
    code
}

/// Spaces in place of everything but line ends, byte for byte.
fn blanked(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte == b'\n' { '\n' } else { ' ' })
        .collect()
}

/// The text with comments and the contents of strings and characters blanked, byte for byte.
fn masked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut after_name = false;
    while let Some(letter) = rest.chars().next() {
        let len = match letter {
            _ if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            _ if rest.starts_with("/*") => block_comment_len(rest),
            '"' => string_len(rest),
            '\'' => character_len(rest),
            'r' | 'b' | 'c' if !after_name => raw_string_len(rest),
            _ => 0,
        };
        let (token, next) = rest.split_at(if len == 0 { letter.len_utf8() } else { len });
        out.push_str(&if len == 0 {
            token.to_string()
        } else {
            blanked(token)
        });
        after_name = len == 0 && is_name(letter);
        rest = next;
    }
    out
}

fn block_comment_len(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let step = match &text.as_bytes()[at..] {
            [b'/', b'*', ..] => {
                depth += 1;
                2
            }
            [b'*', b'/', ..] => {
                depth -= 1;
                2
            }
            _ => 1,
        };
        at += step;
        if depth == 0 {
            break;
        }
    }
    at
}

fn string_len(text: &str) -> usize {
    let mut escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of a character, or 0 for a lifetime.
fn character_len(text: &str) -> usize {
    let mut letters = text.char_indices().skip(1);
    match (letters.next(), letters.next()) {
        (Some((_, '\\')), Some((at, letter))) => {
            let from = at + letter.len_utf8();
            text[from..]
                .find('\'')
                .map_or(text.len(), |len| from + len + 1)
        }
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 0,
    }
}

/// The length of `r".."`, `r#".."#`, `br".."` and so on, or 0 for anything else.
fn raw_string_len(text: &str) -> usize {
    let Some(raw) = ["r", "br", "cr"]
        .into_iter()
        .find_map(|start| text.strip_prefix(start))
    else {
        return 0;
    };
    let hashes = raw.len() - raw.trim_start_matches('#').len();
    if !raw[hashes..].starts_with('"') {
        return 0;
    }
    let body = &raw[hashes + 1..];
    let close = format!("\"{}", "#".repeat(hashes));
    let end = body.find(&close).map_or(body.len(), |at| at + close.len());
    text.len() - body.len() + end
}

// ---------------------------------------------------------------------------------------------
// The test's own tests

fn source(path: &str, text: &str) -> Source {
    Source::new(path.to_string(), text.to_string())
}

#[test]
fn blanking_keeps_code_and_lengths() {
    let text = concat!(
        "a(\"{\\\"\", '{', '\\'', 'a, r#\"}\"}\"#, br\"{\") // {\n",
        "/* { /* } */ { */ é('é')",
    );
    let code = masked(text);
    assert_eq!(code.len(), text.len());
    assert_eq!(code.split_whitespace().collect::<String>(), "a(,,,'a,,)é()");
}

#[test]
fn a_wrong_import_is_found_in_every_form() {
    let wrong = [
        "use crate::net::TcpStream;",
        "use crate::{buf, net::{TcpStream, UdpSocket}};",
        "use crate::{\n    buf::{IoBuf, IoBufMut},\n    net,\n};",
        "fn f() { crate::net::connect() }",
        "use super::super::net::TcpStream;",
        "use crate::*;",
        "use crate::TcpStream;",
    ];
    for text in wrong {
        assert_eq!(
            layer_complaints(&source("src/fs/file.rs", text)).len(),
            1,
            "{text}"
        );
    }
    let right = [
        "use crate::{buf::IoBuf, driver, fs::dir, io, op};",
        "use super::net;",
        "/// Like `crate::net`.\nfn f() { crate::macro_of_the_root!() }",
        "pub(crate) fn f() {}",
        "#[cfg(test)]\nmod tests {\n    use crate::net;\n}",
        "#[cfg(all(test, feature = \"sim\"))]\nmod tests { use crate::net; }",
    ];
    for text in right {
        assert!(
            layer_complaints(&source("src/fs/file.rs", text)).is_empty(),
            "{text}"
        );
    }
    assert_eq!(layer_complaints(&source("src/unknown.rs", "")).len(), 1);
    assert!(layer_complaints(&source("src/http/file.rs", "use crate::TcpStream;")).is_empty());
    assert_eq!(
        layer_complaints(&source("src/http/file.rs", "use crate::driver;")).len(),
        1
    );
}

#[test]
fn functions_are_measured_by_their_braces() {
    let code = "fn a(x: [u8; 2]) {\n    \"}\";\n}\ntrait T { fn b(&self); }\nlet c: fn(u8) = d;\n";
    let found = functions(&masked(code));
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].name.as_str(), found[0].lines), ("a", 3));
}

#[test]
fn calls_differ_from_constants() {
    let libc = |text: &str| {
        words(text, "libc::")
            .iter()
            .any(|at| starts_with_call(&text[at + 6..]))
    };
    assert!(libc("libc::close(3)"));
    assert!(!libc("libc::EINTR"));
    assert!(!libc("size_of::<libc::sockaddr_in>()"));
    assert!(!libc("mylibc::close(3)"));
}

#[test]
fn places_are_whole_names() {
    assert!(is_below("src/op/recv.rs", "src/op") && is_below("src/op.rs", "src/op"));
    assert!(!is_below("src/open/file.rs", "src/op"));
    assert!(is_test_module("src/task/tests/timing.rs") && !is_test_module("src/attests.rs"));
}
