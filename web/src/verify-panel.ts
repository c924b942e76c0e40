// The verification on the page.

import { type VerifyCase, eachOnce, lines } from "./cases.js";
import { find, make } from "./dom.js";
import type { Opened } from "./gpu.js";
import { type Panel, Task } from "./panel.js";
import type { Reference } from "./reference.js";
import { Results } from "./table.js";
import { verify } from "./verify.js";

/** Failures that are named. */
const NAMED = 20;

export class VerifyPanel implements Panel {
  private readonly task = new Task("verify");

  constructor(private readonly reference: Promise<Reference>) {
    find("verify-run").addEventListener(
      "click",
      () => void this.task.run((opened, signal) => this.verify(opened, signal)),
    );
  }

  async attach(opened: Opened): Promise<void> {
    this.task.attach(opened);
  }

  detach(): void {
    this.task.detach();
  }

  private async verify(opened: Opened, signal: AbortSignal): Promise<string> {
    const [reference, all] = await Promise.all([this.reference, lines<VerifyCase>("verify.jsonl")]);
    const cases = find<HTMLSelectElement>("extent").value === "all" ? all : eachOnce(all);
    const results = new Results();
    const table = find("verify-table");
    const show = () => {
      table.replaceChildren(results.table());
      const named = results.failures
        .slice(0, NAMED)
        .map(({ pass, what, why }) => make("li", {}, `${pass}: ${what}: ${why}`));
      const rest = results.failures.length - named.length;
      find("verify-failures").replaceChildren(...named, ...(rest > 0 ? [make("li", {}, `and ${rest} more`)] : []));
    };
    table.hidden = false;
    const start = performance.now();
    await verify(opened, reference, cases, signal, (done, outcomes) => {
      outcomes.forEach((outcome) => results.add(outcome));
      show();
      this.task.progress(done / cases.length, `${done} of ${cases.length} norms, ${results.failures.length} failures`);
    });
    const seconds = Math.round((performance.now() - start) / 1e3);
    const { count, failures } = results;
    const verdict = failures.length === 0 ? "all right" : `${failures.length} wrong`;
    return `${count} results of ${cases.length} norms in ${seconds} s: ${verdict}.`;
  }
}
