//! Requests and answers, as the module in a browser has them: the same code, on this machine.

use serde_json::{Value, json};
use wgpu_norm::{
    BindError, BufferId, DeviceFacts, ForwardArgs, NormDescriptor, NormKind, Operand, Planner, TensorView,
};
use wgpu_norm_web::answer;

fn facts() -> Value {
    let d = DeviceFacts::DEFAULT;
    json!({
        "kind": "gpu",
        "minSubgroup": d.min_subgroup,
        "maxWorkgroupSize": d.max_workgroup_size,
        "maxWorkgroupMemory": d.max_workgroup_memory,
        "maxWorkgroupCount": d.max_workgroup_count,
        "maxStorageBuffers": d.max_storage_buffers,
        "maxBinding": d.max_binding,
        "storageAlign": d.storage_align,
        "uniformAlign": d.uniform_align,
    })
}

/// A buffer as the recorder describes it.
fn buffer(id: u32, size: u64) -> Value {
    json!({ "gpuBuffer": id, "size": size, "usage": 0x80 })
}

fn ask(request: &Value) -> Result<Value, (String, String)> {
    let answer: Value = serde_json::from_str(&answer(&request.to_string())).expect("JSON");
    let text = |name: &str| answer["error"][name].as_str().expect("a text").to_owned();
    if answer.get("error").is_some() { Err((text("code"), text("message"))) } else { Ok(answer["ok"].clone()) }
}

fn plan(descriptor: &Value) -> Result<Value, (String, String)> {
    ask(&json!({ "facts": facts(), "descriptor": descriptor }))
}

fn bind(descriptor: &Value, operation: &str, args: &Value, sources: bool) -> Result<Value, (String, String)> {
    let (facts, args) = (facts(), args.clone());
    ask(&json!({
        "facts": facts,
        "descriptor": descriptor,
        "operation": operation,
        "args": args,
        "sources": sources,
    }))
}

#[test]
fn a_recipe_is_the_librarys() {
    let planner = Planner::new(DeviceFacts::DEFAULT);
    let plan = planner.plan(&NormDescriptor::new(NormKind::Layer { axes: 1..2 }, &[64, 1000])).unwrap();
    let view = |id, size| TensorView::at(BufferId { id, size }, 0);
    let args = ForwardArgs::new(view(0, 256_000), TensorView::at(BufferId { id: 1, size: 256_004 }, 4))
        .scale(view(2, 4000))
        .bias(view(3, 4000));
    let expected = plan.forward(&args).unwrap().to_json(|buffer| buffer.id.to_string());
    let descriptor = json!({ "kind": "layer", "shape": [64, 1000], "normalizedShape": [1000] });
    let output = json!({ "buffer": buffer(1, 256_004), "offset": 4 });
    let args = json!({
        "input": buffer(0, 256_000),
        "output": output,
        "scale": buffer(2, 4000),
        "bias": buffer(3, 4000),
    });
    assert_eq!(bind(&descriptor, "forward", &args, true), Ok(expected.clone()));
    // by name: the same without sources
    let by_name = bind(&descriptor, "forward", &args, false).unwrap();
    let names: Vec<_> = expected["kernels"].as_array().unwrap().iter().map(|kernel| kernel["name"].clone()).collect();
    assert_eq!(by_name["kernels"], Value::Array(names));
    assert_eq!(by_name["dispatches"], expected["dispatches"]);
}

