// The page: what is drawn is decided at once; a click on a class teaches it.
import { jsonOf, Model, NO_LABEL } from "./model.js";
import { Pad, paintPixels } from "./pad.js";
import { picture, SIDE } from "./picture.js";

const element = (id) => document.getElementById(id);
const SHOWN = 40; // lessons in the picture of an entropy
const EXAMPLES_EVERY = 8; // of the held-out digits, one in so many is there to try; the others are never learnt
const PERCENT = new Intl.NumberFormat("en-GB", { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });

const lessons = []; // {features, label, entropies, state: as it was before, drawing}
let model, pad, columns, heldOut, examples, before = null, busy = false, shown = 0, frame = 0;

/** Whether what is shown is what is meant, for those who cannot see it settle. */
const settle = (settled) => element("page").setAttribute("aria-busy", !settled);

/** The features of what is on the pad, in the range that the model was trained on; null for an empty pad. */
function features() {
  const { strokes, pixels } = pad.drawing;
  if (pixels) return pixels;
  if (!strokes.length) return null;
  const { low, high } = model.about.encoding;
  return picture(strokes).map((count) => low + (count / 16) * (high - low));
}

async function decide() {
  const turn = ++shown, row = features(), { low, high } = model.about.encoding;
  const seen = element("seen").getContext("2d");
  seen.clearRect(0, 0, SIDE, SIDE);
  if (row) paintPixels(seen, row.map((x) => 16 * (x - low) / (high - low)), SIDE, getComputedStyle(element("seen")).color);
  const found = row ? await model.infer([row]) : null;
  if (turn !== shown) return; // the drawing has gone on
  columns.forEach(({ column, share }, label) => {
    const value = found?.decisions[0][label] ?? 0;
    column.style.setProperty("--share", value);
    column.style.setProperty("--was", before?.shares[label] ?? 0);
    column.querySelector("b").hidden = !before;
    column.classList.toggle("chosen", found?.choices[0] === label);
    column.classList.toggle("taught", before?.label === label);
    share.textContent = row ? Math.round(100 * value) : "";
  });
  for (const button of [...columns.map(({ button }) => button), element("clear"), element("unlabelled")]) {
    button.disabled = !row;
  }
  settle(!frame && !busy);
  return found;
}

async function teach(label) {
  const row = features();
  if (!row || busy) return;
  busy = true;
  settle(false);
  try {
    const drawing = pad.drawing, state = model.state, [was] = (await model.infer([row])).decisions;
    const { entropies, moved } = await model.learn(row, label);
    lessons.push({ features: row, label, entropies, state, drawing });
    pad.finish();
    before = { shares: was, label };
    const found = await decide(), choice = found?.choices[0];
    const what = label === NO_LABEL ? "Learnt without a label" : `Learnt as ${label}`;
    say(`${what}: ${moved.toLocaleString("en-GB")} numbers of the state moved. It now says ${choice}.`);
    await account();
  } finally {
    busy = false;
    settle(!frame);
  }
}

function undo() {
  if (busy || !lessons.length) return;
  const last = lessons.pop();
  model.state = last.state;
  before = null;
  pad.put(last.drawing);
  say(last.label === NO_LABEL ? "The last lesson is undone." : `The lesson that this is a ${last.label} is undone.`);
  account();
}

function startOver() {
  if (busy) return;
  const count = lessons.length;
  lessons.length = 0;
  model.reset();
  before = null;
  pad.put();
  say(`${count} ${count === 1 ? "lesson" : "lessons"} forgotten: the model is as it was exported.`);
  account();
}

/** Everything but the decisions: entropies, accuracy, lessons, digest. */
async function account() {
  for (const name of ["undo", "reset", "drawings"]) element(name).disabled = !lessons.length;
  element("lessons").lastElementChild.textContent = lessons.length;
  element("digest").lastElementChild.textContent = model.digest.slice(0, 16);
  element("entropies").replaceChildren(...model.about.outputs.filter(({ kind }) => kind === "entropy").map(({ name }) =>
    chart(name, lessons.map(({ entropies }) => entropies[name]).slice(-SHOWN))));
  if (heldOut.samples.length) {
    const share = await accuracy();
    heldOut.first ??= share;
    const text = lessons.length ? `${PERCENT.format(heldOut.first)} → ${PERCENT.format(share)}` : PERCENT.format(share);
    element("accuracy").lastElementChild.textContent = text;
  }
}

async function accuracy() {
  const { choices } = await model.infer(heldOut.samples);
  return choices.filter((choice, i) => choice === heldOut.labels[i]).length / choices.length;
}

