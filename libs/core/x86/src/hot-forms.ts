/** Operation numbers of the run loop's cases; 0 is none. */
export const OP_END = 2;
export const HOT_FORMS: Readonly<Record<string, number>> = {};
