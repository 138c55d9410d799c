/**
 * The opcode table (SDM Vol. 2, Appendix A): one row per opcode, read by the decoder, the interpreter, the disassembler and the tests.
 *
 * Columns: opcode, mnemonic, operands, attributes.
 *
 * Opcode: hex; `/n` is an extension in ModRM.reg, `:xx` a whole ModRM byte, `+r` a register in the low three bits.
 *
 * Operands as in the SDM: E register or memory by ModRM, G register by ModRM.reg, M memory only, R register only (ModRM.rm), Z register in
 * the opcode, S segment register, C control register, D debug register, I immediate, J relative target, A far pointer, O moffs,
 * X DS:ESI, Y ES:EDI. Sizes: b byte, w word, d doubleword, q quadword, v operand size, z immediate of operand size (at most 32
 * bits), s byte sign-extended to operand size, p far pointer in memory, a two operands, t table register (limit and base). Fixed
 * registers and the constant 1 stand for themselves; eAX is AX or EAX.
 *
 * Attributes:
 *   lock       LOCK is allowed when the destination is memory
 *   cpl0       #GP(0) above ring 0             iopl  #GP(0) when CPL > IOPL (or the I/O bitmap forbids)
 *   sensitive  reads or changes privileged state without trapping: why IA-32 was not virtualizable (Robin and Irvine, 2000)
 *   ends       may transfer control or change what later code means: ends a run of predecoded slots
 *   string     a string instruction; REP applies
 *   needs:x    #UD unless that feature is built
 */
