#!/usr/bin/env python3
"""ONNX Runtime's WebGPU provider as a peer of `wgpu-norm bench`: forward, channels first.

Inputs and outputs stay on the device. Times are the host's, until a small tensor that was computed last has come back.
"""

import functools
import time

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

import peer

PROVIDER = "WebGpuExecutionProvider"
# A result further from numpy's, in units of its largest element, is wrong.
TOLERANCE = 1e-3


def nodes(case, given):
    """The operators of a case over x and its parameters, to y; adds what else they need to the parameters."""
    if case.variant == "group":
        # as PyTorch exports it; GroupNormalization itself would be taken apart into operators of the CPU
        given["ones"], given["zeros"] = np.ones(case.groups, np.float32), np.zeros(case.groups, np.float32)
        given["split"], given["joined"] = np.array([0, case.groups, -1]), np.array(case.shape)
        for name in ("scale", "bias"):
            given[name] = given[name].reshape([-1] + [1] * (len(case.shape) - 2))
        return [
            helper.make_node("Reshape", ["x", "split"], ["groups"]),
            helper.make_node("InstanceNormalization", ["groups", "ones", "zeros"], ["normalized"], epsilon=case.eps),
            helper.make_node("Reshape", ["normalized", "joined"], ["planes"]),
            helper.make_node("Mul", ["planes", "scale"], ["scaled"]),
            helper.make_node("Add", ["scaled", "bias"], ["y"]),
        ]
    operator, attributes = {
        "layer": ("LayerNormalization", {"axis": 1}),
        "rms": ("SimplifiedLayerNormalization", {"axis": 1}),
        "batch": ("BatchNormalization", {}),
        "instance": ("InstanceNormalization", {}),
    }[case.variant]
    return [helper.make_node(operator, ["x", *given], ["y"], epsilon=case.eps, **attributes)]


def parameters(case, random):
    """Random parameters, in the order in which the operators take them."""
    names = {"rms": ["scale"], "batch": ["scale", "bias", "mean", "variance"]}.get(case.variant, ["scale", "bias"])
    given = {name: random([case.parameters]) for name in names}
    if "variance" in given:
        given["variance"] = np.abs(given["variance"]) + np.float32(0.5)
    return given


def expected(case, x, given):
    """The norm by numpy."""
    x = x.astype(np.float64)
    n, channels = case.shape[:2]
    along = [1, -1] + [1] * (0 if case.is_rows else len(case.shape) - 2)
    if case.variant == "batch":
        mean, variance = (given[name].reshape(along) for name in ("mean", "variance"))
    else:
        flat = x.reshape({"instance": (n * channels, -1), "group": (n * (case.groups or 1), -1)}.get(case.variant, (n, -1)))
        mean = 0.0 if case.variant == "rms" else flat.mean(1, keepdims=True)
        variance = ((flat - mean) ** 2).mean(1, keepdims=True)
        x, mean, variance = (flat - mean) / np.sqrt(variance + case.eps), 0.0, 1.0 - case.eps
        x = x.reshape(n, -1) if case.is_rows else x.reshape(case.shape)
    bias = given["bias"].reshape(along) if case.variant != "rms" else 0.0
    return (x - mean) / np.sqrt(variance + case.eps) * given["scale"].reshape(along) + bias


def session(operators, inputs, constants=None):
    """A model of some operators, on the WebGPU provider alone."""
    floats = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    tensors = [numpy_helper.from_array(values, name) for name, values in (constants or {}).items()]
    graph = helper.make_graph(operators, "norm", [floats(*item) for item in inputs.items()], [floats("y", None)], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    provider = (PROVIDER, {"preferredLayout": "NCHW"})
    made = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=[provider], enable_fallback=0)
    if made.get_providers()[0] != PROVIDER:
        raise peer.Unsupported(f"ONNX Runtime chose {made.get_providers()[0]}")
    return made


@functools.cache
def negation():
    """A session for tensors of any shape. It lives as long as the program: what it computed stays on the device, in its memory."""
    return session([helper.make_node("Neg", ["x"], ["y"])], {"x": None})


