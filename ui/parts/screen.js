// The screen of a terminal: rows of cells that the output of a program moves over. Knows what shells,
// pagers and editors use: moving, erasing, scrolling, colors, the other screen.

const HISTORY_MAX = 2000;
const BLANK = { letter: ' ', style: '' };
const COLORS = ['black', 'red', 'green', 'yellow', 'blue', 'magenta', 'cyan', 'white'];
// A sequence that does not end is not kept for ever.
const SEQUENCE_MAX = 4096;

export class Screen {
  constructor(width, height) {
    this.width = width;
    this.height = height;
    this.answer = () => {};
    this.reset();
  }

  reset() {
    this.rows = this.blankRows();
    this.history = [];
    this.x = 0;
    this.y = 0;
    this.top = 0;
    this.bottom = this.height - 1;
    this.pen = { color: '', back: '', isBold: false, isInverse: false, isUnderlined: false };
    this.saved = { x: 0, y: 0 };
    this.main = null;
    this.isCursorShown = true;
    this.keysOfApplication = false;
    this.pending = '';
    this.wraps = false;
  }

  blankRow() {
    return new Array(this.width).fill(BLANK);
  }

  blankRows() {
    return Array.from({ length: this.height }, () => this.blankRow());
  }

  resize(width, height) {
    const fit = (row) => (row.length >= width ? row.slice(0, width) : [...row, ...new Array(width - row.length).fill(BLANK)]);
    while (this.rows.length > height) {
      if (this.y < height && this.rows.length - 1 > this.y) this.rows.pop();
      else {
        this.keep(this.rows.shift());
        this.y -= 1;
      }
    }
    this.width = width;
    this.rows = this.rows.map(fit);
    while (this.rows.length < height) this.rows.push(this.blankRow());
    this.height = height;
    this.top = 0;
    this.bottom = height - 1;
    this.x = Math.min(this.x, width - 1);
    this.y = Math.max(0, Math.min(this.y, height - 1));
    this.main = this.main && { ...this.main, rows: this.main.rows.map(fit) };
  }

  keep(row) {
    if (this.main !== null) return;
    this.history.push(row);
    if (this.history.length > HISTORY_MAX) this.history.shift();
  }

  write(text) {
    const all = this.pending + text;
    this.pending = '';
    let at = 0;
    while (at < all.length) {
      const code = all.codePointAt(at);
      const letter = String.fromCodePoint(code);
      if (letter === '\x1b') {
        const used = this.escape(all, at);
        if (used === 0) {
          if (all.length - at < SEQUENCE_MAX) this.pending = all.slice(at);
          return;
        }
        at += used;
        continue;
      }
      at += letter.length;
      this.letter(letter, code);
    }
  }

  letter(letter, code) {
    if (letter === '\n' || letter === '\v' || letter === '\f') this.lineFeed();
    else if (letter === '\r') this.to(0, this.y);
    else if (letter === '\b') this.to(this.x - 1, this.y);
    else if (letter === '\t') this.to(Math.min(this.width - 1, (Math.floor(this.x / 8) + 1) * 8), this.y);
    else if (code >= 32 && code !== 127) this.put(letter);
  }

  put(letter) {
    if (this.wraps) {
      this.x = 0;
      this.lineFeed();
      this.wraps = false;
    }
    this.rows[this.y][this.x] = { letter, style: this.style() };
    if (this.x === this.width - 1) this.wraps = true;
    else this.x += 1;
  }

  style() {
    const { color, back, isBold, isInverse, isUnderlined } = this.pen;
    return [color && `a-${color}`, back && `b-${back}`, isBold && 'a-bold', isInverse && 'a-inverse', isUnderlined && 'a-line'].filter(Boolean).join(' ');
  }

  to(x, y) {
    this.x = Math.max(0, Math.min(this.width - 1, x));
    this.y = Math.max(0, Math.min(this.height - 1, y));
    this.wraps = false;
  }

