/** Errors of the Xen ABI (xen/include/public/errno.h): a hypercall returns the number, negated. */
export const Errno = { EPERM: 1, ENOENT: 2, ESRCH: 3, E2BIG: 7, EAGAIN: 11, ENOMEM: 12, EFAULT: 14, EBUSY: 16, EEXIST: 17, EINVAL: 22, ENOSPC: 28, ENOSYS: 38, EOPNOTSUPP: 95 } as const;
