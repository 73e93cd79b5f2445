// server.mjs FOLDER PACKAGE: runs ONNX models for the process at the other end of standard input and output.
// A message is the length of its JSON, the length of its data (4 bytes each, little-endian), the JSON, the data.
//   {"load": true} and a model        -> {"model": number}
//   {"model": n, "tensors": [...]}    -> {"tensors": [...]}, each {"name", "type", "dims", "bytes"}, data in that order
// An error comes back as {"error": text}.
import { createRequire } from "node:module";
import { readSync, writeSync } from "node:fs";

const [folder, name] = process.argv.slice(2);
const ort = createRequire(`${folder}/`)(name);
if (name === "onnxruntime-web") ort.env.wasm.numThreads = 1;
const options = {
  executionProviders: [name === "onnxruntime-web" ? "wasm" : "cpu"],
  intraOpNumThreads: 1,
  logSeverityLevel: 3,
};
const arrays = {
  int8: Int8Array, uint8: Uint8Array, int16: Int16Array, uint16: Uint16Array, int32: Int32Array, uint32: Uint32Array,
  int64: BigInt64Array, float32: Float32Array, float64: Float64Array,
};
const models = [];

function take(count) {
  const data = Buffer.alloc(count);
  for (let at = 0; at < count;) {
    let got;
    try { got = readSync(0, data, at, count - at); } catch (error) { if (error.code === "EAGAIN") continue; throw error; }
    if (got === 0) process.exit(0);
    at += got;
  }
  return data;
}

function put(data) {
  for (let at = 0; at < data.length;) {
    try { at += writeSync(1, data, at); } catch (error) { if (error.code !== "EAGAIN") throw error; }
  }
}

function answer(head, parts = []) {
  const json = Buffer.from(JSON.stringify(head)), sizes = Buffer.alloc(8);
  sizes.writeUInt32LE(json.length, 0);
  sizes.writeUInt32LE(parts.reduce((sum, part) => sum + part.length, 0), 4);
  put(Buffer.concat([sizes, json, ...parts]));
}

async function carryOut(head, data) {
  if (head.load) return answer({ model: models.push(await ort.InferenceSession.create(new Uint8Array(data), options)) - 1 });
  const feeds = {};
  let at = 0;
  for (const { name, type, dims, bytes } of head.tensors) {
    const own = new Uint8Array(data.subarray(at, at + bytes));  // a copy, so aligned
    feeds[name] = new ort.Tensor(type, new arrays[type](own.buffer), dims);
    at += bytes;
  }
  const session = models[head.model], found = await session.run(feeds), parts = [];
  const tensors = session.outputNames.map((name) => {
    const { data, type, dims } = found[name];
    parts.push(Buffer.from(data.buffer, data.byteOffset, data.byteLength));
    return { name, type, dims, bytes: data.byteLength };
  });
  answer({ tensors }, parts);
}

for (;;) {
  const sizes = take(8);
  const head = JSON.parse(take(sizes.readUInt32LE(0)).toString()), data = take(sizes.readUInt32LE(4));
  try { await carryOut(head, data); } catch (error) { answer({ error: String(error.message ?? error) }); }
}
