#!/bin/sh
# Builds ringlet.elf, ringlet-pv.elf and ringlet.disk into images, and exerciser.elf beside its sources: bit for bit as committed when
# the compiler is the recorded one (compiler.txt).
#   build.sh          build
#   build.sh --check  build elsewhere and compare with what is committed
#   build.sh --force  build although the compiler is another one (the images will differ)
set -eu
cd "$(dirname "$0")"
export LC_ALL=C TZ=UTC

mode=${1:-}
compiler="$(gcc --version | head -n 1)
$(ld --version | head -n 1)"
if [ "$compiler" != "$(cat compiler.txt)" ]; then
    echo "build.sh: the images were built with another compiler:" >&2
    echo "  recorded: $(tr '\n' ';' < compiler.txt)" >&2
    echo "  here:     $(echo "$compiler" | tr '\n' ';')" >&2
    if [ "$mode" != --force ]; then
        echo "Install Debian 12's gcc-multilib and binutils, or build different images with --force." >&2
        exit 1
    fi
fi

build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
target=$PWD/images exerciser=$PWD/exerciser
if [ "$mode" = --check ]; then target=$build/images exerciser=$build/exerciser; fi
mkdir -p "$target" "$exerciser"

# An i686 without x87 or SSE. Nothing that names a path, a time or a build goes into an image.
flags="-m32 -march=i686 -mgeneral-regs-only -mpreferred-stack-boundary=2 -Os -std=gnu11 -Wall -Wextra -Werror
    -ffreestanding -fno-pic -no-pie -fno-stack-protector -fno-asynchronous-unwind-tables -fcf-protection=none
    -fno-ident -fno-tree-loop-distribute-patterns -ffile-prefix-map=$PWD=guests -nostdlib -static -Wl,--build-id=none -Wl,-z,noexecstack -Wl,--no-warn-rwx-segments"

cd ringlet
# One source, two kernels: what differs is the header of privileged operations.
kernel() { # image, header
    mkdir "$build/$1"
    for source in kernel/*.c kernel/*.S; do
        # shellcheck disable=SC2086
        gcc $flags -include "kernel/$2" -c "$source" -o "$build/$1/$(basename "$source").o"
    done
    # shellcheck disable=SC2086
    gcc $flags -Wl,-T,kernel/kernel.ld -Wl,-z,max-page-size=4096 -o "$target/$1" "$build/$1"/*.o
    strip --strip-debug "$target/$1"
}
kernel ringlet.elf privops-native.h
if [ -e kernel/privops-xen.h ]; then kernel ringlet-pv.elf privops-xen.h; fi

# The disk: a ustar archive of the programs and texts, then raw sectors, 256 KiB in all.
mkdir "$build/disk"
for source in programs/*.c; do
    name=$(basename "$source" .c)
    if [ "$name" = lib ]; then continue; fi
    # shellcheck disable=SC2086
    gcc $flags -Wl,-T,programs/program.ld -o "$build/disk/$name" programs/start.S "$source" programs/lib.c
    strip --strip-all "$build/disk/$name"
done
cp disk/*.txt "$build/disk"
# The shell first: it is what every boot reads.
(cd "$build/disk" && tar --format=ustar --owner=0 --group=0 --numeric-owner --mode=644 --mtime=@0 --blocking-factor=1 -cf ../ringlet.disk \
    sh bench $(ls | grep -v -x -e sh -e bench))
if [ "$(wc -c < "$build/ringlet.disk")" -gt 131072 ]; then echo "build.sh: the archive leaves no room for the raw sectors" >&2; exit 1; fi
truncate -s 262144 "$build/ringlet.disk"
cp "$build/ringlet.disk" "$target/ringlet.disk"
chmod 644 "$target"/ringlet*

(cd "$target" && sha256sum ringlet*.elf ringlet.disk > SHA256SUMS)
cd ..

# shellcheck disable=SC2086
gcc $flags -Wl,-T,exerciser/exerciser.ld -o "$exerciser/exerciser.elf" exerciser/start.S exerciser/kernel.c exerciser/exercises.c
strip --strip-debug "$exerciser/exerciser.elf"
chmod 644 "$exerciser/exerciser.elf"

if [ "$mode" = --check ]; then
    if cmp -s "$target/SHA256SUMS" images/SHA256SUMS && (cd images && sha256sum --quiet -c SHA256SUMS) && cmp -s "$exerciser/exerciser.elf" exerciser/exerciser.elf; then
        echo "build.sh: identical to what is committed"
    else echo "build.sh: the images differ from what is committed" >&2; exit 1; fi
fi
