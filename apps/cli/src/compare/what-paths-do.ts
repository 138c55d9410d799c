import type { OperationName } from '@ringside/machine';
import type { BuiltPath } from '../session/vm-spec.js';

/** For `compare --list`: what each path does with the operation's privileged part, in a sentence. */
export const WHAT_PATHS_DO: Record<Exclude<OperationName, 'empty'>, Record<BuiltPath, string>> = {
  boot: {
    native: 'every port access is a bus cycle to the board; nothing else leaves the processor',
    paravirt: 'the domain builder makes page tables; the kernel registers its traps and asks for the rest by hypercall',
    'hardware-assisted': 'port accesses, CPUID and HLT exit, and so does the first touch of each 2 MiB of RAM (EPT violation)',
  },
  syscall: {
    native: 'the gate of int 0x80 leads from ring 3 to ring 0',
    paravirt: 'the monitor put the guest\'s own gate into the IDT: from ring 3 straight to ring 1; the way back is an IRET. With the kernel in ring 3, ring -1 takes the interrupt, loads the kernel\'s page tables and builds its frame; the way back is the iret hypercall',
    'hardware-assisted': 'as native: gates are the guest\'s own in non-root mode',
  },
  in: {
    native: 'one bus cycle to the board',
    paravirt: 'ring 1 may not: #GP to the monitor, which emulates the instruction and asks the device model',
    'hardware-assisted': 'exit 30 (I/O instruction); ring -1 asks the device model',
  },
  'cr-write': {
    native: 'both instructions execute',
    paravirt: 'two fpu_taskswitch hypercalls take their place',
    'hardware-assisted': 'exits 28 (CR access) where a bit that ring -1 owns would change; TS is the guest\'s own',
  },
  'call-ret': {
    native: 'executes',
    paravirt: 'executes',
    'hardware-assisted': 'executes',
  },
  'page-fault': {
    native: 'the guest\'s handler is entered by the processor',
    paravirt: 'the fault goes to the monitor, which bounces it to the guest\'s handler with a frame of its own making; with the kernel in ring 3 it loads the kernel\'s page tables as well, and the way back is the iret hypercall',
    'hardware-assisted': 'as native: the exception bitmap leaves #PF to the guest',
  },
  'divide-error': {
    native: 'the guest\'s handler is entered by the processor',
    paravirt: 'the fault goes to the monitor, which bounces it to the guest\'s handler',
    'hardware-assisted': 'as native: the exception bitmap leaves #DE to the guest',
  },
  'pte-modify': {
    native: 'a store to memory',
    paravirt: 'page tables are read-only: one mmu_update hypercall, which checks types and references of both frames',
    'hardware-assisted': 'a store to memory: the guest\'s own page tables lie under EPT',
  },
  'pte-modify-batch': {
    native: '32 stores to memory',
    paravirt: 'one mmu_update hypercall with 32 requests',
    'hardware-assisted': '32 stores to memory',
  },
  'context-switch': {
    native: 'MOV CR3, and TSS.ESP0 changes in memory',
    paravirt: 'stack_switch and mmuext_op NEW_BASEPTR, in one multicall; with the kernel in ring 3 NEW_USER_BASEPTR as well',
    'hardware-assisted': 'as native: MOV CR3 does not exit with EPT',
  },
  fork: {
    native: 'page tables are built by stores; the copies come by page faults',
    paravirt: 'the new page tables are pinned, which validates each entry; each change is a hypercall or part of a batch',
    'hardware-assisted': 'as native; a first touch of fresh memory may be an EPT violation',
  },
  'disk-read': {
    native: 'bus cycles to the ATA controller, then its interrupt',
    paravirt: 'the ports are granted: bus cycles without exits; the interrupt comes as an event channel',
    'hardware-assisted': 'each port access is exit 30; REP INSW is one exit a page run; ring -1 injects the interrupt',
  },
  print: {
    native: 'bus cycles to the parallel port, three or more a byte',
    paravirt: 'the ports are granted: bus cycles without exits',
    'hardware-assisted': 'each access of the parallel port is exit 30',
  },
};