/// Every kind, and every field that a descriptor may have: what plans otherwise with a field than without has read it.
#[test]
fn every_field_is_read() {
    let last = |kind: &str| json!({ "kind": kind, "shape": [2, 8, 8], "format": "channels-last" });
    let cases = [
        last("batch"),
        last("instance"),
        json!({ "kind": "group", "shape": [2, 8, 8], "groups": 4, "affineAxes": "groups" }),
        json!({ "kind": "layer", "shape": [2, 8, 8], "axes": [1, 2], "eps": 1e-3, "affine": "none" }),
        json!({ "kind": "layer", "shape": [2, 8, 8], "normalizedShape": [8], "affineAxes": [0, 2], "label": "adaln" }),
        json!({ "kind": "rms", "shape": [2, 8, 8], "normalizedShape": [8], "eps": "machine", "types": "bf16" }),
        json!({ "kind": "rms", "shape": [2, 8], "axes": [1], "types": { "input": "f16", "gradBias": "bf16" } }),
        json!({ "kind": "lp", "shape": [2, 8], "axes": [1], "p": "Infinity", "eps": { "minimum": 1e-6 } }),
        json!({ "kind": "weight", "shape": [8, 3], "dim": null }),
        json!({ "kind": "weight", "shape": [8, 3], "dim": 1, "eps": { "asGiven": 0 } }),
        json!({ "kind": "mvn", "shape": [2, 3, 8], "axes": [0, 2], "eps": { "addedToDeviation": 1e-9 } }),
        json!({ "kind": "batch", "shape": [1, 3], "singleElement": "allow" }),
        json!({ "kind": "adain", "shape": [2, 3, 8], "styleShape": [1, 3, 5], "styleEps": "none", "variance": "unbiased" }),
        json!({ "kind": "spectral", "shape": [8, 3], "dim": 1, "eps": 1e-6, "order": "v-then-u" }),
        json!({ "kind": "layer", "shape": [2, 8], "axes": [1], "fusion": {
            "prologue": { "multiplier": { "gate": [0] }, "bias": [1], "residual": [0, 1], "rounding": "f16" },
            "onePlusScale": true,
            "normalizedRounding": "as-output",
            "modulation": { "axes": [0, 1], "onePlus": false },
            "epilogue": { "addend": true, "activation": "gelu-tanh", "gate": { "leakyRelu": 0.1 }, "outGate": [0],
                "outResidual": true, "factor": 0.5 },
        } }),
        json!({ "kind": "rms", "shape": [2, 8], "axes": [1], "fusion": {
            "prologue": { "multiplier": { "activation": "silu" } },
            "quantization": { "format": "e4m3", "scale": { "block": 4 }, "least": 1e-4 },
        } }),
    ];
    for descriptor in &cases {
        let planned = plan(descriptor).unwrap_or_else(|error| panic!("{descriptor}: {error:?}"));
        assert!(planned["length"].as_u64() > Some(0), "{planned}");
        let mut other = descriptor.clone();
        other["nonsense"] = true.into();
        let (code, message) = plan(&other).unwrap_err();
        assert_eq!(code, "ArgumentError::UnknownField");
        assert!(message.starts_with("descriptor has no field 'nonsense': it has kind, label, shape"), "{message}");
    }
    // of the same norm in two words: the same plan
    let named = plan(&json!({ "kind": "layer", "shape": [2, 8, 8], "normalizedShape": [8, 8] }));
    assert_eq!(named, plan(&json!({ "kind": "layer", "shape": [2, 8, 8], "axes": [1, 2] })));
}

