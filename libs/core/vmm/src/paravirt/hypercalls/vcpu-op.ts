import { PAGE_BYTES } from '../../monitor-space.js';
import { Hypercall, VcpuInfo, VcpuOp } from '../abi.js';
import { Errno } from '../errno.js';
import { FrameType } from '../frame-table.js';
import type { ParavirtExit } from '../paravirt-exit.js';
import type { HypercallEntry } from './hypercall-registry.js';

/** VCPU_SSHOTTMR_future: −ETIME when the time has passed. */
const SINGLESHOT_FUTURE = 1;
const ETIME = 62;
/** The shortest period that Xen accepts, ns. */
const MIN_PERIOD = 1_000_000;
const RUNSTATE_RUNNING = 0;

/** set_timer_op(low, high): VIRQ_TIMER at this many ns since boot; 0 stops it. */
export const setTimerOp: HypercallEntry = {
  number: Hypercall.set_timer_op,
  name: 'set_timer_op',
  summary: 'Asks for VIRQ_TIMER at an absolute time.',
  call({ domain }, [low, high]) {
    const at = low! + high! * 0x1_0000_0000;
    domain.timer = at === 0 ? Infinity : at;
    return 0;
  },
};

/** vcpu_op(cmd, vcpu, arg): there is one processor, number 0. */
export const vcpuOp: HypercallEntry = {
  number: Hypercall.vcpu_op,
  name: 'vcpu_op',
  summary: 'The virtual processor: its timers, the place of its vcpu_info, its running time.',
  async call(exit, [command, vcpu, argument]) {
    const { domain, memory, transaction } = exit;
    if (vcpu !== 0) return -Errno.ENOENT;
    switch (command) {
      case VcpuOp.is_up: return 1;
      case VcpuOp.up: return 0;
      case VcpuOp.initialise: return -Errno.EEXIST;
      case VcpuOp.get_runstate_info: {
        // { s32 state, u64 state_entry_time, u64 time[4] }: it has run since boot.
        const { now } = transaction.exit;
        memory.write32(argument!, RUNSTATE_RUNNING, 0, 0, ...words64(now), 0, 0, 0, 0, 0, 0);
        return 0;
      }
      case VcpuOp.set_periodic_timer: {
        const period = await read64(exit, argument!);
        if (period < MIN_PERIOD) return -Errno.EINVAL;
        domain.periodic = { period, next: transaction.exit.now + period };
        return 0;
      }
      case VcpuOp.stop_periodic_timer:
        domain.periodic = null;
        return 0;
      case VcpuOp.set_singleshot_timer: {
        const at = await read64(exit, argument!);
        const [flags] = await memory.read32(argument! + 8, 1);
        if ((flags! & SINGLESHOT_FUTURE) !== 0 && at < transaction.exit.now) return -ETIME;
        domain.timer = at;
        return 0;
      }
      case VcpuOp.stop_singleshot_timer:
        domain.timer = Infinity;
        return 0;
      case VcpuOp.register_vcpu_info: return registerVcpuInfo(exit, argument!);
      case VcpuOp.send_nmi: case VcpuOp.down: return -Errno.EOPNOTSUPP;
      default: return -Errno.ENOSYS;
    }
  },
};

/** { u64 mfn, u32 offset, u32 }: once, and within one page. The frame stays writable: it can be no page table from now on. */
async function registerVcpuInfo({ domain, memory, transaction }: ParavirtExit, argument: number): Promise<number> {
  const view = new DataView((await memory.read(argument, 16)).buffer);
  const mfn = view.getUint32(0, true);
  const offset = view.getUint32(8, true);
  if (view.getUint32(4, true) !== 0 || offset > PAGE_BYTES - VcpuInfo.bytes || offset % 4 !== 0) return -Errno.EINVAL;
  if (domain.events.vcpuInfoPlace.space === 'guest') return -Errno.EINVAL;
  if (await domain.paging.getPageAndType(transaction, mfn, FrameType.writable) !== 0) return -Errno.EINVAL;
  await domain.events.moveVcpuInfo(transaction, mfn * PAGE_BYTES + offset);
  return 0;
}

async function read64({ memory }: ParavirtExit, linear: number): Promise<number> {
  const [low, high] = await memory.read32(linear, 2) as unknown as [number, number];
  return low + high * 0x1_0000_0000;
}

function words64(value: number): [number, number] {
  return [value % 0x1_0000_0000, Math.floor(value / 0x1_0000_0000)];
}
