import { InvalidArgumentError } from 'commander';

export function positiveInteger(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError('A whole number from 1 up is wanted.');
  return value;
}

export function portNumber(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < 1 || value > 65_535) throw new InvalidArgumentError('A port number from 1 to 65535 is wanted.');
  return value;
}

/** 32-bit address: hexadecimal with 0x or decimal. */
export function address32(text: string): number {
  const value = /^0x[0-9a-f]{1,8}$/i.test(text) || /^\d+$/.test(text) ? Number(text) : NaN;
  if (!(value <= 0xffff_ffff)) throw new InvalidArgumentError('An address such as 0x100000 is wanted.');
  return value;
}

export function commaList(text: string): string[] {
  return text.split(',').map((item) => item.trim()).filter((item) => item !== '');
}
