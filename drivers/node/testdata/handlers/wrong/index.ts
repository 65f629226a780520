export const handler = (event: kit_nonsense ??? ) => event;
