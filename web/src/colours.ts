// Colour transfer on the device: picture to planes, adaptive instance norm, planes to canvas.

import type { BoundNorm } from "wgpu-norm";

import { checked, download, tensor } from "./buffers.js";
import type { Opened } from "./gpu.js";

/** What a picture is taken from. */
export type Source = ImageBitmap | HTMLCanvasElement | HTMLVideoElement;

/** A picture on the device, and its planes in Oklab. */
interface Picture {
  readonly width: number;
  readonly height: number;
  readonly texture: GPUTexture;
  readonly planes: GPUBuffer;
  readonly split: GPUBindGroup;
}

/** What depends on the sizes of both pictures. */
interface Transfer {
  readonly result: GPUBuffer;
  readonly bound: BoundNorm;
  readonly join: GPUBindGroup;
}

/** Colour transfer on one device. */
export class Colours {
  private content: Picture | null = null;
  private style: Picture | null = null;
  private transfer: Transfer | null = null;

  private constructor(
    private readonly opened: Opened,
    private readonly splitting: GPUComputePipeline,
    private readonly joining: GPURenderPipeline,
    private readonly joined: GPUBuffer,
    private readonly context: GPUCanvasContext,
  ) {}

  static async create(opened: Opened, canvas: HTMLCanvasElement): Promise<Colours> {
    const { device } = opened;
    const response = await fetch("colours.wgsl");
    if (!response.ok) throw new Error(`colours.wgsl: ${response.status} ${response.statusText}`);
    const module = device.createShaderModule({ code: await response.text() });
    const format = navigator.gpu.getPreferredCanvasFormat();
    const splitting = await device.createComputePipelineAsync({
      layout: "auto",
      compute: { module, entryPoint: "split" },
    });
    const joining = await device.createRenderPipelineAsync({
      layout: "auto",
      vertex: { module, entryPoint: "whole" },
      fragment: { module, entryPoint: "join", targets: [{ format }] },
      primitive: { topology: "triangle-list" },
    });
    const joined = device.createBuffer({ size: 16, usage: 0x40 | 0x8 }); // UNIFORM | COPY_DST
    const context = canvas.getContext("webgpu");
    if (!context) throw new Error("this canvas has no WebGPU");
    context.configure({ device, format, alphaMode: "opaque" });
    return new Colours(opened, splitting, joining, joined, context);
  }

  /** Takes a picture in place of the one before. */
  set(which: "content" | "style", source: Source, width: number, height: number): void {
    const before = this[which];
    if (!before || before.width !== width || before.height !== height) {
      this.forget(which);
      this[which] = this.picture(width, height);
    }
    const { texture } = this[which]!;
    this.opened.device.queue.copyExternalImageToTexture({ source }, { texture }, [width, height]);
  }

  /**
   * Transfers the colours and shows the result; false where there is nothing to show, or other pictures came meanwhile,
   * whose turn is to come. `strength` is from 0 to 1.
   */
  async show(strength: number): Promise<boolean> {
    const { content, style } = this;
    const { device } = this.opened;
    if (!content || !style) return false;
    if (!this.transfer) {
      const made = await checked(device, () => this.bind(content, style));
      if (this.transfer || content !== this.content || style !== this.style) {
        made.result.destroy();
        made.bound.destroy();
      } else {
        this.transfer = made;
      }
    }
    const { transfer } = this;
    if (!transfer || content !== this.content || style !== this.style) return false;
    const canvas = this.context.canvas;
    if (canvas.width !== content.width) canvas.width = content.width;
    if (canvas.height !== content.height) canvas.height = content.height;
    const numbers = new DataView(new ArrayBuffer(16));
    numbers.setUint32(0, content.width, true);
    numbers.setUint32(4, content.height, true);
    numbers.setFloat32(8, strength, true);
    device.queue.writeBuffer(this.joined, 0, numbers);
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (const picture of [content, style]) {
      pass.setPipeline(this.splitting);
      pass.setBindGroup(0, picture.split);
      pass.dispatchWorkgroups(Math.ceil(picture.width / 8), Math.ceil(picture.height / 8));
    }
    transfer.bound.record(pass);
    pass.end();
    const view = this.context.getCurrentTexture().createView();
    const draw = encoder.beginRenderPass({ colorAttachments: [{ view, loadOp: "clear", storeOp: "store" }] });
    draw.setPipeline(this.joining);
    draw.setBindGroup(0, transfer.join);
    draw.draw(3);
    draw.end();
    device.queue.submit([encoder.finish()]);
    return true;
  }

  /** Mean and deviation of each channel, of the style and of the result. */
  async moments(): Promise<{ style: Moments[]; result: Moments[] }> {
    const {
      content,
      style,
      transfer,
      opened: { device },
    } = this;
    if (!content || !style || !transfer) throw new Error("no colours were transferred");
    const [of, pixels] = [style.width * style.height, content.width * content.height];
    const parts = [
      { buffer: style.planes, size: 12 * of },
      { buffer: transfer.result, size: 12 * pixels },
    ];
    const [first, second] = await download(device, parts);
    return { style: momentsOf(first!, of), result: momentsOf(second!, pixels) };
  }

  destroy(): void {
    this.forget("content");
    this.forget("style");
    this.joined.destroy();
    this.context.unconfigure();
  }

  private picture(width: number, height: number): Picture {
    const { device } = this.opened;
    // TEXTURE_BINDING | COPY_DST | RENDER_ATTACHMENT, as copies from pictures need it
    const texture = device.createTexture({ size: [width, height], format: "rgba8unorm", usage: 0x4 | 0x2 | 0x10 });
    const planes = tensor(device, 12 * width * height);
    const split = device.createBindGroup({
      layout: this.splitting.getBindGroupLayout(0),
      entries: [
        { binding: 0, resource: texture.createView() },
        { binding: 1, resource: { buffer: planes } },
      ],
    });
    return { width, height, texture, planes, split };
  }

  private async bind(content: Picture, style: Picture): Promise<Transfer> {
    const { device, engine } = this.opened;
    const planesOf = ({ width, height }: Picture) => [1, 3, height, width];
    // the variances of colours are about 1e-4, and eps is to be nothing beside them
    const norm = engine.norm({ kind: "adain", shape: planesOf(content), styleShape: planesOf(style), eps: 1e-9 });
    const result = tensor(device, content.planes.size);
    const args = { input: content.planes, style: style.planes, output: result };
    await norm.warmUp("forward", args);
    const bound = norm.bindForward(args);
    await bound.ready;
    const join = device.createBindGroup({
      layout: this.joining.getBindGroupLayout(0),
      entries: [content.planes, result, this.joined].map((buffer, binding) => ({ binding, resource: { buffer } })),
    });
    return { result, bound, join };
  }

  private forget(which: "content" | "style"): void {
    this[which]?.texture.destroy();
    this[which]?.planes.destroy();
    this[which] = null;
    this.transfer?.result.destroy();
    this.transfer?.bound.destroy();
    this.transfer = null;
  }
}

/** Of a channel. */
export interface Moments {
  readonly mean: number;
  readonly deviation: number;
}

function momentsOf(bytes: Uint8Array, pixels: number): Moments[] {
  const planes = new Float32Array(bytes.buffer, bytes.byteOffset, 3 * pixels);
  return [0, 1, 2].map((channel) => {
    const plane = planes.subarray(channel * pixels, (channel + 1) * pixels);
    const mean = plane.reduce((sum, x) => sum + x, 0) / pixels;
    const variance = plane.reduce((sum, x) => sum + (x - mean) ** 2, 0) / pixels;
    return { mean, deviation: Math.sqrt(variance) };
  });
}
