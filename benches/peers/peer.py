"""What the Python peers of `wgpu-norm bench` share.

By default a peer speaks the protocol of `wgpu-norm bench --peer`: one JSON object a line. With `--cases FILE --json OUT` it measures by
itself the cases that `wgpu-norm bench --suite reference --list` printed into FILE, and writes a report that `wgpu-norm bench --peers OUT`
shows beside its own.

A framework is a class with the attributes `name`, `adapter`, `driver`, `backend`, `device_type`, `clock` and two methods:
`prepare(case)` gives a function that runs the case a number of times and returns the seconds, or raises `Unsupported`;
`roof(name, elements)` the same for a kernel that only moves memory.
"""

import argparse
import datetime
import json
import math
import os
import shlex
import statistics
import sys
import time

# As in the benchmark itself: what stays on a chip between statistics and output, in elements.
ON_CHIP, ON_CHIP_BACKWARD_ROW = 1 << 16, 1 << 14
# Tensors that the roofs move.
ROOFS = {"copy": 2, "triad": 3, "read_only": 1}
# Inputs of a case take at least so many bytes together, and are at least so many, so that none stays in a cache between two runs; small
# ones would be too many for that.
COLD_BYTES, COLD_SETS, MOST_SETS = 128 << 20, 4, 256
SAMPLES, WARM_UP_SECONDS, SAMPLE_SECONDS, CASE_SECONDS = 30, 0.2, 0.02, 5.0


class Unsupported(Exception):
    """The framework has no such case; the text says why."""


