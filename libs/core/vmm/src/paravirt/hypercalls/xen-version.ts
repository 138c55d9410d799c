import { Hypercall, XENFEAT_MMU_PT_UPDATE_PRESERVE_AD, MACH2PHYS_VIRT_START, XenVersion } from '../abi.js';
import { Errno } from '../errno.js';
import type { HypercallEntry } from './hypercall-registry.js';

/** The version whose ABI this is modelled on. */
const MAJOR = 4, MINOR = 17;
const PAGE_SIZE = 4096;
const CAPABILITIES = 'xen-3.0-x86_32p';

/** xen_version(cmd, arg): who is below. A guest also calls it with nothing to ask, to have its events delivered. */
export const xenVersion: HypercallEntry = {
  number: Hypercall.xen_version,
  name: 'xen_version',
  summary: 'Version, features and capabilities of the hypervisor.',
  async call({ domain, memory }, [command, argument]) {
    switch (command) {
      case XenVersion.version: return (MAJOR << 16) | MINOR;
      case XenVersion.extraversion: memory.write(argument!, text('.0-ringside', 16)); return 0;
      case XenVersion.compile_info: memory.write(argument!, new Uint8Array([...text('TypeScript', 64), ...text('ringside', 16), ...text('', 32), ...text('', 32)])); return 0;
      case XenVersion.capabilities: memory.write(argument!, text(CAPABILITIES, 1024)); return 0;
      case XenVersion.changeset: memory.write(argument!, text('', 64)); return 0;
      case XenVersion.platform_parameters: memory.write32(argument!, MACH2PHYS_VIRT_START); return 0;
      case XenVersion.get_features: {
        const [index] = await memory.read32(argument!, 1);
        memory.write32(argument! + 4, index === 0 ? 1 << XENFEAT_MMU_PT_UPDATE_PRESERVE_AD : 0);
        return 0;
      }
      case XenVersion.pagesize: return PAGE_SIZE;
      case XenVersion.guest_handle: memory.write(argument!, new Uint8Array(16)); return 0;
      case XenVersion.commandline: memory.write(argument!, text(`console=com1 ${domain.spec.path}`, 1024)); return 0;
      default: return -Errno.ENOSYS;
    }
  },
};

function text(value: string, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let index = 0; index < value.length && index < length - 1; index++) bytes[index] = value.charCodeAt(index);
  return bytes;
}
