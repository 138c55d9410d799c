#!/bin/sh
# Rebuild loops.elf (committed, so that the benchmark needs no compiler).
set -e
cd "$(dirname "$0")"
gcc -m32 -march=i686 -mno-sse -O2 -fno-pic -fno-pie -no-pie -static -nostdlib -ffreestanding -fno-stack-protector -fno-asynchronous-unwind-tables -fno-tree-loop-distribute-patterns \
  -Wl,--build-id=none -Wl,-z,separate-code -s -o loops.elf loops.c
ls -l loops.elf
