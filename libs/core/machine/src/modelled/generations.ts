import type { CostTable, Figure, MonitorPrimitive } from './cost-table.js';

/*
 * Hardware generations. Tables hold transition costs and what a bare machine takes; what a paper measured on a virtualized one
 * stands in no table, for that is what has to come out.
 */

/** A file that quotes the descriptions of K. Adams and O. Agesen's nanobenchmarks (ASPLOS 2006, section 6.3) word by word. */
const NANOBENCHMARKS = 'https://github.com/ligurio/openbsd-tests/blob/4049994276f1ac9647c0ca686896b55f31deac7a/tests/atomics/at_vmm.cc';

/** A page that quotes what A. Fog's manual of microarchitectures says of mispredictions on these processors. */
const MISPREDICTIONS = 'https://hardwareluxx.de/community/threads/angeblich-erste-taktraten-von-amds-bulldozer-plattform-aufgetaucht.810372/page-2';

const quoted = (cycles: number, sentence: string, url = NANOBENCHMARKS): Figure => ({ cycles, source: { quoted: sentence, url } });
const assumed = (cycles: number, why: string): Figure => ({ cycles, source: { assumed: why } });

/** The same monitor runs on every generation: instructions and memory accesses, without waiting for the processor to change mode. */
const monitorFigures = (instruction: number): Record<MonitorPrimitive, Figure> => ({
  'monitor-dispatch': assumed(100 * instruction, 'about 100 instructions: save and restore registers, find the handler'),
  'guest-word': assumed(20 * instruction, 'about 20 instructions: check the address, find the page, copy'),
  'page-table-entry': assumed(60 * instruction, 'about 60 instructions: check flags and the frame\'s type, count references, write'),
  'descriptor-check': assumed(30 * instruction, 'about 30 instructions: fields taken apart and compared'),
  'instruction-decode': assumed(150 * instruction, 'about 150 instructions: bytes fetched through the guest\'s page tables, prefixes, opcode and operands taken apart'),
  'code-lookup': assumed(20 * instruction, 'about 20 instructions: hash and compare'),
  'translation': assumed(500 * instruction, 'several hundred instructions: decode, choose the sequence, emit it and its side table'),
  'device-access': assumed(100 * instruction, 'about 100 instructions: find the device by its address, call it, change its registers'),
});

const PAPER_NOT_OPENED = 'as remembered of Adams and Agesen (ASPLOS 2006, Table 1), which could not be opened';

/** The first Intel processor with VMX, and the one of Adams and Agesen's comparison. */
export const PENTIUM_4: CostTable = {
  name: 'pentium4',
  processor: 'Pentium 4 672, 3.8 GHz (2005)',
  gigahertz: 3.8,
  features: { vmx: true, ept: false, umip: false },
  figures: {
    'instruction': assumed(1, 'several start in each cycle, and misses take many: one on average'),
    'division': assumed(60, 'a 32-bit DIV of NetBurst takes several tens of cycles'),
    'segment-load': assumed(30, 'a descriptor read, and checks in microcode'),
    'far-transfer': assumed(80, 'three times a segment load: a code descriptor, perhaps a gate, and the pipeline refilled'),
    'fast-system-call': assumed(75, 'less than a far transfer: nothing is read from memory'),
    'control-register-write': quoted(140, 'a native CR8 write takes about 4 times what the page says of one by translated code'),
    'serializing': assumed(300, 'a pipeline of 31 stages drains, and microcode runs'),
    'time-stamp': assumed(100, 'RDTSC of NetBurst waits for earlier instructions'),
    'lookup-jump': quoted(24, 'the time it takes to recover from a misprediction is rarely less than 24 clock cycles on the P4 and P4E', MISPREDICTIONS),
    'gate-entry': assumed(600, 'of the 889 cycles of a native #DE with its handler and IRET (quoted in the same place as the IN); how they divide is assumed'),
    'iret': assumed(250, 'of the same 889 cycles as gate-entry'),
    'page-walk-read': assumed(60, 'half of the entries are in a cache; a native #PF takes 1093 cycles where #DE takes 889'),
    'nested-walk-read': null,
    'port-cycle': quoted(3209, 'a native IN from port 0x80, a register in the chipset, takes 3209 cycles'),
    'vm-exit': assumed(1931, PAPER_NOT_OPENED),
    'vm-entry': assumed(2409, PAPER_NOT_OPENED),
    'vmcs-read': assumed(178, PAPER_NOT_OPENED),
    'vmcs-write': assumed(171, PAPER_NOT_OPENED),
    ...monitorFigures(1),
  },
};

