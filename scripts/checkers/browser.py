"""Compiles WGSL files in a headless browser: browser.py chromium|firefox FOLDER

The folder has kernels.json, as `wgpu-norm shaders --json` prints it. A page (browser.html) makes a module of each,
and pipelines of some, and sends what the browser says. Prints what was refused; exit code 1 where anything was, where
nothing was
compiled, or where the browser falls silent."""

import functools
import http.server
import json
import pathlib
import queue
import shutil
import subprocess
import sys
import tempfile
import threading

# seconds without a word after which a browser hangs
SILENCE = 120
PREFERENCES = {
    "dom.webgpu.enabled": True,
    "gfx.webgpu.ignore-blocklist": True,
    "datareporting.policy.dataSubmissionEnabled": False,
    "browser.shell.checkDefaultBrowser": False,
}


def command(browser, profile, address):
    if browser == "chromium":
        # the sandbox needs rights that containers do not give
        options = ["--headless=new", "--no-sandbox", "--enable-unsafe-webgpu", "--no-first-run"]
        return ["chromium", *options, f"--user-data-dir={profile}", address]
    values = "".join(f'user_pref("{name}", {json.dumps(value)});\n' for name, value in PREFERENCES.items())
    (pathlib.Path(profile) / "user.js").write_text(values)
    return [shutil.which("firefox-esr") or "firefox", "--headless", "--profile", profile, "--no-remote", address]


class Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, said, *arguments, **named):
        self.said = said
        super().__init__(*arguments, **named)

    def do_GET(self):
        if self.path != "/":
            return super().do_GET()
        page = pathlib.Path(__file__).with_suffix(".html").read_bytes()
        self.answer("text/html; charset=utf-8", page)

    def do_POST(self):
        self.said.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.answer("text/plain", b"")

    def answer(self, kind, body):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main(browser, folder):
    said = queue.Queue()
    handler = functools.partial(Handler, said, directory=folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        address = f"http://127.0.0.1:{server.server_port}/"
        log = open(pathlib.Path(folder) / f"{browser}.log", "w")
        process = subprocess.Popen(command(browser, profile, address), stdout=log, stderr=log)
        try:
            return listen(browser, said)
        finally:
            process.kill()
            process.wait()


def listen(browser, said):
    about, last = None, "its start"
    while True:
        try:
            message = said.get(timeout=SILENCE)
        except queue.Empty:
            return f"{browser}: silent for {SILENCE} s after {last}"
        if "error" in message:
            return f"{browser}: {message['error']}"
        if "about" in message:
            about = message["about"]
            print(f"{browser}: {about}", flush=True)
        for refused in message.get("refused", []):
            print(f"{browser}: {refused['file']}\n{refused['words']}")
        last = message.get("last", last)
        if "done" in message:
            done = message["done"]
            print(f"{browser}: {done['accepted']} of {done['compiled']} kernels accepted, {done['without']} left out for "
                  f"want of {done['wanting'] or 'nothing'}; {done['pipelines']} pipelines made, "
                  f"{done['too_large']} larger than this adapter's limits")
            good = done["compiled"] > 0 and done["accepted"] == done["compiled"]
            return None if good else f"{browser}: kernels refused"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
