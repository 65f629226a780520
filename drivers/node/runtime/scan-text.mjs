// Characters in source code that nobody sees, and what they do there.

const TURNS = /[\u202a-\u202e\u2066-\u2069]/gu; // bidirectional text, which an editor may show in another order than it is run in
const UNSEEN = '\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180e\\u200b-\\u200f\\u2060-\\u2064\\u206a-\\u206f\\u3164\\ufe00-\\ufe0f\\ufeff\\uffa0\\u{e0000}-\\u{e0fff}';
const ANY = new RegExp(`[${UNSEEN}]`, 'u');
const MANY = new RegExp(`[${UNSEEN}]{8,}`, 'gu'); // more than an emoji or a script has: they stand for something else
const ALL = new RegExp(ANY, 'gu');
const SCRIPTS = /(?![\p{Script=Latin}\p{Script=Greek}\p{Script=Cyrillic}])\p{L}/u; // some of which need such characters
const BESIDE = new RegExp(`(?<=[\\w$])[${UNSEEN}]|[${UNSEEN}](?=[\\w$])`, 'u');

// Whether a text may have something to find.
export const unseen = (text) => ANY.test(text) || text.search(TURNS) >= 0;

const spelled = (character) => `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, '0')}`;

// Yields [offset, reason] of what is in a text, whatever it is.
export function* unseenText(text) {
  for (const found of text.matchAll(TURNS)) yield [found.index, `has a character that turns the direction of text (${spelled(found[0])}): it is not run as it is shown`];
  for (const found of text.matchAll(MANY)) yield [found.index, `has ${[...found[0]].length} characters in a row that nobody sees (${spelled(found[0])} and others)`];
}

// Returns the reason of a name or of a text in quotes that is not what is seen. As source it has the character itself, not an escape; between letters
// of other scripts, and beside emoji, these characters have their use.
export function unseenIn({ type, name, value }, source) {
  const text = type === 'Identifier' || type === 'PrivateIdentifier' ? name : value;
  if (typeof text !== 'string' || !ANY.test(source)) return undefined;
  const found = type.endsWith('Identifier') ? ANY.exec(text) : !SCRIPTS.test(text.replace(ALL, '')) && BESIDE.exec(text);
  return found ? `${type.endsWith('Identifier') ? 'a name' : 'a text'} has a character that nobody sees (${spelled(found[0])})` : undefined;
}
