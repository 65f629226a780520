exports.handler = async (event) => kit_nonsense ???;
