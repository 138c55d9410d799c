import type { Path, VmSpec } from '@ringside/machine';
import { binaryTranslationMonitor } from './binary-translation/binary-translation-monitor.js';
import { HardwareAssistedMachine } from './hardware-assisted/hardware-assisted-machine.js';
import { hardwareAssistedExits } from './hardware-assisted/registry.js';
import { buildDomain } from './paravirt/build-domain.js';
import { paravirtMonitor } from './paravirt/paravirt-monitor.js';
import { trapAndEmulateMonitor } from './trap-and-emulate/trap-and-emulate-monitor.js';
import type { MonitorPorts } from './monitor-ports.js';
import { pathMonitor, VirtualMachineMonitor, type PathMonitor } from './virtual-machine-monitor.js';

/** The path has no ring -1 (`native`), or it is not built yet. */
export class PathError extends Error {
  override readonly name = 'PathError';
}

type PathFactory = (spec: VmSpec, image: Uint8Array) => PathMonitor | Promise<PathMonitor>;

const FACTORIES: Partial<Record<Path, PathFactory>> = {
  'hardware-assisted': (spec, image) => {
    if (spec.mmu !== 'nested' && spec.mmu !== 'shadow') throw new PathError(`the path hardware-assisted has the mmus "nested" and "shadow", not "${spec.mmu}"`);
    return pathMonitor(new HardwareAssistedMachine(spec, image), HardwareAssistedMachine.monitorBytes(spec), hardwareAssistedExits);
  },
  'trap-and-emulate': (spec, image) => {
    if (spec.mmu !== 'shadow') throw new PathError(`the path trap-and-emulate has only the mmu "shadow", not "${spec.mmu}"`);
    return trapAndEmulateMonitor(spec, image);
  },
  'binary-translation': (spec, image) => {
    if (spec.mmu !== 'shadow') throw new PathError(`the path binary-translation has only the mmu "shadow", not "${spec.mmu}"`);
    return binaryTranslationMonitor(spec, image);
  },
  paravirt: async (spec, image) => {
    if (spec.mmu !== 'direct') throw new PathError(`the path paravirt has only the mmu "direct", not "${spec.mmu}"`);
    if (spec.guestKernelRing === 0) throw new PathError('the path paravirt runs the guest\'s kernel in ring 1 or 3, not in ring 0');
    return paravirtMonitor(await buildDomain(spec, image, spec.guestKernelRing));
  },
};

/**
 * Ring -1 for a new virtual machine: loads `image` and decides what the machine is created with. Throws LoaderError (the
 * image does not fit the path) or PathError.
 */
export async function createMonitor(spec: VmSpec, image: Uint8Array, ports: MonitorPorts): Promise<VirtualMachineMonitor> {
  const factory = FACTORIES[spec.path];
  if (factory === undefined) {
    throw new PathError(spec.path === 'native' ? 'the path native has no ring -1' : `the path ${spec.path} is not built yet`);
  }
  return new VirtualMachineMonitor(spec, await factory(spec, image), ports);
}
