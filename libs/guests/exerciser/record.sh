#!/bin/sh
# Runs exerciser.elf in QEMU and writes what it printed to qemu.txt.
set -eu
cd "$(dirname "$0")"
command -v qemu-system-i386 > /dev/null || { echo "record.sh: QEMU is missing: install Debian's qemu-system-x86" >&2; exit 1; }
timeout 120 qemu-system-i386 -cpu max -m 32 -kernel exerciser.elf -display none -monitor none -serial file:qemu.txt -no-reboot
tail -n 1 qemu.txt | grep -qx done || { echo "record.sh: the guest did not get to its end; see qemu.txt" >&2; exit 1; }
