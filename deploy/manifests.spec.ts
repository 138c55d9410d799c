import { describe, expect, test } from '@jest/globals';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse, parseAllDocuments } from 'yaml';

// What a cluster would say no to, or a person would miss, checked without one.
const here = process.cwd();
const kubernetes = join(here, 'kubernetes');

interface Probe { httpGet: { path: string; port: string } }
interface Container {
  name: string; image: string; imagePullPolicy?: string; args?: string[]; ports?: { name: string; containerPort: number }[]; env?: { name: string; value?: string }[];
  startupProbe?: Probe; readinessProbe?: Probe; livenessProbe?: Probe; lifecycle?: { preStop?: unknown };
  resources?: { requests?: Record<string, string>; limits?: Record<string, string> };
  securityContext?: { allowPrivilegeEscalation?: boolean; readOnlyRootFilesystem?: boolean; privileged?: boolean; capabilities?: { drop?: string[]; add?: string[] } };
}
interface PodSpec {
  containers: Container[]; initContainers?: Container[]; automountServiceAccountToken?: boolean; terminationGracePeriodSeconds?: number; hostNetwork?: boolean; hostPID?: boolean;
  securityContext?: { runAsNonRoot?: boolean; runAsUser?: number; seccompProfile?: { type?: string } }; volumes?: Record<string, unknown>[];
}
interface Manifest { kind: string; metadata: { name: string; labels?: Record<string, string> }; spec: { replicas?: number; strategy?: { type: string }; selector: Record<string, unknown>; ports?: { targetPort: string }[]; template: { metadata: { labels: Record<string, string> }; spec: PodSpec } } }

const kustomization = parse(readFileSync(join(kubernetes, 'kustomization.yaml'), 'utf8')) as { resources: string[]; namespace: string; images: { name: string }[] };
const manifests = kustomization.resources.flatMap((file) => parseAllDocuments(readFileSync(join(kubernetes, file), 'utf8')).map((document) => {
  expect(document.errors).toEqual([]);
  return document.toJS() as Manifest;
}));
const pods = manifests.filter(({ kind }) => kind === 'Deployment' || kind === 'Job').map((manifest) => [`${manifest.kind} ${manifest.metadata.name}`, manifest] as const);

describe('deploy/kubernetes', () => {
  test('the kustomization lists every manifest', () => {
    expect([...kustomization.resources].sort()).toEqual(readdirSync(kubernetes).filter((file) => file.endsWith('.yaml') && file !== 'kustomization.yaml').sort());
  });

  test('what stands there: the bus, the traces, the four services, the comparison', () => {
    expect(pods.map(([name]) => name).sort()).toEqual(['Deployment device-model', 'Deployment guest-cpu', 'Deployment hypervisor', 'Deployment jaeger', 'Deployment nats', 'Deployment translator', 'Job compare']);
  });

  test('the namespace enforces Pod Security `restricted`', () => {
    const namespace = manifests.find(({ kind }) => kind === 'Namespace')!;
    expect(namespace.metadata.name).toBe(kustomization.namespace);
    expect(namespace.metadata.labels).toMatchObject({ 'pod-security.kubernetes.io/enforce': 'restricted' });
  });

  // https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
  test.each(pods)('%s satisfies `restricted`, with a read-only root and no token', (_name, { spec }) => {
    const pod = spec.template.spec;
    expect(pod.securityContext).toMatchObject({ runAsNonRoot: true, runAsUser: expect.any(Number), seccompProfile: { type: 'RuntimeDefault' } });
    expect(pod.securityContext!.runAsUser).toBeGreaterThan(0);
    expect(pod.automountServiceAccountToken).toBe(false);
    expect(pod.hostNetwork ?? pod.hostPID ?? false).toBe(false);
    for (const container of [...pod.containers, ...pod.initContainers ?? []]) {
      expect(container.securityContext).toEqual({ allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } });
    }
    for (const volume of pod.volumes ?? []) expect(Object.keys(volume).sort()).toEqual(['emptyDir', 'name']);
  });

  test.each(pods)('%s asks for what it needs, and names its image by a tag that is never pulled afresh', (_name, { spec }) => {
    for (const container of spec.template.spec.containers) {
      expect(container.resources).toMatchObject({ requests: { cpu: expect.any(String), memory: expect.any(String) }, limits: { memory: expect.any(String) } });
      expect(container.image).toMatch(/:[^:]+$/);
      expect(container.image).not.toMatch(/:latest$/);
      expect(container.imagePullPolicy).toBe('IfNotPresent');
    }
  });

  test.each(pods.filter(([, { kind }]) => kind === 'Deployment'))('%s has probes on ports that it names, a graceful end, and never two instances of one owner', (_name, { metadata, spec }) => {
    const pod = spec.template.spec;
    // A translator owns nothing: two may answer, and an update leaves no VM without one.
    if (metadata.name === 'translator') expect(spec.strategy).toEqual({ type: 'RollingUpdate', rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } });
    else expect([spec.replicas, spec.strategy]).toEqual([1, { type: 'Recreate' }]);
    expect(pod.terminationGracePeriodSeconds).toBeGreaterThanOrEqual(15);
    for (const container of pod.containers) {
      expect(container.lifecycle?.preStop).toBeDefined();
      const ports = container.ports!.map(({ name }) => name);
      for (const probe of [container.startupProbe, container.readinessProbe, container.livenessProbe]) expect(ports).toContain(probe!.httpGet.port);
    }
  });

  test('the services answer readiness by reaching NATS and liveness without it', () => {
    for (const name of ['guest-cpu', 'hypervisor', 'device-model', 'translator']) {
      const [container] = manifests.find(({ metadata, kind }) => metadata.name === name && kind === 'Deployment')!.spec.template.spec.containers;
      expect(container).toMatchObject({ args: [name], readinessProbe: { httpGet: { path: '/healthz/ready' } }, livenessProbe: { httpGet: { path: '/healthz/live' } } });
    }
  });

  test('labels: every object has a name and a component, and selectors select their own pods', () => {
    for (const { kind, metadata, spec } of manifests.filter((manifest) => manifest.kind !== 'Namespace')) {
      expect(metadata.labels).toMatchObject({ 'app.kubernetes.io/name': metadata.name, 'app.kubernetes.io/component': expect.any(String) });
      if (kind === 'Deployment') expect(spec.template.metadata.labels).toMatchObject((spec.selector as { matchLabels: Record<string, string> }).matchLabels);
      if (kind === 'Service') {
        const target = manifests.find((other) => other.kind === 'Deployment' && other.metadata.name === metadata.name)!;
        const ports = target.spec.template.spec.containers.flatMap(({ ports: named }) => named!.map(({ name }) => name));
        for (const port of spec.ports!) expect(ports).toContain(port.targetPort);
      }
    }
  });

  test('addresses in the environment are services of this namespace', () => {
    const services = manifests.filter(({ kind }) => kind === 'Service').map(({ metadata }) => metadata.name);
    for (const [, { spec }] of pods) {
      for (const { value } of spec.template.spec.containers.flatMap(({ env }) => env ?? [])) {
        if (value?.includes('://')) expect(services).toContain(new URL(value).hostname);
      }
    }
  });
});

