// node rp2040.mjs FLASH.bin [PACKAGES]: run an RP2040 flash image in rp2040js, UART0 at standard input and output.
//
// rp2040js (an independent emulator, MIT) comes without the chip's boot ROM; what the ROM does with flash (RP2040
// datasheet, 2.8.1) is done here: check the CRC of the first 252 bytes, copy them to the end of RAM, run them there.
// PACKAGES: the folder whose node_modules holds rp2040js.  Once UART0 has sent a byte, what the image has set up goes
// to standard error as JSON.
import { createRequire } from "node:module";
import { readFileSync, writeSync } from "node:fs";
import { resolve } from "node:path";

const [file, packages = "."] = process.argv.slice(2);
const { Simulator } = createRequire(resolve(packages, "here"))("rp2040js");

const FLASH = 0x10000000;
const BOOT2_BYTES = 256;
const BOOT2_RUNS_AT = 0x20041f00;
const BATCH = 20000;

function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte << 24;
    for (let bit = 0; bit < 8; bit++) {
      crc = crc < 0 ? (crc << 1) ^ 0x04c11db7 : crc << 1;
    }
  }
  return crc >>> 0;
}

const image = readFileSync(file);
const boot2 = image.subarray(0, BOOT2_BYTES - 4);
if (crc32(boot2) !== image.readUInt32LE(BOOT2_BYTES - 4)) {
  console.error("rp2040: the second stage's checksum is wrong; the boot ROM would wait for USB");
  process.exit(4);
}

const { rp2040: chip, clock } = new Simulator();
const { core } = chip;
const uart = chip.uart[0];
chip.flash.set(image);
chip.sram.set(boot2, BOOT2_RUNS_AT - 0x20000000);
core.SP = BOOT2_RUNS_AT;
core.LR = 0;
core.PC = BOOT2_RUNS_AT;

// A core with PRIMASK set takes no interrupt, but a pending one ends WFI (ARMv6-M, B1.5.19).  rp2040js takes it.
const pending = () => core.pendingSystick || (core.pendingInterrupts & core.enabledInterrupts) !== 0;
const taken = core.checkForInterrupts.bind(core);
core.checkForInterrupts = () => {
  if (!core.PM) return taken();
  core.interruptsUpdated = false;
  return core.waiting && pending();
};

const input = [];
let ended = false;
process.stdin.on("data", (data) => input.push(...data));
process.stdin.on("end", () => (ended = true));

let output = [];
let told = false;
uart.onByte = (byte) => {
  if (!told) {
    told = true;
    const functions = [chip.gpio[0].functionSelect, chip.gpio[1].functionSelect];
    const flash = chip.readUint32(0x180000f4) >>> 24; // the SSI's read command
    const line = { clk_peri: chip.clkPeri, baud: uart.baudRate, bits: uart.wordLength };
    console.error(JSON.stringify({ clk_sys: chip.clkSys, ...line, functions, flash }));
  }
  output.push(byte);
};

function flush() {
  for (let data = Uint8Array.from(output), at = 0; at < data.length; ) {
    try {
      at += writeSync(1, data, at);
    } catch (error) {
      if (error.code !== "EAGAIN") throw error;
    }
  }
  output = [];
}

let fed = 0;
function run() {
  for (let step = 0; step < BATCH; step++) {
    while (fed < input.length && !uart.rxFIFO.full) uart.feedByte(input[fed++]);
    if (core.waiting) {
      if (!pending()) break; // until a byte comes
      core.waiting = false;
    }
    clock.tick((core.executeInstruction() * 1e9) / chip.clkSys);
  }
  if (fed === input.length) input.length = fed = 0;
  flush();
  if (ended && !input.length) process.exit(0);
  if (core.waiting && !input.length) {
    setTimeout(run, 1);
  } else {
    setImmediate(run);
  }
}
run();
