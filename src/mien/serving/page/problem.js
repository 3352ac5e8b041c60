/** What went wrong, as one sentence for people. */
export class Problem extends Error {}
