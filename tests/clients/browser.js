// Chromium, driven line by line: each line of standard input is JavaScript that is carried out with the functions below, and its
// result is printed as JSON. A line that fails prints {"error": …}.
//   browser.js URL [light|dark] [WIDTH]
const { execFileSync } = require('child_process');
const { createInterface } = require('readline');

const [url, scheme = 'light', width = '1280'] = process.argv.slice(2);
// The test's own patience is longer.
const timeout = 60000;

async function main() {
  const browser = await require('puppeteer-core').launch({
    executablePath: execFileSync('sh', ['-c', 'command -v chromium']).toString().trim(),
    args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
    // The browser ends with this program, also where the test has killed it.
    pipe: true,
  });
  const page = await browser.newPage();
  // What went wrong in the page, and each request that left for another origin.
  const wrong = [];
  page.on('pageerror', (error) => wrong.push(`error: ${error.message}`));
  page.on('console', (message) => {
    if (message.type() === 'error' && !/Failed to load resource/.test(message.text())) wrong.push(`console: ${message.text()}`);
  });
  page.on('dialog', (dialog) => {
    wrong.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on('request', (request) => {
    if (!request.url().startsWith('data:') && new URL(request.url()).origin !== new URL(url).origin) wrong.push(`elsewhere: ${request.url()}`);
  });
  await page.setViewport({ width: Number(width), height: 900 });
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);

  const says = (selector) => page.$eval(selector, (element) => element.innerText.replace(/\s+/g, ' ').trim());
  const until = (selector, text) => page.waitForFunction((selector, text) => {
    const element = document.querySelector(selector);
    return element && element.checkVisibility() && element.innerText.replace(/\s+/g, ' ').includes(text);
  }, { timeout, polling: 50 }, selector, text).then(() => says(selector));
  const tools = {
    url, page, wrong, says, until,
    open: () => page.goto(url).then(() => until('#link', 'Live')),
    click: (selector) => page.click(selector),
    press: (key) => page.keyboard.press(key),
    fill: async (selector, text) => {
      await page.$eval(selector, (element) => { element.value = ''; });
      await page.type(selector, text);
    },
    // Opens an action's dialog; what it says will happen.
    ask: async (action) => {
      await page.waitForSelector(`button[data-action="${action}"]:not([aria-disabled="true"])`, { visible: true, timeout });
      await page.click(`button[data-action="${action}"]`);
      await page.waitForFunction(() => document.querySelector('#ask').open && !/Asking the proxy/.test(document.querySelector('#ask-effects').innerText), { timeout });
      return says('#ask');
    },
    // Gives a reason, and does it; what came of it.
    confirm: async (reason) => {
      await page.$eval('#outcome', (element) => { element.hidden = true; });
      await page.$eval('#ask-reason', (element) => { element.value = ''; });
      await page.type('#ask-reason', reason);
      await page.click('#ask-go');
      await page.waitForFunction(() => !document.querySelector('#outcome').hidden || !document.querySelector('#ask-problem').hidden, { timeout });
      return page.evaluate(() => (document.querySelector('#ask').open ? document.querySelector('#ask-problem') : document.querySelector('#outcome')).innerText.replace(/\s+/g, ' ').trim());
    },
    // What axe-core finds against WCAG 2.1 AA and its best practices.
    axe: async () => {
      // The page's policy lets no script of others in; the tool comes in by the debugger.
      await page.evaluate(require('fs').readFileSync(require.resolve('axe-core'), 'utf8'));
      const { violations } = await page.evaluate(() => axe.run(document));
      return violations.map((found) => `${found.id}: ${found.help}: ${found.nodes.map((node) => node.html).slice(0, 3).join(' ')}`);
    },
  };
  const names = Object.keys(tools);
  console.log('ready');
  for await (const line of createInterface({ input: process.stdin })) {
    try {
      const run = new Function(...names, `return (async () => (${line}))()`);
      console.log(JSON.stringify((await run(...names.map((name) => tools[name]))) ?? null));
    } catch (error) {
      console.log(JSON.stringify({ error: String(error), lines: wrong }));
    }
  }
  await browser.close();
}

main().then(() => process.exit(0), (error) => {
  console.error(error);
  process.exit(1);
});
