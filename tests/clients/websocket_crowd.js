// A crowd of WebSockets by `ws`, through the proxy: URL COUNT. Says `switch` when all are open; each that is closed connects
// again at once. In the end one line of JSON: how they were closed, where they came to, and when, in milliseconds after the first.
const { once } = require('events');
const WebSocket = require('ws');

const [url, count] = process.argv.slice(2);

async function open() {
  const socket = new WebSocket(url);
  const [color] = await once(socket, 'message');
  return [socket, color.toString()];
}

function counted(values) {
  const counts = {};
  for (const value of values) counts[value] = (counts[value] || 0) + 1;
  return counts;
}

(async () => {
  const crowd = [];
  for (let number = 0; number < Number(count); number++) crowd.push((await open())[0]);
  const ends = crowd.map(async (socket) => {
    const [code] = await once(socket, 'close');
    const [, color] = await open();
    return { code, color, at: Date.now() };
  });
  console.log('switch');
  const found = await Promise.all(ends);
  const first = Math.min(...found.map(({ at }) => at));
  const after = found.map(({ at }) => at - first).sort((one, other) => one - other);
  console.log(JSON.stringify({ codes: counted(found.map(({ code }) => code)), colors: counted(found.map(({ color }) => color)), after }));
  process.exit(0);
})();
