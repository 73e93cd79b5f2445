/* Carry one call on in Ibex's own RTL, from a state of registers and memory.
 *
 *   ibex_truth STATE AFTER
 *
 * STATE, little-endian u32: x0 to x31, the function's address, how many parts of memory; of each its address, its bytes,
 * and the bytes.  Writes the parts as they are afterwards, and prints retired instructions and cycles as JSON.  Memory
 * answers at once: granted in the same cycle, data in the next.  x1 is where the call returns to. */
#include "Vibex_top.h"
#include "verilated.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

static const uint32_t BOOT = 0x7FFF0000U; /* in reach of a jump to where code lies, 0x80000000 */
static const uint32_t RESET = BOOT + 0x80U, TABLE = BOOT + 0x400U;
static const uint64_t MOST_CYCLES = 100000000U;
static const uint8_t ON = 5U; /* IbexMuBiOn */

struct Part {
    uint32_t address;
    std::vector<uint8_t> bytes;
};

static std::vector<Part> memory;

static uint8_t *at(uint32_t address)
{
    for (Part &part : memory) {
        if (address - part.address < part.bytes.size()) {
            return &part.bytes[address - part.address];
        }
    }
    fprintf(stderr, "no memory at 0x%08x\n", address);
    exit(1);
}

static uint32_t get(uint32_t address)
{
    uint32_t word = 0;
    for (unsigned n = 0; n < 4; n++) {
        word |= static_cast<uint32_t>(*at((address & ~3U) + n)) << 8 * n;
    }
    return word;
}

static void put(uint32_t address, uint32_t word, unsigned lanes = 15)
{
    for (unsigned n = 0; n < 4; n++) {
        if (lanes >> n & 1U) {
            *at((address & ~3U) + n) = static_cast<uint8_t>(word >> 8 * n);
        }
    }
}

static uint32_t jump(uint32_t from, uint32_t to) /* JAL x0 */
{
    const uint32_t by = to - from;
    return (by >> 20 & 1U) << 31 | (by >> 1 & 0x3FFU) << 21 | (by >> 11 & 1U) << 20 | (by >> 12 & 0xFFU) << 12 | 0x6FU;
}

/* AUIPC x31; LW of each register from a table; a jump, whose address is given back */
static uint32_t prepare(const uint32_t *registers, uint32_t function)
{
    uint32_t place = RESET;
    put(place, 0xF97U);
    for (uint32_t n = 1; n < 32; n++) {
        place += 4;
        put(place, (TABLE - RESET + 4 * n) << 20 | 31U << 15 | 2U << 12 | n << 7 | 3U);
        put(TABLE + 4 * n, registers[n]);
    }
    put(place + 4, jump(place + 4, function));
    return place + 4;
}

static uint32_t number(FILE *file)
{
    uint32_t found = 0;
    if (fread(&found, 4, 1, file) != 1) {
        exit(2);
    }
    return found;
}

int main(int argc, char **argv)
{
    uint32_t registers[32];
    FILE *file = argc == 3 ? fopen(argv[1], "rb") : nullptr;
    if (!file) {
        fprintf(stderr, "usage: ibex_truth STATE AFTER\n");
        return 2;
    }
    for (uint32_t &each : registers) {
        each = number(file);
    }
    const uint32_t function = number(file), back = registers[1];
    const uint32_t parts = number(file);
    for (uint32_t n = 0; n < parts; n++) {
        const uint32_t address = number(file), bytes = number(file);
        memory.push_back({address, std::vector<uint8_t>(bytes)});
        if (fread(memory[n].bytes.data(), 1, bytes, file) != bytes) {
            return 2;
        }
    }
    fclose(file);
    memory.push_back({BOOT, std::vector<uint8_t>(0x1000)});
    memory.push_back({back, std::vector<uint8_t>(16)});
    put(back, jump(back, back));
    const uint32_t entered = prepare(registers, function);

    Vibex_top core;
    core.boot_addr_i = BOOT;
    core.fetch_enable_i = ON;
    core.scan_rst_ni = core.instr_gnt_i = core.data_gnt_i = 1;
    uint64_t cycle, start = 0, last = 0, instructions = 0;
    for (cycle = 0; cycle < MOST_CYCLES; cycle++) {
        core.rst_ni = cycle > 4;
        core.clk_i = 0;
        core.eval();
        const bool fetches = core.rst_ni && core.instr_req_o, moves = core.rst_ni && core.data_req_o;
        const uint32_t code = core.instr_addr_o, data = core.data_addr_o, word = core.data_wdata_o;
        const bool writes = core.data_we_o;
        const unsigned lanes = core.data_be_o;
        if (core.rst_ni && core.rvfi_valid) { /* an instruction has retired */
            if (core.rvfi_trap) {
                fprintf(stderr, "trap at 0x%08x, instruction 0x%08x\n", core.rvfi_pc_rdata, core.rvfi_insn);
                return 1;
            }
            if (core.rvfi_pc_rdata == entered) {
                start = cycle;
            } else if (start && core.rvfi_pc_rdata == back) {
                break;
            }
            if (start) {
                last = cycle;
                instructions++;
            }
        }
        core.clk_i = 1;
        core.eval();
        core.instr_rvalid_i = fetches;
        core.data_rvalid_i = moves;
        if (fetches) {
            core.instr_rdata_i = get(code);
        }
        if (moves && writes) {
            put(data, word, lanes);
        } else if (moves) {
            core.data_rdata_i = get(data);
        }
    }
    if (cycle == MOST_CYCLES) {
        fprintf(stderr, "the call does not return\n");
        return 1;
    }
    file = fopen(argv[2], "wb");
    for (uint32_t n = 0; file && n < parts; n++) {
        fwrite(memory[n].bytes.data(), 1, memory[n].bytes.size(), file);
    }
    if (!file || fclose(file)) {
        return 2;
    }
    printf("{\"instructions\": %llu, \"cycles\": %llu}\n", static_cast<unsigned long long>(instructions - 1),
           static_cast<unsigned long long>(last - start));
    return 0;
}
