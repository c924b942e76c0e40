// An app of the README's lines, built by Vite as anyone's would be: the package lies in node_modules.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** The folder of the built app, whose page says in `outcome` how it went; none where this Node is too old for Vite. */
export function buildWithVite(own, lines) {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major < 20 || (major === 20 && minor < 19)) {
    console.log(`Vite: left out, it needs Node 20.19 or later, this is ${process.versions.node}`);
    return undefined;
  }
  const app = mkdtempSync(join(tmpdir(), "wgpu-norm-vite-"));
  mkdirSync(join(app, "node_modules"));
  symlinkSync(own.replace(/\/$/, ""), join(app, "node_modules/wgpu-norm"));
  writeFileSync(join(app, "package.json"), `{ "type": "module", "private": true }`);
  writeFileSync(
    join(app, "index.html"),
    `<!doctype html><title>app</title><script type="module" src="./main.js"></script>`,
  );
  const outcome = `addEventListener("unhandledrejection", (event) => (globalThis.outcome = String(event.reason)));
layer.check().then(() => (globalThis.outcome = "recorded"));`;
  writeFileSync(join(app, "main.js"), `${lines}\n${outcome}\n`);
  const vite = join(own, "node_modules/vite/bin/vite.js");
  execFileSync(process.execPath, [vite, "build", "--base", "./", "--target", "esnext", "--logLevel", "warn"], {
    cwd: app,
    stdio: "inherit",
  });
  return join(app, "dist");
}
