/*
 * Records what QEMU's devices answer to scripts of port accesses, for libs/core/devices/src/qemu-recording.spec.ts.
 *
 *   node tools/device-oracle/record.mjs        needs qemu-system-i386 and gcc -m32; the scripts come from a fixed seed
 *
 * Left out or masked is what QEMU does unlike the datasheets: change bits of the UART's MSR in loopback, RBR read while
 * empty, the character timeout (it follows real time there), the disk's DSC bit, error codes (ABRT where ATA says IDNF), and address registers after a command.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const IN = 0, OUT = 1, WAIT_ATA = 2, IN_SECTOR = 3, OUT_SECTOR = 4, END = 5;
const here = import.meta.dirname;
const target = join(here, '../../libs/core/devices/src/testing/qemu-recording.json');

let state = 1;
function below(limit) {
  state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
  return (state >>> 8) % limit;
}
const pick = (items) => items[below(items.length)];
const read = (port, mask = 0xff) => [IN, port, mask];
const write = (port, value) => [OUT, port, value];

function uartScript() {
  const script = [write(0x3f9, 0), write(0x3fb, 3), write(0x3fa, 7), write(0x3fa, 0), write(0x3fc, 0), read(0x3fd), read(0x3fe, 0xf0), read(0x3fa)];
  for (let round = 0; round < 300; round++) {
    switch (below(8)) {
      case 0: script.push(write(0x3f9, below(8))); break; // Not EDSSI: QEMU raises no modem changes in loopback.
      case 1: script.push(write(0x3fc, pick([0x10, 0x12, 0x1a, 0x1f, 0x0b, 0x08, 0x00]))); break;
      case 2: script.push(write(0x3fb, 0x83), write(0x3f8, 1), write(0x3f9, 0), read(0x3f8), read(0x3f9), write(0x3fb, 3)); break;
      case 3: script.push(write(0x3ff, below(256)), read(0x3ff)); break;
      case 4: { // Through the loop, and back out with the receiver empty as before.
        const bytes = 1 + below(16);
        script.push(write(0x3fc, 0x1b), write(0x3fa, 3));
        for (let index = 0; index < bytes; index++) script.push(write(0x3f8, below(256)));
        for (let index = 0; index < bytes; index++) script.push(read(0x3fd), read(0x3fa, 0xf7), read(0x3f8));
        break;
      }
      default: script.push(read(pick([0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3ff]))); script.push(read(0x3fe, 0xf0));
    }
  }
  return script;
}

function picScript() {
  const initialize = [write(0x20, 0x11), write(0x21, 0x20), write(0x21, 4), write(0x21, 1), write(0xa0, 0x11), write(0xa1, 0x28), write(0xa1, 2), write(0xa1, 1)];
  // The timer is silent (mode 0 without a count). Line 4 comes from the UART's transmitter.
  const script = [write(0x43, 0x30), write(0x3f9, 0), write(0x3fb, 3), write(0x3fa, 7), write(0x3fc, 0), ...initialize];
  for (let round = 0; round < 1200; round++) {
    switch (below(12)) {
      case 0: script.push(write(0x3fc, 8), write(0x3f9, 0), write(0x3f9, 2)); break;
      case 1: script.push(write(0x21, below(256))); break;
      case 2: script.push(write(0x20, pick([0x20, 0x60, 0x64, 0xa0, 0xe4, 0xc0, 0xc5, 0xc3, 0x80, 0x00, 0x40]))); break;
      case 3: script.push(write(0x20, pick([0x0a, 0x0b, 0x68, 0x48, 0x08]))); break;
      case 4: script.push(write(0x20, 0x0c), read(0x20)); break;
      case 5: if (below(8) === 0) script.push(...initialize); break;
      case 6: script.push(write(0x21, 0)); break;
      default: script.push(read(pick([0x20, 0x21])));
    }
  }
  return script;
}

function ataScript() {
  const STATUS = [IN, 0x1f7, 0xe9]; // Without DSC and the obsolete bits.
  const command = (code, lba = 0, count = 1) => [
    write(0x1f6, 0xe0 | (lba >> 24)), write(0x1f2, count), write(0x1f3, lba & 0xff), write(0x1f4, (lba >> 8) & 0xff), write(0x1f5, (lba >> 16) & 0xff), write(0x1f7, code), [WAIT_ATA, 0, 0],
  ];
  const sectorIn = [IN_SECTOR, 0x1f0, 0];
  const wait = [WAIT_ATA, 0, 0];
  const sectorOut = (value) => [OUT_SECTOR, 0x1f0, value];
  return [
    write(0x3f6, 2), write(0x1f6, 0xe0), wait, STATUS,
    write(0x3f6, 6), write(0x3f6, 2), wait, ...[1, 2, 3, 4, 5].map((register) => read(0x1f0 + register)), STATUS,
    ...command(0x20, 5, 2), STATUS, sectorIn, wait, STATUS, sectorIn, wait, STATUS,
    ...command(0x20, 127, 2), STATUS, sectorIn, wait, STATUS,
    ...command(0x20, 128), STATUS,
    ...command(0xc6, 0, 2), STATUS, ...command(0xc4, 20, 3), STATUS, sectorIn, sectorIn, wait, STATUS, sectorIn, wait, STATUS,
    ...command(0x30, 9, 2), STATUS, sectorOut(0x1234), wait, STATUS, sectorOut(0x4321), wait, STATUS,
    ...command(0xc5, 30, 3), STATUS, sectorOut(7), sectorOut(9), wait, STATUS, sectorOut(11), wait, STATUS,
    ...[9, 10, 30, 31, 32, 33].flatMap((lba) => [...command(0x20, lba), STATUS, sectorIn, wait, STATUS]),
    ...[0x00, 0x08, 0xe5, 0xe7, 0xe1, 0x10, 0x70, 0xff].flatMap((code) => [...command(code, 3), STATUS]),
    write(0x1f6, 0xf0), STATUS, read(0x3f6), write(0x1f6, 0xe0), STATUS,
    write(0x1f6, 0xa0), write(0x1f2, 1), write(0x1f3, 4), write(0x1f4, 0), write(0x1f5, 0), write(0x1f7, 0x20), wait, STATUS, sectorIn, wait, STATUS,
  ];
}

/** 128 sectors; the spec makes the same. */
const disk = Uint8Array.from({ length: 128 * 512 }, (_, index) => (index >> 9) * 3 + index);

