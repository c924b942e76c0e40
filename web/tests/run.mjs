// The page in real browsers: colours, verification, benchmark, a lost device, a browser without WebGPU.
//
//   node web/tests/run.mjs [chromium|firefox] [--only colours|verify|bench|peers|lost|missing|layout]
//     [--pictures FOLDER] [--peers FILE] [--beside onnxruntime,tfjs]
//
// --pictures: screenshots, light and dark, wide and narrow. --peers: all that peers have, of 4 MiB at most, saved to the
// file, where scripts/web --peers has built the page. WGPU_NORM names the program that reads what the page saves.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { installed, open } from "../../crates/wgpu-norm-web/test/browsers.mjs";
import { serve } from "../../crates/wgpu-norm-web/test/serve.mjs";

const folder = new URL("../dist", import.meta.url).pathname;
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    only: { type: "string" },
    pictures: { type: "string" },
    peers: { type: "string" },
    beside: { type: "string", default: "onnxruntime,tfjs" },
  },
});
/** Canvases of SwiftShader crash the browser otherwise; a camera that shows a test picture. */
const MORE = {
  chromium: [
    "--use-gl=angle",
    "--use-angle=vulkan",
    "--use-vulkan=swiftshader",
    "--enable-features=Vulkan",
    "--disable-vulkan-surface",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
  ],
};
/** Of patience: a machine that has other work compiles kernels slowly. */
const MINUTES = 4 * 60_000;
const failures = [];

function check(what, holds, detail = "") {
  console.log(`    ${holds ? "ok" : "FAILED"}  ${what}${holds ? "" : ` ${detail}`}`);
  if (!holds) failures.push(what);
}

const text = (page, selector) => page.$eval(selector, (element) => element.textContent.trim());
/** Until a tool has stopped. */
const stopped = (page, name, timeout) =>
  page.waitForFunction((name) => document.querySelector(`#${name}-stop`).hidden, { timeout }, name);

async function ready(page) {
  const isThere = () => document.querySelector("#status").textContent !== "Opening an adapter…";
  await page.waitForFunction(isThere, { timeout: MINUTES });
}

/** The mean colour of a canvas as the browser shows it, and the picture. */
const shown = (page, id) =>
  page.evaluate(async (id) => {
    const canvas = document.querySelector(id);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve));
    const picture = await createImageBitmap(blob);
    const copy = new OffscreenCanvas(picture.width, picture.height).getContext("2d");
    copy.drawImage(picture, 0, 0);
    const { data } = copy.getImageData(0, 0, picture.width, picture.height);
    const mean = [0, 0, 0, 0];
    data.forEach((value, i) => (mean[i % 4] += value / (data.length / 4)));
    const bytes = new Uint8Array(await blob.arrayBuffer());
    let text = "";
    bytes.forEach((byte) => (text += String.fromCharCode(byte)));
    return { mean, png: btoa(text) };
  }, id);

