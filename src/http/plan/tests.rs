//! The answers, case by case, and random requests.

use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::http::testing::Random;

const FILE: FileVersion = FileVersion {
    len: 10_000,
    modified: UNIX_EPOCH,
    inode: 7,
};

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_000_000)
}

fn plan(method: Method, pairs: &[(&'static str, &str)]) -> Plan {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, value.parse().unwrap());
    }
    Plan::file(&method, &headers, "a.txt", &FILE, now())
}

fn get(pairs: &[(&'static str, &str)]) -> Plan {
    plan(Method::GET, pairs)
}

#[test]
fn a_plain_get() {
    let plan = get(&[]);
    assert_eq!(
        (plan.status, &plan.body),
        (StatusCode::OK, &Body::File(0..10_000))
    );
    for (name, value) in [
        ("content-length", "10000"),
        ("content-type", "text/plain; charset=utf-8"),
        ("accept-ranges", "bytes"),
        ("etag", "\"7-2710-0\""),
        ("last-modified", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(plan.headers[name], value);
    }
    assert_eq!(plan.headers.len(), 6);
}

#[test]
fn head_has_the_headers_of_get_and_no_body() {
    let head = plan(Method::HEAD, &[("range", "bytes=0-1")]);
    assert_eq!((head.status, &head.body), (StatusCode::OK, &Body::Empty));
    assert_eq!(head.headers, get(&[]).headers);
}

#[test]
fn one_range() {
    let plan = get(&[("range", "bytes=9990-")]);
    assert_eq!(
        (plan.status.as_u16(), &plan.body),
        (206, &Body::File(9_990..10_000))
    );
    assert_eq!(plan.headers["content-range"], "bytes 9990-9999/10000");
    assert_eq!(plan.headers["content-length"], "10");
}

#[test]
fn an_unsatisfiable_range() {
    let plan = get(&[("range", "bytes=10000-")]);
    assert_eq!(plan.status, 416);
    assert_eq!(plan.headers["content-range"], "bytes */10000");
    assert!(matches!(plan.body, Body::Text(_)));
}

#[test]
fn two_range_lines_or_a_broken_one_are_ignored() {
    assert_eq!(
        get(&[("range", "bytes=0-1"), ("range", "bytes=0-1")]).status,
        200
    );
    assert_eq!(get(&[("range", "bytes=5-3")]).status, 200);
}

#[test]
fn several_ranges_are_sent_in_parts() {
    let plan = get(&[("range", "bytes=100-199,0-9")]);
    assert_eq!(plan.status, 206);
    let content_type = plan.headers["content-type"].to_str().unwrap();
    assert_eq!(
        content_type,
        "multipart/byteranges; boundary=corering-7-2710-0"
    );
    assert!(!plan.headers.contains_key("content-range"));
    let Body::Parts(parts) = &plan.body else {
        panic!("{plan:?}")
    };
    let ranges: Vec<_> = parts.iter().map(|part| part.range.clone()).collect();
    assert_eq!(ranges, [100..200, 0..10, 0..0]);
    assert_eq!(
        parts[1].head,
        "\r\n--corering-7-2710-0\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Range: bytes 0-9/10000\r\n\r\n"
    );
    assert_eq!(parts[2].head, "\r\n--corering-7-2710-0--\r\n");
    assert_eq!(plan.headers["content-length"], plan.body.len().to_string());
}

#[test]
fn parts_longer_than_the_file_are_not_worth_it() {
    let plan = get(&[("range", "bytes=0-9899,9950-9999")]);
    assert_eq!(
        (plan.status, plan.body),
        (StatusCode::OK, Body::File(0..10_000))
    );
    assert_eq!(plan.headers["content-type"], "text/plain; charset=utf-8");
}

#[test]
fn conditions_come_before_ranges() {
    let range = ("range", "bytes=0-1");
    let not_modified = get(&[range, ("if-none-match", "*")]);
    assert_eq!(
        (not_modified.status, &not_modified.body),
        (StatusCode::NOT_MODIFIED, &Body::Empty)
    );
    assert_eq!(not_modified.headers["etag"], "\"7-2710-0\"");
    assert!(!not_modified.headers.contains_key("content-length"));
    assert_eq!(get(&[range, ("if-match", "\"x\"")]).status, 412);
    assert_eq!(get(&[range, ("if-range", "\"x\"")]).status, 200);
    assert_eq!(get(&[range, ("if-range", "\"7-2710-0\"")]).status, 206);
    // If-Range applies before satisfiability.
    assert_eq!(
        get(&[("range", "bytes=99999-"), ("if-range", "\"x\"")]).status,
        200
    );
}

#[test]
fn an_empty_file() {
    let empty = FileVersion { len: 0, ..FILE };
    let mut headers = HeaderMap::new();
    let plan = Plan::file(&Method::GET, &headers, "x", &empty, now());
    assert_eq!((plan.status, plan.body), (StatusCode::OK, Body::Empty));
    assert_eq!(plan.headers["content-length"], "0");
    headers.insert(RANGE, HeaderValue::from_static("bytes=0-"));
    assert_eq!(
        Plan::file(&Method::GET, &headers, "x", &empty, now()).status,
        416
    );
}

#[test]
fn other_methods_and_paths_are_refused() {
    let refused = admit(&Method::PUT, "/a").unwrap_err();
    assert_eq!(
        (refused.status.as_u16(), &refused.headers["allow"]),
        (405, &"GET, HEAD".parse().unwrap())
    );
    assert_eq!(admit(&Method::GET, "/%00").unwrap_err().status, 400);
    assert_eq!(admit(&Method::HEAD, "/..").unwrap_err().body, Body::Empty);
    assert!(
        admit(&Method::HEAD, "/a")
            .unwrap()
            .relative()
            .ends_with("a")
    );
}

#[test]
fn directories_get_their_slash_on_this_host() {
    for (target, location) in [
        ("/a", "/a/"),
        ("//evil.example", "/evil.example/"),
        ("//", "/"),
    ] {
        let path = RequestPath::parse(target).unwrap();
        let plan = Plan::redirect_to_directory(&Method::GET, &path);
        assert_eq!(
            (plan.status.as_u16(), &plan.headers["location"]),
            (301, &location.parse().unwrap())
        );
    }
}

#[test]
fn failures_to_open() {
    for (errno, status) in [
        (libc::ENOENT, 404),
        (libc::EXDEV, 404),
        (libc::EACCES, 403),
        (libc::EMFILE, 503),
        (libc::EIO, 500),
    ] {
        let error = io::Error::from_raw_os_error(errno);
        assert_eq!(Plan::open_failed(&Method::GET, &error).status, status);
    }
    assert_eq!(
        Plan::open_failed(&Method::GET, &io::Error::other("x")).status,
        500
    );
}

#[test]
fn pages_forbid_scripts() {
    let plan = Plan::page(&Method::GET, "<p>".to_owned());
    assert!(
        plan.headers["content-security-policy"]
            .to_str()
            .unwrap()
            .contains("'none'")
    );
    assert_eq!(plan.body, Body::Text("<p>".to_owned()));
}

/// Random headers: no panic, and what is promised is within the file and as long as announced.
#[test]
fn random_requests_get_consistent_answers() {
    const NAMES: [&str; 6] = [
        "range",
        "if-range",
        "if-match",
        "if-none-match",
        "if-modified-since",
        "x",
    ];
    const PIECES: [&str; 20] = [
        "bytes=",
        "bytes",
        "=",
        "-",
        ",",
        " ",
        "0",
        "9",
        "10000",
        "9999",
        "500-600",
        "7-8",
        "99999999999999999999",
        "\"7-2710-0\"",
        "W/",
        "\"",
        "*",
        "\t",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "x",
    ];
    let mut random = Random::new(0x5eed_0004);
    for round in 0..100_000 {
        let mut pairs = Vec::new();
        for _ in 0..random.below(4) {
            let mut value = String::from(["", "bytes="][random.below(2)]);
            for _ in 0..random.below(7) {
                value.push_str(PIECES[random.below(PIECES.len())]);
            }
            pairs.push((NAMES[random.below(NAMES.len())], value));
        }
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        check(&get(&pairs), &format!("round {round}: {pairs:?}"));
    }
}

fn check(plan: &Plan, context: &str) {
    let within = |range: &Range<u64>| range.start <= range.end && range.end <= FILE.len;
    match &plan.body {
        Body::Empty | Body::Text(_) => {}
        Body::File(range) => assert!(within(range), "{context}"),
        Body::Parts(parts) => {
            assert!(parts.iter().all(|part| within(&part.range)), "{context}")
        }
    }
    assert!(plan.body.len() <= FILE.len, "{context}");
    let length = plan
        .headers
        .get("content-length")
        .map(|value| value.to_str().unwrap());
    match plan.status.as_u16() {
        304 => assert_eq!(length, None, "{context}"),
        200 | 206 | 412 | 416 => {
            assert_eq!(
                length,
                Some(plan.body.len().to_string().as_str()),
                "{context}"
            );
        }
        other => panic!("{other} for {context}"),
    }
}
