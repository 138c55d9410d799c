import { loadRegister, moveImmediate, storeImmediate, storeRegister, type Code } from './machine-code.js';
import { KERNEL_STACK_END, PAGE, SHARED_INFO, TIMER_VECTOR, USER_CODE, USER_DATA, USER_STACK_END, type ProbeKernel, type ProbePlace } from './probe-kernel.js';
import { PROBE_VECTOR, RETURN_VECTOR, type ProbeLayout } from './probes.js';

/** Linear address of pseudo-physical 0. */
export const PV_BASE = 0xc000_0000;
/** Xen's selectors for its guests (arch-x86/xen-x86_32.h). */
const CODE1 = 0xe019, DATA1 = 0xe021, CODE3 = 0xe02b, DATA3 = 0xe033;
const EAX = 0, ECX = 1, EDX = 2, EBX = 3, ESI = 6;
const storeByte = (code: Code, address: number, value: number): void => { code.emit(0xc6, 0x05); code.word(address); code.emit(value); };

/** A kernel that knows where it stands (Xen's 32-bit PAE ABI): hypercalls where the other is privileged, and the raw instruction under the probe. */
export function paravirtKernel({ code, base, variables, gdt }: ProbePlace, ring: 1 | 3): ProbeKernel {
  const layout: ProbeLayout = {
    values: base + USER_DATA, gdt: null, idt: null, ldtr: 0, tr: null, kernelCode: ring === 1 ? CODE1 : CODE3, kernelData: ring === 1 ? DATA1 : DATA3,
    userCode: CODE3, userData: DATA3, userStack: base + USER_STACK_END, userReturn: base + USER_CODE,
  };
  const mask = base + SHARED_INFO + 1; // shared_info.vcpu_info[0].evtchn_upcall_mask
  // set_trap_table's table stands where the other form has its GDT and IDT.
  const traps = gdt;
  const hypercall = (number: number): void => { moveImmediate(code, EAX, base + 32 * number); code.emit(0xff, 0xd0); };
  const startInfo = (register: number, offset: number): void => {
    loadRegister(code, register, variables.startInfo);
    code.emit(0x8b, 0x40 | (register << 3) | register, offset); // mov register, [register + offset]
  };
  /** update_va_mapping(address, ECX, EDX, INVLPG). */
  const map = (address: number): void => { moveImmediate(code, EBX, address); moveImmediate(code, ESI, 2); hypercall(14); };
  const applications = (address: number): void => {
    startInfo(EAX, 68); // mfn_list
    code.emit(0x8b, 0x80); // mov eax, [eax + 4 × frame]
    code.word(((address - PV_BASE) >>> 12) * 4);
    code.emit(0x89, 0xc1, 0xc1, 0xe1, 12, 0x83, 0xc9, 7, 0x89, 0xc2, 0xc1, 0xea, 20); // ecx = eax << 12 | present, writable, user; edx = eax >> 20
    map(address);
  };
  return {
    layout,
    fillTables: (handlers) => {
      // Null ends the table, which is zero behind.
      [...handlers].filter(([vector]) => vector !== TIMER_VECTOR).forEach(([vector, handler], index) => {
        const lowestRing = vector === RETURN_VECTOR ? 3 : vector === PROBE_VECTOR ? layout.kernelCode & 3 : 0;
        code.patchWord(traps + 8 * index, vector | (lowestRing << 8) | (layout.kernelCode << 16));
        code.patchWord(traps + 8 * index + 4, handler);
      });
    },
    start: () => {
      code.emit(0xfc); // cld
      storeRegister(code, ESI, variables.startInfo);
      code.emit(0xbc); // mov esp
      code.word(base + KERNEL_STACK_END - 0x400);
      moveImmediate(code, EBX, layout.kernelData);
      moveImmediate(code, ECX, base + KERNEL_STACK_END);
      hypercall(3); // stack_switch
      moveImmediate(code, EBX, traps);
      hypercall(0); // set_trap_table
      for (let page = USER_CODE; page < USER_STACK_END; page += PAGE) applications(base + page);
      startInfo(ECX, 36); // shared_info
      code.emit(0x83, 0xc9, 3, 0x31, 0xd2); // or ecx, present and writable; xor edx, edx
      map(base + SHARED_INFO);
      storeByte(code, mask, 1);
    },
    interruptsOff: () => storeByte(code, mask, 1),
    interruptsOn: () => storeByte(code, mask, 0),
    interrupt: () => { /* The mask alone says whether an event would come. */ },
    keepWhetherTaken: () => {
      code.emit(0x0f, 0xb6, 0x05); // movzx eax, byte [mask]
      code.word(mask);
      code.emit(0x83, 0xf0, 1); // xor eax, 1
      storeRegister(code, EAX, layout.values);
    },
    quiet: () => storeByte(code, mask, 1),
    print: (address, length) => {
      moveImmediate(code, EBX, 0); // CONSOLEIO_write
      moveImmediate(code, ECX, length);
      moveImmediate(code, EDX, address);
      hypercall(18);
    },
    powerOff: () => {
      storeImmediate(code, layout.values, 0); // SHUTDOWN_poweroff
      moveImmediate(code, EBX, 2); // SCHEDOP_shutdown
      moveImmediate(code, ECX, layout.values);
      hypercall(29);
      code.emit(0xeb, 0xfe);
    },
  };
}
