// The package in real browsers: recorded results of other frameworks, kernels, mistakes, a lost device.
//
//   node test/run.mjs [chromium|firefox] [--only recorded|kernels|mistakes|lost] [--each N] [--golden FOLDER]
//
// --each: cases of each operator, type and class of input. --golden: a larger folder of recorded cases.
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { installed, open } from "./browsers.mjs";
import { serve } from "./serve.mjs";

const own = new URL("..", import.meta.url).pathname;
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { each: { type: "string", default: "1" }, golden: { type: "string" }, only: { type: "string" } },
});
const golden = values.golden ?? join(own, "../../tests/golden");
const families = readdirSync(golden).filter((name) => existsSync(join(golden, name, "cases.json"))).sort();
const server = await serve({ "/golden/": golden, "/dist/": join(own, "dist"), "/test/": join(own, "test") });
const does = (part) => !values.only || values.only === part;
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
    for (const family of does("recorded") ? families : []) {
      const tally = await page.evaluate(
        (folder, each, keeps) => recorded.runFamily(engine, folder, each, keeps),
        `/golden/${family}`, Number(values.each), browser.keepsDenormals,
      );
      if (tally.cases === 0) continue;
      const { cases, tensors, gradients, halves, failures } = tally;
      report(`${family}: ${cases} cases, ${tensors} tensors (${gradients} gradients, ${halves} of 16 bits)`, { count: tensors, failures });
    }
    for (const kind of does("kernels") ? ["software", "gpu"] : []) {
      const { count, failures } = await page.evaluate(
        (kind, folders) => recorded.compileAll(engine.device, kind, folders), kind, families.map((family) => `/golden/${family}`));
      report(`kernels for ${kind}: ${count} compile`, { count, failures });
    }
    for (const part of ["mistakes", "lost"].filter(does)) {
      const tally = await page.evaluate(async (part) => (await import(`/test/browser/${part}.js`)).run(), part);
      report(`${part}: ${tally.count} checks`, tally);
    }
  } finally {
    await running.close();
  }
  console.log(`  ${name}: ${Math.round((Date.now() - start) / 1000)} s`);
}
server.close();
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
