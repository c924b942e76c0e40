// The table of a verification: a row for each norm and type, a cell for each pass.

import { make } from "./dom.js";
import { type Outcome, PASSES } from "./verify.js";

interface Cell {
  count: number;
  failed: number;
  worst: number;
  what: string;
}

/** Counts outcomes. */
export class Results {
  readonly failures: Outcome[] = [];
  count = 0;
  private readonly rows = new Map<string, { kind: string; types: string; cells: Map<string, Cell> }>();

  add(outcome: Outcome): void {
    const { kind, types, pass, passes, error, what } = outcome;
    this.count += 1;
    if (!passes) this.failures.push(outcome);
    const key = `${kind} ${types}`;
    const row = this.rows.get(key) ?? { kind, types, cells: new Map<string, Cell>() };
    this.rows.set(key, row);
    const cell = row.cells.get(pass) ?? { count: 0, failed: 0, worst: -1, what: "" };
    row.cells.set(pass, cell);
    cell.count += 1;
    cell.failed += passes ? 0 : 1;
    if (error > cell.worst) [cell.worst, cell.what] = [error, what];
  }

  table(): HTMLTableElement {
    const heads = ["Norm", "Type", ...PASSES];
    const head = make("thead", {}, make("tr", {}, ...heads.map((text) => make("th", { scope: "col" }, text))));
    const body = make("tbody");
    for (const { kind, types, cells } of this.rows.values()) {
      const values = PASSES.map((pass) => cells.get(pass)).map((cell) => {
        if (!cell) return make("td", {}, "–");
        const words = `${cell.count - cell.failed} of ${cell.count}, error ${digits(cell.worst)}`;
        return make("td", { className: cell.failed > 0 ? "bad" : "", title: cell.what }, words);
      });
      body.append(make("tr", {}, make("th", { scope: "row" }, kind), make("td", {}, types), ...values));
    }
    return make("table", {}, head, body);
  }
}

function digits(error: number): string {
  return error <= 0 ? "0" : error.toExponential(1);
}