class Case:
    """A case of the protocol, with what follows from it."""

    def __init__(self, fields):
        self.variant, self.shape = fields["variant"], list(fields["shape"])
        self.format, self.pass_, self.eps = fields["format"], fields["pass"], fields["eps"]
        self.groups = fields.get("groups")
        # a batch norm that trains or goes back uses the statistics of the batch
        self.training = fields.get("training", False) or self.pass_ != "forward"
        if self.variant not in ("layer", "rms", "batch", "instance", "group"):
            raise Unsupported(f"no norm '{self.variant}' here")
        if len(self.shape) < 2 or 0 in self.shape:
            raise Unsupported(f"shape {self.shape} is empty or has fewer than two axes")
        if self.variant == "group" and (not self.groups or self.shape[1] % self.groups):
            raise Unsupported(f"{self.groups} groups do not divide {self.shape[1]} channels")
        self.is_rows = self.variant in ("layer", "rms")
        self.elements = math.prod(self.shape)
        self.parameters = math.prod(self.shape[1:]) if self.is_rows else self.shape[1]

    def label(self):
        """The variant as reports name it."""
        if self.variant == "batch":
            return "batch training" if self.training else "batch inference"
        return f"group {self.groups}" if self.variant == "group" else self.variant

    def segment(self):
        """Elements that share a mean and variance."""
        n, channels = self.shape[:2]
        divisor = {"layer": n, "rms": n, "batch": channels, "instance": n * channels}
        return self.elements // divisor.get(self.variant, n * (self.groups or 1))

    def stays_on_chip(self):
        """Whether an algorithm need not read a segment again after its statistics."""
        backward = self.pass_ == "backward"
        if self.variant == "batch":
            return not self.training
        if self.format == "channels-last":
            return not backward and self.elements // self.shape[0] <= ON_CHIP
        return self.segment() <= (ON_CHIP_BACKWARD_ROW if backward and self.is_rows else ON_CHIP)

    def traffic(self):
        """The roof, how many times the algorithm moves each element, minimal bytes, the algorithm's bytes."""
        backward = self.pass_ == "backward"
        tensors, again, roof = (3, 2, "triad") if backward else (2, 1, "copy")
        roof_elements = tensors + (0 if self.stays_on_chip() else again)
        if self.variant == "batch" and not self.training:
            saved = 2 * self.shape[1]
        elif self.pass_ == "forward":
            saved = 0
        else:
            saved = (1 if self.variant == "rms" else 2) * (self.elements // self.segment())
        rest = self.parameters * (3 if backward else 2) + saved
        return roof, roof_elements, 4 * (tensors * self.elements + rest), 4 * (roof_elements * self.elements + rest)


    def named(self):
        """The fields by which reports name a case."""
        shape = "x".join(map(str, self.shape))
        return {"variant": self.label(), "shape": shape, "format": self.format, "pass": self.pass_}


def sets(elements, cold_bytes=COLD_BYTES):
    """How many tensors of so many elements take turns."""
    return min(max(COLD_SETS, -(-cold_bytes // (4 * elements))), MOST_SETS)


def serve(peer, requests, replies):
    """Answers requests, a line each, until they end."""

    def say(reply):
        replies.write(json.dumps(reply) + "\n")
        replies.flush()

    say({"peer": peer.name, "adapter": peer.adapter})
    run = None
    for line in requests:
        try:
            request = json.loads(line)
            if "case" in request:
                run = None  # frees the last case first
                run = peer.prepare(Case(request["case"]))
                say({"ready": True})
            elif run is None:
                say({"unsupported": "no case is ready"})
            else:
                say({"seconds": run(int(request["run"]))})
        except Unsupported as reason:
            say({"unsupported": str(reason)})
        except Exception as error:  # whatever a framework throws is an answer too: the next case may work
            say({"unsupported": f"{type(error).__name__}: {first_line(error)}"})


def first_line(error):
    """An error in a line; frameworks print pages."""
    return (str(error).strip().splitlines() or [""])[0][:300]


def warm(run):
    """Runs for a while; gives the number of runs that a sample needs to be much longer than the clock's grain."""
    start, count = time.perf_counter(), 0
    while count == 0 or time.perf_counter() - start < WARM_UP_SECONDS:
        run(1)
        count += 1
    return max(1, math.ceil(SAMPLE_SECONDS / ((time.perf_counter() - start) / count)))


def measure(peer, case):
    """A row of the report: samples of the case and of its roof in turn."""
    run = peer.prepare(case)
    roof_name, roof_elements, min_bytes, moved_bytes = case.traffic()
    roof = peer.roof(roof_name, case.elements)
    counts = [warm(run), warm(roof)]
    times, roof_times, start = [], [], time.perf_counter()
    while len(times) < SAMPLES and (len(times) < 3 or time.perf_counter() - start < CASE_SECONDS):
        times.append(run(counts[0]) / counts[0])
        roof_times.append(roof(counts[1]) / counts[1])
    median = statistics.median(times)
    p20, *_, p80 = statistics.quantiles(times, n=5, method="inclusive")
    roof_gbps = ROOFS[roof_name] * 4 * case.elements / statistics.median(roof_times) / 1e9
    return {
        "peer": peer.name, **case.named(), "dtype": "f32", "schedule": "",
        "median_ms": median * 1e3, "p20_ms": p20 * 1e3, "p80_ms": p80 * 1e3,
        "min_bytes": min_bytes, "gbps": min_bytes / median / 1e9,
        "roof": roof_name, "roof_gbps": roof_gbps, "roof_elements": roof_elements,
        "ratio": moved_bytes / 1e9 / roof_gbps / median, "error": None,
    }  # fmt: skip


def report(peer, cases, started):
    """Measures every case that the framework has."""
    rows, skipped, cold_start = [], [], None
    for number, fields in enumerate(cases, 1):
        name = {"variant": fields["variant"], "shape": "x".join(map(str, fields["shape"])), "format": fields["format"], "pass": fields["pass"]}
        needs = 0
        # said before it begins: it may take long, or never end
        print(f"{number}/{len(cases)} {peer.name}:", *name.values(), file=sys.stderr, flush=True)
        try:
            case = Case(fields)
            name = case.named()
            needs = 8 * case.elements * sets(case.elements)
            row = measure(peer, case)
            cold_start = cold_start or (time.perf_counter() - started) * 1e3
            rows.append(row)
            print(f"  {row['median_ms']:.3f} ms, {row['ratio']:.0%} of {row['roof']}", file=sys.stderr)
        except Exception as error:  # as in `serve`
            why = str(error) if isinstance(error, Unsupported) else f"{type(error).__name__}: {first_line(error)}"
            skipped.append({**name, "needs_bytes": needs, "why": why})
            print(f"  left out: {why}", file=sys.stderr)
    by_roof = {roof: [row["roof_gbps"] for row in rows if row["roof"] == roof] for roof in ROOFS}
    return {
        "schema": 2, "adapter": peer.adapter, "driver": peer.driver, "backend": peer.backend, "device_type": peer.device_type,
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "command": shlex.join([os.path.basename(sys.argv[0]), *sys.argv[1:]]), "clock": peer.clock, "version": peer.name,
        "cold_start_ms": cold_start or 0.0,
        "roofs": {roof: statistics.median(values) for roof, values in by_roof.items() if values},
        "rows": rows, "skipped": skipped,
    }  # fmt: skip


def read_cases(path):
    """The cases of a file, one a line."""
    cases = []
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                cases += [json.loads(line)["case"]] if line.strip() else []
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{path}:{number} is no case, as `wgpu-norm bench --suite reference --list` prints them: {error}") from None
    return cases


def write_whole(path, text):
    """A file that is there whole or not at all."""
    partial = f"{path}.partial"
    try:
        with open(partial, "w", encoding="utf-8") as out:
            out.write(text)
        os.replace(partial, path)
    finally:
        if os.path.exists(partial):
            os.remove(partial)


def main(description, make, options=()):
    """The command line of a peer; `make` gives the framework from its arguments, `options` are its own switches and what they do."""
    started = time.perf_counter()
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--cases", metavar="FILE", help="measure these cases, one JSON object a line, instead of serving the protocol")
    parser.add_argument("--json", metavar="OUT", help="where the report of --cases goes")
    for option, help_ in options:
        parser.add_argument(option, action="store_true", help=help_)
    arguments = parser.parse_args()
    if (arguments.cases is None) != (arguments.json is None):
        parser.error("--cases and --json go together")
    try:
        if arguments.cases is None:
            # only the protocol may use stdout: whatever a framework prints goes to stderr
            replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
            os.dup2(2, 1)
            serve(make(arguments), sys.stdin, replies)
        else:
            cases = read_cases(arguments.cases)
            write_whole(arguments.json, json.dumps(report(make(arguments), cases, started), indent=2) + "\n")
    except (OSError, ValueError, Unsupported) as error:
        sys.exit(f"{parser.prog}: {error}")
