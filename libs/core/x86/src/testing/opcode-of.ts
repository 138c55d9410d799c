import { OPCODES, type OpcodeRow } from '../opcodes.js';

const PREFIXES = new Set([0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3]);

const rowsByOpcode = new Map<number, OpcodeRow[]>();
for (const row of OPCODES) rowsByOpcode.set(row.opcode, [...(rowsByOpcode.get(row.opcode) ?? []), row]);

/** The row of the opcode table that the instruction at the start of `bytes` belongs to, or null when there is none. Not the decoder: a second opinion on it. */
export function opcodeOf(bytes: ArrayLike<number>): OpcodeRow | null {
  let at = 0;
  while (PREFIXES.has(bytes[at] ?? -1)) at++;
  let opcode = bytes[at++];
  if (opcode === undefined) return null;
  if (opcode === 0x0f) {
    const second = bytes[at++];
    if (second === undefined) return null;
    opcode = 0x100 + second;
  }
  const modrm = bytes[at];
  const rows = rowsByOpcode.get(opcode) ?? [];
  const memory = modrm !== undefined && modrm < 0xc0;
  return rows.find((row) => row.modrm >= 0 && row.modrm === modrm)
    ?? rows.find((row) => row.modrm < 0 && row.extension >= 0 && modrm !== undefined && row.extension === ((modrm >>> 3) & 7) && (memory ? !row.operands.some((operand) => operand.startsWith('R')) : !row.operands.some((operand) => operand.startsWith('M'))))
    ?? rows.find((row) => row.modrm < 0 && row.extension < 0) ?? null;
}