class OnnxRuntime:
    """Sessions that may not fall back to the CPU."""

    backend, device_type, clock = "WebGPU", "unknown", "wall clock"

    def __init__(self):
        if PROVIDER not in onnxruntime.get_available_providers():
            raise peer.Unsupported("this ONNX Runtime has no WebGPU provider; onnxruntime-webgpu has")
        self.name = f"onnxruntime {onnxruntime.__version__} WebGPU"
        self.driver, self.adapter = "Dawn", "Dawn's default adapter"
        self.generator = np.random.default_rng(0)
        # the last thing to be computed, and read
        try:
            self.marker = self.binding(session([helper.make_node("Abs", ["x"], ["y"])], {"x": [1]}), [np.ones(1, np.float32)])
        except RuntimeError as error:
            raise peer.Unsupported(f"no WebGPU device: {str(error).rpartition('was false. ')[2].strip()}") from None

    def binding(self, computes, inputs):
        """A session and its binding of inputs, from numpy or on the device, and an output on the device."""
        binding = computes.io_binding()
        for described, values in zip(computes.get_inputs(), inputs):
            bind = binding.bind_cpu_input if isinstance(values, np.ndarray) else binding.bind_ortvalue_input
            bind(described.name, values)
        binding.bind_output("y", "webgpu", 0)
        return computes, binding

    def on_device(self, values):
        """A tensor on the device. The package can put none there by itself, but what a session computes may stay: the negative of its negative."""
        computes, binding = self.binding(negation(), [-values])
        computes.run_with_iobinding(binding)
        return binding.get_outputs()[0]

    def random(self, shape):
        return self.generator.standard_normal(shape, np.float32)

    def prepare(self, case):
        if case.format == "channels-last":
            raise peer.Unsupported("ONNX's operators take channels first only")
        if case.pass_ != "forward" or case.training:
            raise peer.Unsupported("ONNX Runtime's WebGPU provider computes inference only")
        shape = [case.shape[0], case.parameters] if case.is_rows else case.shape
        given = parameters(case, self.random)
        norm = session(nodes(case, given), {"x": shape}, given)
        inputs = [self.random(shape) for _ in range(peer.sets(case.elements))]
        bindings = [self.binding(norm, [self.on_device(x)]) for x in inputs]
        run = self.rotated(bindings)
        wanted = expected(case, inputs[0], given)
        error = np.abs(bindings[0][1].get_outputs()[0].numpy() - wanted).max() / np.abs(wanted).max()
        if not error <= TOLERANCE:
            raise peer.Unsupported(f"ONNX Runtime's result is off by {error:.1e} of its largest element, more than {TOLERANCE:.0e}")
        return run

    def roof(self, name, elements):
        operators = {"copy": ("Abs", ["a"]), "triad": ("Add", ["a", "b"])}
        if name not in operators:
            raise peer.Unsupported(f"no {name} here")
        operator, names = operators[name]
        mover = session([helper.make_node(operator, names, ["y"])], {name: [elements] for name in names})
        tensors = lambda: [self.on_device(self.random([elements])) for _ in names]
        return self.rotated([self.binding(mover, tensors()) for _ in range(peer.sets(elements))])

    def wait(self):
        """Until the device has computed everything."""
        computes, binding = self.marker
        computes.run_with_iobinding(binding)
        binding.get_outputs()[0].numpy()

    def rotated(self, bindings):
        """Runs one binding after the other, and times so many runs."""
        turn = 0

        def run(count):
            nonlocal turn
            self.wait()
            start = time.perf_counter()
            for _ in range(count):
                computes, binding = bindings[turn]
                computes.run_with_iobinding(binding)
                turn = (turn + 1) % len(bindings)
            self.wait()
            return time.perf_counter() - start

        run(len(bindings))
        return run


if __name__ == "__main__":
    peer.main(__doc__, lambda _: OnnxRuntime())
