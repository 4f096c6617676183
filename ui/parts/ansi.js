// Output of programs as text with colors. Sequences that would move, hide or name something are
// left out; nothing of it ever becomes markup.

const SEQUENCE = /\x1b(?:\[([0-?]*)([ -/]*)([@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|[ -/]*[0-~])/g;
const COLORS = ['black', 'red', 'green', 'yellow', 'blue', 'magenta', 'cyan', 'white'];

/** Pieces `{text, class}` of a line. */
export function ansi(line) {
  if (!line.includes('\x1b')) return [{ text: visible(line), class: '' }];
  const out = [];
  let style = { color: null, isBold: false, isDim: false, isUnderlined: false };
  let from = 0;
  const push = (to) => {
    if (to > from) out.push({ text: visible(line.slice(from, to)), class: classOf(style) });
  };
  for (const found of line.matchAll(SEQUENCE)) {
    push(found.index);
    from = found.index + found[0].length;
    if (found[3] === 'm' && found[2] === '') style = styled(style, found[1]);
  }
  push(line.length);
  return out;
}

function styled(before, text) {
  let style = { ...before };
  const codes = text.split(';').map((code) => Number(code) || 0);
  for (let at = 0; at < codes.length; at += 1) {
    const code = codes[at];
    if (code === 0) style = { color: null, isBold: false, isDim: false, isUnderlined: false };
    else if (code === 1) style.isBold = true;
    else if (code === 2) style.isDim = true;
    else if (code === 4) style.isUnderlined = true;
    else if (code === 22) style.isBold = style.isDim = false;
    else if (code === 24) style.isUnderlined = false;
    else if (code >= 30 && code <= 37) style.color = COLORS[code - 30];
    else if (code >= 90 && code <= 97) style.color = COLORS[code - 90];
    else if (code === 39) style.color = null;
    else if (code === 38 || code === 48) at += codes[at + 1] === 5 ? 2 : 4;
  }
  return style;
}

function classOf(style) {
  return [style.color && `a-${style.color}`, style.isBold && 'a-bold', style.isDim && 'a-dim', style.isUnderlined && 'a-line'].filter(Boolean).join(' ');
}

// What would turn the direction of the text around it, or is not seen at all, is named.
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g;

/** Text in which everything can be seen. */
export const visible = (text) => text.replace(UNSEEN, (letter) =>
  (letter.charCodeAt(0) < 32 ? String.fromCharCode(0x2400 + letter.charCodeAt(0)) : `⟨${letter.charCodeAt(0).toString(16).padStart(4, '0').toUpperCase()}⟩`));
