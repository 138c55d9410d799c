/** An oracle cannot run on this host; the message says what to install. */
export class OracleMissing extends Error {}
