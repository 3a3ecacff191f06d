//! Figures, table and JSON of made-up rounds.

use super::*;
use crate::load::Recorder;

/// A round with `requests` in one second, whose latencies run from 20 µs with a long tail.
pub(crate) fn measurement(requests: u64) -> Measurement {
    let mut recorder = Recorder::new();
    let start = std::time::Instant::now();
    for n in 1..=requests {
        let rank = requests as f64 / n as f64;
        let nanos = 20_000.0 + 9_000.0 * rank.powf(0.55);
        recorder.record(start, start + Duration::from_nanos(nanos as u64));
    }
    let wave = |n: u32| requests as f64 * (1.0 + 0.04 * (f64::from(n) * 0.9).sin());
    let over_time = (1..=50).map(|n| Sample {
        at_s: f64::from(n) / 10.0,
        requests_per_s: if n == 31 { wave(n) * 0.7 } else { wave(n) },
    });
    Measurement {
        elapsed: Duration::from_secs(1),
        requests,
        bytes: requests * 64,
        errors: 0,
        latency: recorder.histogram().clone(),
        server: Cost {
            cpu: Some(Duration::from_millis(500)),
            enters: Some(requests / 10),
        },
        load: Cost {
            cpu: Some(Duration::from_millis(750)),
            enters: None,
        },
        over_time: over_time.collect(),
    }
}

pub(crate) fn report(rates: &[u64]) -> Report {
    let options = serde_json::json!({
        "connections": 32, "size": 64, "depth": 1, "duration": "5s", "rate": null,
        "server_cores": 1, "load_cores": 1,
    });
    let rounds = rates.iter().map(|rate| measurement(*rate)).collect();
    Report::new("corering bench echo", &options, Mode::Closed, rounds)
}

#[test]
fn figures_of_one_round() {
    let report = report(&[100_000]);
    let figures = report.median;
    assert_eq!((figures.requests_per_s, figures.mb_per_s), (100_000.0, 6.4));
    assert_eq!(
        (figures.server_cpu_s, figures.load_cpu_s),
        (Some(5.0), Some(7.5))
    );
    assert_eq!(
        (figures.server_enters, figures.load_enters),
        (Some(0.1), None)
    );
    assert!(figures.p50_us < figures.p99_us && figures.p99_us < figures.p999_us);
    assert!(figures.p999_us < figures.max_us);
}

#[test]
fn medians_and_the_typical_round() {
    let three = report(&[3000, 1000, 2000]);
    assert_eq!(three.median.requests_per_s, 2000.0);
    assert_eq!(three.typical_round().requests, 2000);
    let two = report(&[3000, 1000]);
    assert_eq!(two.median.requests_per_s, 2000.0);
    assert_eq!(two.typical_round().requests, 1000);
    assert!(three.table().contains("median of 3"));
}

#[test]
fn the_table_is_aligned_and_complete() {
    let table = report(&[100_000, 120_000]).table();
    let rows: Vec<&str> = table
        .lines()
        .filter(|line| line.contains("CPU, s per"))
        .collect();
    assert_eq!(rows.len(), 2);
    let rows = table
        .lines()
        .skip_while(|line| !line.contains("median"))
        .skip(1);
    for line in rows.take_while(|line| !line.is_empty()) {
        assert_eq!(line.chars().count(), 34 + 3 * 14, "{line:?}");
    }
    assert!(table.contains("connections 32"), "{table}");
    assert!(!table.contains("rate null"), "{table}");
    assert!(table.contains("service time"), "{table}");
    assert!(
        !table.contains("load ring enters"),
        "what was not measured is absent: {table}"
    );
    assert!(
        table.contains("220,000 requests in 2.00 s, 0 errors"),
        "{table}"
    );
}

#[test]
fn json_holds_what_the_table_holds() {
    let json: serde_json::Value = serde_json::from_str(&report(&[1000]).json()).unwrap();
    assert_eq!(json["schema"], 1);
    assert_eq!(json["mode"]["loop"], "closed");
    assert_eq!(json["median"]["requests_per_s"], 1000.0);
    assert_eq!(json["rounds"][0]["requests"], 1000);
    assert_eq!(json["rounds"][0]["requests_per_s"], 1000.0);
    assert!(json["median"].get("load_enters").is_none());
    assert!(json["machine"]["cores"].as_u64().unwrap() >= 1);
}

#[test]
fn a_round_without_requests_has_no_costs_per_request() {
    let empty = report(&[0]);
    assert_eq!(empty.median.requests_per_s, 0.0);
    assert_eq!(empty.median.server_cpu_s, None);
    assert!(empty.rounds[0].latency_curve.is_empty());
    assert!(empty.table().contains("0 requests"));
}

#[test]
fn the_curve_ends_with_the_last_request() {
    let curve = report(&[1000]).rounds.remove(0).latency_curve;
    assert_eq!((curve.len(), curve[0].percentile), (31, 0.0));
    assert!((curve[30].percentile - 99.9).abs() < 1e-9);
    assert!(curve.windows(2).all(|pair| pair[0].us <= pair[1].us));
}

#[test]
fn numbers_for_people() {
    for (value, text) in [
        (1_234_567.4, "1,234,567"),
        (999.96, "1,000"),
        (100.0, "100"),
        (99.94, "99.9"),
        (12.345, "12.3"),
        (9.996, "10.0"),
        (1.0, "1.00"),
        (0.01234, "0.0123"),
        (0.0, "0"),
    ] {
        assert_eq!(readable(value), text);
    }
    assert_eq!(grouped(0), "0");
    assert_eq!(grouped(1000), "1,000");
    assert_eq!(grouped(u64::MAX), "18,446,744,073,709,551,615");
}

#[test]
fn files_are_written_where_asked() {
    let report = report(&[10]);
    let dir = crate::workspace::Workspace::create(None, false).unwrap();
    let [json, svg] = ["a.json", "a.svg"].map(|name| dir.root().join(name));
    let output = Output {
        json: Some(json.clone()),
        svg: Some(svg.clone()),
        quiet: true,
    };
    write_files(&report, &output).unwrap();
    assert!(fs::read_to_string(svg).unwrap().starts_with("<svg"));
    assert!(fs::read_to_string(json).unwrap().starts_with('{'));
    let nowhere = Output {
        json: Some("/nowhere/a".into()),
        ..output
    };
    let failure = write_files(&report, &nowhere).unwrap_err().to_string();
    assert!(
        failure.starts_with("corering: cannot write /nowhere/a: "),
        "{failure}"
    );
}

#[test]
fn cpu_models() {
    let text = "processor\t: 0\nmodel name\t: AMD EPYC 7763\nmodel name\t: other\n";
    assert_eq!(cpu_model(text).unwrap(), "AMD EPYC 7763");
    assert_eq!(cpu_model("processor : 0\n"), None);
}
