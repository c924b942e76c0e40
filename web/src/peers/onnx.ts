// ONNX models of a few operators, as protocol buffers: the fields of onnx.proto that such models need.

const FLOAT = 1;
const INT64 = 7;

/** An operator. */
export interface Node {
  readonly operator: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Whole numbers are written as such, others as floats. */
  readonly attributes?: { readonly [name: string]: { float: number } | { int: number } };
  readonly domain?: string;
}

/** A constant of the graph. */
export type Constant = Float32Array | BigInt64Array;

/** The bytes of a model of float tensors. */
export function model(
  nodes: readonly Node[],
  inputs: { readonly [name: string]: readonly number[] },
  outputs: { readonly [name: string]: readonly number[] },
  constants: { readonly [name: string]: { values: Constant; dims: readonly number[] } },
): Uint8Array {
  const graph = bytes(
    ...nodes.map((node) => field(1, nodeBytes(node))),
    field(2, "norm"),
    ...Object.entries(constants).map(([name, { values, dims }]) => field(5, constantBytes(name, values, dims))),
    ...Object.entries(inputs).map(([name, dims]) => field(11, valueBytes(name, dims))),
    ...Object.entries(outputs).map(([name, dims]) => field(12, valueBytes(name, dims))),
  );
  const opset = (domain: string, version: number) => field(8, bytes(field(1, domain), number(2, version)));
  return Uint8Array.from(bytes(number(1, 10), field(7, graph), opset("", 21), opset("com.microsoft", 1)));
}

function nodeBytes({ operator, inputs, outputs, attributes = {}, domain = "" }: Node): number[] {
  const named = Object.entries(attributes).map(([name, value]) => field(5, attributeBytes(name, value)));
  return bytes(
    ...inputs.map((name) => field(1, name)),
    ...outputs.map((name) => field(2, name)),
    field(4, operator),
    ...named,
    field(7, domain),
  );
}

function attributeBytes(name: string, value: { float: number } | { int: number }): number[] {
  return "float" in value
    ? bytes(field(1, name), float(2, value.float), number(20, 1))
    : bytes(field(1, name), number(3, value.int), number(20, 2));
}

function valueBytes(name: string, dims: readonly number[]): number[] {
  const shape = bytes(...dims.map((size) => field(1, number(1, size))));
  return bytes(field(1, name), field(2, field(1, bytes(number(1, FLOAT), field(2, shape)))));
}

function constantBytes(name: string, values: Constant, dims: readonly number[]): number[] {
  const raw = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const type = values instanceof Float32Array ? FLOAT : INT64;
  return bytes(...dims.map((size) => number(1, size)), number(2, type), field(8, name), field(9, [...raw]));
}

/** A field of bytes: text, or a message. */
function field(tag: number, content: string | readonly number[]): number[] {
  const inside = typeof content === "string" ? [...new TextEncoder().encode(content)] : content;
  return bytes(varint((tag << 3) | 2), varint(inside.length), inside);
}

/** A field with a whole number from 0 on. */
function number(tag: number, value: number): number[] {
  return bytes(varint(tag << 3), varint(value));
}

function float(tag: number, value: number): number[] {
  return bytes(varint((tag << 3) | 5), [...new Uint8Array(Float32Array.of(value).buffer)]);
}

function varint(value: number): number[] {
  const parts: number[] = [];
  for (; value >= 128; value = Math.floor(value / 128)) parts.push((value % 128) | 128);
  return [...parts, value];
}

function bytes(...parts: readonly (readonly number[])[]): number[] {
  return parts.flat();
}
