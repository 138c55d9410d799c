import type { SpanRecord } from '@ringside/protocol';

/** A trace with what it is a trace of, as the local store keeps it. */
export interface Trace { traceId: string; label: string; spans: SpanRecord[] }

export interface SpanNode { span: SpanRecord; depth: number; children: SpanNode[] }

/** Roots (no parent, or one that is not here) in order of their beginning, each with its children in theirs. */
export function spanTree(spans: readonly SpanRecord[]): SpanNode[] {
  const nodes = new Map(spans.map((span) => [span.spanId, { span, depth: 0, children: [] } as SpanNode]));
  const roots: SpanNode[] = [];
  for (const node of nodes.values()) {
    const parent = node.span.parentSpanId === null ? undefined : nodes.get(node.span.parentSpanId);
    if (parent === undefined || parent === node) roots.push(node);
    else parent.children.push(node);
  }
  const byTime = (a: SpanNode, b: SpanNode): number => a.span.startUs - b.span.startUs || b.span.durationUs - a.span.durationUs || a.span.spanId.localeCompare(b.span.spanId);
  const settle = (list: SpanNode[], depth: number): void => {
    list.sort(byTime);
    for (const node of list) {
      node.depth = depth;
      settle(node.children, depth + 1);
    }
  };
  settle(roots, 0);
  return roots;
}

export function* walk(nodes: readonly SpanNode[]): Generator<SpanNode> {
  for (const node of nodes) {
    yield node;
    yield* walk(node.children);
  }
}
