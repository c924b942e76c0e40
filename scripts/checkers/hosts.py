"""Runs recipes of `wgpu-norm plan` on another host and compares with numpy: hosts.py PROGRAM FOLDER EVERY HOST...

HOST... is a command that takes the arguments of examples/hosts/host.c. FOLDER is for files. Of the plans that have
something wrong in them, each EVERY-th is tried, for hosts that take long to start. Prints a line for each case; exit
code 1 where anything is wrong. Every norm is computed here from its definition, in f64."""

import itertools
import json
import os
import pathlib
import subprocess
import sys

import numpy as np

program, folder = os.path.abspath(sys.argv[1]), pathlib.Path(sys.argv[2])
every, host = int(sys.argv[3]), sys.argv[4:]
host[-1] = os.path.abspath(host[-1])
folder.mkdir(parents=True, exist_ok=True)
os.chdir(folder)
# Mesa's device-selection layer complains on stderr where there is no desktop session
os.environ.setdefault("NODEVICE_SELECT", "1")
random = np.random.default_rng(7)
EPS = 1e-5
failures = []


def plan(arguments, name="plan.json"):
    subprocess.run([program, "plan", *arguments.split(), "--json", name], check=True, stdout=subprocess.DEVNULL)
    return json.loads(pathlib.Path(name).read_text())


def run(inputs, outputs, name="plan.json", environment=None):
    command = [*host, name, *inputs, *(["--", *outputs] if outputs else [])]
    environment = {**os.environ, **(environment or {})}
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)


class Norm:
    """A norm of `shape` as it lies in memory, whose statistics are shared over `axes`. Group norms are computed on a
    tensor with an axis for the groups, `inner`."""

    def __init__(self, shape, axes, affine, inner=None, is_centred=True, dtype=np.float32):
        self.shape, self.axes, self.inner, self.is_centred = shape, axes, inner or shape, is_centred
        # the axes of scale and bias
        self.affine = affine
        parameters = [shape[axis] for axis in affine]
        wide = lambda values: values.astype(dtype).astype(np.float64)
        self.input = wide(random.normal(3, 2, shape))
        self.grad_output = wide(random.normal(0, 1, shape))
        self.scale, self.bias = (random.uniform(0.5, 1.5, parameters).astype(np.float32) for _ in range(2))
        self.dtype, self.given = dtype, None

    def wide(self, parameter):
        """A parameter as it is broadcast over the tensor."""
        sizes = [size if axis in self.affine else 1 for axis, size in enumerate(self.shape)]
        return parameter.astype(np.float64).reshape(sizes)

    def core(self):
        x = self.input.reshape(self.inner)
        if self.given is not None:
            mean, variance = (self.wide(values) for values in self.given)
        else:
            mean = x.mean(self.axes, keepdims=True) if self.is_centred else 0.0
            variance = ((x - mean) ** 2).mean(self.axes, keepdims=True)
        rstd = 1 / np.sqrt(variance + EPS)
        return (x - mean) * rstd, rstd

    def results(self):
        hat, rstd = self.core()
        dy, core = self.grad_output, hat.reshape(self.shape)
        g = (dy * self.wide(self.scale)).reshape(self.inner)
        mean = g.mean(self.axes, keepdims=True) if self.is_centred else 0.0
        others = tuple(axis for axis in range(len(self.shape)) if axis not in self.affine)
        return {
            "output": core * self.wide(self.scale) + self.wide(self.bias),
            "grad_input": ((g - mean - hat * (g * hat).mean(self.axes, keepdims=True)) * rstd).reshape(self.shape),
            "grad_scale": (dy * core).sum(others),
            "grad_bias": dy.sum(others),
        }

    def files(self):
        tensors = {name: getattr(self, name).astype(self.dtype) for name in ("input", "grad_output")}
        tensors |= {"scale": self.scale, "bias": self.bias}
        if self.given is not None:
            tensors |= dict(zip(("running mean", "running variance"), self.given))
        return tensors


