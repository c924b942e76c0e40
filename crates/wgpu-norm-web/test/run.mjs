// The package in real browsers: recorded results of other frameworks, kernels, mistakes, a lost device.
//
//   node test/run.mjs [chromium|firefox] [--only PART] [--each N] [--golden FOLDER]
//
// --only: recorded, kernels, mistakes, lost, stages, readme or vite. --each: cases of each operator, type and layout.
// --golden: a larger folder of recorded cases.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { installed, open } from "./browsers.mjs";
import { serve } from "./serve.mjs";
import { buildWithVite } from "./vite.mjs";

const own = new URL("..", import.meta.url).pathname;
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { each: { type: "string", default: "1" }, golden: { type: "string" }, only: { type: "string" } },
});
const golden = values.golden ?? join(own, "../../tests/golden");
const families = readdirSync(golden)
  .filter((name) => existsSync(join(golden, name, "cases.json")))
  .sort();
const folders = families.map((family) => `/golden/${family}`);
const does = (part) => !values.only || values.only === part;
const lines = readFileSync(join(own, "README.md"), "utf8").match(/```js\n(.*?)```/s)[1];
const built = does("vite") ? buildWithVite(own, lines) : undefined;
const readme = `${lines}\nexport { device, input, output, scale, bias, layer };`;
const served = { "/golden/": golden, "/dist/": join(own, "dist"), "/test/": join(own, "test") };
const server = await serve(built ? { ...served, "/vite/": built } : served, { "/readme.js": readme });
let passed = 0,
  failed = 0;

/** A line of a browser's report: what was tried, how often, and what failed. */
function report(name, what, { count, failures }) {
  passed += Math.max(count - failures.length, 0);
  failed += failures.length;
  console.log(`${name}: ${what}${failures.length ? `; ${failures.length} FAILED` : ""}`);
  failures.slice(0, 10).forEach((failure) => console.log(`    ${failure}`));
}

/** Recorded cases one after the other, since a software adapter takes seconds to compile some; a line an operator. */
async function runRecorded(name, page, { keepsDenormals }) {
  const choose = (folders, each, keeps) => recorded.choose(folders, each, keeps);
  const cases = await page.evaluate(choose, folders, Number(values.each), keepsDenormals);
  for (const op of [...new Set(cases.map(({ op }) => op))].sort()) {
    const all = { tensors: 0, gradients: 0, failures: [] };
    const own = cases.map(({ op, dtype }, number) => ({ op, dtype, number })).filter((c) => c.op === op);
    for (const { number } of own) {
      const { tensors, gradients, failures } = await page.evaluate(
        (number) => recorded.runCase(engine, number),
        number,
      );
      all.tensors += tensors;
      all.gradients += gradients;
      all.failures.push(...failures);
    }
    const types = own
      .map(({ dtype }) => dtype)
      .sort()
      .join(" ");
    const what = `${op}: ${own.length} cases (${types}), ${all.tensors} tensors, of these ${all.gradients} gradients`;
    report(name, what, { count: all.tensors, failures: all.failures });
  }
}

/** All parts in one browser. */
async function runIn([name, browser]) {
  const start = Date.now();
  const { browser: running, page } = await open(name, browser, `${server.address}/test/page.html`);
  console.log(`${name}: ${await running.version()}`);
  try {
    await page.evaluate(async () => {
      const { openDevice } = await import("/test/browser/gpu.js");
      const { NormEngine } = await import("/dist/index.js");
      globalThis.recorded = await import("/test/browser/recorded.js");
      globalThis.engine = await NormEngine.create(await openDevice());
    });
    for (const part of ["readme", "mistakes", "lost", "stages"].filter(does)) {
      const tally = await page.evaluate(async (part) => (await import(`/test/browser/${part}.js`)).run(), part);
      report(name, `${part}: ${tally.count} checks`, tally);
    }
    for (const kind of does("kernels") ? ["software", "gpu"] : []) {
      const compile = (kind, folders) => recorded.compileAll(engine.device, kind, folders);
      const { count, failures } = await page.evaluate(compile, kind, folders);
      report(name, `kernels for ${kind}: ${count} compile`, { count, failures });
    }
    if (does("recorded")) await runRecorded(name, page, browser);
    if (built) {
      await page.goto(`${server.address}/vite/index.html`);
      const done = await page.waitForFunction(() => globalThis.outcome, { timeout: 300_000 });
      const outcome = await done.jsonValue();
      report(name, "an app built by Vite", { count: 1, failures: outcome === "recorded" ? [] : [outcome] });
    }
  } finally {
    await running.close();
  }
  console.log(`${name}: ${Math.round((Date.now() - start) / 1000)} s`);
}

const browsers = installed(positionals[0]);
if (browsers.length === 0) throw new Error("no browser is installed: scripts/test-web installs them");
// side by side: a software adapter compiles one kernel at a time
const ends = await Promise.allSettled(browsers.map(runIn));
for (const { reason } of ends.filter(({ status }) => status === "rejected")) {
  failed++;
  console.log(`stopped: ${reason?.stack ?? reason}`);
}
server.close();
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
