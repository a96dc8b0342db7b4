// From the text of a sentence to its tokens, with the rules of skvae._data.words.

const LETTER = "\\p{L}\\p{N}_"; // what Python calls \w
const SIGN = "\\p{M}"; // accents and vowel signs
// What Python calls \s. Browsers' own has the mark U+FEFF, but not the separators U+001C to U+001F and U+0085.
const SPACE = "\\t-\\r\\x1c- \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";

/** Words and marks; scripts without spaces between words are cut into characters with their signs. */
function wordPattern({ unspaced, joiners, stackers }) {
  const letter = `(?:(?![${unspaced}])[${LETTER}])`;
  const emoji = `[^${LETTER}${SPACE}${SIGN}\\p{Cf}][${SIGN}\\u{1f3fb}-\\u{1f3ff}\\u{e0020}-\\u{e007f}]*`;
  const kinds = [
    `(?:${letter}|['${SIGN}])(?:${letter}+|['${SIGN}]+|[${joiners}](?=[${LETTER}]))*`,
    `[${unspaced}](?:${SIGN}|(?<=[${stackers}])[${unspaced}])*`,
    "[\\u{1f1e6}-\\u{1f1ff}]{2}", // flags
    `${emoji}(?:\\u200d${emoji})*`,
  ];
  return new RegExp(kinds.join("|"), "gu");
}

/** The function from a sentence to its tokens. */
export function tokenizer({ unit, lowercase, scripts }) {
  const prepared = (text) => (lowercase ? text.toLowerCase() : text).normalize("NFC");
  if (unit === "char") {
    const spaces = new RegExp(`[${SPACE}]{2,}`, "gu");
    return (text) => Array.from(prepared(text).replace(spaces, " "));
  }
  const pattern = wordPattern(scripts);
  return (text) => prepared(text).match(pattern) ?? [];
}
