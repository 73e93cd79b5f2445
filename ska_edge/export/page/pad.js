// A canvas to draw on with a mouse, a pen or a finger.

const PEN = 0.075; // of the side

export class Pad {
  #canvas;
  #strokes = [];
  #pixels = null; // a picture that was put here instead of drawn
  #finished = false; // the next stroke begins a new drawing
  #pointer = null;

  /** `onchange` is called whenever what is drawn changes. */
  constructor(canvas, onchange) {
    this.#canvas = canvas;
    this.onchange = onchange;
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, (event) => { if (event.pointerId === this.#pointer) this.#pointer = null; });
    }
    new ResizeObserver(() => this.paint()).observe(canvas);
  }

  /** What is drawn: {strokes} or {pixels}; it can be put back. */
  get drawing() {
    return { strokes: this.#strokes, pixels: this.#pixels };
  }

  put({ strokes = [], pixels = null } = {}) {
    this.#strokes = strokes;
    this.#pixels = pixels;
    this.#finished = false;
    this.#pointer = null;
    this.paint();
    this.onchange();
  }

  finish() {
    this.#finished = true;
  }

  #down(event) {
    if (this.#pointer !== null || event.button !== 0) return;
    event.preventDefault();
    this.#canvas.focus({ preventScroll: true });
    this.#canvas.setPointerCapture(event.pointerId);
    this.#pointer = event.pointerId;
    if (this.#finished || this.#pixels) [this.#strokes, this.#pixels, this.#finished] = [[], null, false];
    this.#strokes = [...this.#strokes, []];
    this.#move(event);
  }

  #move(event) {
    if (event.pointerId !== this.#pointer) return;
    const box = this.#canvas.getBoundingClientRect();
    const fine = event.getCoalescedEvents?.() ?? [];
    for (const { clientX, clientY } of fine.length ? fine : [event]) {
      this.#strokes.at(-1).push({ x: (clientX - box.left) / box.width, y: (clientY - box.top) / box.height });
    }
    this.paint();
    this.onchange();
  }

  paint() {
    const canvas = this.#canvas, side = Math.round(canvas.clientWidth * devicePixelRatio);
    if (!side) return;
    if (canvas.width !== side || canvas.height !== side) canvas.width = canvas.height = side;
    const context = canvas.getContext("2d"), ink = getComputedStyle(canvas).color;
    context.clearRect(0, 0, side, side);
    Object.assign(context, { strokeStyle: ink, lineWidth: PEN * side, lineCap: "round", lineJoin: "round" });
    if (this.#pixels) paintPixels(context, this.#pixels, side, ink);
    for (const stroke of this.#strokes) {
      const [first, ...rest] = stroke.map(({ x, y }) => ({ x: x * side, y: y * side }));
      context.beginPath();
      context.moveTo(first.x, first.y);
      rest.forEach((point, i) => { // through the middles, so that corners of the hand's samples are round
        const before = i ? rest[i - 1] : first;
        context.quadraticCurveTo(before.x, before.y, (before.x + point.x) / 2, (before.y + point.y) / 2);
      });
      const last = rest.at(-1) ?? first;
      context.lineTo(last.x, last.y);
      context.stroke();
    }
  }
}

/** A square picture of numbers 0 to 16 on a canvas `side` wide. */
export function paintPixels(context, pixels, side, ink) {
  const across = Math.sqrt(pixels.length), wide = side / across;
  context.fillStyle = ink;
  pixels.forEach((value, i) => {
    context.globalAlpha = Math.min(1, Math.max(0, value / 16));
    context.fillRect((i % across) * wide, Math.floor(i / across) * wide, wide, wide);
  });
  context.globalAlpha = 1;
}
