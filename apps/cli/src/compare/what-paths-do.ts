import type { OperationName } from '@ringside/machine';
import type { BuiltPath } from '../session/vm-spec.js';

/** For `compare --list`: what each path does with the operation's privileged part, in a sentence. */
export const WHAT_PATHS_DO: Record<Exclude<OperationName, 'empty' | 'probe'>, Record<BuiltPath, string>> = {
  boot: {
    native: 'every port access is a bus cycle to the board; nothing else leaves the processor',
    'trap-and-emulate': 'page tables are shadowed as they are first used, and every privileged instruction and port access traps; PUSHF, POPF and their like do not, and mislead the kernel',
    paravirt: 'the domain builder makes page tables; the kernel registers its traps and asks for the rest by hypercall',
    'binary-translation': 'the first time code is reached, a translator is asked for it; then as trap-and-emulate, but that nothing misleads the kernel',
    'hardware-assisted': 'port accesses, CPUID and HLT exit, and so does the first touch of each 2 MiB of RAM (EPT violation)',
  },
  syscall: {
    native: 'the gate of int 0x80 leads from ring 3 to ring 0',
    'trap-and-emulate': 'int 0x80 traps to ring -1, which builds the frame on the kernel\'s stack through the guest\'s own IDT and TSS; the IRET to ring 3 does not trap, and loses IF',
    paravirt: 'the monitor put the guest\'s own gate into the IDT: from ring 3 straight to ring 1; the way back is an IRET. With the kernel in ring 3, ring -1 takes the interrupt, loads the kernel\'s page tables and builds its frame; the way back is the iret hypercall',
    'binary-translation': 'the monitor\'s gate of int 0x80 leads straight into translated code, and the IRET at its end stays there: no message, once ring -1 has seen the first',
    'hardware-assisted': 'as native: gates are the guest\'s own in non-root mode',
  },
  in: {
    native: 'one bus cycle to the board',
    'trap-and-emulate': '#GP in ring 1; ring -1 emulates the instruction and asks the device model',
    paravirt: 'ring 1 may not: #GP to the monitor, which emulates the instruction and asks the device model',
    'binary-translation': 'a callout: ring -1 asks the device model',
    'hardware-assisted': 'exit 30 (I/O instruction); ring -1 asks the device model',
  },
  'cr-write': {
    native: 'both instructions execute',
    'trap-and-emulate': 'both trap (#GP) and are emulated on the virtual CR0',
    paravirt: 'two fpu_taskswitch hypercalls take their place',
    'binary-translation': 'translated code changes a byte, the virtual CR0.TS; the real one is held set, and a #NM that the guest has no reason for clears it. Whatever else CR0 would change is a callout',
    'hardware-assisted': 'exits 28 (CR access) where a bit that ring -1 owns would change; TS is the guest\'s own',
  },
  'call-ret': {
    native: 'executes',
    'trap-and-emulate': 'executes',
    paravirt: 'executes',
    'binary-translation': 'CALL pushes the guest\'s return address; RET looks up where that lies in the cache. No message',
    'hardware-assisted': 'executes',
  },
  'page-fault': {
    native: 'the guest\'s handler is entered by the processor',
    'trap-and-emulate': 'traps; ring -1 finds that the guest\'s own tables forbid it and delivers it through the guest\'s IDT; the handler\'s privileged instructions trap as well',
    paravirt: 'the fault goes to the monitor, which bounces it to the guest\'s handler with a frame of its own making; with the kernel in ring 3 it loads the kernel\'s page tables as well, and the way back is the iret hypercall',
    'binary-translation': 'ring -1 finds that the guest\'s own tables forbid it and delivers it through the guest\'s IDT; the handler is translated code, whose privileged instructions are callouts',
    'hardware-assisted': 'as native: the exception bitmap leaves #PF to the guest. With shadow paging every #PF exits, and a true one is injected',
  },
  'divide-error': {
    native: 'the guest\'s handler is entered by the processor',
    'trap-and-emulate': 'traps; ring -1 delivers it through the guest\'s IDT',
    paravirt: 'the fault goes to the monitor, which bounces it to the guest\'s handler',
    'binary-translation': 'ring -1 delivers it through the guest\'s IDT',
    'hardware-assisted': 'as native: the exception bitmap leaves #DE to the guest',
  },
  'pte-modify': {
    native: 'a store to memory',
    'trap-and-emulate': 'page tables are write-traced: the store traps, and the shadow entry made of it is dropped',
    paravirt: 'page tables are read-only: one mmu_update hypercall, which checks types and references of both frames',
    'binary-translation': 'a traced store: it faults, and the shadow entry made of it is dropped. One that traps often is translated again, so that it asks ring -1 before it stores',
    'hardware-assisted': 'a store to memory: the guest\'s own page tables lie under EPT. With shadow paging, a traced store',
  },
  'pte-modify-batch': {
    native: '32 stores to memory',
    'trap-and-emulate': '32 traced stores',
    paravirt: 'one mmu_update hypercall with 32 requests',
    'binary-translation': '32 traced stores, which ask ring -1 before they store once they have trapped often',
    'hardware-assisted': '32 stores to memory. With shadow paging, 32 traced stores',
  },
  'context-switch': {
    native: 'MOV CR3, and TSS.ESP0 changes in memory',
    'trap-and-emulate': 'MOV CR3 traps; ring -1 switches to the shadow of the new tables',
    paravirt: 'stack_switch and mmuext_op NEW_BASEPTR, in one multicall; with the kernel in ring 3 NEW_USER_BASEPTR as well',
    'binary-translation': 'MOV CR3 is a callout; ring -1 switches to the shadow of the new tables',
    'hardware-assisted': 'as native: MOV CR3 does not exit with EPT. With shadow paging it is exit 28',
  },
  fork: {
    native: 'page tables are built by stores; the copies come by page faults',
    'trap-and-emulate': 'each entry written to a page table in use is a traced store; the new process\'s shadow is filled by hidden page faults',
    paravirt: 'the new page tables are pinned, which validates each entry; each change is a hypercall or part of a batch',
    'binary-translation': 'as trap-and-emulate: traced stores and hidden page faults',
    'hardware-assisted': 'as native; a first touch of fresh memory may be an EPT violation. With shadow paging, traced stores and hidden page faults',
  },
  'disk-read': {
    native: 'bus cycles to the ATA controller, then its interrupt',
    'trap-and-emulate': 'each port access traps; REP INSW is one trap a page run; the interrupt is delivered when the virtual IF lets it',
    paravirt: 'the ports are granted: bus cycles without exits; the interrupt comes as an event channel',
    'binary-translation': 'each port access is a callout; REP INSW is one a page run; the interrupt is taken between two translated instructions when the virtual IF lets it',
    'hardware-assisted': 'each port access is exit 30; REP INSW is one exit a page run; ring -1 injects the interrupt',
  },
  print: {
    native: 'bus cycles to the parallel port, three or more a byte',
    'trap-and-emulate': 'each access of the parallel port traps',
    paravirt: 'the ports are granted: bus cycles without exits',
    'binary-translation': 'each access of the parallel port is a callout',
    'hardware-assisted': 'each access of the parallel port is exit 30',
  },
};
