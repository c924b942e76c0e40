//! `wgpu-norm plan`: without a device, and with all that another host needs.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// Runs the program where no driver is found.
fn plan(folder: &Path, arguments: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wgpu-norm"));
    command.current_dir(folder).env("VK_DRIVER_FILES", "/none").env("VK_ICD_FILENAMES", "/none");
    command.arg("plan").args(arguments.split(' ')).output().unwrap()
}

fn text(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a Vec<Value> {
    value[name].as_array().unwrap_or_else(|| panic!("no list {name} in {value}"))
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn the_json_is_complete() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for (case, operations, names) in [
        ("layer 4096x1024", &["forward"][..], &["input", "scale", "bias", "output"][..]),
        ("batch 8x64x7x9 --format channels-last", &["import", "inference"], &["running mean", "running variance"]),
        ("batch 8x64x7x9 --pass backward", &["backward"], &["grad_output", "grad_input", "grad_scale", "workspace"]),
        ("adain 2x3x4099 --pass backward", &["backward"], &["style", "grad_style", "moments"]),
        ("instance 2x3x4099 --training", &["forward"], &["moments", "output"]),
    ] {
        text(&plan(path, &format!("{case} --json plan.json --shaders kernels")));
        let plans: Value = serde_json::from_slice(&std::fs::read(path.join("plan.json")).unwrap()).unwrap();
        let [planned] = plans.as_array().unwrap().as_slice() else { panic!("{case}: {plans}") };
        let recipes = list(planned, "recipes");
        assert_eq!(recipes.iter().map(|recipe| recipe["operation"].as_str().unwrap()).collect::<Vec<_>>(), operations);
        let mut known = BTreeSet::new();
        for recipe in recipes {
            let (buffers, kernels) = (list(recipe, "buffers"), list(recipe, "kernels"));
            known.extend(buffers.iter().map(|buffer| buffer["name"].as_str().unwrap().to_owned()));
            for kernel in kernels {
                let (name, source) = (kernel["name"].as_str().unwrap(), kernel["source"].as_str().unwrap());
                assert!(
                    source.contains("@compute") && source.contains(kernel["entry_point"].as_str().unwrap()),
                    "{name}"
                );
                let written = std::fs::read_dir(path.join("kernels")).unwrap().flatten();
                let mut texts = written.map(|file| std::fs::read_to_string(file.path()).unwrap());
                assert!(texts.any(|text| text == source), "{name} is not among the files");
            }
            for dispatch in list(recipe, "dispatches") {
                let kernel = &kernels[number(&dispatch["kernel"]) as usize];
                let parameters = dispatch["parameters"].as_str().unwrap();
                assert!(!parameters.is_empty() && parameters.len() % 32 == 0, "{case}: {parameters}");
                assert!(list(dispatch, "workgroups").iter().all(|count| number(count) > 0), "{case}");
                let bindings = list(dispatch, "bindings");
                assert_eq!(bindings.len(), list(kernel, "bindings").len(), "{case}");
                for binding in bindings {
                    let buffer = &buffers[number(&binding["buffer"]) as usize];
                    let end = number(&binding["offset"]) + number(&binding["size"]);
                    assert!(end <= number(&buffer["size"]), "{case}: {binding} of {buffer}");
                }
            }
        }
        for name in names {
            assert!(known.contains(*name), "{case}: no {name} in {known:?}");
        }
        for tensor in list(planned, "tensors") {
            let elements: u64 = list(tensor, "shape").iter().map(number).product();
            let mut buffers = recipes.iter().flat_map(|recipe| list(recipe, "buffers"));
            let size = buffers.find(|buffer| buffer["name"] == tensor["name"]).map(|buffer| number(&buffer["size"]));
            assert_eq!(size, Some((4 * elements).max(16)), "{case}: {tensor}");
        }
    }
}

#[test]
fn tensors_have_the_shapes_of_files() {
    let folder = tempfile::tempdir().unwrap();
    for (case, expected) in [
        ("layer 5x2x3 --axes 2", "input f32 5,2,3; scale f32 2,3; bias f32 2,3; output f32 5,2,3"),
        (
            "rms 1x7 --backward --dtype f16",
            "input f16 1,7; scale f32 7; grad_output f16 1,7; grad_input f16 1,7; grad_scale f32 7; \
             grad_bias f32 7",
        ),
        (
            "batch 2x3x5x7 --format channels-last --dtype bf16 --parameters same",
            "input bf16 2,5,7,3; scale bf16 3; bias bf16 3; running mean f32 3; running variance f32 3; \
             output bf16 2,5,7,3",
        ),
        ("adain 2x3x5", "input f32 2,3,5; style f32 2,3,5; output f32 2,3,5"),
    ] {
        let plans: Value = serde_json::from_str(&text(&plan(folder.path(), &format!("{case} --json")))).unwrap();
        let words = list(&plans[0], "tensors").iter().map(|tensor| {
            let shape: Vec<_> = list(tensor, "shape").iter().map(Value::to_string).collect();
            format!("{} {} {}", tensor["name"].as_str().unwrap(), tensor["element"].as_str().unwrap(), shape.join(","))
        });
        assert_eq!(words.collect::<Vec<_>>().join("; "), expected, "{case}");
    }
}

#[test]
fn the_tables_show_each_dispatch_and_what_a_device_cannot_do_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let plan = |arguments: &str| plan(folder.path(), arguments);
    let layer = text(&plan("layer 4096x1024"));
    for part in [
        "layer 4096x1024 rows forward, by ",
        "input 0+16777216",
        "output! 0+16777216",
        "parameters of 0\n  places: phase=",
    ] {
        assert!(layer.contains(part), "{part} in {layer}");
    }
    let suite = text(&plan("--suite quick --pass backward"));
    assert!(suite.contains("group 32 8x64x60x60 channels-last backward"), "{suite}");
    assert!(!suite.contains(" forward, by") && !suite.contains("parameters of"), "{suite}");
    // four storage buffers serve inference, and no gradient to a scale
    text(&plan("layer 4096x1024 --limits downlevel"));
    let refused = plan("layer 4096x1024 --backward --limits downlevel");
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{words}");
    assert!(words.contains("max_storage_buffers_per_shader_stage"), "{words}");
    let adapter = plan("layer 4096x1024 --limits adapter");
    let words = String::from_utf8_lossy(&adapter.stderr).into_owned();
    assert!(adapter.status.code() == Some(2) && words.contains("no GPU adapter found"), "{words}");
    assert!(!plan("--pass backward").status.success());
}
