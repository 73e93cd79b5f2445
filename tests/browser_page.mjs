// browser_page.mjs PLAYWRIGHT ADDRESS PHONE FOLDER: draws on exported pages in headless Chromium, teaches, downloads; at
// ADDRESS with a mouse, at PHONE with a finger.  What it saw goes to standard output as JSON, files into FOLDER.
import { createRequire } from "node:module";

const [playwright, address, phoneAddress, folder] = process.argv.slice(2);
const { chromium } = createRequire(`${playwright}/`)("playwright-core");
const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];
const started = Date.now();
const note = (what) => process.stderr.write(`${((Date.now() - started) / 1000).toFixed(1)} s: ${what}\n`);
const seen = { problems: [], foreign: [] };

const SEVEN = [[[0.3, 0.2], [0.72, 0.2], [0.6, 0.45], [0.48, 0.85]]];
const FOUR = [[[0.5, 0.12], [0.28, 0.58], [0.78, 0.58]], [[0.62, 0.35], [0.62, 0.9]]];
const ZERO = [Array.from({ length: 25 }, (_, i) => [0.5 + 0.2 * Math.sin(i * Math.PI / 12), 0.5 - 0.32 * Math.cos(i * Math.PI / 12)])];

async function open(name, address, options) {
  const context = await chromium.launchPersistentContext(`${folder}/${name}`, {
    executablePath, args, headless: true, acceptDownloads: true, ...options });
  const page = context.pages()[0];
  page.on("console", (message) => { if (["error", "warning"].includes(message.type())) seen.problems.push(message.text()); });
  page.on("pageerror", (error) => seen.problems.push(String(error)));
  page.on("request", (request) => {
    if (!request.url().startsWith(address) && !/^(blob|data):/.test(request.url())) seen.foreign.push(request.url());
  });
  await page.goto(address);
  await page.waitForFunction(() => !document.getElementById("page").inert);
  note(`${name} is open`);
  return { context, page };
}

async function draw(page, strokes) {
  const box = await page.locator("#pad").boundingBox();
  for (const stroke of strokes) {
    const [first, ...rest] = stroke.map(([x, y]) => [box.x + x * box.width, box.y + y * box.height]);
    await page.mouse.move(...first);
    await page.mouse.down();
    for (const point of rest) await page.mouse.move(...point, { steps: 4 });
    await page.mouse.up();
  }
}

async function touch(page, strokes) {
  const box = await page.locator("#pad").boundingBox(), client = await page.context().newCDPSession(page);
  for (const stroke of strokes) {
    const points = stroke.map(([x, y]) => ({ x: box.x + x * box.width, y: box.y + y * box.height }));
    await client.send("Input.dispatchTouchEvent", { type: "touchStart", touchPoints: [points[0]] });
    for (const point of points) await client.send("Input.dispatchTouchEvent", { type: "touchMove", touchPoints: [point] });
    await client.send("Input.dispatchTouchEvent", { type: "touchEnd", touchPoints: [] });
  }
}

/** What the page shows, once it rests. */
async function look(page) {
  await page.waitForSelector("#page:not([aria-busy=true])");
  return page.evaluate(() => ({
    status: document.getElementById("status").textContent,
    shares: [...document.querySelectorAll(".share")].map((share) => share.textContent),
    heights: [...document.querySelectorAll(".class")].map((column) => column.style.getPropertyValue("--share")),
    chosen: [...document.querySelectorAll(".class")].findIndex((column) => column.classList.contains("chosen")),
    entropies: [...document.querySelectorAll(".entropy output")].map((output) => output.textContent),
    bars: document.querySelectorAll(".entropy rect").length,
    lessons: document.querySelector("#lessons dd").textContent,
    accuracy: document.querySelector("#accuracy dd").textContent,
    digest: document.querySelector("#digest dd").textContent,
    wide: document.documentElement.scrollWidth - innerWidth,
    scrolled: scrollY,
  }));
}