function record(script) {
  const folder = mkdtempSync(join(tmpdir(), 'device-oracle-'));
  try {
    const bytes = new Uint8Array((script.length + 1) * 8);
    const view = new DataView(bytes.buffer);
    for (const [index, [kind, port, value]] of [...script, [END, 0, 0]].entries()) {
      view.setUint8(index * 8, kind);
      view.setUint16(index * 8 + 2, port, true);
      view.setUint32(index * 8 + 4, value, true);
    }
    writeFileSync(join(folder, 'script.bin'), bytes);
    writeFileSync(join(folder, 'disk.img'), disk);
    copyFileSync(join(here, 'port-script.S'), join(folder, 'port-script.S'));
    execFileSync('gcc', ['-m32', '-nostdlib', '-static', '-no-pie', '-Wl,-Ttext=0x100000,--build-id=none', '-o', 'guest.elf', 'port-script.S'], { cwd: folder, stdio: ['ignore', 'inherit', 'ignore'] });
    spawnSync('qemu-system-i386', ['-kernel', 'guest.elf', '-display', 'none', '-serial', 'null', '-parallel', 'none', '-debugcon', 'file:out.bin', '-drive', 'file=disk.img,if=ide,format=raw', '-no-reboot'], { cwd: folder, timeout: 60_000 });
    const output = readFileSync(join(folder, 'out.bin'));
    const marker = output.lastIndexOf('@PORTS@\n');
    if (marker < 0) throw new Error('the guest did not start');
    return output.subarray(marker + 8);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const recording = {};
for (const [name, script] of [['uart', uartScript()], ['pic', picScript()], ['ata', ataScript()]]) {
  const reads = record(script);
  const expected = script.reduce((sum, [kind]) => sum + (kind === IN ? 1 : kind === IN_SECTOR ? 512 : 0), 0);
  if (reads.length !== expected) throw new Error(`${name}: ${reads.length} bytes read instead of ${expected}`);
  recording[name] = { script: script.flat(), reads: Buffer.from(reads).toString('base64') };
  console.log(`${name}: ${script.length} accesses, ${reads.length} bytes read`);
}
writeFileSync(target, `${JSON.stringify(recording)}\n`);
