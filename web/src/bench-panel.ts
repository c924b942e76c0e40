// The benchmark on the page.

import { bench } from "./bench.js";
import { type BenchCase, elementsOf, lines, nameOf } from "./cases.js";
import { find, save } from "./dom.js";
import type { Opened } from "./gpu.js";
import { type Panel, Task } from "./panel.js";
import { load } from "./peers/all.js";
import type { Peer } from "./peers/peer.js";
import type { Reference } from "./reference.js";
import type { Report } from "./report.js";

export class BenchPanel implements Panel {
  private readonly task = new Task("bench");
  private shown: { report: Report; page: string } | null = null;

  constructor(private readonly reference: Promise<Reference>) {
    find("bench-form").addEventListener("submit", (event) => {
      event.preventDefault();
      void this.task.run((opened, signal) => this.bench(opened, signal));
    });
    const type = { json: "application/json", html: "text/html" };
    find("save-json").addEventListener("click", () => {
      if (this.shown)
        save("wgpu-norm.json", new Blob([JSON.stringify(this.shown.report, null, 2)], { type: type.json }));
    });
    find("save-html").addEventListener("click", () => {
      if (this.shown) save("wgpu-norm.html", new Blob([this.shown.page], { type: type.html }));
    });
    const frame = find<HTMLIFrameElement>("report");
    const fit = () => {
      const root = frame.contentDocument?.documentElement;
      if (root && !frame.hidden) frame.style.height = `${root.offsetHeight + 4}px`;
    };
    frame.addEventListener("load", fit);
    addEventListener("resize", fit);
  }

  /** The last one. */
  get report(): Report | null {
    return this.shown?.report ?? null;
  }

  async attach(opened: Opened): Promise<void> {
    this.task.attach(opened);
  }

  detach(): void {
    this.task.detach();
  }

  private async bench(opened: Opened, signal: AbortSignal): Promise<string> {
    const filter = find<HTMLInputElement>("filter").value.trim();
    const most = Number(find<HTMLSelectElement>("largest").value) * (1 << 20);
    const [reference, all] = await Promise.all([this.reference, lines<BenchCase>("bench.jsonl")]);
    const cases = all.filter((entry) => nameOf(entry).includes(filter) && 4 * elementsOf(entry) <= most);
    if (cases.length === 0)
      throw new Error("no case has this name and size; one is called group 32 8x64x120x120 channels-last backward");
    const names = [...document.querySelectorAll<HTMLInputElement>('input[name="peer"]:checked')].map(
      (box) => box.value,
    );
    const peers: Peer[] = [];
    for (const name of names) {
      this.task.progress(0, `loading ${name}`);
      peers.push(await load(name, opened));
    }
    const words = [
      filter && `--filter '${filter}'`,
      `tensors of ${most >> 20} MiB at most`,
      ...names.map((name) => `beside ${name}`),
    ];
    const command = `web page, reference suite, ${words.filter((word) => word !== "").join(", ")}`;
    const report = await bench(opened, reference, cases, peers, command, signal, (done, total, name) => {
      this.task.progress(done / total, `${done} of ${total}: ${name}`);
    });
    this.show(report, reference.page(report));
    const wrong = report.rows.filter((row) => (row.error ?? 0) > 1e-5).length;
    const skipped = report.skipped.length > 0 ? `, ${report.skipped.length} not` : "";
    const measured = report.rows.filter((row) => row.peer === null).length;
    return `${measured} cases measured${skipped}${wrong > 0 ? `, ${wrong} wrong` : ""}.`;
  }

  private show(report: Report, page: string): void {
    this.shown = { report, page };
    const frame = find<HTMLIFrameElement>("report");
    frame.hidden = false;
    frame.srcdoc = page;
    find("bench-save").hidden = false;
  }
}
