'use strict';
// Describes what the user's code has thrown. That may be anything, and each look at it may throw as well.

const { spawnSync } = require('child_process');
const { existsSync, readFileSync } = require('fs');
const { SourceMap } = require('module');
const path = require('path');
const { isNativeError } = require('util').types;

const UNREADABLE = '(its text cannot be had)';

// How many exceptions behind one are reported, and the length of the text of each.
const [MAX_BEHIND, MAX_MESSAGE_BEHIND] = [16, 8 << 10];
// How many frames of a longer stack are reported: those at its ends.
const [OUTER, INNER] = [20, 40];

// The exceptions of functions that were invoked, as core has reported and cut them, by the errors that say so.
const invoked = new WeakMap();

// Describes what was thrown: its type, text, stack, the innermost frame last, without the frames of this runtime, and the exceptions
// behind it.
function describe(thrown) {
  const told = outline(thrown);
  addCauses(told, thrown, new Set([thrown]));
  return told;
}

// Adds the causes of what was thrown to its description. Seen has those that were described: they may be behind each other.
function addCauses(told, thrown, seen) {
  if (invoked.has(thrown)) (told.causes ??= []).push({ relation: 'cause', ...invoked.get(thrown) });
  for (const [relation, cause] of behind(thrown)) {
    const left = seen.has(cause) ? `(${relation}: ${nameOf(cause, typeof cause)}, which was reported already)` : seen.size > MAX_BEHIND ? '(there are more exceptions behind it)' : '';
    if (left !== '') {
      (told.notes ??= []).push(left);
      if (seen.has(cause)) continue;
      return;
    }
    seen.add(cause);
    const { type, message, stack } = outline(cause);
    const one = { relation, type: type.slice(0, 1000), message: message.slice(0, MAX_MESSAGE_BEHIND), stack };
    addCauses(one, cause, seen);
    (told.causes ??= []).push(one);
  }
}

// What is behind what was thrown: its cause, and the members of a group.
function behind(thrown) {
  const found = [];
  const cause = property(thrown, 'cause');
  if (cause !== undefined && typeof thrown === 'object') found.push(['cause', cause]);
  const errors = property(thrown, 'errors');
  try {
    if (Array.isArray(errors) && nameOf(thrown, '') === 'AggregateError') for (let i = 0; i < Math.min(errors.length, MAX_BEHIND + 1); i++) found.push(['member', errors[i]]);
  } catch {
    // it is no array after all
  }
  return found;
}

// The type, text and stack of what was thrown.
function outline(thrown) {
  const stack = property(thrown, 'stack');
  if (!isNativeError(thrown) && typeof stack !== 'string' && !inherits(thrown)) {
    return { type: thrown === null ? 'null' : typeof thrown, message: text(thrown), stack: [] };
  }
  const lines = typeof stack === 'string' ? stack.split('\n') : [];
  const frames = ends(lines.filter((line) => /^\s+at /.test(line) && !/[( ](node:|\/pipsqueak\/)/.test(line)))
    .map((line) => original(line.trim().slice(3)));
  // A syntax error has where it is before its text.
  const place = /^(?:file:\/\/)?(\/[^\n]*:\d+)$/.exec(lines[0] ?? '');
  if (place) frames.unshift(`${place[1]}: ${(lines[1] || '').trim()}`);
  return { type: text(property(thrown, 'name') || nameOf(thrown, 'Error')), message: text(property(thrown, 'message', UNREADABLE) ?? ''), stack: frames.reverse() };
}

// The ends of a stack, the innermost frame first: a recursion has the same ones many times.
function ends(lines) {
  const left = lines.length - OUTER - INNER;
  return left > 1 ? [...lines.slice(0, INNER), `at … (${left} frames left out)`, ...lines.slice(-OUTER)] : lines;
}

// A property of anything, or something else when it cannot be had.
function property(value, name, otherwise) {
  try {
    return value?.[name];
  } catch {
    return otherwise;
  }
}

// The name of a value's class.
function nameOf(value, otherwise) {
  const name = property(property(value, 'constructor'), 'name');
  return typeof name === 'string' && name !== '' ? name : otherwise;
}

// Whether it is made to be an error, though it is none for JavaScript.
function inherits(thrown) {
  try {
    return thrown instanceof main.Error;
  } catch {
    return false;
  }
}

function text(value) {
  try {
    return typeof value === 'object' && value !== null ? JSON.stringify(value) ?? String(value) : String(value);
  } catch {
    return UNREADABLE;
  }
}

// Where the syntax error in an ES module is, which the error itself does not say: node says so when it only checks the file.
function syntaxPlace(file) {
  const { stderr } = spawnSync(process.execPath, ['--check', file], { encoding: 'utf8' });
  const [, place, code] = /^(?:file:\/\/)?(\/.*:\d+)\n(.*)\n/.exec(stderr ?? '') ?? [];
  return place === undefined ? [] : [`${place}: ${code.trim()}`];
}

// A frame of bundled code as one of the file that it was bundled from.
function original(frame) {
  const [, before, file, line, column, after] = /^(.*?)(?:file:\/\/)?(\/[^:()]*):(\d+):(\d+)(\)?)$/.exec(frame) ?? [];
  if (file === undefined || !existsSync(`${file}.map`)) return frame;
  try {
    const entry = new SourceMap(JSON.parse(readFileSync(`${file}.map`, 'utf8'))).findEntry(line - 1, column - 1);
    if (entry.originalSource === undefined) return frame;
    return `${before}${path.resolve(path.dirname(file), entry.originalSource)}:${entry.originalLine + 1}:${entry.originalColumn + 1}${after}`;
  } catch {
    return frame; // a map that is none
  }
}

module.exports = { describe, invoked, nameOf, property, syntaxPlace };
