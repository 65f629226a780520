// Takes {"meter": name, "csv": "time,kwh\n…"}: asks two other functions at once what they make of it, and a third for a page.

class BadRequest extends Error {
  name = 'BadRequest';
}

function parse({ meter, csv }) {
  if (typeof meter !== 'string' || typeof csv !== 'string') throw new BadRequest('want {"meter": "…", "csv": "time,kwh\\n…"}');
  const [header, ...lines] = csv.trim().split('\n');
  if (header !== 'time,kwh') throw new BadRequest(`the first line is ${JSON.stringify(header)}, want "time,kwh"`);
  return lines.map((line, index) => {
    const [time, kwh] = line.split(',');
    if (Number.isNaN(Date.parse(time)) || !(Number(kwh) >= 0)) throw new BadRequest(`line ${index + 2} is no reading: ${line}`);
    return { time, kwh: Number(kwh) };
  });
}

exports.handler = async (event, context) => {
  const readings = parse(event);
  const [table, cycle] = await Promise.all([
    context.invoke('power-table', { readings }),
    context.invoke('power-cycle', { values: readings.map((r) => r.kwh), shuffles: 2000 }),
  ]);
  const page = await context.invoke('power-report', { meter: event.meter, ...table, cycle });
  return { meter: event.meter, readings: readings.length, cycle, odd: table.odd, page };
};
