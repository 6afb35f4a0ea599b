// Tables as text (RFC 4180): reading what people have, writing what others can read.

export function readTable(text) {
  const source = text.replace(/^\ufeff/, '');
  const delimiter = guess(source);
  const rows = [];
  let row = [];
  let cell = '';
  let quoted = false;
  for (let i = 0; i < source.length; i += 1) {
    const sign = source[i];
    if (quoted) {
      if (sign !== '"') cell += sign;
      else if (source[i + 1] === '"') { cell += '"'; i += 1; } else quoted = false;
    } else if (sign === '"' && cell === '') quoted = true;
    else if (sign === delimiter) { row.push(cell); cell = ''; } else if (sign === '\n' || sign === '\r') {
      if (sign === '\r' && source[i + 1] === '\n') i += 1;
      row.push(cell);
      rows.push(row);
      row = [];
      cell = '';
    } else cell += sign;
  }
  if (cell !== '' || row.length) rows.push([...row, cell]);
  return rows.filter((one) => one.length > 1 || one[0] !== '');
}

// The delimiter that the first line has most of.
function guess(source) {
  const line = source.slice(0, Math.max(0, source.search(/[\r\n]/)) || 4096).replace(/"(?:[^"]|"")*"/g, '');
  const counts = ['\t', ',', ';'].map((sign) => [line.split(sign).length - 1, sign]);
  return counts.reduce((best, one) => (one[0] > best[0] ? one : best))[1];
}

// With `spreadsheet`, no cell begins as a formula does.
export function writeRow(cells, spreadsheet) {
  return `${cells.map((cell) => {
    let text = String(cell);
    if (spreadsheet && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
    return /[",;\t\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }).join(',')}\r\n`;
}
