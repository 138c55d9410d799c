import { EVENT_CHANNELS, EventChannelStatus } from './abi.js';
import { Errno } from './errno.js';

/** What a port is bound to. `console`: interdomain, with Xen's console at the other end; `loop`: another port of this domain. */
export type Binding =
  | { readonly kind: 'free' } | { readonly kind: 'unbound'; readonly remote: number } | { readonly kind: 'console' }
  | { readonly kind: 'loop'; readonly port: number } | { readonly kind: 'virq'; readonly virq: number }
  | { readonly kind: 'pirq'; readonly pirq: number } | { readonly kind: 'ipi' };

const FREE: Binding = { kind: 'free' };

/** The domain's event channels: which port stands for what. Port 0 is never handed out. */
export class EventChannels {
  private readonly bindings: Binding[] = [FREE];

  get(port: number): Binding {
    return this.bindings[port] ?? FREE;
  }

  /** The lowest free port, bound; or −ENOSPC. */
  allocate(binding: Binding): number {
    for (let port = 1; port < EVENT_CHANNELS; port++) {
      if (this.get(port).kind !== 'free') continue;
      this.bind(port, binding);
      return port;
    }
    return -Errno.ENOSPC;
  }

  bind(port: number, binding: Binding): void {
    while (this.bindings.length <= port) this.bindings.push(FREE);
    this.bindings[port] = binding;
  }

  /** Free a port. The other end of a loop becomes unbound. */
  close(port: number, self: number): void {
    const binding = this.get(port);
    this.bindings[port] = FREE;
    if (binding.kind === 'loop') this.bind(binding.port, { kind: 'unbound', remote: self });
  }

  /** Port that a virtual or physical interrupt is bound to, or −1. */
  portOf(kind: 'virq' | 'pirq', number: number): number {
    return this.bindings.findIndex((binding) => (binding.kind === 'virq' && kind === 'virq' && binding.virq === number)
      || (binding.kind === 'pirq' && kind === 'pirq' && binding.pirq === number));
  }

  get ports(): number {
    return this.bindings.length;
  }
}

/** EVTCHNSTAT_* and the union word of struct evtchn_status. */
export function statusOf(binding: Binding): { status: number; detail: number } {
  switch (binding.kind) {
    case 'free': return { status: EventChannelStatus.closed, detail: 0 };
    case 'unbound': return { status: EventChannelStatus.unbound, detail: binding.remote };
    case 'console': return { status: EventChannelStatus.interdomain, detail: 0 };
    case 'loop': return { status: EventChannelStatus.interdomain, detail: binding.port };
    case 'virq': return { status: EventChannelStatus.virq, detail: binding.virq };
    case 'pirq': return { status: EventChannelStatus.pirq, detail: binding.pirq };
    case 'ipi': return { status: EventChannelStatus.ipi, detail: 0 };
    default: { const unreachable: never = binding; return unreachable; }
  }
}