def check(arguments, norm):
    """One plan: all of its named tensors come from files or go to files."""
    planned = plan(arguments)
    written = {"output", "grad_input", "grad_scale", "grad_bias"}
    names = {tensor["name"] for case in planned for tensor in case["tensors"]}
    for name, values in norm.files().items():
        np.save(f"{name}.npy", values)
    inputs, outputs = sorted(names - written), sorted(names & written)
    for name in outputs:
        pathlib.Path(f"{name}.out.npy").unlink(missing_ok=True)
    result = run([f"{name}={name}.npy" for name in inputs], [f"{name}={name}.out.npy" for name in outputs])
    if result.returncode != 0:
        return f"exit code {result.returncode}: {result.stderr}"
    expected, worst = norm.results(), 0.0
    for name in outputs:
        actual = np.load(f"{name}.out.npy")
        if actual.shape != expected[name].shape:
            return f"{name} has shape {actual.shape}, not {expected[name].shape}"
        error = np.abs(actual - expected[name]).max() / np.abs(expected[name]).max()
        # half a step of a type of 16 bits
        limit = 2e-6 + (2**-11 if actual.dtype == np.float16 else 0)
        if not error <= limit:
            return f"{name} is off by {error:.2e} of the largest value"
        worst = max(worst, error)
    recipes = sum(len(case["recipes"]) for case in planned)
    print(f"ok: {arguments}: {', '.join(outputs)} of {recipes} recipes, errors up to {worst:.1e}")
    return None


UNUSED = {"case", "dtype", "schedule", "id", "operation", "operands", "constants"}
REPLACEMENTS = (None, "x", -1, 0.5, 1e300)


def paths(value, path=()):
    """The places of all that a host uses."""
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        if key not in UNUSED and (*path, key) != (0, "parameters"):
            yield (*path, key)
            yield from paths(value[key], (*path, key))


def put(value, path, new):
    """The old value, in whose place the new one is now."""
    for key in path[:-1]:
        value = value[key]
    old, value[path[-1]] = value[path[-1]], new
    return old


inference = Norm((3, 6, 5, 7), (0, 2, 3), [1])
inference.given = [random.uniform(1, 2, 6).astype(np.float32) for _ in range(2)]
for arguments, norm in [
    ("layer 64x1000", Norm((64, 1000), (1,), [1])),
    ("layer 5x20000", Norm((5, 20000), (1,), [1])),
    ("layer 64x1000 --limits adapter", Norm((64, 1000), (1,), [1])),
    ("layer 9x5x7 --axes 2 --training --backward --limits adapter", Norm((9, 5, 7), (1, 2), [1, 2])),
    ("rms 33x257 --training --backward", Norm((33, 257), (1,), [1], is_centred=False)),
    ("layer 33x257 --dtype f16", Norm((33, 257), (1,), [1], dtype=np.float16)),
    ("batch 3x6x5x7", inference),
    ("batch 4x6x9x11 --training --backward", Norm((4, 6, 9, 11), (0, 2, 3), [1])),
    ("batch 64x6x60x60 --training --backward --limits adapter", Norm((64, 6, 60, 60), (0, 2, 3), [1])),
    ("batch 4x6x9x11 --training --backward --format channels-last", Norm((4, 9, 11, 6), (0, 1, 2), [3])),
    ("group 2x12x5x7 --groups 3 --training --backward", Norm((2, 12, 5, 7), (2, 3, 4), [1], (2, 3, 4, 5, 7))),
    ("instance 2x3x4099 --training --backward", Norm((2, 3, 4099), (2,), [1])),
]:
    failure = check(arguments, norm)
    if failure:
        failures.append(f"{arguments}: {failure}")

# Mistakes: exit code 1, in words, and no file.
planned = plan("layer 8x12")
for name, values in Norm((8, 12), (1,), [1]).files().items():
    np.save(f"{name}.npy", values)
np.save("wide.npy", np.zeros((8, 12)))
np.save("turned.npy", np.zeros((12, 8), np.float32))
np.save("fortran.npy", np.asfortranarray(np.ones((8, 12), np.float32)))
whole = pathlib.Path("input.npy").read_bytes()
pathlib.Path("short.npy").write_bytes(whole[:-4])
pathlib.Path("long.npy").write_bytes(whole + b"1234")
pathlib.Path("header.npy").write_bytes(whole[:40])
pathlib.Path("text.npy").write_text("no numbers here")
pathlib.Path("empty.npy").write_bytes(b"")
given = {name: f"{name}={name}.npy" for name in ("input", "scale", "bias")}
output = ["output=refused.npy"]


