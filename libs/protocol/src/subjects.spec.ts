import { describe, expect, it } from '@jest/globals';
import { ExitReason } from '@ringside/x86';
import fc from 'fast-check';
import { cpuSubject, exitSubject, groupSubjects, ioSubject, isVmId, parseVmSubject, subjectTemplate } from './subjects.js';

describe('subjects', () => {
  it('are read back as they were built', () => {
    expect(parseVmSubject(exitSubject('web-1', ExitReason.CrAccess))).toEqual({ vmId: 'web-1', group: 'exit', last: 'cr-access' });
    expect(parseVmSubject(ioSubject('a', 'mmio'))).toEqual({ vmId: 'a', group: 'io', last: 'mmio' });
    expect(parseVmSubject(cpuSubject('7', 'read'))).toEqual({ vmId: '7', group: 'cpu', last: 'read' });
    expect(groupSubjects('a', 'exit')).toBe('ringside.vm.a.exit.*');
    expect(subjectTemplate('exit', 'cpuid')).toBe('ringside.vm.{id}.exit.cpuid');
  });

  it('never take an id that could name somebody else\'s subjects', () => {
    for (const id of ['', '*', '>', 'a.b', 'a b', 'A', '-a', 'a-', 'a'.repeat(64), 'a\n']) expect(isVmId(id)).toBe(false);
    fc.assert(fc.property(fc.string(), (id) => {
      if (isVmId(id)) expect(parseVmSubject(ioSubject(id, 'port'))).toEqual({ vmId: id, group: 'io', last: 'port' });
      else expect(parseVmSubject(ioSubject(id, 'port'))).toBeNull();
    }));
  });

  it('that are not a VM\'s are null', () => {
    for (const subject of ['ringside.ctl.vm.create', 'ringside.vm.a', 'ringside.vm.a.exit', 'ringside.vm.a.exit.', 'ringside.vm.a.exit.b.c', 'ringside.vm.a.other.b', '_INBOX.x']) expect(parseVmSubject(subject)).toBeNull();
  });
});
