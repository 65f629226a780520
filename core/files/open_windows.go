package files

// noFollow is nothing here: the client reads trees that it has just made.
const noFollow = 0
