import type { MonitorSelectors } from '../deprivileged/monitor-tables.js';
import { flatDescriptor } from '../deprivileged/segment-descriptor.js';

/** arch-x86/xen-x86_32.h: the guest may use the first 14 pages of its GDT; Xen's descriptors begin behind them. */
export const FIRST_RESERVED_GDT_PAGE = 14;
export const FIRST_RESERVED_GDT_ENTRY = FIRST_RESERVED_GDT_PAGE * 512;

/** Xen's ring 0 code: where gates lead that the guest's processor cannot take. */
export const HYPERVISOR_CS = 0xe008;
export const FLAT_RING1_CS = 0xe019, FLAT_RING1_DS = 0xe021, FLAT_RING3_CS = 0xe02b, FLAT_RING3_DS = 0xe033;

const CODE = 0xb, DATA = 0x3;

/** The descriptors that stand in every GDT: Xen's ring 0, and flat ones for the guest's kernel and applications. */
export const XEN_SELECTORS: MonitorSelectors = {
  tss: 0xe040,
  ldt: 0xe048,
  reserved: new Map([
    [HYPERVISOR_CS, flatDescriptor(0, CODE)],
    [0xe010, flatDescriptor(0, DATA)],
    [FLAT_RING1_CS, flatDescriptor(1, CODE)],
    [FLAT_RING1_DS, flatDescriptor(1, DATA)],
    [FLAT_RING3_CS, flatDescriptor(3, CODE)],
    [FLAT_RING3_DS, flatDescriptor(3, DATA)],
  ]),
};