const TABLE = `
06     PUSH      ES         sensitive
07     POP       ES         sensitive ends
0E     PUSH      CS         sensitive
16     PUSH      SS         sensitive
17     POP       SS         sensitive ends
1E     PUSH      DS         sensitive
1F     POP       DS         sensitive ends
27     DAA       -
2F     DAS       -
37     AAA       -
3F     AAS       -
40+r   INC       Zv
48+r   DEC       Zv
50+r   PUSH      Zv
58+r   POP       Zv
60     PUSHA     v
61     POPA      v
62     BOUND     Gv,Ma
63     ARPL      Ew,Gw
68     PUSH      Iz
69     IMUL      Gv,Ev,Iz
6A     PUSH      Is
6B     IMUL      Gv,Ev,Is
6C     INS       Yb,DX      iopl ends string
6D     INS       Yv,DX      iopl ends string
6E     OUTS      DX,Xb      iopl ends string
6F     OUTS      DX,Xv      iopl ends string
84     TEST      Eb,Gb
85     TEST      Ev,Gv
86     XCHG      Eb,Gb      lock
87     XCHG      Ev,Gv      lock
88     MOV       Eb,Gb
89     MOV       Ev,Gv
8A     MOV       Gb,Eb
8B     MOV       Gv,Ev
8C     MOV       Ev,Sw      sensitive
8D     LEA       Gv,M
8E     MOV       Sw,Ew      sensitive ends
8F/0   POP       Ev
90     NOP       -
91     XCHG      Zv,eAX
92     XCHG      Zv,eAX
93     XCHG      Zv,eAX
94     XCHG      Zv,eAX
95     XCHG      Zv,eAX
96     XCHG      Zv,eAX
97     XCHG      Zv,eAX
98     CBW       v
99     CWD       v
9A     CALLF     Ap         sensitive ends
9B     WAIT      -          ends
9C     PUSHF     v          sensitive ends
9D     POPF      v          sensitive ends
9E     SAHF      -
9F     LAHF      -
A0     MOV       AL,Ob
A1     MOV       eAX,Ov
A2     MOV       Ob,AL
A3     MOV       Ov,eAX
A4     MOVS      Yb,Xb      string
A5     MOVS      Yv,Xv      string
A6     CMPS      Xb,Yb      string
A7     CMPS      Xv,Yv      string
A8     TEST      AL,Ib
A9     TEST      eAX,Iz
AA     STOS      Yb,AL      string
AB     STOS      Yv,eAX     string
AC     LODS      AL,Xb      string
AD     LODS      eAX,Xv     string
AE     SCAS      AL,Yb      string
AF     SCAS      eAX,Yv     string
B0+r   MOV       Zb,Ib
B8+r   MOV       Zv,Iz
C2     RET       v,Iw       ends
C3     RET       v          ends
C4     LES       Gv,Mp      sensitive ends
C5     LDS       Gv,Mp      sensitive ends
C6/0   MOV       Eb,Ib
C7/0   MOV       Ev,Iz
C8     ENTER     v,Iw,Ib
C9     LEAVE     v
CA     RETF      v,Iw       sensitive ends
CB     RETF      v          sensitive ends
CC     INT3      -          ends
CD     INT       Ib         sensitive ends
CE     INTO      -          ends
CF     IRET      v          sensitive ends
D4     AAM       Ib
D5     AAD       Ib
D6     SALC      -
D7     XLAT      -
D8     ESC       M          needs:x87
D9     ESC       M          needs:x87
DA     ESC       M          needs:x87
DB     ESC       M          needs:x87
DC     ESC       M          needs:x87
DD     ESC       M          needs:x87
DE     ESC       M          needs:x87
DF     ESC       M          needs:x87
E0     LOOPNE    Jb         ends
E1     LOOPE     Jb         ends
E2     LOOP      Jb         ends
E3     JECXZ     Jb         ends
E4     IN        AL,Ib      iopl ends
E5     IN        eAX,Ib     iopl ends
E6     OUT       Ib,AL      iopl ends
E7     OUT       Ib,eAX     iopl ends
E8     CALL      Jz         ends
E9     JMP       Jz         ends
EA     JMPF      Ap         sensitive ends
EB     JMP       Jb         ends
EC     IN        AL,DX      iopl ends
ED     IN        eAX,DX     iopl ends
EE     OUT       DX,AL      iopl ends
EF     OUT       DX,eAX     iopl ends
F1     INT1      -          ends
F4     HLT       -          cpl0 ends
F5     CMC       -
F6/0   TEST      Eb,Ib
F6/1   TEST      Eb,Ib
F6/2   NOT       Eb         lock
F6/3   NEG       Eb         lock
F6/4   MUL       Eb
F6/5   IMUL      Eb
F6/6   DIV       Eb
F6/7   IDIV      Eb
F7/0   TEST      Ev,Iz
F7/1   TEST      Ev,Iz
F7/2   NOT       Ev         lock
F7/3   NEG       Ev         lock
F7/4   MUL       Ev
F7/5   IMUL      Ev
F7/6   DIV       Ev
F7/7   IDIV      Ev
F8     CLC       -
F9     STC       -
FA     CLI       -          iopl ends
FB     STI       -          iopl ends
FC     CLD       -
FD     STD       -
FE/0   INC       Eb         lock
FE/1   DEC       Eb         lock
FF/0   INC       Ev         lock
FF/1   DEC       Ev         lock
FF/2   CALL      Ev         ends
FF/3   CALLF     Mp         sensitive ends
FF/4   JMP       Ev         ends
FF/5   JMPF      Mp         sensitive ends
FF/6   PUSH      Ev
0F00/0 SLDT      Ev         sensitive ends
0F00/1 STR       Ev         sensitive ends
0F00/2 LLDT      Ew         cpl0 ends
0F00/3 LTR       Ew         cpl0 ends
0F00/4 VERR      Ew         sensitive ends
0F00/5 VERW      Ew         sensitive ends
0F01/0 SGDT      Mt         sensitive ends
0F01/1 SIDT      Mt         sensitive ends
0F01/2 LGDT      Mt         cpl0 ends
0F01/3 LIDT      Mt         cpl0 ends
0F01/4 SMSW      Ev         sensitive ends
0F01/6 LMSW      Ew         cpl0 ends
0F01/7 INVLPG    M          cpl0 ends
0F01:C1 VMCALL   -          ends
0F01:C2 VMLAUNCH -          ends needs:vmx
0F01:C3 VMRESUME -          ends needs:vmx
0F01:C4 VMXOFF   -          ends needs:vmx
0F01:C8 MONITOR  -          ends needs:monitor
0F01:C9 MWAIT    -          ends needs:monitor
0F01:F9 RDTSCP   -          ends needs:rdtscp
0F02   LAR       Gv,Ew      sensitive ends
0F03   LSL       Gv,Ew      sensitive ends
0F06   CLTS      -          cpl0 ends
0F08   INVD      -          cpl0 ends
0F09   WBINVD    -          cpl0 ends
0F0B   UD2       -          ends
0F0D   NOP       Ev
0F18   NOP       Ev
0F19   NOP       Ev
0F1A   NOP       Ev
0F1B   NOP       Ev
0F1C   NOP       Ev
0F1D   NOP       Ev
0F1E   NOP       Ev
0F1F   NOP       Ev
0F20   MOV       Rd,Cd      cpl0 ends
0F21   MOV       Rd,Dd      cpl0 ends
0F22   MOV       Cd,Rd      cpl0 ends
0F23   MOV       Dd,Rd      cpl0 ends
0F30   WRMSR     -          cpl0 ends
0F31   RDTSC     -          ends
0F32   RDMSR     -          cpl0 ends
0F33   RDPMC     -          ends
0F34   SYSENTER  -          ends
0F35   SYSEXIT   -          cpl0 ends
0F77   EMMS      -          needs:mmx
0FA0   PUSH      FS         sensitive
0FA1   POP       FS         sensitive ends
0FA2   CPUID     -          sensitive ends
0FA3   BT        Ev,Gv
0FA4   SHLD      Ev,Gv,Ib
0FA5   SHLD      Ev,Gv,CL
0FA8   PUSH      GS         sensitive
0FA9   POP       GS         sensitive ends
0FAA   RSM       -          ends needs:smm
0FAB   BTS       Ev,Gv      lock
0FAC   SHRD      Ev,Gv,Ib
0FAD   SHRD      Ev,Gv,CL
0FAE/0 FXSAVE    M          needs:fxsr
0FAE/1 FXRSTOR   M          needs:fxsr
0FAF   IMUL      Gv,Ev
0FB0   CMPXCHG   Eb,Gb      lock
0FB1   CMPXCHG   Ev,Gv      lock
0FB2   LSS       Gv,Mp      sensitive ends
0FB3   BTR       Ev,Gv      lock
0FB4   LFS       Gv,Mp      sensitive ends
0FB5   LGS       Gv,Mp      sensitive ends
0FB6   MOVZX     Gv,Eb
0FB7   MOVZX     Gv,Ew
0FB9   UD1       Gv,Ev      ends
0FBA/4 BT        Ev,Ib
0FBA/5 BTS       Ev,Ib      lock
0FBA/6 BTR       Ev,Ib      lock
0FBA/7 BTC       Ev,Ib      lock
0FBB   BTC       Ev,Gv      lock
0FBC   BSF       Gv,Ev
0FBD   BSR       Gv,Ev
0FBE   MOVSX     Gv,Eb
0FBF   MOVSX     Gv,Ew
0FC0   XADD      Eb,Gb      lock
0FC1   XADD      Ev,Gv      lock
0FC7/1 CMPXCHG8B Mq         lock
0FC8+r BSWAP     Zv
0FFF   UD0       Gv,Ev      ends
`;

