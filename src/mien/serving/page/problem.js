/** An error whose message is one sentence for people. */
export class Problem extends Error {}

export const NO_PICTURE = "This is not a photo that can be read here: give a JPEG, PNG, WebP, GIF or BMP.";
