// Characters in source code that nobody sees, and what they do there.

const TURNS = /[\u202a-\u202e\u2066-\u2069]/gu; // bidirectional text, which an editor may show in another order than it is run in
const UNSEEN = '\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180e\\u200b-\\u200f\\u2060-\\u2064\\u206a-\\u206f\\u2800\\u3164\\ufe00-\\ufe0f\\ufeff\\uffa0\\u{e0000}-\\u{e0fff}';
const ANY = new RegExp(`[${UNSEEN}]`, 'u');
const MANY = new RegExp(`[${UNSEEN}]{8,}`, 'gu'); // more than an emoji or a script has: they stand for something else
const ALL = new RegExp(ANY, 'gu');
const SCRIPTS = /(?![\p{Script=Latin}\p{Script=Greek}\p{Script=Cyrillic}])\p{L}/u; // some of which need such characters
const MARKS = '[\\u200e\\u200f]'; // of direction, which formats of dates have between single letters
const BESIDE = new RegExp(`(?<=[\\w$])(?!${MARKS})[${UNSEEN}]|(?!${MARKS})[${UNSEEN}](?=[\\w$])|(?<=[\\w$]{2})${MARKS}`, 'u');

const ALIKE = '\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u0501\u04bb\u051b\u051d\u04cf\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0425\u0405\u0406\u0408\u03bf\u039f\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u03a1\u03a4\u03a5\u03a7\u03bd\u0578\u057d\u0585\u0261\u0269'; // letters of other scripts that look like Latin ones
const LATIN = new RegExp(`^[\\w$${ALIKE}]{2,}$`, 'u');
const LIKE = new RegExp(`[${ALIKE}]`, 'u');

// Whether a text may have something to find.
export const unseen = (text) => ANY.test(text) || LIKE.test(text) || text.search(TURNS) >= 0;

// Whether a word has letters of another script and looks as if it had none. A text may have a whole word of another script, a name may not; prose has
// slips of its own.
const looksLatin = (word, name) => LIKE.test(word) && LATIN.test(word) && (name || /[a-zA-Z]/.test(word));

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
  const named = type.endsWith('Identifier');
  if (typeof text !== 'string' || !ANY.test(source) && !LIKE.test(source)) return undefined;
  const found = named ? ANY.exec(text) : !SCRIPTS.test(text.replace(ALL, '')) && BESIDE.exec(text);
  if (found) return `${named ? 'a name' : 'a text'} has a character that nobody sees (${spelled(found[0])})`;
  const like = named ? looksLatin(text, true) && text : text.length < 200 && !/\s/.test(text) && text.match(/[\p{L}\p{N}_$]+/gu)?.find((word) => looksLatin(word, false));
  return like ? `${named ? 'a name' : 'a word of a text'} has letters of another script that look like Latin ones (${spelled(LIKE.exec(like)[0])})` : undefined;
}
