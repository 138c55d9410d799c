import { describe, expect, test } from '@jest/globals';
import { renderTable } from './table.js';

const plain = { paint: (text: string) => text };

describe('renderTable', () => {
  test('aligns columns to their widest cell and leaves no blanks at line ends', () => {
    expect(renderTable([{ title: 'NAME' }, { title: 'N', align: 'right' }, { title: 'WHY' }], [['a', '1', ''], null, ['longer', '12,345', 'because']], plain)).toEqual([
      'NAME         N  WHY',
      'a            1',
      '',
      'longer  12,345  because',
    ]);
  });

  test('pads before it paints: colour codes do not shift columns', () => {
    const lines = renderTable([{ title: 'A' }, { title: 'B' }], [[{ text: 'x', style: 'red' }, 'y']], { paint: (text, ...styles) => styles.includes('red') ? `<${text}>` : text });
    expect(lines).toEqual(['A  B', '<x>  y']);
  });
});