  lineFeed() {
    this.wraps = false;
    if (this.y === this.bottom) this.scroll(1);
    else if (this.y < this.height - 1) this.y += 1;
  }

  /** Moves the rows of the scrolled part up, or down for a count below 0. */
  scroll(count) {
    for (let done = 0; done < Math.min(Math.abs(count), this.height); done += 1) {
      if (count > 0) {
        const [row] = this.rows.splice(this.top, 1);
        if (this.top === 0) this.keep(row);
        this.rows.splice(this.bottom, 0, this.blankRow());
      } else {
        this.rows.splice(this.bottom, 1);
        this.rows.splice(this.top, 0, this.blankRow());
      }
    }
  }

  /** Carries out the sequence at `at`; answers with its length, 0 if it goes on. */
  escape(text, at) {
    const next = text[at + 1];
    if (next === undefined) return 0;
    if (next === '[') {
      const found = /^\x1b\[([0-?]*)([ -/]*)([@-~])/.exec(text.slice(at, at + SEQUENCE_MAX));
      if (!found) return /^\x1b\[[ -?]*$/.test(text.slice(at)) ? 0 : 2;
      this.control(found[1], found[3]);
      return found[0].length;
    }
    if (next === ']' || next === 'P' || next === '^' || next === '_') {
      const rest = text.slice(at, at + SEQUENCE_MAX);
      const found = /^\x1b[\]P^_][^\x07\x1b]*(?:\x07|\x1b\\)/.exec(rest);
      if (found) return found[0].length;
      return rest.length < SEQUENCE_MAX ? 0 : rest.length;
    }
    if (next === '(' || next === ')' || next === '#') return text[at + 2] === undefined ? 0 : 3;
    if (next === '7') this.saved = { x: this.x, y: this.y };
    else if (next === '8') this.to(this.saved.x, this.saved.y);
    else if (next === 'D') this.lineFeed();
    else if (next === 'E') {
      this.x = 0;
      this.lineFeed();
    } else if (next === 'M') {
      if (this.y === this.top) this.scroll(-1);
      else this.to(this.x, this.y - 1);
    } else if (next === 'c') this.reset();
    return 2;
  }

  control(given, kind) {
    const isPrivate = given.startsWith('?');
    const numbers = given.replace(/^[?>!=]/, '').split(';').map((text) => (text === '' ? null : Math.min(Number(text) || 0, 9999)));
    const count = Math.max(1, numbers[0] ?? 1);
    const moves = { A: [0, -count], B: [0, count], C: [count, 0], D: [-count, 0] };
    if (moves[kind]) this.to(this.x + moves[kind][0], this.y + moves[kind][1]);
    else if (kind === 'E' || kind === 'F') this.to(0, this.y + (kind === 'E' ? count : -count));
    else if (kind === 'G' || kind === '`') this.to(count - 1, this.y);
    else if (kind === 'd') this.to(this.x, count - 1);
    else if (kind === 'H' || kind === 'f') this.to((numbers[1] ?? 1) - 1, (numbers[0] ?? 1) - 1);
    else if (kind === 'J') this.eraseScreen(numbers[0] ?? 0);
    else if (kind === 'K') this.eraseLine(numbers[0] ?? 0);
    else if (kind === 'X') this.fill(this.y, this.x, this.x + count);
    else if (kind === 'P') {
      this.rows[this.y].splice(this.x, count);
      this.pad();
    } else if (kind === '@') {
      this.rows[this.y].splice(this.x, 0, ...new Array(Math.min(count, this.width)).fill(BLANK));
      this.rows[this.y].length = this.width;
    } else if (kind === 'L' || kind === 'M') this.lines(kind === 'L' ? -count : count);
    else if (kind === 'S') this.scroll(count);
    else if (kind === 'T') this.scroll(-count);
    else if (kind === 'r') this.region(numbers);
    else if (kind === 's') this.saved = { x: this.x, y: this.y };
    else if (kind === 'u') this.to(this.saved.x, this.saved.y);
    else if (kind === 'm') this.color(numbers.map((own) => own ?? 0));
    else if (kind === 'n' && numbers[0] === 6) this.answer(`\x1b[${this.y + 1};${this.x + 1}R`);
    else if (kind === 'c' && given === '') this.answer('\x1b[?6c');
    else if ((kind === 'h' || kind === 'l') && isPrivate) this.mode(numbers, kind === 'h');
  }

  region(numbers) {
    const top = (numbers[0] ?? 1) - 1;
    const bottom = (numbers[1] ?? this.height) - 1;
    if (top < 0 || bottom >= this.height || top >= bottom) return;
    this.top = top;
    this.bottom = bottom;
    this.to(0, 0);
  }

  pad() {
    const row = this.rows[this.y];
    while (row.length < this.width) row.push(BLANK);
  }

  fill(y, from, to) {
    for (let x = Math.max(0, from); x < Math.min(this.width, to); x += 1) this.rows[y][x] = BLANK;
  }

  eraseLine(kind) {
    this.fill(this.y, kind === 0 ? this.x : 0, kind === 1 ? this.x + 1 : this.width);
  }

  eraseScreen(kind) {
    if (kind === 3) this.history = [];
    if (kind === 0 || kind === 1) this.eraseLine(kind);
    const [from, to] = kind === 0 ? [this.y + 1, this.height] : kind === 1 ? [0, this.y] : [0, this.height];
    for (let y = from; y < to; y += 1) this.rows[y] = this.blankRow();
  }

  lines(count) {
    if (this.y < this.top || this.y > this.bottom) return;
    const top = this.top;
    const main = this.main;
    this.top = this.y;
    // Rows that are taken out in the middle are not history.
    this.main = main ?? { rows: [] };
    this.scroll(count);
    this.main = main;
    this.top = top;
  }

  mode(numbers, isOn) {
    for (const own of numbers) {
      if (own === 25) this.isCursorShown = isOn;
      else if (own === 1) this.keysOfApplication = isOn;
      else if (own === 1049 || own === 47 || own === 1047) {
        if (isOn && this.main === null) {
          this.main = { rows: this.rows, x: this.x, y: this.y };
          this.rows = this.blankRows();
          this.to(0, 0);
        } else if (!isOn && this.main !== null) {
          const { rows, x, y } = this.main;
          this.main = null;
          this.rows = rows;
          while (this.rows.length < this.height) this.rows.push(this.blankRow());
          this.rows.length = this.height;
          this.to(x, y);
        }
        this.top = 0;
        this.bottom = this.height - 1;
      }
    }
  }

  color(codes) {
    for (let at = 0; at < codes.length; at += 1) {
      const code = codes[at];
      if (code === 0) this.pen = { color: '', back: '', isBold: false, isInverse: false, isUnderlined: false };
      else if (code === 1) this.pen.isBold = true;
      else if (code === 4) this.pen.isUnderlined = true;
      else if (code === 7) this.pen.isInverse = true;
      else if (code === 22) this.pen.isBold = false;
      else if (code === 24) this.pen.isUnderlined = false;
      else if (code === 27) this.pen.isInverse = false;
      else if (code >= 30 && code <= 37) this.pen.color = COLORS[code - 30];
      else if (code >= 90 && code <= 97) this.pen.color = COLORS[code - 90];
      else if (code === 39) this.pen.color = '';
      else if (code >= 40 && code <= 47) this.pen.back = COLORS[code - 40];
      else if (code === 49) this.pen.back = '';
      else if (code === 38 || code === 48) {
        if (codes[at + 1] === 5) {
          const name = codes[at + 2] < 16 ? COLORS[codes[at + 2] % 8] : '';
          if (code === 38) this.pen.color = name;
          else this.pen.back = name;
          at += 2;
        } else at += 4;
      }
    }
  }
}
