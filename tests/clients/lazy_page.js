// A page that loads a part of itself later, built by vite and shown by Chromium.
//   build DIR RELEASE   builds the page of a release into DIR/RELEASE, with the hash of its content in each file's name
//   open URL            opens the page, says `open`, waits for a line, asks for the later part, and says what came of it
const { execFileSync } = require('child_process');
const { mkdirSync, writeFileSync } = require('fs');
const { join } = require('path');
const { createInterface } = require('readline');
const { once } = require('events');

const [what, where, release] = process.argv.slice(2);

function build() {
  const sources = join(where, `src-${release}`);
  mkdirSync(sources, { recursive: true });
  writeFileSync(join(sources, 'index.html'), `<!doctype html><title>first of ${release}</title><link rel="icon" href="data:,">
<button>More</button><script type="module" src="/main.js"></script>`);
  writeFileSync(join(sources, 'main.js'), `document.querySelector('button').addEventListener('click', async () => {
  try { document.title = (await import('./later.js')).text; } catch (error) { document.title = 'failed: ' + error.message; }
});`);
  writeFileSync(join(sources, 'later.js'), `import './later.css';\nexport const text = 'later of ${release}';`);
  writeFileSync(join(sources, 'later.css'), `body { --release: "${release}"; }`);
  const vite = join(process.env.NODE_PATH, 'vite', 'bin', 'vite.js');
  execFileSync('node', [vite, 'build', sources, '--outDir', join(where, release), '--logLevel', 'error'],
    { stdio: ['ignore', 2, 2] });
}

async function open() {
  const lines = createInterface({ input: process.stdin });
  const browser = await require('puppeteer-core').launch({
    executablePath: execFileSync('sh', ['-c', 'command -v chromium']).toString().trim(), args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
    // The browser ends with this program, also where the test has killed it.
    pipe: true,
  });
  try {
    const page = await browser.newPage();
    const failed = [], lingered = [];
    page.on('response', (response) => {
      const path = new URL(response.url()).pathname;
      if (response.status() >= 400) failed.push(path);
      if (response.headers()['x-cutover-lingered'] === 'true') lingered.push(path);
    });
    await page.goto(where, { waitUntil: 'networkidle0' });
    const first = await page.title();
    console.log('open');
    await once(lines, 'line');
    await page.click('button');
    await page.waitForFunction((before) => document.title !== before, {}, first);
    const title = await page.title();
    const style = await page.evaluate(() => getComputedStyle(document.body).getPropertyValue('--release'));
    console.log(JSON.stringify({ first, title, style, failed, lingered }));
  } finally {
    await browser.close();
  }
}

(what === 'build' ? async () => build() : open)().then(() => process.exit(0), (error) => {
  console.error(error);
  process.exit(1);
});
