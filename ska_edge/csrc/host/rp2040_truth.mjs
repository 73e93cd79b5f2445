// node rp2040_truth.mjs STATE.json PACKAGES: carry one call on in rp2040js from a state of registers and memory.
//
// STATE.json: flash and ram (files, loaded at 0x10000000 and 0x20000000), registers (r0 to r12, sp), pc, back (where the
// call returns to).  Prints instructions, cycles and r0 as JSON, and writes RAM to the file `after`.
import { createRequire } from "node:module";
import { readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";

const [file, packages] = process.argv.slice(2);
const { Simulator } = createRequire(resolve(packages, "here"))("rp2040js");
const state = JSON.parse(readFileSync(file));
const { rp2040: chip } = new Simulator();
const { core } = chip;
chip.flash.set(readFileSync(state.flash));
chip.sram.set(readFileSync(state.ram));
for (let n = 0; n < 13; n++) core.registers[n] = state.registers[`r${n}`];
core.SP = state.registers.sp;
core.LR = state.back | 1;
core.PC = state.pc;
core.PM = true;
let instructions = 0;
const start = core.cycles;
while (core.PC !== state.back && instructions < state.most) {
  core.executeInstruction();
  instructions++;
}
writeFileSync(state.after, chip.sram.subarray(0, state.ramBytes));
console.log(JSON.stringify({ instructions, cycles: core.cycles - start, result: core.registers[0] | 0 }));
