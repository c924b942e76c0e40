use serde_json::{Value, json};

use super::*;
use crate::case::Case;

fn ask(request: &Value, bytes: &[u8], case: &mut Option<Case>) -> Value {
    serde_json::from_str(&answer(request.to_string().as_bytes(), bytes, case)).unwrap()
}

/// Norms of every kind and type that the page verifies.
fn norms() -> Vec<(Value, bool)> {
    let lines = include_str!("../../../web/cases/verify.jsonl").lines();
    let cases = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
    let small =
        |norm: &Value| norm["shape"].as_array().unwrap().iter().filter_map(Value::as_u64).product::<u64>() < 5000;
    cases.map(|case| (case["norm"].clone(), case["given"] == true)).filter(|(norm, _)| small(norm)).collect()
}

#[test]
fn what_is_rounded_once_is_right_and_what_is_off_is_not() {
    let norms = norms();
    assert!(norms.len() > 60, "{}", norms.len());
    for (norm, takes_given) in norms {
        for given in [false, takes_given] {
            let mut case = None;
            let answer = ask(&json!({ "case": { "norm": norm, "fill": "normal", "given": given } }), &[], &mut case);
            let expected = answer["ok"]["expected"].as_array().unwrap_or_else(|| panic!("{norm}: {answer}"));
            assert!(expected.len() >= 2, "{norm}: {answer}");
            for result in expected {
                let name = result["name"].as_str().unwrap();
                let exact = case.as_ref().unwrap().rounded(name);
                let verdict = ask(&json!({ "judge": name }), &exact, &mut case);
                assert_eq!(verdict["ok"]["passes"], true, "{norm} {name}: {verdict}");
                // every number with the other sign; gradients through statistics of one element are 0
                let size = if result["element"] == "f32" { 4 } else { 2 };
                let is_zero = exact.chunks(size).all(|number| number.iter().rev().skip(1).all(|&byte| byte == 0));
                let mut wrong = exact;
                wrong.iter_mut().skip(size - 1).step_by(size).for_each(|high| *high ^= 0x80);
                let verdict = ask(&json!({ "judge": name }), &wrong, &mut case);
                assert_eq!(verdict["ok"]["passes"], is_zero, "{norm} {name}: {verdict}");
            }
        }
    }
}

#[test]
fn mistakes_are_answered_in_words() {
    let layer = json!({ "kind": "layer", "shape": [2, 3], "axes": [1] });
    for (request, expected) in [
        (json!(1), "the request cannot be read"),
        (json!({ "judge": "output" }), "no case was asked for"),
        (json!({ "case": { "norm": { "kind": "lair" }, "fill": "normal", "given": false } }), "'lair', one of"),
        (json!({ "case": { "norm": layer, "fill": "sand", "given": false } }), "unknown variant `sand`"),
        (json!({ "report": { "schema": 1 } }), "a report of schema 1, this program reads schema 2"),
    ] {
        let answer = ask(&request, &[], &mut None);
        assert!(answer["error"].as_str().is_some_and(|error| error.contains(expected)), "{request}: {answer}");
    }
    let mut case = None;
    ask(&json!({ "case": { "norm": layer, "fill": "normal", "given": false } }), &[], &mut case);
    for (name, bytes, expected) in
        [("output", 3, "output has 3 bytes, 24 are wanted"), ("gradStyle", 24, "this norm has no gradStyle")]
    {
        assert_eq!(ask(&json!({ "judge": name }), &vec![0; bytes], &mut case)["error"], expected);
    }
}

#[test]
fn a_misplaced_nan_is_named() {
    let norm = json!({ "kind": "layer", "shape": [2, 3], "axes": [1] });
    let mut case = None;
    ask(&json!({ "case": { "norm": norm, "fill": "normal", "given": false } }), &[], &mut case);
    let mut bytes = case.as_ref().unwrap().rounded("output");
    bytes[8..12].copy_from_slice(&f32::NAN.to_le_bytes());
    let verdict = ask(&json!({ "judge": "output" }), &bytes, &mut case);
    let found = ["passes", "misplaced", "index", "actual"].map(|name| verdict["ok"][name].clone());
    assert_eq!(found, [json!(false), json!(1), json!(2), json!("NaN")], "{verdict}");
}
