// What all tools have in common: a button that starts, one that stops, a bar and a line of words.

import { explain, find } from "./dom.js";
import type { Opened } from "./gpu.js";

/** A tool on the device that works now. */
export interface Panel {
  attach(opened: Opened): Promise<void>;
  detach(): void;
}

/** A task that the user starts and may stop; it ends with its device. */
export class Task {
  private abort: AbortController | null = null;
  private opened: Opened | null = null;
  private readonly start: HTMLButtonElement;
  private readonly stop: HTMLButtonElement;
  private readonly bar: HTMLProgressElement;
  private readonly note: HTMLElement;

  constructor(name: string) {
    this.start = find(`${name}-run`);
    this.stop = find(`${name}-stop`);
    this.bar = find(`${name}-bar`);
    this.note = find(`${name}-note`);
    this.stop.addEventListener("click", () => this.abort?.abort(new Error("stopped")));
    this.start.disabled = true;
  }

  attach(opened: Opened): void {
    this.opened = opened;
    this.start.disabled = false;
  }

  detach(): void {
    this.abort?.abort(new Error("the device went away: start again"));
    this.opened = null;
    this.start.disabled = true;
  }

  /** Runs the work unless it runs; what it returns is said in the end. */
  async run(work: (opened: Opened, signal: AbortSignal) => Promise<string>): Promise<void> {
    const { opened } = this;
    if (!opened || this.abort) return;
    const abort = new AbortController();
    this.abort = abort;
    this.isRunning = true;
    try {
      this.say(await work(opened, abort.signal));
    } catch (error) {
      const reason: unknown = abort.signal.aborted ? abort.signal.reason : error;
      const words = explain(reason);
      this.say(words[0]!.toUpperCase() + words.slice(1));
    } finally {
      this.abort = null;
      this.isRunning = false;
    }
  }

  progress(share: number, words: string): void {
    this.bar.value = share;
    this.say(words);
  }

  say(words: string): void {
    this.note.textContent = words;
  }

  private set isRunning(running: boolean) {
    this.start.disabled = running || this.opened === null;
    this.stop.hidden = !running;
    this.bar.hidden = !running;
    this.bar.value = 0;
    // who pressed the one goes on with the other
    if (running) this.stop.focus();
    else if (document.activeElement === document.body) this.start.focus();
  }
}
