#!/bin/sh
# Compilers, emulators and flashing tools that the firmware's tests run, from Debian's packages.  Users need none of them.
set -eu
missing=
for pair in gcc:gcc clang:clang cppcheck:cppcheck cmake:cmake arm-none-eabi-gcc:gcc-arm-none-eabi avr-gcc:gcc-avr \
            riscv64-unknown-elf-gcc:gcc-riscv64-unknown-elf qemu-system-arm:qemu-system-arm \
            qemu-system-riscv32:qemu-system-misc simavr:simavr gdb-multiarch:gdb-multiarch avrdude:avrdude \
            node:nodejs npm:npm qemu-x86_64:qemu-user chromium:chromium verilator:verilator make:make g++:g++; do
  command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair#*:}"
done
for pair in /usr/include/simavr/sim_avr.h:libsimavr-dev /usr/lib/avr/include/avr/io.h:avr-libc \
            /usr/share/arduino/hardware/arduino/avr:arduino-core-avr; do
  [ -e "${pair%%:*}" ] || missing="$missing ${pair#*:}"
done
if [ -n "$missing" ]; then
  echo "install_toolchains: installing$missing"
  [ "$(id -u)" = 0 ] || { echo "install_toolchains: run as root, or: sudo apt-get install$missing" >&2; exit 3; }
  apt-get update -qq
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi
# an emulator of the RP2040, beside the project's own build output
rp2040js=$(dirname "$0")/../out/rp2040js
[ -e "$rp2040js/node_modules/rp2040js" ] || npm install --silent --no-audit --no-fund --prefix "$rp2040js" rp2040js@1.4.1
# ONNX Runtime for Node.js and for browsers
ort=$(dirname "$0")/../out/onnxruntime
[ -e "$ort/node_modules/onnxruntime-web" ] || npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$ort" onnxruntime-node@1.30.0 onnxruntime-web@1.30.0
# what drives Chromium in the tests of the exported page
playwright=$(dirname "$0")/../out/playwright
[ -e "$playwright/node_modules/playwright-core" ] || npm install --silent --no-audit --no-fund --prefix "$playwright" playwright-core@1.65.1