describe('deploy/compose and deploy/docker', () => {
  const compose = parse(readFileSync(join(here, 'compose/compose.yaml'), 'utf8'), { merge: true }) as {
    services: Record<string, { image: string; user: string; read_only: boolean; cap_drop: string[]; security_opt: string[]; ports?: string[]; build?: { context: string; dockerfile: string }; command?: string[]; depends_on?: string[] }>;
  };

  test('keys that docker-compose 1.29 knows', () => {
    expect(Object.keys(compose)).toEqual(['services']);
    expect(Object.keys(compose.services).sort()).toEqual(['compare', 'device-model', 'guest-cpu', 'hypervisor', 'jaeger', 'nats', 'translator']);
    for (const service of Object.values(compose.services)) expect(Array.isArray(service.depends_on ?? [])).toBe(true);
  });

  test('every service: not root, read-only, no capabilities; published on the loopback interface only', () => {
    for (const service of Object.values(compose.services)) {
      expect(service).toMatchObject({ read_only: true, cap_drop: ['ALL'], security_opt: ['no-new-privileges:true'], user: expect.stringMatching(/^[1-9]\d*:[1-9]\d*$/) });
      for (const port of service.ports ?? []) expect(port).toMatch(/^127\.0\.0\.1:/);
    }
  });

  test('the same images as on Kubernetes', () => {
    const used = new Set(pods.flatMap(([, { spec }]) => spec.template.spec.containers.map(({ image }) => image)));
    expect(new Set(Object.values(compose.services).map(({ image }) => image))).toEqual(used);
    const { build } = compose.services['guest-cpu']!;
    expect(existsSync(join(here, 'compose', build!.context, build!.dockerfile))).toBe(true);
  });

  test('the image runs every service that is deployed', () => {
    const entrypoint = readFileSync(join(here, 'docker/entrypoint.sh'), 'utf8');
    for (const { command } of Object.values(compose.services)) if (command !== undefined && !command[0]!.startsWith('-')) expect(entrypoint).toMatch(new RegExp(`^  (?:[a-z-]+ \\| )*${command[0]}(?: \\| [a-z-]+)*\\) shift`, 'm'));
  });

  test('the Dockerfile keeps its base an argument and its user numeric', () => {
    const lines = readFileSync(join(here, 'docker/Dockerfile'), 'utf8').split('\n').filter((line) => /^(FROM|ARG|USER)/.test(line));
    expect(lines).toEqual(['ARG NODE_IMAGE=node:24-bookworm-slim', 'FROM ${NODE_IMAGE} AS build', 'FROM ${NODE_IMAGE}', 'USER 1000:1000']);
  });
});
