// The page: opens a device, and gives each of its tools the one that works now.

import { BenchPanel } from "./bench-panel.js";
import { ColoursPanel } from "./colours-panel.js";
import { explain, find, make } from "./dom.js";
import { MissingWebGpu, type Opened, open } from "./gpu.js";
import { Reference } from "./reference.js";
import { VerifyPanel } from "./verify-panel.js";

/** Before a browser is asked again, in milliseconds. */
const PAUSE = 2000;
/** Devices that may be lost one after the other before the page waits for the user. */
const MOST_LOST = 3;

class Page {
  private opened: Opened | null = null;
  private lost = 0;
  private readonly preference = find<HTMLSelectElement>("preference");
  private readonly reference = Reference.create("wgpu_norm_web_reference.wasm");
  /** These two are open to tests, which ask for their numbers. */
  readonly colours = new ColoursPanel();
  readonly bench = new BenchPanel(this.reference);
  private readonly panels = [this.colours, new VerifyPanel(this.reference), this.bench];

  constructor() {
    this.reference.catch((error: unknown) => this.say(`The reference cannot be loaded: ${explain(error)}`));
    this.preference.addEventListener("change", () => void this.open());
  }

  /** The device that works now; for tests, which lose it. */
  get device(): GPUDevice | null {
    return this.opened?.device ?? null;
  }

  async open(): Promise<void> {
    this.close();
    this.say("Opening an adapter…");
    this.preference.disabled = true;
    try {
      const opened = await open(this.preference.value as GPUPowerPreference);
      this.opened = opened;
      void opened.device.lost.then((info) => this.recover(opened, info));
      this.show(opened);
      await Promise.all(this.panels.map((panel) => panel.attach(opened)));
    } catch (error) {
      if (error instanceof MissingWebGpu) this.explainMissing(error);
      else this.say(`No device: ${explain(error)}`);
    } finally {
      this.preference.disabled = false;
    }
  }

  /** A lost device takes all that lived on it along: a new one is asked for. */
  private async recover(opened: Opened, info: GPUDeviceLostInfo): Promise<void> {
    // it was closed, and another is there
    if (this.opened !== opened) return;
    this.lost += 1;
    const words = `The device was lost: ${(info.message || info.reason).replace(/\.$/, "")}`;
    if (this.lost > MOST_LOST) {
      this.close();
      this.say(`${words}. It was the ${this.lost}th: choose an adapter to try again.`);
      this.lost = 0;
      return;
    }
    await this.open();
    if (!this.opened) {
      // a browser whose graphics process has ended starts another one
      await new Promise((resolve) => setTimeout(resolve, PAUSE));
      await this.open();
    }
    if (this.opened) this.say(`${words}. Another one took its place.`);
  }

  private close(): void {
    const before = this.opened;
    this.opened = null;
    this.panels.forEach((panel) => panel.detach());
    before?.engine.destroy();
    before?.device.destroy();
  }

  private show({ adapter, info, device, name, isSoftware, coldStartMs }: Opened): void {
    const mib = (bytes: number) => `${Math.round(bytes / (1 << 20))} MiB`;
    const subgroups = device.features.has("subgroups" as GPUFeatureName);
    const facts: [string, string][] = [
      ["Adapter", name],
      ["Kind", isSoftware ? "software: a processor plays GPU, times say nothing of one" : "hardware"],
      ["Vendor, architecture", [info.vendor, info.architecture].filter((word) => word !== "").join(", ") || "not said"],
      ["Largest tensor", mib(Math.min(device.limits.maxStorageBufferBindingSize, device.limits.maxBufferSize))],
      ["Subgroups", subgroups ? `${info.subgroupMinSize ?? "?"} to ${info.subgroupMaxSize ?? "?"} lanes` : "none"],
      ["Clock", device.features.has("timestamp-query") ? "the device's timestamps" : "the browser's"],
      ["16-bit shaders", adapter.features.has("shader-f16") ? "yes; not needed here" : "no; not needed here"],
      ["Cold start", `${Math.round(coldStartMs)} ms to the first norm`],
    ];
    const list = find("facts");
    list.replaceChildren(...facts.map(([term, text]) => make("div", {}, make("dt", {}, term), make("dd", {}, text))));
    list.hidden = false;
    find("tools").hidden = false;
    find("missing").hidden = true;
    this.say("Ready.");
  }

  private explainMissing({ message, ways }: MissingWebGpu): void {
    this.say("No adapter.");
    find("missing-why").textContent = message;
    find("missing-ways").replaceChildren(...ways.map((way) => make("li", {}, way)));
    find("missing").hidden = false;
    find("tools").hidden = true;
    find("facts").hidden = true;
  }

  private say(words: string): void {
    find("status").textContent = words;
  }
}

const page = new Page();
Object.assign(globalThis, { wgpuNormPage: page });
await page.open();