#[test]
fn every_operation_is_there() {
    let descriptor = json!({ "kind": "batch", "shape": [4, 3, 10] });
    let planned = plan(&descriptor).unwrap();
    let room = |id| buffer(id, 1 << 16);
    let operations = [
        ("forward", json!({ "input": room(0), "output": room(1), "scale": room(2), "bias": room(3) })),
        (
            "forward",
            json!({ "input": room(0), "output": "in-place", "scale": room(2), "bias": room(3),
                "statistics": { "given": room(4) } }),
        ),
        (
            "training",
            json!({ "input": room(0), "output": room(1), "scale": room(2), "bias": room(3), "saved": room(4) }),
        ),
        (
            "backward",
            json!({ "input": room(0), "gradOutput": room(1), "scale": room(2), "statistics": { "saved": room(4) },
                "gradInput": room(5), "gradScale": room(6), "gradBias": room(7) }),
        ),
        (
            "runningUpdate",
            json!({ "saved": room(0), "mean": room(1), "variance": room(2), "batches": room(3), "momentum": "cumulative",
                "batchVariance": "biased" }),
        ),
        ("export", json!({ "saved": room(0), "mean": room(1), "rstd": room(2) })),
        ("import", json!({ "mean": room(0), "variance": room(1), "given": room(2) })),
        ("moments", json!({ "input": room(0), "records": room(1) })),
        ("merge", json!({ "shards": room(0), "count": 3, "records": "gradient-sums", "merged": room(1) })),
        (
            "gradientSums",
            json!({ "input": room(0), "gradOutput": room(1), "saved": room(2), "sums": room(3), "scale": room(4),
                "gradScale": room(5), "gradBias": room(6) }),
        ),
        (
            "inputGradient",
            json!({ "input": room(0), "gradOutput": room(1), "saved": room(2), "sums": room(3), "scale": room(4),
                "gradInput": room(5) }),
        ),
    ];
    for (operation, args) in operations {
        let mut args = args;
        if args.get("input").is_some() {
            args["workspace"] = room(9);
        }
        let recipe = bind(&descriptor, operation, &args, false).unwrap_or_else(|e| panic!("{operation}: {e:?}"));
        assert!(!recipe["dispatches"].as_array().unwrap().is_empty(), "{operation}");
        args["inputs"] = room(8);
        assert_eq!(
            bind(&descriptor, operation, &args, false).unwrap_err().0,
            "ArgumentError::UnknownField",
            "{operation}"
        );
    }
    assert_eq!(planned["givenSegmentCount"], 3);
    let error = bind(&descriptor, "forwards", &json!({}), false).unwrap_err();
    assert_eq!(error.0, "ArgumentError::UnknownOperation");
    let others = [
        (
            json!({ "kind": "adain", "shape": [2, 3, 8], "styleShape": [2, 3, 5] }),
            [
                json!({ "input": room(0), "style": room(1), "output": room(2), "saved": room(3), "workspace": room(9) }),
                json!({ "input": room(0), "style": room(1), "gradOutput": room(2), "saved": room(3), "gradInput": room(4),
                    "gradStyle": room(5), "workspace": room(9) }),
            ],
        ),
        (
            json!({ "kind": "spectral", "shape": [8, 3] }),
            [
                json!({ "weight": room(0), "output": room(1), "sigma": room(2), "u": room(3), "v": room(4), "iterations": 2,
                    "workspace": room(9) }),
                json!({ "weight": room(0), "gradOutput": room(1), "gradWeight": room(2), "sigma": room(3), "u": room(4),
                    "v": room(5), "workspace": room(9) }),
            ],
        ),
    ];
    for (descriptor, args) in others {
        for (operation, args) in ["forward", "backward"].into_iter().zip(args) {
            let recipe = bind(&descriptor, operation, &args, true).unwrap_or_else(|e| panic!("{operation}: {e:?}"));
            assert!(recipe["kernels"][0]["source"].is_string(), "{operation}");
        }
    }
}

/// What is no request at all; mistakes of descriptors and views are tried in browsers (`test/browser/mistakes.js`).
#[test]
fn what_is_no_request_is_refused() {
    for (request, code) in [
        ("", "ArgumentError::Unreadable"),
        ("[]", "ArgumentError::WrongType"),
        ("{}", "ArgumentError::Missing"),
        ("{\"descriptor\":{}}", "ArgumentError::Missing"),
        ("{\"fact\":{}}", "ArgumentError::UnknownField"),
        ("\u{0}", "ArgumentError::Unreadable"),
    ] {
        let answer: Value = serde_json::from_str(&answer(request)).unwrap();
        assert_eq!(answer["error"]["code"], code, "{request}");
    }
    let mut few = facts();
    few["maxStorageBuffers"] = 3.into();
    let request = json!({ "facts": few, "descriptor": { "kind": "layer", "shape": [1], "axes": [0] } });
    let (code, message) = ask(&request).unwrap_err();
    assert_eq!(code, "EngineError::Limit");
    assert_eq!(message, "the engine needs max_storage_buffers_per_shader_stage of 4, the device has 3");
}

/// What the recorder says by itself, it says in the library's words.
#[test]
fn the_recorder_has_the_librarys_words() {
    let script = include_str!("../js/error.ts");
    let message = || "${message}".to_owned();
    let errors = [
        BindError::Device { message: message() },
        BindError::Pipeline { kernel: "${kernel}".to_owned(), message: message() },
    ];
    for error in errors {
        let variant = format!("{error:?}");
        let variant = variant.split(' ').next().unwrap();
        let line = format!("new NormError(\"BindError::{variant}\", `{error}`)");
        assert!(script.contains(&line), "{line}");
    }
    let workspace = BindError::NoWorkspace { size: 7, message: message() }.to_string().replace('7', "${size}");
    assert!(script.contains(&format!("new NormError(\"BindError::NoWorkspace\", `{workspace}`)")), "{workspace}");
    let missing = BindError::Missing { operand: Operand::Input };
    assert_eq!(missing.to_string(), "input is missing");
}
