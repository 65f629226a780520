export const handler = async (event, context) => ({ hello: event.name });
