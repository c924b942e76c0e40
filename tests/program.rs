//! The program from outside: what it prints, what it writes, how it ends.

use std::process::{Command, Output};

fn wgpu_norm(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wgpu-norm")).args(arguments).env("NODEVICE_SELECT", "1").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_benchmark_of_one_case_is_printed_and_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.json");
    let output = wgpu_norm(&["bench", "layer", "64x64", "--training", "--backward", "--json", path.to_str().unwrap()]);
    let table = text(&output.stdout);
    assert!(output.status.success(), "{table}{}", text(&output.stderr));
    assert!(table.contains("64x64") && table.contains("geometric mean"), "{table}");
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(report["schema"], 2);
    assert!(report["roofs"]["triad"].as_f64().unwrap() > 0.0, "{report}");
    let rows = report["rows"].as_array().unwrap();
    assert_eq!(rows.iter().map(|row| row["pass"].as_str().unwrap()).collect::<Vec<_>>(), ["training", "backward"]);
    for row in rows {
        assert!(row["ratio"].as_f64().unwrap() > 0.0 && row["error"].as_f64().unwrap() < 1e-6, "{row}");
    }
    let beside = wgpu_norm(&["bench", "layer", "64x64", "--backward", "--peers", path.to_str().unwrap()]);
    assert!(text(&beside.stdout).contains("x as fast"), "{}", text(&beside.stdout));
}

#[test]
fn mistakes_are_one_line_and_exit_code_2() {
    for (arguments, expected) in [
        (&["bench", "layer", "64by64"][..], "'64by64' is no shape"),
        (&["bench", "--suite", "everything"], "possible values: quick, reference, standard, full"),
        (&["bench", "--filter", "no such norm"], "no case matches"),
        (&["bench", "--json", "no/such/folder/r.json"], "does not exist"),
        (&["bench", "--peers", "Cargo.toml"], "no report of bench"),
        (&["bench", "layer", "64x64", "--peer", "'"], "a quote is not closed"),
        (&["bench", "layer", "1048576x1048576"], "nothing was measured: a tensor has 4398046511104 bytes"),
    ] {
        let output = wgpu_norm(arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        let said = error.lines().any(|line| line.starts_with("error: ") && line.contains(expected));
        assert!(said, "{arguments:?}: {error}");
    }
}
