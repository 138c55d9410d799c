import { readPointers } from '../hardware-assisted/shadow-paging.js';
import type { DeprivilegedExit } from './deprivileged-exit.js';
import { loadTable } from './descriptor-tables.js';
import type { VirtualCpu } from './virtual-cpu.js';
import { generalProtection } from './deprivileged-exit.js';

const CR0_PE = 1, CR0_ET = 0x10, CR0_WP = 0x1_0000, CR0_NW = 0x2000_0000, CR0_CD = 0x4000_0000, CR0_PG = 0x8000_0000;
const CR0_DEFINED = 0xe005_003f;
const CR4_PSE = 0x10, CR4_PAE = 0x20, CR4_PGE = 0x80, CR4_DEFINED = 0x1bc;
const MSR_EFER = 0xc000_0080, EFER_NXE = 0x800n;
/** #UD: there are no CR1 and CR5 to CR7. */
export type ControlRegister = 0 | 2 | 3 | 4;
export const isControlRegister = (register: number): register is ControlRegister => register === 0 || (register >= 2 && register <= 4);

export function readControlRegister({ vcpu, frame }: DeprivilegedExit, register: ControlRegister): number {
  switch (register) {
    case 0: return vcpu.cr0 >>> 0;
    case 2: return frame.cr2;
    case 3: return vcpu.cr3 >>> 0;
    case 4: return vcpu.cr4 >>> 0;
    default: { const unreachable: never = register; return unreachable; }
  }
}

/** MOV to CR, with the checks that ring 0 meets (SDM Vol. 2B); false if it needs the interpreter. @throws GuestException */
export async function writeControlRegister(exit: DeprivilegedExit, register: ControlRegister, value: number): Promise<boolean> {
  const { vcpu, machine, transaction, frame } = exit;
  const next = { cr0: vcpu.cr0, cr3: vcpu.cr3, cr4: vcpu.cr4 };
  let loads = false;
  switch (register) {
    case 0:
      next.cr0 = ((value & CR0_DEFINED) | CR0_ET) >>> 0;
      if ((value & CR0_NW) !== 0 && (value & CR0_CD) === 0) throw generalProtection();
      if ((value & CR0_PG) !== 0 && (value & CR0_PE) === 0) throw generalProtection();
      if ((value & CR0_PE) === 0) return false;
      loads = ((next.cr0 ^ vcpu.cr0) & (CR0_CD | CR0_NW | CR0_PG)) !== 0;
      break;
    case 2:
      frame.cr2 = value;
      return true;
    case 3:
      next.cr3 = value;
      loads = true;
      break;
    case 4:
      if ((value & ~CR4_DEFINED) !== 0) throw generalProtection();
      next.cr4 = value;
      loads = ((value ^ vcpu.cr4) & (CR4_PAE | CR4_PGE | CR4_PSE)) !== 0;
      break;
    default: { const unreachable: never = register; return unreachable; }
  }
  const pae = (next.cr0 & CR0_PG) !== 0 && (next.cr4 & CR4_PAE) !== 0;
  const pointers = loads && pae ? await readPointers(transaction, next.cr3) : pae ? machine.shadow.pointers : [];
  if (pointers === null) throw generalProtection();
  await changePaging(exit, next, pointers);
  return true;
}

/** CR0, CR3, CR4 or EFER.NXE is another now. Switching paging on or off moves the descriptor tables. `pointers`: the page-directory-pointer entries under PAE. */
export async function changePaging(exit: DeprivilegedExit, next: Pick<VirtualCpu, 'cr0' | 'cr3' | 'cr4'>, pointers: readonly number[]): Promise<void> {
  const { vcpu, machine, transaction } = exit;
  const before = vcpu.cr0;
  Object.assign(vcpu, next);
  reloadPaging(exit, pointers);
  machine.settleControlRegisters(transaction);
  if (((before ^ next.cr0) & CR0_PG) === 0) return;
  await loadTable(exit, 'gdt');
  await loadTable(exit, 'ldt');
}

/** The shadow follows the virtual control registers and EFER.NXE. */
export function reloadPaging({ vcpu, machine, transaction }: DeprivilegedExit, pointers: readonly number[] = machine.shadow.pointers): void {
  const { cr0, cr3, cr4 } = vcpu;
  const pae = (cr4 & CR4_PAE) !== 0;
  machine.shadow.load(transaction, {
    mode: {
      paging: (cr0 & CR0_PG) !== 0, writeProtect: (cr0 & CR0_WP) !== 0, pae, pse: (cr4 & CR4_PSE) !== 0,
      executeDisable: pae && (vcpu.msrs.get(MSR_EFER)! & EFER_NXE) !== 0n,
    },
    cr3, pointers,
  });
  transaction.add({ kind: 'flush', scope: 'all' });
}