/** Bars of one entropy, the latest at the right. */
function chart(name, values) {
  const figure = document.createElement("div"), latest = values.at(-1);
  const most = Math.max(...values.map(Math.abs), 1e-9), low = Math.min(0, ...values) / most, high = Math.max(0, ...values) / most;
  const span = high - low || 1, zero = high / span;
  const bars = values.map((value, i) => {
    const tall = Math.abs(value) / most / span, top = value > 0 ? zero - tall : zero;
    return `<rect x="${SHOWN - values.length + i + 0.1}" y="${top}" width="0.8" height="${tall}"/>`;
  });
  const said = latest === undefined ? "no lesson yet" : `${latest.toFixed(3)} bits`;
  const title = name === "entropy_class" ? "class layer" : name.replace(/^entropy(\d+)$/, "layer $1");
  figure.className = "entropy";
  figure.innerHTML = `<p><span></span><output></output></p>
    <svg viewBox="0 0 ${SHOWN} 1" preserveAspectRatio="none" role="img">
      <line x1="0" x2="${SHOWN}" y1="${zero}" y2="${zero}"/>${bars.join("")}</svg>`;
  figure.querySelector("span").textContent = title;
  figure.querySelector("output").textContent = said;
  figure.querySelector("svg").setAttribute("aria-label", `Entropy of ${title}, the last ${values.length} lessons; latest ${said}`);
  return figure;
}

function say(text, bad = false) {
  element("status").textContent = text;
  element("status").classList.toggle("bad", bad);
}

function save(content, name, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** A row a lesson: the features and, last, the label, as `ska-edge` reads them. */
function lessonsAsCsv() {
  const names = lessons[0].features.map((_, i) => `x${i}`);
  return [[...names, "label"], ...lessons.map(({ features, label }) => [...features, label])].join("\n") + "\n";
}

function columnOf(label) {
  const column = document.createElement("div");
  column.className = "class";
  column.innerHTML = `<span class="share" aria-hidden="true"></span><div class="bar"><i></i><b hidden></b></div>
    <button disabled></button>`;
  const button = column.querySelector("button");
  button.textContent = label;
  button.setAttribute("aria-label", `Teach: this is a ${label}`);
  button.addEventListener("click", () => teach(label));
  return { column, button, share: column.querySelector(".share") };
}

async function start() {
  model = await Model.load();
  const { samples, labels } = await jsonOf("held_out.json");
  const apart = (kept) => ({ samples: samples.filter(kept), labels: labels.filter(kept) });
  examples = apart((_, i) => i % EXAMPLES_EVERY === 0);
  heldOut = apart((_, i) => i % EXAMPLES_EVERY !== 0);
  element("accuracy").hidden = !heldOut.samples.length;
  element("example").hidden = !examples.samples.length;
  columns = Array.from({ length: model.classes }, (_, label) => columnOf(label));
  element("classes").append(...columns.map(({ column }) => column));
  pad = new Pad(element("pad"), () => {
    before = null;
    settle(false);
    frame ||= requestAnimationFrame(() => { // a pen may move more often than a screen is drawn
      frame = 0;
      decide();
    });
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    pad.paint();
    decide();
  });

  let tried = 0;
  element("example").addEventListener("click", () => {
    pad.put({ pixels: examples.samples[tried++ % examples.samples.length] });
  });
  element("clear").addEventListener("click", () => pad.put());
  element("unlabelled").addEventListener("click", () => teach(NO_LABEL));
  element("undo").addEventListener("click", undo);
  element("reset").addEventListener("click", startOver);
  element("snapshot").addEventListener("click", () => save(model.snapshot, `${model.about.name}.ska`, "application/octet-stream"));
  element("drawings").addEventListener("click", () => save(lessonsAsCsv(), "lessons.csv", "text/csv"));
  element("pad").addEventListener("keydown", (event) => {
    if (event.key === "Escape") pad.put();
    else if ((event.ctrlKey || event.metaKey) && event.key === "z") undo();
    else if (!event.ctrlKey && !event.metaKey && !event.altKey && /^\d$/.test(event.key) && event.key < model.classes) {
      teach(Number(event.key));
    } else return;
    event.preventDefault();
  });
  await account();
  await decide();
  element("page").inert = false;
  say("Ready. Draw a digit.");
}

addEventListener("unhandledrejection", ({ reason }) => say(`That went wrong: ${reason?.message ?? reason}`, true));
start().catch((error) => say(`The page could not start: ${error.message ?? error}`, true));
