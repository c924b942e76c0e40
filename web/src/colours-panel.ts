// Colour transfer on the page: two pictures, a camera in place of the first, and the result.

import { Colours, type Source } from "./colours.js";
import { explain, find, save } from "./dom.js";
import type { Opened } from "./gpu.js";
import type { Panel } from "./panel.js";
import { dusk, fitted, meadow, read } from "./pictures.js";

type Which = "content" | "style";
const OTHER: { readonly [which in Which]: string } = { content: "the picture", style: "the colours" };

export class ColoursPanel implements Panel {
  private colours: Colours | null = null;
  private readonly pictures: { [which in Which]: ImageBitmap | HTMLCanvasElement } = {
    content: meadow(),
    style: dusk(),
  };
  private readonly strength = find<HTMLInputElement>("strength");
  private readonly button = find<HTMLButtonElement>("camera");
  private video: HTMLVideoElement | null = null;
  /** Whether what is shown is of the pictures that are chosen. */
  isShown = false;

  constructor() {
    for (const which of ["content", "style"] as const) {
      const input = find<HTMLInputElement>(`${which}-file`);
      input.addEventListener("change", () => {
        const file = input.files?.[0];
        if (file) void this.take(which, file);
        // the same file may be chosen again
        input.value = "";
      });
      this.acceptDrops(which, find(`${which}-frame`));
      this.draw(which, this.pictures[which]);
    }
    this.strength.addEventListener("input", () => void this.update());
    find("swap").addEventListener("click", () => {
      this.stopCamera();
      const { content, style } = this.pictures;
      Object.assign(this.pictures, { content: style, style: content });
      this.place("content");
      this.place("style");
      void this.update();
    });
    find("save-picture").addEventListener("click", () => void this.save());
    this.button.addEventListener("click", () => void (this.video ? this.stopCamera() : this.startCamera()));
  }

  async attach(opened: Opened): Promise<void> {
    // a canvas keeps the device that it was configured for
    const canvas = find<HTMLCanvasElement>("result");
    this.colours = await Colours.create(opened, canvas);
    this.place("content");
    this.place("style");
    await this.update();
  }

  detach(): void {
    const colours = this.colours;
    this.colours = null;
    this.isShown = false;
    colours?.destroy();
  }

  /** For tests: what the colours of the style and of the result are, in numbers. */
  moments() {
    return this.colours?.moments();
  }

  private async take(which: Which, file: File): Promise<void> {
    try {
      this.pictures[which] = await read(file);
      if (which === "content") this.stopCamera();
      this.place(which);
      await this.update();
    } catch (error) {
      this.say(explain(error));
    }
  }

  /** Shows a picture, and gives it to the device. */
  private place(which: Which): void {
    const picture = this.pictures[which];
    this.isShown = false;
    this.draw(which, picture);
    this.colours?.set(which, picture, picture.width, picture.height);
  }

  private draw(which: Which, source: Source, width = source.width, height = source.height): void {
    const canvas = find<HTMLCanvasElement>(which);
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
    canvas.getContext("2d")!.drawImage(source, 0, 0, width, height);
  }

  private async update(): Promise<void> {
    try {
      if (await this.colours?.show(Number(this.strength.value) / 100)) this.isShown = true;
      if (!this.video) this.say("");
    } catch (error) {
      this.say(explain(error));
    }
  }

  private async save(): Promise<void> {
    await this.update();
    const canvas = find<HTMLCanvasElement>("result");
    canvas.toBlob(
      (blob) => (blob ? save("colours.png", blob) : this.say("this browser makes no PNG of the picture")),
      "image/png",
    );
  }

  private acceptDrops(which: Which, frame: HTMLElement): void {
    const mark = (target: boolean) => frame.classList.toggle("target", target);
    frame.addEventListener("dragover", (event) => {
      event.preventDefault();
      mark(true);
    });
    frame.addEventListener("dragleave", () => mark(false));
    frame.addEventListener("drop", (event) => {
      event.preventDefault();
      mark(false);
      const file = event.dataTransfer?.files[0];
      if (file) void this.take(which, file);
      else this.say(`drop a file of a picture to change ${OTHER[which]}`);
    });
  }

  private async startCamera(): Promise<void> {
    if (!navigator.mediaDevices) {
      this.say("this browser gives no camera to this page: it has to come from https:// or localhost");
      return;
    }
    try {
      const stream = await navigator.mediaDevices.getUserMedia({
        video: { width: { ideal: 1280 }, facingMode: "user" },
      });
      const video = Object.assign(document.createElement("video"), {
        srcObject: stream,
        muted: true,
        playsInline: true,
      });
      await video.play();
      this.video = video;
      this.button.setAttribute("aria-pressed", "true");
      this.frames(video);
    } catch (error) {
      this.say(`no camera: ${explain(error)}`);
    }
  }

  /** Each frame of the camera, and how many a second. */
  private frames(video: HTMLVideoElement): void {
    let [since, count] = [performance.now(), 0];
    const next = () => {
      if (this.video !== video) return;
      if (typeof video.requestVideoFrameCallback === "function") video.requestVideoFrameCallback(() => void frame());
      else requestAnimationFrame(() => void frame());
    };
    const frame = async () => {
      if (this.video !== video) return;
      const [width, height] = fitted(video.videoWidth, video.videoHeight);
      if (this.colours && width > 1) {
        this.draw("content", video, width, height);
        const isWhole = width === video.videoWidth && height === video.videoHeight;
        this.colours.set("content", isWhole ? video : find<HTMLCanvasElement>("content"), width, height);
        await this.update();
        count += 1;
      }
      const seconds = (performance.now() - since) / 1e3;
      if (seconds >= 1) {
        this.say(`${(count / seconds).toFixed(0)} frames a second, ${width} x ${height}`);
        [since, count] = [performance.now(), 0];
      }
      next();
    };
    next();
  }

  private stopCamera(): void {
    const video = this.video;
    if (!video) return;
    this.video = null;
    (video.srcObject as MediaStream).getTracks().forEach((track) => track.stop());
    this.button.setAttribute("aria-pressed", "false");
    this.place("content");
    void this.update();
  }

  private say(words: string): void {
    find("colours-note").textContent = words;
  }
}