async function teach(page, label) {
  const lessons = Number(await page.locator("#lessons dd").textContent());
  await page.getByRole("button", { name: label < 0 ? "Learn without a label" : `Teach: this is a ${label}` }).click();
  await page.waitForFunction((n) => Number(document.querySelector("#lessons dd").textContent) === n, lessons + 1);
  return look(page);
}

async function download(page, id, name) {
  const [file] = await Promise.all([page.waitForEvent("download"), page.locator(`#${id}`).click()]);
  await file.saveAs(`${folder}/${name}`);
  return file.suggestedFilename();
}

const { context, page } = await open("desktop", address, { viewport: { width: 1100, height: 860 }, colorScheme: "light" });
seen.start = await look(page);
await draw(page, SEVEN);
seen.seven = await look(page);
seen.taught = await teach(page, 7);
await draw(page, FOUR); // the first stroke clears the seven
seen.four = await look(page);
seen.mistaken = await teach(page, 9);
await page.locator("#undo").click();
seen.undone = await look(page);
await page.locator("#pad").focus();
await page.keyboard.press("4");
await page.waitForFunction(() => document.querySelector("#lessons dd").textContent === "2");
seen.key = await look(page);
await page.locator("#example").click();
seen.unlabelled = await teach(page, -1);
await draw(page, ZERO);
seen.zero = await teach(page, 0);
for (let i = 0; i < 5; i++) seen.again = await teach(page, 7); // a mistake that the network is made to believe
await page.screenshot({ path: `${folder}/light.png`, fullPage: true });
await page.emulateMedia({ colorScheme: "dark" });
await look(page);
await page.screenshot({ path: `${folder}/dark.png`, fullPage: true });
seen.names = [await download(page, "snapshot", "snapshot.ska"), await download(page, "drawings", "lessons.csv")];
await page.locator("#reset").click();
seen.reset = await look(page);
note("drawn");
seen.hash = await page.evaluate(async () => {
  const { hex, sha256 } = await import("./sha256.js");
  return [0, 3, 55, 56, 63, 64, 65, 1000].map((n) => [n, hex(sha256(Uint8Array.from({ length: n }, (_, i) => i * 7)))]);
});
seen.milliseconds = await page.evaluate(async () => {
  const { Model } = await import("./model.js"), { picture } = await import("./picture.js");
  const model = await Model.load(), times = { picture: [], infer: [], learn: [] };
  const stroke = Array.from({ length: 60 }, (_, i) => ({ x: Math.sin(i / 10), y: Math.cos(i / 10) }));
  const timed = async (name, work) => { const t = performance.now(); const r = await work(); times[name].push(performance.now() - t); return r; };
  for (let i = 0; i < 20; i++) {
    const row = await timed("picture", () => picture([stroke]));
    await timed("infer", () => model.infer([row]));
    await timed("learn", () => model.learn(row, 0));
  }
  return Object.fromEntries(Object.entries(times).map(([name, all]) => [name, all.sort((a, b) => a - b)[10]]));
});
note("timed");
seen.pictures = await page.evaluate(async () => {
  const { picture } = await import("./picture.js");
  const line = (x0, y0, x1, y1) => [[{ x: x0, y: y0 }, { x: x1, y: y1 }]];
  return { dot: picture([[{ x: 0.5, y: 0.5 }]]), none: picture([]), upright: picture(line(0.5, 0.1, 0.5, 0.9)),
    slanted: picture(line(0.3, 0.1, 0.6, 0.9)), small: picture(line(0.1, 0.1, 0.1, 0.2)), dash: picture(line(0.2, 0.5, 0.8, 0.5)) };
});
await context.close();
note("closed");

const phone = await open("phone", phoneAddress, { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 });
await touch(phone.page, SEVEN);
seen.touched = await look(phone.page);
await phone.page.locator(".class button").nth(7).tap();
await phone.page.waitForFunction(() => document.querySelector("#lessons dd").textContent === "1");
seen.tapped = await look(phone.page);
await download(phone.page, "snapshot", "phone.ska");
await download(phone.page, "drawings", "phone.csv");
await phone.page.screenshot({ path: `${folder}/phone.png`, fullPage: true });
await phone.context.close();
note("phone closed");
console.log(JSON.stringify(seen));