/** Mnemonics of the groups that repeat a pattern: 00–3F and 80–83, C0–D3, and the conditions (SDM Vol. 2, Tables ). */
const ARITHMETIC = ['ADD', 'OR', 'ADC', 'SBB', 'AND', 'SUB', 'XOR', 'CMP'];
const SHIFTS = ['ROL', 'ROR', 'RCL', 'RCR', 'SHL', 'SHR', 'SHL', 'SAR'];
export const CONDITIONS = ['O', 'NO', 'B', 'AE', 'E', 'NE', 'BE', 'A', 'S', 'NS', 'P', 'NP', 'L', 'GE', 'LE', 'G'] as const;

export type Attribute = 'lock' | 'cpl0' | 'iopl' | 'sensitive' | 'ends' | 'string';

export interface OpcodeRow {
  /** `80/0`, `0FA2`: as written in the table. */
  readonly code: string;
  /** 0x00–0xFF, or 0x100–0x1FF behind the escape byte 0F. */
  readonly opcode: number;
  /** ModRM.reg that selects this row, or -1. */
  readonly extension: number;
  /** Whole ModRM byte that selects this row, or -1. */
  readonly modrm: number;
  readonly mnemonic: string;
  readonly operands: readonly string[];
  readonly attributes: ReadonlySet<Attribute>;
  /** Feature without which the opcode is undefined, or null. */
  readonly needs: string | null;
}

