// WebSockets by `ws`, through the proxy: URL [CA]. Says `switch` and waits for a line; `done` in the end.
const { readFileSync } = require('fs');
const { createInterface } = require('readline');
const { once } = require('events');
const WebSocket = require('ws');

const [url, authority] = process.argv.slice(2);
const options = authority ? { ca: readFileSync(authority) } : {};
const lines = createInterface({ input: process.stdin });

function check(what, found, expected) {
  if (found !== expected) { console.error(`${what}: ${found} and not ${expected}`); process.exit(1); }
}

async function open(more) {
  const socket = new WebSocket(url, { ...options, ...more });
  const waiting = [], ready = [];
  socket.on('message', (data, binary) => {
    const message = binary ? data : data.toString();
    waiting.length ? waiting.shift()(message) : ready.push(message);
  });
  socket.next = () => ready.length ? ready.shift() : new Promise((take) => waiting.push(take));
  socket.color = await socket.next();
  return socket;
}

(async () => {
  for (const perMessageDeflate of [true, false]) {
    const socket = await open({ perMessageDeflate });
    check('the color', socket.color, 'blue');
    for (const text of ['hello', '', 'x'.repeat(1 << 20)]) {
      socket.send(text);
      check('an echo', await socket.next(), text);
    }
    const bytes = Buffer.alloc(1 << 20, 7);
    socket.send(bytes);
    check('bytes', Buffer.compare(await socket.next(), bytes), 0);
    socket.send('in ', { fin: false });
    socket.send('two frames', { fin: true });
    check('fragments', await socket.next(), 'in two frames');
    socket.ping('there?');
    const [pong] = await once(socket, 'pong');
    check('a pong', pong.toString(), 'there?');
    socket.close(1000, 'bye');
    const [code] = await once(socket, 'close');
    check('its close', code, 1000);
  }
  const old = await open();
  console.log('switch');
  await once(lines, 'line');
  old.send('still there');
  check('a socket that was open', await old.next(), 'still there');
  check('the color after the switch', (await open()).color, 'green');
  old.send('close 4001');
  const [code, reason] = await once(old, 'close');
  check('how it was closed', `${code} ${reason}`, '4001 as you like');
  console.log('done');
  process.exit(0);
})();