const PARTS = {
  async colours({ page, name }) {
    await page.waitForFunction(() => wgpuNormPage.colours.isShown, { timeout: MINUTES });
    const near = (a, b) => Math.abs(a - b) <= 1e-5;
    const judge = async (what) => {
      const { style, result } = await page.evaluate(() => wgpuNormPage.colours.moments());
      const same = style.every(
        ({ mean, deviation }, i) => near(mean, result[i].mean) && near(deviation, result[i].deviation),
      );
      check(`${what}: mean and deviation of each channel are the style's`, same, JSON.stringify({ style, result }));
      return result;
    };
    const before = await judge("built-in pictures");
    const [result, style] = [await shown(page, "#result"), await shown(page, "#style")];
    // colours that a screen does not have are cut off
    const alike = result.mean.every((value, i) => Math.abs(value - style.mean[i]) < 12);
    check("the canvas shows the colours of the style", alike, JSON.stringify([result.mean, style.mean]));
    if (values.pictures) {
      mkdirSync(values.pictures, { recursive: true });
      writeFileSync(join(values.pictures, `result-${name}.png`), Buffer.from(result.png, "base64"));
    }
    await page.click("#swap");
    await page.waitForFunction(() => wgpuNormPage.colours.isShown, { timeout: MINUTES });
    const after = await judge("swapped");
    check("swapping swaps", !near(before[0].mean, after[0].mean));
    const file = await page.$("#content-file");
    const path = join(scratch, "content.png");
    await writePng(page, path, 97, 61);
    await file.uploadFile(path);
    await page.waitForFunction(() => document.querySelector("#result").width === 97 && wgpuNormPage.colours.isShown, {
      timeout: MINUTES,
    });
    await judge("a file");
    const none = join(scratch, "none.png");
    writeFileSync(none, "no picture");
    await file.uploadFile(none);
    const says = () =>
      document.querySelector("#colours-note").textContent.includes("no picture that this browser can read");
    await page.waitForFunction(says, { timeout: MINUTES });
    check("a file that is no picture is named", true);
  },

  async camera({ page, name }) {
    if (name !== "chromium") return;
    await page.click("#camera");
    const counts = () => /^\d+ frames a second/.test(document.querySelector("#colours-note").textContent);
    await page.waitForFunction(counts, { timeout: MINUTES });
    check(`a camera: ${await text(page, "#colours-note")}`, true);
    await page.click("#camera");
  },

  async verify({ page }) {
    const start = Date.now();
    await page.click("#verify-run");
    await stopped(page, "verify", 4 * MINUTES);
    const [note, wrong] = [await text(page, "#verify-note"), await text(page, "#verify-failures")];
    const rows = await page.$$eval("#verify-table tbody tr", (rows) =>
      rows.map((row) => row.innerText.replace(/\s+/g, " ")),
    );
    rows.forEach((row) => console.log(`        ${row}`));
    check(
      `verification in ${Math.round((Date.now() - start) / 1e3)} s: ${note}`,
      note.endsWith("all right.") && wrong === "",
      wrong,
    );
    const kinds = new Set(rows.map((row) => row.split(" ")[0]));
    check(
      "every kind is there",
      ["batch", "instance", "group", "layer", "rms", "adain", "lp", "mvn", "weight"].every((kind) => kinds.has(kind)),
      [...kinds].join(),
    );
  },

  async bench({ page }) {
    await page.$eval("#filter", (input) => {
      input.value = "instance 32x512x7x7 channels-first";
    });
    await page.select("#largest", "32");
    await page.click("#bench-run");
    await page.waitForFunction(() => !document.querySelector("#bench-stop").hidden, { timeout: MINUTES });
    await stopped(page, "bench", 2 * MINUTES);
    const report = await page.evaluate(() => wgpuNormPage.bench.report);
    check(`benchmark: ${await text(page, "#bench-note")}`, report?.rows.length === 2, JSON.stringify(report?.skipped));
    check(
      "its results are right",
      report.rows.every(({ error }) => error !== null && error < 1e-5),
      JSON.stringify(report.rows),
    );
    check(
      "its times are times",
      report.rows.every(({ median_ms, ratio }) => median_ms > 0 && ratio > 0 && ratio < 10),
      JSON.stringify(report.rows),
    );
    const plots = await page.evaluate(
      () => document.querySelector("#report").contentDocument.querySelectorAll("svg.plot").length,
    );
    check("its plots are drawn", plots === 2, `${plots}`);
    const path = join(scratch, "page.json");
    writeFileSync(path, JSON.stringify(report));
    const program = process.env.WGPU_NORM;
    if (!program) return console.log("    (WGPU_NORM names no program to read the report)");
    const out = execFileSync(
      program,
      ["bench", "--from", path, "--peers", path, "--html", join(scratch, "page.html")],
      { encoding: "utf8" },
    );
    check("the program reads the report", out.includes("instance") && out.includes("geometric mean"), out);
    check(
      "the page that the program makes of it is the page's",
      readFileSync(join(scratch, "page.html"), "utf8").includes("Speed over size"),
    );
  },

  async peers({ page, name }) {
    if (name !== "chromium" || !(await fetch(new URL("peers/onnxruntime/ort.webgpu.min.mjs", page.url()))).ok) return;
    const filter = values.peers ? " forward" : "instance 32x512x7x7 channels-first forward";
    await page.$eval("#filter", (input, filter) => (input.value = filter), filter);
    await page.select("#largest", values.peers ? "4" : "32");
    const peers = values.beside.split(",");
    for (const peer of peers) await page.click(`input[value="${peer}"]`);
    await page.click("#bench-run");
    await page.waitForFunction(() => !document.querySelector("#bench-stop").hidden, { timeout: MINUTES });
    const say = async () => console.log(`    ${await text(page, "#bench-note")}`);
    const says = setInterval(say, values.peers ? 3e4 : MINUTES);
    await stopped(page, "bench", (values.peers ? 15 : 2) * MINUTES).finally(() => clearInterval(says));
    const report = await page.evaluate(() => wgpuNormPage.bench.report);
    const measured = new Set(report?.rows.map(({ peer }) => peer?.split(" ")[0]));
    check(
      `peers in turn: ${await text(page, "#bench-note")}`,
      measured.size === 1 + peers.length,
      JSON.stringify([[...measured], report?.skipped]),
    );
    if (values.peers) {
      writeFileSync(values.peers, `${JSON.stringify(report)}\n`);
      beside(report);
    }
    for (const peer of peers) await page.click(`input[value="${peer}"]`);
  },

  async lost({ page }) {
    await page.click("#verify-run");
    await page.waitForFunction(() => document.querySelector("#verify-bar").value > 0, { timeout: MINUTES });
    await page.evaluate(() => wgpuNormPage.device.destroy());
    await page.waitForFunction(
      () => document.querySelector("#status").textContent.includes("Another one took its place"),
      { timeout: MINUTES },
    );
    check(`a lost device: ${await text(page, "#status")}`, true);
    await stopped(page, "verify", MINUTES);
    check(
      `what ran on it says so: ${await text(page, "#verify-note")}`,
      (await text(page, "#verify-note")).includes("the device") ||
        (await text(page, "#verify-note")).includes("The device"),
    );
    await page.waitForFunction(() => wgpuNormPage.colours.isShown, { timeout: MINUTES });
    const { style, result } = await page.evaluate(() => wgpuNormPage.colours.moments());
    check("the new one computes", Math.abs(style[0].mean - result[0].mean) < 1e-5);
  },

  async missing({ browser, address }) {
    for (const [what, gpu, words] of [
      ["no WebGPU", undefined, "has no WebGPU"],
      ["no adapter", "none", "no adapter for it"],
    ]) {
      const page = await browser.newPage();
      await page.evaluateOnNewDocument((gpu) => {
        const value = gpu && { requestAdapter: async () => null };
        Object.defineProperty(Navigator.prototype, "gpu", { get: () => value });
      }, gpu);
      await page.goto(address);
      await ready(page);
      const [why, isHidden] = [await text(page, "#missing"), await page.$eval("#tools", ({ hidden }) => hidden)];
      check(`${what} is explained`, why.includes(words) && why.includes("chrome://") && isHidden, why);
      await page.close();
    }
  },

  async layout({ page, name }) {
    for (const width of [1280, 360]) {
      await page.setViewport({ width, height: 800 });
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      check(`nothing is wider than ${width} pixels`, wide <= width, `${wide}`);
      for (const scheme of name === "chromium" && values.pictures ? ["light", "dark"] : []) {
        mkdirSync(values.pictures, { recursive: true });
        await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
        await page.screenshot({ path: join(values.pictures, `${scheme}-${width}.png`), fullPage: true });
      }
    }
    await page.setViewport({ width: 1280, height: 800 });
    const unnamed = await page.evaluate(() =>
      [...document.querySelectorAll("button, input, select, progress, canvas, iframe")]
        .filter(
          (element) =>
            !(
              element.labels?.length ||
              element.textContent.trim() ||
              element.title ||
              element.getAttribute("aria-label") ||
              element.getAttribute("aria-labelledby")
            ),
        )
        .map((element) => element.id || element.outerHTML),
    );
    check("everything that can be used has a name", unnamed.length === 0, unnamed.join());
  },
};

