// Two pictures drawn by code, so that there is something to see at once; and pictures of the user's own.

const [WIDTH, HEIGHT] = [640, 420];
/** Longest edge of a picture of the user's own. */
const LONGEST = 1600;

/** Numbers that are the same each time. */
function random(seed: number): () => number {
  return () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed / 2 ** 32;
  };
}

function canvasOf(draw: (context: CanvasRenderingContext2D) => void): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [WIDTH, HEIGHT];
  draw(canvas.getContext("2d")!);
  return canvas;
}

function gradient(context: CanvasRenderingContext2D, from: number, to: number, ...colours: string[]): CanvasGradient {
  const made = context.createLinearGradient(0, from, 0, to);
  colours.forEach((colour, i) => made.addColorStop(i / (colours.length - 1), colour));
  return made;
}

/** A ridge of hills from the left to the right edge, down to the bottom. */
function ridge(context: CanvasRenderingContext2D, base: number, height: number, wave: number, shift: number): void {
  context.beginPath();
  context.moveTo(0, HEIGHT);
  for (let x = 0; x <= WIDTH; x += 4) {
    const y = base - height * (0.6 * Math.sin(x / wave + shift) + 0.3 * Math.sin((2.3 * x) / wave + 2 * shift));
    context.lineTo(x, y);
  }
  context.lineTo(WIDTH, HEIGHT);
  context.fill();
}

/** A meadow at noon. */
export function meadow(): HTMLCanvasElement {
  return canvasOf((context) => {
    const next = random(7);
    context.fillStyle = gradient(context, 0, 260, "#3f86d6", "#a9d3f2", "#e6f2f7");
    context.fillRect(0, 0, WIDTH, HEIGHT);
    context.fillStyle = "rgba(255, 255, 255, 0.8)";
    for (const [x, y, size] of [
      [110, 80, 30],
      [420, 60, 38],
      [560, 120, 24],
    ] as const) {
      for (let puff = 0; puff < 7; puff++) {
        context.beginPath();
        context.ellipse(
          x + (puff - 3) * size * 0.55,
          y + size * 0.3 * Math.sin(puff * 2),
          size * 0.8,
          size * 0.5,
          0,
          0,
          7,
        );
        context.fill();
      }
    }
    context.fillStyle = "#7fa3a8";
    ridge(context, 235, 34, 90, 0.5);
    context.fillStyle = gradient(context, 230, 330, "#5c9a4a", "#79b356");
    ridge(context, 272, 20, 120, 2.2);
    context.fillStyle = gradient(context, 290, HEIGHT, "#86bf4c", "#4f8f2f");
    ridge(context, 322, 14, 160, 4.1);
    // a house with a red roof
    context.fillStyle = "#f3ead6";
    context.fillRect(428, 262, 74, 46);
    context.fillStyle = "#b5452f";
    context.beginPath();
    context.moveTo(418, 264);
    context.lineTo(465, 228);
    context.lineTo(512, 264);
    context.fill();
    context.fillStyle = "#5a4632";
    context.fillRect(458, 282, 16, 26);
    for (let tree = 0; tree < 9; tree++) {
      const [x, y, size] = [30 + tree * 38 + 14 * next(), 292 + 26 * next(), 16 + 12 * next()];
      context.fillStyle = "#5b4330";
      context.fillRect(x - 2, y, 5, size);
      context.fillStyle = `hsl(${105 + 25 * next()} 45% ${25 + 12 * next()}%)`;
      context.beginPath();
      context.arc(x, y - size * 0.4, size, 0, 7);
      context.fill();
    }
    for (let flower = 0; flower < 420; flower++) {
      const y = 345 + 75 * next();
      context.fillStyle = ["#f6d743", "#e8505b", "#ffffff", "#9a66d1"][Math.floor(4 * next())]!;
      context.fillRect(WIDTH * next(), y, 1 + (y - 340) / 22, 1 + (y - 340) / 22);
    }
  });
}

/** The sea at dusk. */
export function dusk(): HTMLCanvasElement {
  return canvasOf((context) => {
    const next = random(11);
    context.fillStyle = gradient(context, 0, 250, "#23204f", "#6d3b72", "#d5655a", "#f8b25c");
    context.fillRect(0, 0, WIDTH, HEIGHT);
    const sun = context.createRadialGradient(400, 232, 4, 400, 232, 170);
    sun.addColorStop(0, "#fff3c4");
    sun.addColorStop(0.16, "#ffd27a");
    sun.addColorStop(1, "rgba(255, 160, 80, 0)");
    context.fillStyle = sun;
    context.fillRect(0, 0, WIDTH, 250);
    for (let cloud = 0; cloud < 26; cloud++) {
      const y = 60 + 150 * next();
      context.fillStyle = `hsla(${340 + 40 * next()} 60% ${35 + 25 * next()}% / 0.35)`;
      context.beginPath();
      context.ellipse(WIDTH * next(), y, 40 + 90 * next(), 3 + 5 * next(), 0, 0, 7);
      context.fill();
    }
    context.fillStyle = "#2b2147";
    ridge(context, 246, 16, 70, 1.3);
    context.fillStyle = gradient(context, 250, HEIGHT, "#c2605c", "#4b2f63", "#171a3d");
    context.fillRect(0, 250, WIDTH, HEIGHT - 250);
    for (let wave = 0; wave < 900; wave++) {
      const y = 252 + 168 * next();
      const near = Math.exp(-(((400 - WIDTH * next()) / 90) ** 2));
      const x = next() < 0.5 ? 400 + (next() - 0.5) * (60 + (y - 250)) : WIDTH * next();
      context.fillStyle = `hsla(${22 + 20 * near} 80% 70% / ${0.12 + 0.3 * next() * near})`;
      context.fillRect(x, y, 8 + 20 * next(), 1.3);
    }
    context.fillStyle = "#140f26";
    context.beginPath();
    context.moveTo(120, 318);
    context.quadraticCurveTo(165, 342, 214, 316);
    context.lineTo(120, 318);
    context.fill();
    context.fillRect(164, 232, 3, 88);
    context.beginPath();
    context.moveTo(168, 238);
    context.quadraticCurveTo(206, 280, 206, 308);
    context.lineTo(168, 308);
    context.fill();
  });
}

/** The size at which a picture is shown. */
export function fitted(width: number, height: number): [number, number] {
  const scale = Math.min(1, LONGEST / Math.max(width, height));
  return [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
}

/** A picture of a file, or a word that it is none. */
export async function read(file: Blob & { name?: string }): Promise<ImageBitmap> {
  try {
    const whole = await createImageBitmap(file);
    const [resizeWidth, resizeHeight] = fitted(whole.width, whole.height);
    if (resizeWidth === whole.width) return whole;
    const smaller = await createImageBitmap(whole, { resizeWidth, resizeHeight, resizeQuality: "high" });
    whole.close();
    return smaller;
  } catch {
    throw new Error(`${file.name ?? "this file"} is no picture that this browser can read`);
  }
}