function parse(line: string): OpcodeRow[] {
  const [code = '', mnemonic = '', operands = '-', ...words] = line.trim().split(/\s+/);
  const match = /^(0F)?([0-9A-F]{2})(?:\/(\d)|:([0-9A-F]{2})|(\+r))?$/.exec(code);
  if (match === null) throw new Error(`opcode table: ${line}`);
  const [, escape, byte = '', extension, modrm, inOpcode] = match;
  const opcode = parseInt(byte, 16) + (escape === undefined ? 0 : 0x100);
  const row: OpcodeRow = {
    code, opcode, mnemonic,
    extension: extension === undefined ? -1 : parseInt(extension, 10),
    modrm: modrm === undefined ? -1 : parseInt(modrm, 16),
    operands: operands === '-' ? [] : operands.split(','),
    attributes: new Set(words.filter((word): word is Attribute => !word.startsWith('needs:'))),
    needs: words.find((word) => word.startsWith('needs:'))?.slice(6) ?? null,
  };
  if (inOpcode === undefined) return [row];
  return Array.from({ length: 8 }, (_, n) => ({ ...row, opcode: opcode + n, code: hex(opcode + n) }));
}

const hex = (opcode: number): string => (opcode >= 0x100 ? '0F' : '') + (opcode & 0xff).toString(16).toUpperCase().padStart(2, '0');

function lines(): string[] {
  const all = TABLE.trim().split('\n');
  ARITHMETIC.forEach((mnemonic, n) => {
    const lock = mnemonic === 'CMP' ? '' : ' lock';
    ['Eb,Gb', 'Ev,Gv', 'Gb,Eb', 'Gv,Ev', 'AL,Ib', 'eAX,Iz'].forEach((operands, form) => all.push(`${hex(n * 8 + form)} ${mnemonic} ${operands}${form < 2 ? lock : ''}`));
    all.push(`80/${n} ${mnemonic} Eb,Ib${lock}`, `81/${n} ${mnemonic} Ev,Iz${lock}`, `82/${n} ${mnemonic} Eb,Ib${lock}`, `83/${n} ${mnemonic} Ev,Is${lock}`);
  });
  SHIFTS.forEach((mnemonic, n) => {
    all.push(`C0/${n} ${mnemonic} Eb,Ib`, `C1/${n} ${mnemonic} Ev,Ib`, `D0/${n} ${mnemonic} Eb,1`, `D1/${n} ${mnemonic} Ev,1`, `D2/${n} ${mnemonic} Eb,CL`, `D3/${n} ${mnemonic} Ev,CL`);
  });
  CONDITIONS.forEach((condition, n) => {
    all.push(`${hex(0x70 + n)} J${condition} Jb ends`, `${hex(0x180 + n)} J${condition} Jz ends`, `${hex(0x190 + n)} SET${condition} Eb`, `${hex(0x140 + n)} CMOV${condition} Gv,Ev`);
  });
  return all;
}

/** All rows, in order of opcode. */
export const OPCODES: readonly OpcodeRow[] = lines().flatMap(parse).sort((a, b) => a.opcode - b.opcode || a.extension - b.extension || a.modrm - b.modrm);

