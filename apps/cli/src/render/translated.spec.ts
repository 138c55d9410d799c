import { describe, expect, test } from '@jest/globals';
import type { TranslatedView } from '@ringside/protocol';
import { renderTranslated } from './translated.js';

const VIEW: TranslatedView = {
  eip: 0xc010_0000,
  units: [{
    eip: 0xc010_0000, at: 0x83000, guestBytes: 3, hostBytes: 16,
    rows: [
      { guest: { address: 0xc010_0000, bytes: 'fa', text: 'cli' }, treatment: 'in-cache', why: 'clears the virtual IF', host: [{ at: 0, bytes: '65c6050500000000', text: 'mov byte ptr gs:[1], 0', commits: true, field: 'virtual IF' }] },
      { guest: { address: 0xc010_0001, bytes: '89d8', text: 'mov eax,ebx' }, treatment: 'ident', why: '', host: [{ at: 8, bytes: '89d8', text: 'mov eax,ebx', commits: true, field: null }] },
      { guest: null, treatment: 'exit', why: 'the guest goes on in another unit', host: [{ at: 10, bytes: 'e900000000', text: 'jmp 0000000fh', commits: false, field: null }] },
    ],
    exits: [{ at: 10, kind: 'direct', target: 0xc010_0003, chainedTo: 0xc010_0003 }],
  }, {
    eip: 0xc010_0003, at: null, guestBytes: 1, hostBytes: 2,
    rows: [{ guest: { address: 0xc010_0003, bytes: 'f4', text: 'hlt' }, treatment: 'callout', why: 'HLT is privileged', host: [{ at: 0, bytes: 'cd83', text: 'int 83h', commits: false, field: null }] }],
    exits: [{ at: 0, kind: 'callout', target: null, chainedTo: null }],
  }],
};

describe('renderTranslated', () => {
  test('both sides, unit by unit: where it lies, why, what commits, where it leaves', () => {
    expect(renderTranslated(VIEW, { paint: (text) => text }).map((line) => line.trim().replace(/ {2,}/g, ' | '))).toEqual([
      'unit c0100000: 3 bytes became 16, at 0x83000 of monitor space',
      '; in-cache: clears the virtual IF',
      'c0100000 | fa | cli | +00 | 65 c6 05 05 00 … | mov byte ptr gs:[1], 0 | ; virtual IF | ← commits',
      'c0100001 | 89 d8 | mov eax,ebx | +08 | 89 d8 | mov eax,ebx | ← commits',
      '; exit',
      '+0a | e9 00 00 00 00 | jmp 0000000fh',
      'leaves at +0a: chained to the unit of c0100003',
      '',
      'unit c0100003: 1 byte became 2, not translated yet: made for this listing',
      '; callout: HLT is privileged',
      'c0100003 | f4 | hlt | +00 | cd 83 | int 83h',
      'leaves at +00: to ring -1, a callout',
    ]);
  });

  test('where nothing is mapped it says so', () => {
    expect(renderTranslated({ eip: 0x10, units: [] }, { paint: (text) => text })).toEqual(['No code is mapped at 00000010.']);
  });
});
