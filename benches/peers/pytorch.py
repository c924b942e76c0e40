#!/usr/bin/env python3
"""PyTorch's norms as a peer of `wgpu-norm bench`: on CUDA where there is a device, else on the CPU.

Forward runs without autograd; training with it, so that statistics are saved; backward runs autograd over a graph that is kept, and gives
the gradients of input, scale and bias.
"""

import time

import torch
import torch.nn.functional as F

import peer


def norm(case, scale, bias, mean, variance):
    """The function of a case."""
    width = scale.shape
    return {
        "layer": lambda x, w, b: F.layer_norm(x, width, w, b, case.eps),
        "rms": lambda x, w, b: F.rms_norm(x, width, w, case.eps),
        "batch": lambda x, w, b: F.batch_norm(
            x, None if case.training else mean, None if case.training else variance, w, b, case.training, 0.1, case.eps
        ),
        "instance": lambda x, w, b: F.instance_norm(x, weight=w, bias=b, eps=case.eps),
        "group": lambda x, w, b: F.group_norm(x, case.groups, w, b, case.eps),
    }[case.variant]


class PyTorch:
    """Eager, or compiled by `torch.compile`."""

    def __init__(self, compile_):
        self.compile = compile_
        self.cuda = torch.cuda.is_available()
        self.device = torch.device("cuda" if self.cuda else "cpu")
        self.name = f"torch {torch.__version__.split('+')[0]} {'compile' if compile_ else 'eager'}"
        self.backend = self.device.type
        self.clock = "timestamps" if self.cuda else "wall clock"
        self.cold_bytes = peer.COLD_BYTES
        if self.cuda:
            properties = torch.cuda.get_device_properties(0)
            self.adapter, self.driver, self.device_type = properties.name, f"CUDA {torch.version.cuda}", "discrete GPU"
            self.cold_bytes = max(self.cold_bytes, 4 * properties.L2_cache_size)
        else:
            self.adapter, self.driver, self.device_type = f"CPU, {torch.get_num_threads()} threads", torch.__version__, "software"
        if compile_:
            # each case is one graph of its own sizes, and its backward runs again and again over what forward saved
            torch._dynamo.config.recompile_limit = 1 << 20
            torch._functorch.config.donated_buffer = False

    def random(self, shape, last=False):
        """Random numbers, with the channels last in memory where told."""
        x = torch.randn(shape, device=self.device)
        if last:
            formats = {4: torch.channels_last, 5: torch.channels_last_3d}
            if len(shape) not in formats:
                raise peer.Unsupported(f"PyTorch has no channels-last format of {len(shape)} axes")
            x = x.contiguous(memory_format=formats[len(shape)])
        return x

    def prepare(self, case):
        sets = peer.sets(case.elements, self.cold_bytes)
        last = case.format == "channels-last"
        parameter_shape = case.shape[1:] if case.is_rows else case.shape[1:2]
        scale, bias, mean = (self.random(parameter_shape) for _ in range(3))
        variance = torch.rand_like(mean) + 0.5
        forward = norm(case, scale, bias, mean, variance)
        if self.compile:
            torch._dynamo.reset()
            forward = torch.compile(forward, dynamic=False)
        inputs = [self.random(case.shape, last) for _ in range(sets)]
        if case.pass_ == "forward":
            return self.rotated(torch.no_grad()(lambda i: forward(inputs[i], scale, bias)), sets)
        wanted = [scale] if case.variant == "rms" else [scale, bias]
        for tensor in inputs + wanted:
            tensor.requires_grad_()
        if case.pass_ == "training":
            return self.rotated(lambda i: forward(inputs[i], scale, bias), sets)
        outputs = [forward(x, scale, bias) for x in inputs]
        gradients = [self.random(case.shape, last) for _ in range(sets)]
        backward = lambda i: torch.autograd.grad(outputs[i], [inputs[i], *wanted], gradients[i], retain_graph=True)
        return self.rotated(backward, sets)

    def roof(self, name, elements):
        sets = peer.sets(elements, self.cold_bytes)
        tensors = [[self.random([elements]) for _ in range(sets)] for _ in range(peer.ROOFS[name])]
        a, b, c = tensors[0], tensors[1 % len(tensors)], tensors[-1]
        move = {
            "copy": lambda i: c[i].copy_(a[i]),
            "triad": lambda i: torch.add(a[i], b[i], out=c[i]),
            "read_only": lambda i: a[i].sum(),
        }
        return self.rotated(move[name], sets)

    def rotated(self, work, sets):
        """Runs `work` on one set after the other, and times so many runs."""
        # results stay until their turn comes again: else the allocator hands out the same, still cached memory each time
        results, turn = [None] * sets, 0

        def run(count):
            nonlocal turn
            clock = Clock(self.cuda)
            for _ in range(count):
                results[turn] = None
                results[turn] = work(turn)
                turn = (turn + 1) % sets
            return clock.seconds()

        run(sets)
        return run


class Clock:
    """Seconds since it was made, on the device where it has a clock."""

    def __init__(self, cuda):
        self.events = [torch.cuda.Event(enable_timing=True) for _ in range(2)] if cuda else None
        if cuda:
            torch.cuda.synchronize()
            self.events[0].record()
        self.start = time.perf_counter()

    def seconds(self):
        if self.events is None:
            return time.perf_counter() - self.start
        self.events[1].record()
        torch.cuda.synchronize()
        return self.events[0].elapsed_time(self.events[1]) / 1e3


if __name__ == "__main__":
    compiled = ("--compile", "by torch.compile instead of eager")
    peer.main(__doc__, lambda arguments: PyTorch(arguments.compile), [compiled])
