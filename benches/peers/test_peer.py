"""What the Python peers share, with a framework that computes nothing: `python3 -m unittest` in this folder."""

import contextlib
import io
import json
import os
import tempfile
import unittest

import peer


class Fake:
    """Has only layer; every run takes a millisecond, every roof half of one."""

    name, adapter, driver, backend, device_type, clock = "fake 1", "none", "d", "b", "software", "wall clock"

    def prepare(self, case):
        if case.variant != "layer":
            raise peer.Unsupported("only layer")
        if case.shape == [6, 6]:
            raise RuntimeError("out of memory\nand a page of details")
        return lambda count: count * 1e-3

    def roof(self, name, elements):
        return lambda count: count * 0.5e-3


def fields(variant="layer", shape=(4, 1024), format="rows", pass_="forward", groups=None, training=False):
    return {"variant": variant, "shape": list(shape), "format": format, "pass": pass_, "groups": groups, "training": training, "eps": 1e-5}


def case(*arguments, **others):
    return peer.Case(fields(*arguments, **others))


PLANES = (8, 64, 120, 120)


class Cases(unittest.TestCase):
    def test_the_algorithm_decides_how_often_elements_move(self):
        for variant, shape, format_, groups, training, expected in [
            ("layer", (4096, 1024), "rows", None, False, [2, 3]),
            ("layer", (64, 65536), "rows", None, False, [2, 5]),
            ("rms", (64, 65537), "rows", None, False, [3, 5]),
            ("instance", (2, 32, 256, 256), "channels-first", None, False, [2, 3]),
            ("instance", (2, 32, 256, 256), "channels-last", None, False, [3, 5]),
            ("instance", (32, 512, 7, 7), "channels-last", None, False, [2, 5]),
            ("group", PLANES, "channels-first", 32, False, [2, 3]),
            ("group", (4, 64, 1 << 16), "channels-first", 1, False, [3, 5]),
            ("batch", PLANES, "channels-first", None, True, [3, 5]),
            ("batch", PLANES, "channels-last", None, False, [2, 5]),
        ]:
            elements = [case(variant, shape, format_, pass_, groups, training).traffic()[1] for pass_ in ("forward", "backward")]
            self.assertEqual(elements, expected, (variant, shape, format_))

    def test_minimal_bytes_count_every_operand_once(self):
        for variant, shape, pass_, training, words, roof in [
            ("layer", (3, 5), "forward", False, 15 + 15 + 5 + 5, "copy"),
            ("layer", (3, 5), "training", False, 15 + 15 + 5 + 5 + 3 * 2, "copy"),
            ("layer", (3, 5), "backward", False, 3 * 15 + 3 * 5 + 3 * 2, "triad"),
            ("rms", (3, 35), "backward", False, 3 * 105 + 3 * 35 + 3, "triad"),
            ("batch", (2, 3, 4), "forward", False, 24 + 24 + 4 * 3, "copy"),
            ("batch", (2, 3, 4), "training", True, 24 + 24 + 3 + 3 + 3 * 2, "copy"),
            ("instance", (2, 3, 4), "backward", False, 3 * 24 + 3 * 3 + 6 * 2, "triad"),
        ]:
            format_ = "rows" if len(shape) == 2 else "channels-first"
            traffic = case(variant, shape, format_, pass_, None, training).traffic()
            self.assertEqual((traffic[2], traffic[0]), (words * 4, roof), (variant, shape, pass_))

    def test_names(self):
        for made, label in [
            (case("batch", PLANES), "batch inference"),
            (case("batch", PLANES, training=True), "batch training"),
            (case("group", PLANES, groups=32), "group 32"),
            (case(), "layer"),
        ]:
            self.assertEqual(made.label(), label)
        named = case("group", PLANES, "channels-last", groups=32).named()
        self.assertEqual(named, {"variant": "group 32", "shape": "8x64x120x120", "format": "channels-last", "pass": "forward"})

    def test_what_is_no_case(self):
        for arguments, words in [(("lp",), "no norm 'lp'"), (("layer", (0, 3)), "empty"), (("group", (2, 6, 3), "rows", "forward", 4), "4 groups")]:
            with self.assertRaisesRegex(peer.Unsupported, words):
                case(*arguments)


class Protocol(unittest.TestCase):
    def test_answers(self):
        lines = [{"case": fields()}, {"run": 8}, {"case": fields("rms")}, {"run": 1}, {"case": fields(shape=(6, 6))}, {"case": {}}]
        replies = io.StringIO()
        peer.serve(Fake(), [json.dumps(line) for line in lines] + ["garbage"], replies)
        replies = [json.loads(line) for line in replies.getvalue().splitlines()]
        self.assertEqual(replies[0], {"peer": "fake 1", "adapter": "none"})
        self.assertEqual(replies[1:3], [{"ready": True}, {"seconds": 0.008}])
        self.assertEqual(replies[3:5], [{"unsupported": "only layer"}, {"unsupported": "no case is ready"}])
        self.assertEqual(replies[5], {"unsupported": "RuntimeError: out of memory"})
        self.assertTrue(all("unsupported" in reply for reply in replies[6:]) and len(replies) == 8, replies[6:])


class Report(unittest.TestCase):
    def test_a_report(self):
        with contextlib.redirect_stderr(io.StringIO()) as progress:
            report = peer.report(Fake(), [fields(), fields("rms"), fields("lp"), fields(shape=(6, 6))], 0.0)
        self.assertIn("2/4 fake 1: rms 4x1024 rows forward\n  left out: only layer\n", progress.getvalue())
        self.assertEqual((report["schema"], report["adapter"], report["version"]), (2, "none", "fake 1"))
        (row,) = report["rows"]
        self.assertEqual((row["peer"], row["variant"], row["shape"], row["error"]), ("fake 1", "layer", "4x1024", None))
        self.assertAlmostEqual(row["median_ms"], 1.0)
        # 8 bytes an element in half a millisecond; the norm also reads 2 x 1024 parameters, in a millisecond
        self.assertAlmostEqual(row["roof_gbps"], 8 * 4096 / 0.5e-3 / 1e9)
        self.assertAlmostEqual(row["ratio"], (8 * 4096 + 8 * 1024) / (8 * 4096) * 0.5)
        self.assertEqual(report["roofs"], {"copy": row["roof_gbps"]})
        whys = [skipped["why"] for skipped in report["skipped"]]
        self.assertEqual(whys, ["only layer", "no norm 'lp' here", "RuntimeError: out of memory"])

    def test_files(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "cases")
            peer.write_whole(path, '{"case": {"variant": "layer"}}\n\n')
            self.assertEqual(peer.read_cases(path), [{"variant": "layer"}])
            self.assertEqual(os.listdir(folder), ["cases"])
            peer.write_whole(path, '{"case": {}}\n{"nothing": 1}\n')
            with self.assertRaisesRegex(ValueError, "cases:2 is no case"):
                peer.read_cases(path)


if __name__ == "__main__":
    unittest.main()