/** What an instruction does to the arithmetic flags: letters of `OSZAPC`. Undefined ones may come out either way (SDM Vol. 1 Appendix A). */
export interface FlagEffects { readonly read: string; readonly written: string; readonly undefined: string }
const effects = (read: string, written: string, undefinedFlags = ''): FlagEffects => ({ read, written, undefined: undefinedFlags });
const NO_EFFECTS = effects('', '');
const FLAG_EFFECTS: Record<string, FlagEffects> = {
  ADD: effects('', 'OSZAPC'), ADC: effects('C', 'OSZAPC'), SUB: effects('', 'OSZAPC'), SBB: effects('C', 'OSZAPC'), CMP: effects('', 'OSZAPC'), NEG: effects('', 'OSZAPC'),
  AND: effects('', 'OSZPC', 'A'), OR: effects('', 'OSZPC', 'A'), XOR: effects('', 'OSZPC', 'A'), TEST: effects('', 'OSZPC', 'A'),
  INC: effects('', 'OSZAP'), DEC: effects('', 'OSZAP'), XADD: effects('', 'OSZAPC'), CMPXCHG: effects('', 'OSZAPC'), CMPXCHG8B: effects('', 'Z'),
  CMPS: effects('', 'OSZAPC'), SCAS: effects('', 'OSZAPC'),
  // A count of 0 leaves all; OF is defined for a count of 1 only; CF of SHL and SHR is undefined beyond the operand's width.
  SHL: effects('', 'OSZPC', 'OA'), SHR: effects('', 'OSZPC', 'OA'), SAR: effects('', 'OSZPC', 'OA'), ROL: effects('', 'OC', 'O'), ROR: effects('', 'OC', 'O'),
  RCL: effects('C', 'OC', 'O'), RCR: effects('C', 'OC', 'O'), SHLD: effects('', 'OSZPC', 'OA'), SHRD: effects('', 'OSZPC', 'OA'),
  MUL: effects('', 'OC', 'SZAP'), IMUL: effects('', 'OC', 'SZAP'), DIV: effects('', '', 'OSZAPC'), IDIV: effects('', '', 'OSZAPC'),
  BT: effects('', 'C', 'OSAP'), BTS: effects('', 'C', 'OSAP'), BTR: effects('', 'C', 'OSAP'), BTC: effects('', 'C', 'OSAP'), BSF: effects('', 'Z', 'OSAPC'), BSR: effects('', 'Z', 'OSAPC'),
  AAA: effects('A', 'AC', 'OSZP'), AAS: effects('A', 'AC', 'OSZP'), AAM: effects('', 'SZP', 'OAC'), AAD: effects('', 'SZP', 'OAC'), DAA: effects('AC', 'SZAPC', 'O'), DAS: effects('AC', 'SZAPC', 'O'),
  CLC: effects('', 'C'), STC: effects('', 'C'), CMC: effects('C', 'C'), SALC: effects('C', ''), SAHF: effects('', 'SZAPC'), LAHF: effects('SZAPC', ''),
  PUSHF: effects('OSZAPC', ''), POPF: effects('', 'OSZAPC'), IRET: effects('', 'OSZAPC'), INTO: effects('O', ''), ARPL: effects('', 'Z'), LAR: effects('', 'Z'), LSL: effects('', 'Z'),
  VERR: effects('', 'Z'), VERW: effects('', 'Z'), LOOPE: effects('Z', ''), LOOPNE: effects('Z', ''),
};
const CONDITION_FLAGS = ['O', 'C', 'Z', 'CZ', 'S', 'P', 'OS', 'OSZ'];

export function flagEffects(mnemonic: string): FlagEffects {
  const known = FLAG_EFFECTS[mnemonic];
  if (known !== undefined) return known;
  const conditional = /^(?:J|SET|CMOV)(.+)$/.exec(mnemonic);
  const index = conditional === null ? -1 : CONDITIONS.indexOf(conditional[1] as (typeof CONDITIONS)[number]);
  return index < 0 ? NO_EFFECTS : effects(CONDITION_FLAGS[index >> 1]!, '');
}
