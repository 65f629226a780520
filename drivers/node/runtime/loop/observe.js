'use strict';
// Functions that tell, while code is watched, what they are called with.

const { property } = require('./describe');

const observers = new WeakSet();

// Has calls of a function of an object tell the arguments, whoever keeps the function, and, when it is a
// class, what is made of it.
function observe(object, name, called, made = called) {
  const given = property(object, name);
  if (typeof given !== 'function' || observers.has(given)) return;
  const tell = (whom, args) => {
    try {
      whom(...args);
    } catch {
      // these are none that it takes
    }
  };
  const observer = new Proxy(given, {
    apply(target, self, args) {
      tell(called, args);
      return Reflect.apply(target, self, args);
    },
    construct(target, args, heir) {
      tell(made, args);
      return Reflect.construct(target, args, heir);
    },
  });
  if (!Reflect.set(object, name, observer)) return;
  observers.add(observer);
  if (property(given.prototype, 'constructor') === given) Reflect.set(given.prototype, 'constructor', observer);
}

module.exports = { observe };