/** How many times as fast as each peer in each case. */
function beside({ rows }) {
  const caseOf = ({ peer, median_ms, ...row }) => [row.variant, row.shape, row.format, row.pass].join();
  const ours = new Map(rows.filter(({ peer }) => peer === null).map((row) => [caseOf(row), row.median_ms]));
  for (const name of new Set(rows.map(({ peer }) => peer).filter((peer) => peer !== null))) {
    const all = rows.filter(({ peer }) => peer === name);
    const ratios = all.map((row) => row.median_ms / ours.get(caseOf(row)));
    const mean = Math.exp(ratios.reduce((sum, ratio) => sum + Math.log(ratio), 0) / ratios.length);
    const behind = all.filter((_, i) => ratios[i] < 1).map((row) => `${row.variant} ${row.shape} ${row.format}`);
    check(
      `${mean.toFixed(2)} times as fast as ${name} (${Math.min(...ratios).toFixed(2)} to ` +
        `${Math.max(...ratios).toFixed(2)}) in ${ratios.length} cases`,
      behind.length === 0,
      `behind in ${behind.join("; ")}`,
    );
  }
}

/** A picture of noise, drawn by the browser. */
async function writePng(page, path, width, height) {
  const base64 = await page.evaluate(
    async (width, height) => {
      const context = new OffscreenCanvas(width, height).getContext("2d");
      for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) {
          context.fillStyle = `rgb(${(x * 37 + y * 11) % 200}, ${((x * y) % 180) + 40}, ${(x + 3 * y) % 250})`;
          context.fillRect(x, y, 1, 1);
        }
      }
      const blob = await context.canvas.convertToBlob();
      const bytes = new Uint8Array(await blob.arrayBuffer());
      return btoa(String.fromCharCode(...bytes));
    },
    width,
    height,
  );
  writeFileSync(path, Buffer.from(base64, "base64"));
}

