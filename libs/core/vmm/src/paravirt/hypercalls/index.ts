import { consoleIo } from './console-io.js';
import { fpuTaskswitch, getDebugreg, setDebugreg, stackSwitch, vmAssist } from './cpu-state.js';
import { setGdt, updateDescriptor } from './descriptors.js';
import { eventChannelOp, eventChannelOpCompat } from './event-channel-op.js';
import { HypercallRegistry } from './hypercall-registry.js';
import { iret } from './iret.js';
import { memoryOp } from './memory-op.js';
import { mmuUpdate, updateVaMapping } from './mmu-update.js';
import { mmuextOp } from './mmuext-op.js';
import { multicall } from './multicall.js';
import { physdevOp, physdevOpCompat } from './physdev-op.js';
import { schedOp, schedOpCompat } from './sched-op.js';
import { callbackOp, setCallbacks, setTrapTable } from './traps.js';
import { setTimerOp, vcpuOp } from './vcpu-op.js';
import { xenVersion } from './xen-version.js';

/** Every hypercall that is answered; any other number is −ENOSYS. */
export const hypercalls: HypercallRegistry = new HypercallRegistry([
  setTrapTable, mmuUpdate, setGdt, stackSwitch, setCallbacks, fpuTaskswitch, schedOpCompat, setDebugreg, getDebugreg, updateDescriptor,
  memoryOp, multicall(() => hypercalls), updateVaMapping, setTimerOp, eventChannelOpCompat, xenVersion, consoleIo, physdevOpCompat,
  vmAssist, iret, vcpuOp, mmuextOp, schedOp, callbackOp, eventChannelOp, physdevOp,
]);
