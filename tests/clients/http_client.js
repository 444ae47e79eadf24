// HTTP/1.1 and HTTP/2 by Node's own modules: PLAIN TLS CA.
const http = require('http');
const https = require('https');
const http2 = require('http2');
const { readFileSync } = require('fs');

const [plain, tls, authority] = process.argv.slice(2);
const ca = readFileSync(authority);
const large = Buffer.alloc(1 << 20, 'y');

function check(what, found, expected) {
  if (found !== expected) { console.error(`${what}: ${found} and not ${expected}`); process.exit(1); }
}

const whole = async (stream) => { const all = []; for await (const part of stream) all.push(part); return Buffer.concat(all); };

function first(module, base, agent, path, body, headers) {
  return new Promise((resolve, reject) => {
    const request = module.request(base + path, { agent, ca, method: body ? 'POST' : 'GET', headers }, async (answer) => {
      const bytes = await whole(answer);
      resolve({ status: answer.statusCode, bytes, trailers: answer.trailers });
    });
    request.on('error', reject);
    request.end(body);
  });
}

async function second(base) {
  const session = http2.connect(base, { ca });
  const ask = async (path, body) => {
    const stream = session.request({ ':path': path, ':method': body ? 'POST' : 'GET' });
    let trailers = {};
    stream.on('trailers', (came) => { trailers = came; });
    stream.end(body);
    const [head] = await require('events').once(stream, 'response');
    return { status: head[':status'], bytes: await whole(stream), trailers };
  };
  const many = await Promise.all(Array.from({ length: 50 }, () => ask('/')));
  check('50 at once', many.every(({ status, bytes }) => status === 200 && bytes.toString() === 'blue'), true);
  check('a large body', Buffer.compare((await ask('/echo', large)).bytes, large), 0);
  check('trailers', (await ask('/trailers')).trailers['x-sum'], '17');
  session.close();
}

(async () => {
  for (const [module, base] of [[http, plain], [https, tls]]) {
    const agent = new module.Agent({ keepAlive: true, maxSockets: 1 });
    for (let n = 0; n < 20; n++) check('GET', (await first(module, base, agent, '/')).bytes.toString(), 'blue');
    check('a large body', Buffer.compare((await first(module, base, agent, '/echo', large)).bytes, large), 0);
    const expected = await first(module, base, agent, '/echo', Buffer.from('hi'), { Expect: '100-continue' });
    check('Expect', expected.bytes.toString(), 'hi');
    check('trailers', (await first(module, base, agent, '/trailers')).trailers['x-sum'], '17');
    agent.destroy();
  }
  await second(plain);
  await second(tls);
  console.log('done');
})();
