// Browsers that are installed, headless, with WebGPU on a software adapter.
import { existsSync } from "node:fs";
import puppeteer from "puppeteer-core";

const first = (paths) => paths.find((path) => path && existsSync(path));

/** How each is started. Chromium has SwiftShader, which takes denormals for 0; Firefox has lavapipe. */
const BROWSERS = {
  chromium: {
    keepsDenormals: false,
    options: {
      browser: "chrome",
      executablePath: first([process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/google-chrome"]),
      args: ["--no-sandbox", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"],
    },
  },
  firefox: {
    keepsDenormals: true,
    options: {
      browser: "firefox",
      executablePath: first([process.env.FIREFOX, "/usr/bin/firefox-esr", "/usr/bin/firefox"]),
      extraPrefsFirefox: { "dom.webgpu.enabled": true, "gfx.webgpu.ignore-blocklist": true },
    },
  },
};

/** Those that can be started: all, or the one named. */
export function installed(only) {
  return Object.entries(BROWSERS).filter(([name, { options }]) => options.executablePath && (!only || only === name));
}

/** What browsers say of what is tried here on purpose. */
const EXPECTED = /workgroup count of 0 is unusual|status of 404/;

/** Opens a page at an address; what goes wrong on it is printed. */
export async function open(name, { options }, address) {
  const browser = await puppeteer.launch({ headless: true, protocolTimeout: 1_200_000, ...options });
  const page = await browser.newPage();
  page.on("console", (message) => EXPECTED.test(message.text()) || console.log(`    ${name}: ${message.text()}`));
  page.on("pageerror", (error) => console.log(`    ${name}: uncaught: ${error.message}`));
  await page.goto(address);
  return { browser, page };
}
