'use strict';
// The environment variables that V8 and ICU read for code, once, before the code asks: those of the time zone
// and of the locale.

const { observe } = require('./observe');
const { property } = require('./describe');

const { Date: GivenDate, Intl: GivenIntl, String: GivenString, navigator } = main;
const NUMBERS = [main.Number, main.BigInt, main.Array, Object.getPrototypeOf(main.Int8Array)];
const { Collator, Collator: { supportedLocalesOf } } = GivenIntl;
const LOCALE = ['LC_ALL', 'LC_MESSAGES', 'LANG']; // in the order in which ICU asks

// Takes each name, while code is watched. A package keeps the functions that it had at its import.
let note = () => {};

const zone = () => note('TZ');

// Locales that are none, or unknown, stand for the default.
function locale(locales) {
  if (Reflect.apply(supportedLocalesOf, Collator, [locales]).length === 0) LOCALE.forEach((name) => note(name));
}

// Notes a format: of dates, when it is given no zone.
function format(name, locales, options) {
  locale(locales);
  if (/Date|Time/.test(name) && property(options, 'timeZone') === undefined) zone();
}

const DAY = /^(\d{4}|[-+]\d{6})(-\d\d){0,2}$/; // of UTC
const ZONED = /(Z|GMT|UTC)$|:\d\d[\d.,]*\s*(GMT|UTC)?[-+]\d\d:?\d\d(\s*\(.*\))?$/i;

// Notes a date that is given without its zone: as text, or by its parts.
function date(first, ...more) {
  if (more.length > 0 || typeof first === 'string' && !DAY.test(first) && !ZONED.test(first)) zone();
}

function observeDates() {
  const { prototype } = GivenDate;
  for (const name of Object.getOwnPropertyNames(prototype)) {
    if (name.startsWith('toLocale')) observe(prototype, name, (...args) => format('Date', ...args));
    else if (/^to(Time)?String$/.test(name)) observe(prototype, name, () => format('Date')); // has the zone's name
    else if (!/UTC|GMT|ISO|JSON|^[gs]etTime$|^valueOf$|^constructor$/.test(name)) observe(prototype, name, zone);
  }
  observe(GivenDate, 'parse', date);
  observe(main, 'Date', () => format('Date'), date);
}

function observeLocales() {
  for (const name of Object.getOwnPropertyNames(GivenIntl)) {
    if (/^[A-Z]/.test(name) && name !== 'Locale') observe(GivenIntl, name, (...args) => format(name, ...args));
  }
  for (const { prototype } of NUMBERS) observe(prototype, 'toLocaleString', (...args) => format('Number', ...args));
  for (const name of ['toLocaleLowerCase', 'toLocaleUpperCase']) observe(GivenString.prototype, name, locale);
  observe(GivenString.prototype, 'localeCompare', (other, locales) => locale(locales));
  if (navigator === undefined) return; // before Node.js 21
  for (const name of ['language', 'languages']) {
    const given = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(navigator), name);
    observe(given, 'get', () => locale());
    Object.defineProperty(Object.getPrototypeOf(navigator), name, given);
  }
}

// Has what depends on the zone or the locale tell the names of the variables, in a process that never gets an
// event.
function noteZone(told) {
  note = told;
  observeDates();
  observeLocales();
}

// What an environment names as its locale.
function localeNamed(env) {
  for (const name of LOCALE) if (env[name] !== undefined) return env[name];
  return 'C';
}

// The name that ICU has for the locale of an environment: its own reading of it is for the start of a process.
function localeOf(env) {
  const [, place, variant] = /^([^.@]*)[^@]*(?:@([^.]*))?/.exec(localeNamed(env));
  if (place === 'C' || place === 'POSIX') return 'en_US_POSIX';
  if (variant === undefined) return place;
  return `${place}${place.includes('_') ? '_' : '__'}${variant === 'nynorsk' ? 'NY' : variant}`;
}

module.exports = { localeNamed, localeOf, noteZone };