/** A generation later: the same features, transitions at less than half. */
export const CORE_2: CostTable = {
  name: 'core2',
  processor: 'Core 2 Duo E6600, 2.4 GHz (2006)',
  gigahertz: 2.4,
  features: { vmx: true, ept: false, umip: false },
  figures: {
    'instruction': assumed(0.7, 'four can start in each cycle'),
    'division': assumed(25, 'less than half of NetBurst\'s'),
    'segment-load': assumed(20, 'as on the Pentium 4, with a shorter pipeline'),
    'far-transfer': assumed(55, 'as on the Pentium 4, with a shorter pipeline'),
    'fast-system-call': assumed(50, 'as on the Pentium 4, with a shorter pipeline'),
    'control-register-write': assumed(60, 'as on the Pentium 4, with a shorter pipeline'),
    'serializing': assumed(150, 'a pipeline of 14 stages drains'),
    'time-stamp': assumed(60, 'as on the Pentium 4, with a shorter pipeline'),
    'lookup-jump': quoted(15, 'the misprediction penalty is approximately 15 clock cycles in the Core2', MISPREDICTIONS),
    'gate-entry': assumed(250, 'in the proportion of the VM transitions to the Pentium 4\'s'),
    'iret': assumed(120, 'in the proportion of the VM transitions to the Pentium 4\'s'),
    'page-walk-read': assumed(25, 'page walks go through the data cache'),
    'nested-walk-read': null,
    'port-cycle': assumed(2000, 'the chipset has not become faster; the clock is slower'),
    'vm-exit': assumed(1186, PAPER_NOT_OPENED),
    'vm-entry': assumed(937, PAPER_NOT_OPENED),
    'vmcs-read': assumed(52, PAPER_NOT_OPENED),
    'vmcs-write': assumed(44, PAPER_NOT_OPENED),
    ...monitorFigures(0.7),
  },
};

const ROUND_TRIP_NOT_OPENED = 'half of a round trip as remembered of Agesen and others (USENIX ATC 2012), whose table could not be opened';

/** The first with EPT (https://github.com/fcccode/awesome-virtualization, "Chronology"). */
export const NEHALEM: CostTable = {
  name: 'nehalem',
  processor: 'Core i7-920, Nehalem, 2.66 GHz (2008)',
  gigahertz: 2.66,
  features: { vmx: true, ept: true, umip: false },
  figures: {
    'instruction': assumed(0.6, 'four can start in each cycle, and memory is nearer'),
    'division': assumed(20, 'as on Core 2, a little faster'),
    'segment-load': assumed(20, 'as on Core 2'),
    'far-transfer': assumed(50, 'as on Core 2, a little faster'),
    'fast-system-call': assumed(45, 'as on Core 2, a little faster'),
    'control-register-write': assumed(50, 'as on Core 2, a little faster'),
    'serializing': assumed(120, 'as on Core 2, a little faster'),
    'time-stamp': assumed(25, 'RDTSC counts at a constant rate and waits for less'),
    'lookup-jump': quoted(17, 'the measured misprediction penalty is at least 17 clock cycles on Nehalem', MISPREDICTIONS),
    'gate-entry': assumed(220, 'as on Core 2, a little faster'),
    'iret': assumed(110, 'as on Core 2, a little faster'),
    'page-walk-read': assumed(15, 'page walks go through the data cache, and upper levels are cached'),
    'nested-walk-read': assumed(15, 'EPT entries are read as any other'),
    'port-cycle': assumed(2000, 'as on Core 2'),
    'vm-exit': assumed(504, ROUND_TRIP_NOT_OPENED),
    'vm-entry': assumed(505, ROUND_TRIP_NOT_OPENED),
    'vmcs-read': assumed(30, 'less than on Core 2: fields are kept in the processor'),
    'vmcs-write': assumed(30, 'less than on Core 2: fields are kept in the processor'),
    ...monitorFigures(0.6),
  },
};

export const COST_TABLES: readonly CostTable[] = [PENTIUM_4, CORE_2, NEHALEM];

export function costTable(name: string): CostTable | undefined {
  return COST_TABLES.find((table) => table.name === name);
}
