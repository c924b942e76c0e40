// The f64 reference, compiled to WebAssembly: cases, the judge, the report.

import type { Descriptor } from "./cases.js";

/** A tensor that a norm reads. */
export interface Operand {
  readonly name: string;
  readonly element: string;
  readonly bytes: Uint8Array;
}

/** A tensor that a norm writes. */
export interface Expected {
  readonly name: string;
  readonly element: "f32" | "f16" | "bf16";
  readonly length: number;
}

/** What the judge says. */
export interface Verdict {
  readonly passes: boolean;
  readonly error: number;
  readonly misplaced: number;
  readonly index: number;
  readonly actual: string;
  readonly expected: string;
}

interface Exports {
  readonly memory: WebAssembly.Memory;
  reference_text(length: number): number;
  reference_bytes(length: number): number;
  reference_call(): number;
  reference_answer(): number;
}

/** One instance holds one case at a time. */
export class Reference {
  private constructor(private readonly exports: Exports) {}

  static async create(source: string): Promise<Reference> {
    const response = await fetch(source);
    if (!response.ok) throw new Error(`${source}: ${response.status} ${response.statusText}`);
    const { instance } = await WebAssembly.instantiateStreaming(response, {});
    return new Reference(instance.exports as unknown as Exports);
  }

  /** The operands of a norm, filled; they are copies. */
  case(norm: Descriptor, fill: string, given: boolean): { operands: Operand[]; expected: Expected[] } {
    interface Place {
      name: string;
      element: string;
      pointer: number;
      bytes: number;
    }
    const answer = this.ask<{ operands: Place[]; expected: Expected[] }>({ case: { norm, fill, given } });
    const memory = this.exports.memory.buffer;
    const operands = answer.operands.map(({ name, element, pointer, bytes }) => {
      return { name, element, bytes: new Uint8Array(memory, pointer, bytes).slice() };
    });
    return { operands, expected: answer.expected };
  }

  /** Judges the bytes of a result of the last case. */
  judge(name: string, bytes: Uint8Array): Verdict {
    const pointer = this.exports.reference_bytes(bytes.length);
    new Uint8Array(this.exports.memory.buffer, pointer, bytes.length).set(bytes);
    return this.ask<Verdict>({ judge: name });
  }

  /** Of this library. */
  version(): string {
    return this.ask<string>("version");
  }

  /** A report of a benchmark as a page. */
  page(report: unknown): string {
    return this.ask<string>({ report });
  }

  private ask<T>(request: unknown): T {
    const { exports } = this;
    const text = new TextEncoder().encode(JSON.stringify(request));
    const pointer = exports.reference_text(text.length);
    new Uint8Array(exports.memory.buffer, pointer, text.length).set(text);
    const length = exports.reference_call();
    const bytes = new Uint8Array(exports.memory.buffer, exports.reference_answer(), length);
    const answer = JSON.parse(new TextDecoder().decode(bytes)) as { ok?: T; error?: string };
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer.ok as T;
  }
}
