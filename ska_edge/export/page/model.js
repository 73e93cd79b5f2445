// The network: models that take a state and give the next one, the state, and its way back into a .ska file.
import * as ort from "./runtime/ort.wasm.bundle.min.mjs";
import { hex, sha256 } from "./sha256.js";

ort.env.wasm.numThreads = 1; // threads need headers that a plain file server does not send
ort.env.wasm.wasmPaths = { wasm: new URL("runtime/ort-wasm-simd-threaded.wasm", import.meta.url).href };

const ARRAYS = {
  int8: Int8Array, uint8: Uint8Array, int16: Int16Array, uint16: Uint16Array, int32: Int32Array, uint32: Uint32Array,
  int64: BigInt64Array,
};
export const NO_LABEL = -1;

async function bytesOf(file) {
  const answer = await fetch(new URL(file, import.meta.url));
  if (!answer.ok) throw new Error(`${file}: ${answer.status} ${answer.statusText}`);
  return new Uint8Array(await answer.arrayBuffer());
}

export const jsonOf = async (file) => JSON.parse(new TextDecoder().decode(await bytesOf(file)));

export class Model {
  #learn;
  #infer;
  #start;
  #file;
  #turn = Promise.resolve(); // a session runs one thing at a time

  static async load() {
    const model = new Model();
    model.about = await jsonOf("ska-edge.json");
    const [start, file, learn, infer] = await Promise.all(
      ["state.bin", "model.ska", "learn_step.onnx", "infer_step.onnx"].map(bytesOf),
    );
    model.#file = file;
    model.#start = Object.fromEntries(model.about.state.map((entry) => {
      const part = start.slice(entry.offset, entry.offset + entry.bytes);
      return [entry.name, new ort.Tensor(entry.dtype, new ARRAYS[entry.dtype](part.buffer), entry.shape)];
    }));
    const options = { executionProviders: ["wasm"] };
    model.#learn = await ort.InferenceSession.create(learn, options);
    model.#infer = await ort.InferenceSession.create(infer, options);
    model.reset();
    return model;
  }

  /** Every state tensor by name.  Learning puts another in its place, so a state that is kept stays what it was. */
  state;

  reset() {
    this.state = this.#start;
  }

  get classes() {
    return this.#border("outputs", "decision").shape[0];
  }

  /** Features as measured to the sample's integers, by the formula in ska-edge.json. */
  encode(features) {
    const { low, high, centre, exponent, lo, hi } = this.about.encoding;
    return features.map((x, i) => {
      const unit = Math.min(1, Math.max(0, (x - low) / (high - low))) - (centre[i] ?? centre[0] ?? 0);
      return Math.min(hi, Math.max(lo, Math.floor(unit * 2 ** -exponent + 0.5)));
    });
  }

  /** Rows of features to {decisions: [[share of each class]], choices: [class]}. */
  infer(rows) {
    return this.#alone(async () => {
      const found = await this.#infer.run(this.#feeds(this.#infer, rows, [rows.length]));
      const { exponent } = this.#border("outputs", "decision");
      const shares = Array.from(found.decision.data, (raw) => Number(raw) * 2 ** exponent);
      const decisions = rows.map((_, i) => shares.slice(i * this.classes, (i + 1) * this.classes));
      return { decisions, choices: Array.from(found.choice.data, Number) };
    });
  }

  /** One sample is learnt.  {entropies: {output: bits}, moved: how many numbers of the state changed}. */
  learn(features, label = NO_LABEL) {
    return this.#alone(async () => {
      const { dtype } = this.#border("inputs", "label");
      const given = new ort.Tensor(dtype, ARRAYS[dtype].of(label), []);
      const found = await this.#learn.run({ ...this.#feeds(this.#learn, [features], []), label: given });
      const before = this.state;
      this.state = { ...before };
      let moved = 0;
      for (const { name, next, kind } of this.about.state) {
        if (!(next in found)) continue;
        this.state[name] = found[next];
        if (kind !== "counter") moved += found[next].data.reduce((n, value, i) => n + (value !== before[name].data[i]), 0);
      }
      const entropies = this.about.outputs.filter(({ kind }) => kind === "entropy").map(({ name, exponent }) =>
        [name, Number(found[name].data[0]) * 2 ** exponent / Math.LN2]);
      return { entropies: Object.fromEntries(entropies), moved };
    });
  }

  /** Which state this is: as `ska-edge show` prints it. */
  get digest() {
    const parts = this.about.state.map((entry) => this.#packed(entry));
    const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    parts.reduce((at, part) => { all.set(part, at); return at + part.length; }, 0);
    return hex(sha256(all));
  }

  /** The model with its present state, as a .ska file. */
  get snapshot() {
    const file = this.#file.slice();
    for (const entry of this.about.state) file.set(this.#packed(entry), entry.ska.offset);
    file.set(sha256(file.subarray(0, -32)), file.length - 32);
    return file;
  }

  /** SPEC 1.2: little-endian; values of 4 bits two a byte, low nibble first, a row beginning a byte. */
  #packed({ name, shape, ska }) {
    const { data } = this.state[name];
    if (ska.bits !== 4) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const columns = shape.at(-1) ?? 1, wide = Math.ceil(columns / 2), bytes = new Uint8Array(ska.bytes);
    data.forEach((value, i) => {
      const column = i % columns, at = Math.floor(i / columns) * wide + (column >> 1);
      bytes[at] |= (value & 15) << (4 * (column & 1));
    });
    return bytes;
  }

  #feeds(session, rows, batch) {
    const { name, dtype, shape } = this.#sample, integers = rows.flatMap((row) => this.encode(row));
    const x = new ort.Tensor(dtype, ARRAYS[dtype].from(integers), [...batch, ...shape]);
    const states = Object.entries(this.state).filter(([key]) => session.inputNames.includes(key));
    return { ...Object.fromEntries(states), [name]: x };
  }

  get #sample() {
    return this.about.inputs.find(({ kind }) => kind === "sample");
  }

  #border(side, name) {
    return this.about[side].find((entry) => entry.name === name);
  }

  #alone(work) {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => {});
    return done;
  }
}
