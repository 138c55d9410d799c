/** 1234567 → `1,234,567`: the same in every locale. */
export function grouped(value: number): string {
  const [whole, fraction] = String(value).split('.');
  const text = whole!.replace(/\B(?=(\d{3})+(?!\d))/g, ',');
  return fraction === undefined ? text : `${text}.${fraction}`;
}

/** Three significant digits with the unit that fits: `812 ns`, `41.3 µs`, `2.10 s`. */
export function duration(ns: number): string {
  if (!Number.isFinite(ns)) return '–';
  for (const [unit, size] of [['ns', 1], ['µs', 1e3], ['ms', 1e6]] as const) {
    if (Math.abs(ns) < size * 999.5) return `${significant(ns / size, unit === 'ns')} ${unit}`;
  }
  return `${significant(ns / 1e9, false)} s`;
}

function significant(value: number, whole: boolean): string {
  const size = Math.abs(value);
  if (whole || size >= 100) return value.toFixed(0);
  return value.toFixed(size >= 10 ? 1 : 2);
}

export function bytes(count: number): string {
  if (count < 1024) return `${count} B`;
  return count < 1024 * 1024 ? `${(count / 1024).toFixed(1)} KiB` : `${(count / 1024 / 1024).toFixed(1)} MiB`;
}

export function hex32(value: number): string {
  return (value >>> 0).toString(16).padStart(8, '0');
}
