"""Compiles HLSL files by DXC at the shader models that are asked for: dxc.py LIBRARY FOLDER MODEL...

The folder has kernels.json, as `wgpu-norm shaders --json` prints it. Prints what was refused; exit code 1 where
anything
was. One text that no compiler may accept shows that refusals are seen."""

import ctypes
import json
import pathlib
import sys
from concurrent.futures import ProcessPoolExecutor

VOID = ctypes.c_void_p


class Buffer(ctypes.Structure):
    _fields_ = [("text", ctypes.c_char_p), ("size", ctypes.c_size_t), ("encoding", ctypes.c_uint32)]


def identifier(text):
    """A GUID as it lies in memory."""
    a, b, c, d, e = text.split("-")
    little = lambda part: bytes.fromhex(part)[::-1]
    return ctypes.create_string_buffer(little(a) + little(b) + little(c) + bytes.fromhex(d + e), 16)


def method(this, slot, *types):
    """A method of an interface. Slots 0 to 2 are IUnknown's; outside of Windows two are destructors."""
    table = ctypes.cast(this, ctypes.POINTER(ctypes.POINTER(VOID))).contents
    call = ctypes.CFUNCTYPE(*types[:1], VOID, *types[1:])(table[slot])
    return lambda *arguments: call(this, *arguments)


COMPILER = identifier("73e22d93-e6ce-47f3-b5bf-f0664f39c1b0")
COMPILER_3 = identifier("228b4687-5a6a-4730-900c-9702b2203f54")
RESULT = identifier("58346cda-dde7-4497-9461-6f87af5e0659")
RELEASE, COMPILE, STATUS, ERRORS, POINTER, SIZE = 2, 5, 5, 7, 5, 6
UTF8 = 65001
compiler = VOID()


def load(path):
    create = ctypes.CDLL(path).DxcCreateInstance
    status = create(COMPILER, COMPILER_3, ctypes.byref(compiler))
    if status != 0:
        sys.exit(f"{path}: DxcCreateInstance says {status:#x}")


def refusal(source, entry, model):
    """DXC's words, or nothing."""
    options = ["-E", entry, "-T", model, "-O3", "-HV", "2018"]
    arguments = (ctypes.c_wchar_p * len(options))(*options)
    result, status, errors = VOID(), ctypes.c_int32(-1), VOID()
    compile_ = method(compiler, COMPILE, ctypes.c_int32, VOID, VOID, ctypes.c_uint32, VOID, VOID, VOID)
    buffer = Buffer(source, len(source), UTF8)
    called = compile_(ctypes.byref(buffer), arguments, len(options), None, RESULT, ctypes.byref(result))
    if called != 0:
        return f"Compile says {called:#x}"
    method(result, STATUS, ctypes.c_int32, VOID)(ctypes.byref(status))
    words = b""
    if status.value != 0:
        method(result, ERRORS, ctypes.c_int32, VOID)(ctypes.byref(errors))
        if errors:
            words = ctypes.string_at(method(errors, POINTER, VOID)(), method(errors, SIZE, ctypes.c_size_t)())
            method(errors, RELEASE, ctypes.c_uint32)()
    method(result, RELEASE, ctypes.c_uint32)()
    return None if status.value == 0 else words.decode(errors="replace").strip("\0\n") or f"status {status.value:#x}"


def check(job):
    path, entry, model = job
    return path.name, model, refusal(path.read_bytes(), entry, model)


def main(library, folder, models):
    folder = pathlib.Path(folder)
    kernels = json.loads((folder / "kernels.json").read_text())
    load(library)
    if not refusal(b"[numthreads(1, 1, 1)] void main() { undeclared = 1; }", "main", models[0]):
        sys.exit("DXC accepts what no compiler may accept")
    jobs = [(folder / kernel["file"], kernel["entry_point"], model) for kernel in kernels for model in models]
    refused = 0
    with ProcessPoolExecutor(initializer=load, initargs=(library,)) as pool:
        for name, model, words in pool.map(check, jobs, chunksize=8):
            if words:
                refused += 1
                print(f"DXC, {model}: {name}\n{words}")
    print(f"DXC: {len(jobs) - refused} of {len(jobs)} kernels accepted ({', '.join(models)})")
    sys.exit(1 if refused or not jobs else 0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
