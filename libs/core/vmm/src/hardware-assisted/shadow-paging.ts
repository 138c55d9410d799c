import type { RegisterState } from '@ringside/machine';
import type { ExecutionControls } from '@ringside/x86';
import type { GuestPagingState } from '../shadow/shadow-mmu.js';
import type { Transaction } from '../transaction.js';
import { CR0_PG, CR0_WP, CR4_PAE, CR4_PSE, MSR_EFER } from './controls.js';
import type { HardwareAssistedMachine } from './hardware-assisted-machine.js';

const EFER_NXE = 0x800n;
/** Reserved bits of a present PDPTE on a processor with 36 physical bits (SDM Vol. 3A Table 4-8): 2:1, 8:5, and 63:36. */
const PDPTE_RESERVED_LOW = 0x1e6, PDPTE_RESERVED_HIGH = 0xffff_fff0;
const POINTER_BYTES = 32;

export type PagingRegisters = Pick<RegisterState, 'cr0' | 'cr3' | 'cr4'>;

/** The four page-directory-pointer entries as 8 words, or null: one has a reserved bit set, and loading them is #GP (SDM Vol. 3A 4.4.1). */
export async function readPointers(transaction: Transaction, cr3: number): Promise<number[] | null> {
  const address = (cr3 & ~0x1f) >>> 0;
  const { walk } = transaction.exit;
  const carried = walk !== null && walk !== undefined && walk.line.length === POINTER_BYTES && walk.lineAddress === address;
  const bytes = carried ? walk.line : await transaction.read('guest', address, POINTER_BYTES);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const words = Array.from({ length: 8 }, (_, index) => view.getInt32(index * 4, true));
  for (let index = 0; index < 8; index += 2) {
    if ((words[index]! & 1) !== 0 && ((words[index]! & PDPTE_RESERVED_LOW) !== 0 || (words[index + 1]! & PDPTE_RESERVED_HIGH) !== 0)) return null;
  }
  return words;
}

export const paePaging = ({ cr0, cr4 }: PagingRegisters): boolean => (cr0 & CR0_PG) !== 0 && (cr4 & CR4_PAE) !== 0;

/**
 * Shadow paging follows the guest's control registers: what changes in the execution controls. `pointers` is what loading them has
 * read; without it they stay as they are.
 */
export function reloadShadow(machine: HardwareAssistedMachine, transaction: Transaction, registers: PagingRegisters, pointers?: readonly number[]): Partial<ExecutionControls> {
  const { paging } = machine;
  if (paging.kind !== 'shadow') return {};
  const { cr0, cr3, cr4 } = registers;
  const pae = (cr4 & CR4_PAE) !== 0;
  const state: GuestPagingState = {
    mode: {
      paging: (cr0 & CR0_PG) !== 0, writeProtect: (cr0 & CR0_WP) !== 0, pae, pse: (cr4 & CR4_PSE) !== 0,
      executeDisable: pae && (machine.msrs.get(MSR_EFER)! & EFER_NXE) !== 0n,
    },
    cr3,
    pointers: paePaging(registers) ? pointers ?? paging.shadow.pointers : [],
  };
  paging.shadow.load(transaction, state);
  return paging.shadow.controls;
}