const scratch = mkdtempSync(join(tmpdir(), "wgpu-norm-page-"));
const { address: root, close } = await serve({ "/": folder });
const address = `${root}/`;
const browsers = installed(positionals[0]);
if (browsers.length === 0) throw new Error("no browser is installed: scripts/test-web installs them");
for (const [name, { options }] of browsers) {
  const start = Date.now();
  const args = [...(options.args ?? []), ...(MORE[name] ?? [])];
  const { browser, page } = await open(name, { options: { ...options, args } }, address);
  console.log(await browser.version());
  try {
    await ready(page);
    console.log(
      `  ${await text(page, "#status")} ${(await page.$eval("#facts", (facts) => facts.innerText)).replace(/\n/g, " ")}`,
    );
    for (const [part, run] of Object.entries(PARTS)) {
      if (values.only && !values.only.split(",").includes(part)) continue;
      console.log(`  ${part}`);
      await run({ browser, page, name, address });
    }
  } catch (error) {
    check(`${name} goes on`, false, error.stack);
  } finally {
    await browser.close();
  }
  console.log(`  ${Math.round((Date.now() - start) / 1e3)} s`);
}
close();
rmSync(scratch, { recursive: true });
console.log(failures.length === 0 ? "all right" : `${failures.length} FAILED`);
process.exit(failures.length === 0 ? 0 : 1);
