// From what the agent says about a job file to places in it.

const AT = /^input\.(hcl|vars):(\d+),(\d+)(?:-(?:(\d+),)?(\d+))?:?\s*(.*)$/;

/**
 * Problems `{line, column, endColumn, text, file}` in an answer of the parser. What stands behind a
 * place up to the next one belongs to it.
 */
export function parsed(message) {
  const found = [];
  for (const own of message.replace(/^Failed to parse job:\s*/, '').split('\n')) {
    const at = AT.exec(own.trim());
    if (at) {
      const [, file, line, column, , endColumn, text] = at;
      const isOneLine = at[4] === undefined || at[4] === line;
      found.push({ file, line: Number(line), column: Number(column), endColumn: isOneLine && endColumn ? Number(endColumn) : Number(column) + 1, text });
    } else if (found.length > 0 && own.trim() !== '') {
      found.at(-1).text += ` ${own.trim()}`;
    } else if (own.trim() !== '') {
      found.push({ file: 'hcl', line: 1, column: 1, endColumn: 2, text: own.trim() });
    }
  }
  return found;
}

/** Problems that the rules of jobs find, each at the block that it names. */
export function validated(errors, text) {
  const lines = text.split('\n');
  const places = (kind, name) => {
    const wanted = new RegExp(`^\\s*${kind}\\s+"?${name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}"?\\s*\\{?`);
    const at = lines.findIndex((line) => wanted.test(line));
    return at < 0 ? null : at + 1;
  };
  const out = [];
  for (const error of errors) {
    let line = 1;
    const group = /^Task group (\S+) /m.exec(error);
    if (group) line = places('group', group[1]) ?? line;
    const task = /Task (\S+) validation failed/.exec(error);
    if (task) line = places('task', task[1]) ?? line;
    const leaves = error.split('\n').map((own) => own.trim()).filter((own) => own.startsWith('* ') && !/validation failed:|errors? occurred/.test(own));
    const texts = leaves.length > 0 ? leaves.map((own) => own.slice(2)) : [error.trim()];
    for (const own of texts) out.push({ file: 'hcl', line: fieldLine(lines, line, own), column: 0, endColumn: 0, text: own });
  }
  return out;
}

const FIELDS = [[/count/i, 'count'], [/driver/i, 'driver'], [/datacenter/i, 'datacenters'], [/priority/i, 'priority'], [/memory/i, 'memory'], [/\bcpu\b/i, 'cpu'], [/job type/i, 'type'], [/canary/i, 'canary'], [/interval/i, 'interval'], [/port/i, 'port']];

/** The line of the field that a text speaks of, below the line of its block. */
function fieldLine(lines, from, text) {
  const field = FIELDS.find(([pattern]) => pattern.test(text))?.[1];
  if (!field) return from;
  const wanted = new RegExp(`^\\s*${field}\\b`);
  const at = lines.findIndex((line, own) => own + 1 >= from && wanted.test(line));
  return at < 0 ? from : at + 1;
}
