import { LAYOUT_VERSION } from './monitor-data.js';
import { translate } from './translate.js';
import { isRefused, MODE_CODE32, MODE_STACK32 } from './unit.js';
import { listUnit } from './unit-listing.js';

it('shows both sides of a unit, what commits, and why an instruction is no copy', () => {
  const bytes = Uint8Array.of(0x89, 0xd8, 0xfa, 0xc3); // mov eax, ebx; cli; ret
  const unit = translate({ bytes, eip: 0xc010_0000, pageOffset: 0, mode: MODE_CODE32 | MODE_STACK32, layout: LAYOUT_VERSION });
  if (isRefused(unit)) throw new Error(unit.refused);
  const rows = listUnit(unit);
  expect(rows.map(({ guest, treatment }) => [guest?.text, treatment])).toEqual([['mov eax, ebx', 'ident'], ['cli', 'in-cache'], ['ret', 'indirect']]);
  expect(rows[0]).toMatchObject({ why: '', host: [{ at: 0, bytes: '89d8', text: 'mov eax, ebx', commits: true, field: null }] });
  expect(rows[1]!.host.map(({ text }) => text)).toEqual(['mov byte ptr gs:[1], 0']);
  expect(rows[1]!.host.map(({ field }) => field)).toEqual(['virtual IF']);
  expect(rows[1]!.why).toContain('virtual IF');
  expect(rows[2]!.host.map(({ text, commits }) => [text, commits])).toEqual([
    ['mov dword ptr gs:[0x24], ecx', false], ['mov ecx, dword ptr [esp]', false], ['mov dword ptr gs:[8], ecx', false], ['lea esp, [esp+4]', true], [expect.stringMatching(/^jmp /), false],
  ]);
});

it('names every field that translated code may use', () => {
  // POPF, MOV to DS, PUSH DS, an indirect jump.
  const unit = translate({ bytes: Uint8Array.of(0x9d, 0x8e, 0xd8, 0x1e, 0xff, 0xe0), eip: 0, pageOffset: 0, mode: MODE_CODE32 | MODE_STACK32, layout: LAYOUT_VERSION });
  if (isRefused(unit)) throw new Error(unit.refused);
  const through = listUnit(unit).flatMap(({ host }) => host).filter(({ text }) => text.includes('gs:['));
  expect(through.length).toBeGreaterThan(10);
  expect(through.filter(({ field }) => field === null)).toEqual([]);
  expect(through.map(({ field }) => field)).toEqual(expect.arrayContaining(['saved ECX', 'scratch', 'table: what POPF does with bits 8–15', 'virtual IF', 'an interrupt waits', "the guest's DS", 'where to']));
});

it('ends a unit that is full with its exit', () => {
  const unit = translate({ bytes: new Uint8Array(32).fill(0x90), eip: 0, pageOffset: 0, mode: MODE_CODE32 | MODE_STACK32, layout: LAYOUT_VERSION });
  if (isRefused(unit)) throw new Error(unit.refused);
  expect(listUnit(unit).at(-1)).toMatchObject({ guest: null, treatment: 'exit', host: [{ text: 'int 0x84' }, { text: expect.stringContaining('nop') }] });
});
