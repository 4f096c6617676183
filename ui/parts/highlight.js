// The colors of a job file: pieces of a line with their kind. Only looks at one line at a time,
// apart from texts and comments that go over several.

const TOKEN = /(#.*|\/\/.*|\/\*)|((?<=^\s*|[{,]\s*)"(?:[^"\\]|\\.)*"(?=\s*:))|("(?:[^"\\]|\\.)*"?)|(<<-?\s*([A-Za-z_]\w*))|(\b\d+(?:\.\d+)?\b)|(\b(?:true|false|null|for|in|if)\b)|([A-Za-z_][\w-]*)(?=\s*(?:=[^=]|"|\{))|([A-Za-z_][\w-]*)|([^\sA-Za-z_"#/\d]+|\/)|(\s+)/g;

/** State before the first line. */
export const START = { inComment: false, heredoc: null };

/** Pieces `[kind, text]` of a line, and the state after it. */
export function pieces(text, before) {
  if (before.heredoc !== null) {
    const ends = text.trim() === before.heredoc;
    return [[[ends ? 'key' : 'string', text]], ends ? START : before];
  }
  const out = [];
  let rest = text;
  if (before.inComment) {
    const end = text.indexOf('*/');
    if (end < 0) return [[['comment', text]], before];
    out.push(['comment', text.slice(0, end + 2)]);
    rest = text.slice(end + 2);
  }
  let heredoc = null;
  TOKEN.lastIndex = 0;
  let found;
  while ((found = TOKEN.exec(rest)) !== null) {
    const [whole, comment, label, string, document, name, count, word, key, other] = found;
    if (comment === '/*') {
      const end = rest.indexOf('*/', found.index + 2);
      if (end < 0) {
        out.push(['comment', rest.slice(found.index)]);
        return [out, { inComment: true, heredoc: null }];
      }
      out.push(['comment', rest.slice(found.index, end + 2)]);
      TOKEN.lastIndex = end + 2;
    } else if (comment) out.push(['comment', whole]);
    else if (label) out.push(['key', whole]);
    else if (string) out.push(['string', whole]);
    else if (document) {
      heredoc = name;
      out.push(['key', whole]);
    } else if (count) out.push(['number', whole]);
    else if (word) out.push(['number', whole]);
    else if (key) out.push(['key', whole]);
    else if (other) out.push(['name', whole]);
    else out.push(['plain', whole]);
  }
  return [out, heredoc === null ? START : { inComment: false, heredoc }];
}
