import { NormError } from "./error.js";

/** Where the WebAssembly module comes from. */
export type WasmSource = string | URL | Response | Promise<Response> | BufferSource | WebAssembly.Module;

interface Exports {
  memory: WebAssembly.Memory;
  request(length: number): number;
  call(): number;
  answer(): number;
}

type Answer = { ok: unknown } | { error: { code: string; message: string } };

/** The planner: a request in JSON goes in, an answer comes out. It keeps nothing from one to the next. */
export class Planner {
  #exports: Exports;

  private constructor(readonly module: WebAssembly.Module) {
    this.#exports = instance(module);
  }

  static async load(source: WasmSource = new URL("./wgpu_norm.wasm", import.meta.url)): Promise<Planner> {
    if (source instanceof WebAssembly.Module) return new Planner(source);
    if (ArrayBuffer.isView(source) || source instanceof ArrayBuffer) {
      return new Planner(await WebAssembly.compile(source));
    }
    const response = await (typeof source === "string" || source instanceof URL ? fetch(source) : source);
    if (!response.ok) {
      throw new NormError("Wasm", `the WebAssembly module is not there: ${response.status} ${response.url}`);
    }
    return new Planner(await WebAssembly.compile(await response.arrayBuffer()));
  }

  ask(request: string): unknown {
    const bytes = new TextEncoder().encode(request);
    let answer: Answer;
    try {
      const wasm = this.#exports;
      const at = wasm.request(bytes.length);
      new Uint8Array(wasm.memory.buffer, at, bytes.length).set(bytes);
      const length = wasm.call();
      answer = JSON.parse(new TextDecoder().decode(new Uint8Array(wasm.memory.buffer, wasm.answer(), length)));
    } catch (error) {
      // a mistake of the library stops an instance for good; the next request gets a new one
      this.#exports = instance(this.module);
      throw new NormError("Internal", `the planner stopped (${error}) at ${request}`);
    }
    if ("error" in answer) throw new NormError(answer.error.code, answer.error.message);
    return answer.ok;
  }
}

function instance(module: WebAssembly.Module): Exports {
  return new WebAssembly.Instance(module, {}).exports as unknown as Exports;
}
