// The package in real browsers: recorded results of other frameworks, kernels, mistakes, a lost device.
//
//   node test/run.mjs [chromium|firefox] [--each N] [--golden FOLDER]
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { installed, open } from "./browsers.mjs";
import { serve } from "./serve.mjs";

const own = new URL("..", import.meta.url).pathname;
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { each: { type: "string", default: "1" }, golden: { type: "string" } },
});
const golden = values.golden ?? join(own, "../../tests/golden");
const families = readdirSync(golden).filter((name) => existsSync(join(golden, name, "cases.json"))).sort();
const server = await serve({ "/golden/": golden, "/dist/": join(own, "dist"), "/test/": join(own, "test") });
let passed = 0, failed = 0;

function report(what, { count, failures }) {
  passed += Math.max(count - failures.length, 0);
  failed += failures.length;
  console.log(`  ${what}${failures.length ? `; ${failures.length} FAILED` : ""}`);
  failures.slice(0, 10).forEach((failure) => console.log(`    ${failure}`));
}

const browsers = installed(positionals[0]);
if (browsers.length === 0) throw new Error("no browser is installed: scripts/test-web installs them");
for (const [name, browser] of browsers) {
  const start = Date.now();
  const { browser: running, page } = await open(browser, `${server.address}/test/page.html`);
  console.log(`${await running.version()}`);
  try {
    await page.evaluate(async () => {
      const { openDevice } = await import("/test/browser/gpu.js");
      const { NormEngine } = await import("/dist/index.js");
      globalThis.recorded = await import("/test/browser/recorded.js");
      globalThis.engine = await NormEngine.create(await openDevice());
    });
    for (const family of families) {
      const tally = await page.evaluate(
        (folder, each, keeps) => recorded.runFamily(engine, folder, each, keeps),
        `/golden/${family}`, Number(values.each), browser.keepsDenormals,
      );
      if (tally.cases === 0) continue;
      const { cases, tensors, gradients, halves, failures } = tally;
      report(`${family}: ${cases} cases, ${tensors} tensors (${gradients} gradients, ${halves} of 16 bits)`, { count: tensors, failures });
    }
    for (const kind of ["software", "gpu"]) {
      const { count, failures } = await page.evaluate(
        (kind, folders) => recorded.compileAll(engine.device, kind, folders), kind, families.map((family) => `/golden/${family}`));
      report(`kernels for ${kind}: ${count} compile`, { count, failures });
    }
    const mistakes = await page.evaluate(async () => (await import("/test/browser/mistakes.js")).run());
    report(`mistakes: ${mistakes.count} refused, and what is right is not`, mistakes);
    const lost = await page.evaluate(async () => (await import("/test/browser/lost.js")).run());
    report(`a lost device: ${lost.count} checks`, lost);
  } finally {
    await running.close();
  }
  console.log(`  ${name}: ${Math.round((Date.now() - start) / 1000)} s`);
}
server.close();
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