def refused(what, words, inputs=given, outputs=output, **more):
    pathlib.Path("refused.npy").unlink(missing_ok=True)
    result = run([*(inputs.values() if isinstance(inputs, dict) else inputs)], outputs, **more)
    # drivers may have spoken before
    said = "\nhost: " in f"\n{result.stderr}" and words in result.stderr
    if result.returncode != 1 or not said:
        failures.append(f"{what}: exit code {result.returncode}, {result.stderr!r} without {words!r}")
    if pathlib.Path("refused.npy").exists():
        failures.append(f"{what}: wrote its output")


def mistaken(what, words, change, **more):
    copy = json.loads(json.dumps(planned))
    change(copy)
    pathlib.Path("mistaken.json").write_text(json.dumps(copy))
    refused(what, words, name="mistaken.json", **more)


for file, words in [
    ("absent.npy", "cannot be read"),
    ("wide.npy", "<f8"),
    ("turned.npy", "(12,8)"),
    ("fortran.npy", "'fortran_order':True"),
    ("short.npy", "380 bytes"),
    ("long.npy", "388 bytes"),
    ("header.npy", "header"),
    ("text.npy", "no .npy file"),
    ("empty.npy", "no .npy file"),
]:
    refused(file, words, {**given, "input": f"input={file}"})
for name in given:
    refused(f"no {name}", f"'{name}'", {key: value for key, value in given.items() if key != name})
refused("a name that is not there", "'inputs'", {**given, "input": "inputs=input.npy"})
refused("a name that is not there, for writing", "'result'", outputs=["result=refused.npy"])
refused("no NAME=FILE", "NAME=FILE", {**given, "input": "input.npy"})
refused("a folder that is not there", "cannot be written", outputs=["output=absent/refused.npy"])
refused("no plan", "cannot be read", name="absent.json")
refused("a plan that is something else", "no JSON", name="input.npy")
drivers = ("VK_ICD_FILENAMES", "VK_DRIVER_FILES", "__EGL_VENDOR_LIBRARY_FILENAMES")
refused("no adapter", "no adapter", environment=dict.fromkeys(drivers, "/none"))
plan("--suite quick --pass forward", "suite.json")
refused("a suite", "plan one norm", name="suite.json")
recipe = (0, "recipes", 0)
for words, path, value in [
    ("version 2", (*recipe, "version"), 2),
    ("'f8'", (0, "tensors", 0, "element"), "f8"),
    ("longer than its buffer", (0, "tensors", 0, "shape"), [8, 13]),
    ("main", (*recipe, "kernels", 0, "source"), ""),
    ("WebGPU error", (*recipe, "kernels", 0, "source"), "fn main() {"),
    ("WebGPU error", (*recipe, "kernels", 0, "entry_point"), "other"),
    ("WebGPU error", (*recipe, "kernels", 0, "bindings", 0, "access"), "read_write"),
    ("'012'", (*recipe, "dispatches", 0, "parameters"), "012"),
    ("'zz'", (*recipe, "dispatches", 0, "parameters"), "zz"),
    ("''", (*recipe, "dispatches", 0, "parameters"), ""),
    ("WebGPU error", (*recipe, "dispatches", 0, "bindings", 0, "offset"), 4),
    ("WebGPU error", (*recipe, "dispatches", 0, "bindings", 0, "size"), 4096),
    ("WebGPU error", (*recipe, "dispatches", 0, "workgroups", 0), 1 << 20),
]:
    mistaken(f"{path} = {value}", words, lambda plans: put(plans, path, value))


# Whatever in the plan is of another type, or beyond its range, is missed, but for what people read.
count = 0
for path, value in itertools.islice(itertools.product(list(paths(planned)), REPLACEMENTS), 0, None, every):
    old = put(json.loads(json.dumps(planned)), path, value)
    # other texts are refused where they stand above; empty lists may be meant
    if not isinstance(old, (str, list, dict)) or type(old) is not type(value):
        count += 1
        mistaken(f"{path} = {value}", "", lambda plans: put(plans, path, value))
print(f"{count} plans with something wrong in them: " + ("all refused" if not failures else "see below"))
for failure in failures:
    print(f"WRONG: {failure}")
sys.exit(1 if failures else 0)
