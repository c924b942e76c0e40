//! The program from outside: what it prints, what it writes, how it ends.

use std::process::{Command, Output};

/// A report that is committed, and the image of it.
const REPORT: &str = "docs/results/lavapipe-reference.json";
const IMAGE: &str = "docs/results/lavapipe-reference.svg";

/// Top of the checkout.
const TOP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// Runs the program there.
fn wgpu_norm(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wgpu-norm"));
    command.args(arguments).env("NODEVICE_SELECT", "1").current_dir(TOP).output().unwrap()
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
    let beside = wgpu_norm(&["bench", "--from", path.to_str().unwrap(), "--peers", path.to_str().unwrap()]);
    assert!(text(&beside.stdout).contains("x as fast"), "{}", text(&beside.stdout));
}

#[test]
fn a_benchmark_of_16_bits_names_its_types() {
    let output =
        wgpu_norm(&["bench", "layer", "64x65", "--backward", "--dtype", "bf16", "--parameters", "same", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{report}{}", text(&output.stderr));
    let row = &report["rows"][0];
    assert_eq!([&row["dtype"], &row["parameters"]], ["bf16"; 2], "{row}");
    // three tensors and three parameters of two bytes an element, two statistics a row
    assert_eq!(row["min_bytes"], 2 * (3 * 64 * 65 + 3 * 65) + 4 * 2 * 64, "{row}");
    assert!(row["error"].as_f64().unwrap() < 1e-6, "{row}");
}

/// What the page in `web/` verifies and measures is what the program does.
#[test]
fn the_page_has_the_cases_of_the_program() {
    for (arguments, file) in
        [("verify --all --list", "web/cases/verify.jsonl"), ("bench --suite reference --list", "web/cases/bench.jsonl")]
    {
        let output = wgpu_norm(&arguments.split(' ').collect::<Vec<_>>());
        assert!(output.status.success(), "{}", text(&output.stderr));
        let kept = std::fs::read_to_string(format!("{TOP}/{file}")).unwrap();
        assert!(text(&output.stdout) == kept, "other cases than before: wgpu-norm {arguments} > {file}");
    }
}

#[cfg(unix)]
#[test]
fn a_peer_that_hangs_takes_nothing_along() {
    let folder = tempfile::tempdir().unwrap();
    let (peer, path) = (folder.path().join("peer.sh"), folder.path().join("report.json"));
    std::fs::write(&peer, r#"echo '{"peer":"hung 1","adapter":"none"}'; read -r line; sleep 600 & wait"#).unwrap();
    let peer = format!("sh '{}'", peer.display());
    let limited = ["bench", "layer", "64x64", "--training", "--backward", "--peer-timeout", "1", "--peer", &peer];
    let output = wgpu_norm(&[&limited[..], &["--json", path.to_str().unwrap()]].concat());
    let (table, progress) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{table}{progress}");
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(report["rows"].as_array().unwrap().len(), 2, "{report}");
    for (at, pass) in ["training", "backward"].into_iter().enumerate() {
        let skipped = &report["skipped"][at];
        assert_eq!((&skipped["peer"], &skipped["pass"]), (&"hung 1".into(), &pass.into()), "{report}");
        let said = format!("skipped: layer 64x64 rows {pass} by hung 1: timed out: killed after 1 s (--peer-timeout)");
        assert!(table.contains(&said), "{said} in {table}");
        let begun = format!("bench {}/2 after ", at + 1);
        let of_case = format!("s hung 1: layer 64x64 rows {pass}");
        assert!(progress.lines().any(|line| line.starts_with(&begun) && line.ends_with(&of_case)), "{progress}");
    }
}

#[test]
fn a_suite_for_gpus_runs_small_on_a_processor_and_says_so() {
    let output = wgpu_norm(&["bench", "--suite", "gpu", "--filter", "layer 1048576x256 rows forward", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let shape = &report["rows"][0]["shape"];
    if report["device_type"] == "software" {
        assert_eq!(shape, "4096x256", "{report}");
        assert!(report["notes"][0].as_str().unwrap().contains("1 of 1 cases have fewer samples"), "{report}");
    }
}

#[test]
fn a_report_is_shown_without_an_adapter() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (page, image, copy) = (path("page.html"), path("plot.svg"), path("copy.json"));
    for (arguments, printed, written) in [
        (&[][..], "geometric mean", None),
        (&["--compare", REPORT], "0 slower, 0 faster, 98 within the noise", None),
        (&["--html", &page], "geometric mean", Some((&page, "<h2>Share of the roof</h2>"))),
        (&["--plot", &image], "geometric mean", Some((&image, ">batch inference</text>"))),
        (&["--json", &copy], "geometric mean", Some((&copy, "\"schema\": 2"))),
    ] {
        let output = wgpu_norm(&[&["bench", "--from", REPORT], arguments].concat());
        let table = text(&output.stdout);
        assert!(output.status.success() && table.contains(printed), "{arguments:?}: {table}{}", text(&output.stderr));
        if let Some((path, part)) = written {
            let contents = std::fs::read_to_string(path).unwrap();
            assert!(contents.contains("llvmpipe") && contents.contains(part), "{part} in {contents}");
        }
    }
    let drawn = std::fs::read_to_string(image).unwrap();
    let same = drawn == std::fs::read_to_string(format!("{TOP}/{IMAGE}")).unwrap();
    assert!(same, "draw it again: wgpu-norm bench --from {REPORT} --plot {IMAGE}");
}

#[test]
fn every_pass_of_verify_is_counted() {
    let output = wgpu_norm(&["verify", "--filter", "rms fused add", "--pass", "defaults"]);
    let table = text(&output.stdout);
    assert!(output.status.success(), "{table}{}", text(&output.stderr));
    let counted = |line: &str| line.starts_with("default limits, no subgroups: ") && line.contains(" passed, 0 failed");
    assert_eq!(table.lines().filter(|line| counted(line)).count(), 1, "{table}");

    let output = wgpu_norm(&["verify", "--all", "--filter", "rms fused add", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["passed"], true, "{report}");
    let software = report["adapter"].as_str().unwrap().ends_with("software)");
    let passes = report["passes"].as_array().unwrap();
    assert_eq!(passes.len(), if software { 4 } else { 2 }, "{report}");
    let cases = |lines: &serde_json::Value| -> u64 {
        lines.as_array().unwrap().iter().map(|line| line["cases"].as_u64().unwrap()).sum()
    };
    assert!(passes.iter().all(|pass| pass["cases"].as_u64().unwrap() > 0), "{report}");
    assert_eq!(cases(&report["passes"]), cases(&report["lines"]), "{report}");
}

#[test]
fn verify_finds_norms_by_what_stands_around_them() {
    for (arguments, norms) in [
        (&["verify", "--filter", "rms fused", "--json"][..], &["rms fused add", "rms fused as llama bf16/bf16"][..]),
        (&["verify", "--all", "--pass", "defaults", "--filter", "fused gates", "--json"], &["layer fused gates"]),
    ] {
        let output = wgpu_norm(arguments);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["passed"], true, "{report}");
        let lines = report["lines"].as_array().unwrap();
        for norm in norms {
            let schedules = lines.iter().filter(|line| line["norm"] == *norm).map(|line| &line["schedule"]);
            let backward = schedules.map(|schedule| schedule.as_str().unwrap().starts_with("backward"));
            let ways: std::collections::BTreeSet<bool> = backward.collect();
            assert_eq!(ways.len(), 2, "{norm} forward and backward in {report}");
        }
        assert!(lines.iter().all(|line| norms.contains(&line["norm"].as_str().unwrap())), "{report}");
    }
}

#[test]
fn mistakes_are_one_line_and_exit_code_2() {
    for (arguments, expected) in [
        (&["bench", "layer", "64by64"][..], "'64by64' is no shape"),
        (&["bench", "--suite", "everything"], "possible values: quick, reference, standard, full, gpu"),
        (&["bench", "--filter", "no such norm"], "no case matches"),
        (&["bench", "--json", "no/such/folder/r.json"], "does not exist"),
        (&["bench", "--peers", "Cargo.toml"], "no report of bench"),
        (&["bench", "--plot", "plot.png"], "a name that ends in .svg"),
        (&["bench", "--plot", "no/such/folder/plot.svg"], "does not exist"),
        (&["bench", "--from", REPORT, "--html", REPORT], "--html would write over"),
        (&["bench", "--from", REPORT, "--html", "both.svg", "--plot", "both.svg"], "--plot would write over"),
        (&["bench", "layer", "64x64", "--peer", "'"], "a quote is not closed"),
        (&["bench", "layer", "64x64", "--dtype", "f64"], "possible values: f32, f16, bf16"),
        (&["bench", "--suite", "quick", "--parameters", "f16"], "possible values: f32, same"),
        (&["bench", "--suite", "quick", "--dtype", "bf16", "--list"], "no word for types"),
        (&["bench", "layer", "64x64", "--dtype", "f16", "--peer", "true"], "no word for types"),
        (&["bench", "--tune", "--dtype", "f16"], "cannot be used with"),
        (&["bench", "group", "8x64x7x7", "--groups", "-1"], "'--groups <N>': '-1' is no whole number from 1"),
        (&["bench", "layer", "64x64", "--axes", "-1"], "'--axes <N>': '-1' is no whole number from 0 to 8"),
        (&["bench", "lp", "64x64", "--p", "1e-50"], "'--p <P>': '1e-50' would be 0"),
        (&["bench", "layer", "64x64", "--peer-timeout", "-1"], "'--peer-timeout <SECONDS>'"),
        (&["bench", "--suite", "quick", "--at-least", "-1"], "'--at-least <MIB>'"),
        (&["plan", "group", "8x64x7x7", "--groups", "-1"], "'--groups <N>': '-1' is no whole number from 1"),
        (&["plan", "layer", "64x64", "--dtype", "half"], "possible values: f32, f16, bf16"),
        (&["plan", "layer", "64x64", "--json", "no/such/folder/p.json"], "does not exist"),
        (&["plan", "layer", "64x64", "--json", "."], "not a regular file"),
        (&["plan", "layer", "64x64", "--profile", "none.json"], "add --limits adapter"),
        (&["bench", "--list", "--json", "cases.json"], "cannot be used with"),
        (&["verify", "--filter", "no such norm"], "no kind of norm matches"),
        (&["verify", "--pass", "everything"], "possible values: adapter, defaults, downlevel, as-gpu, as-large-gpu"),
        (&["bench", "layer", "1048576x1048576"], "nothing was measured: a tensor has 4398046511104 bytes"),
    ] {
        let output = wgpu_norm(arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        let said = error.lines().any(|line| line.starts_with("error: ") && line.contains(expected));
        assert!(said, "{arguments:?}: {error}");
    }
}
