// Opens HTML files in a headless Chromium, with and without scripts, wide and as on a phone, and prints as JSON what went wrong:
//   node page_look.mjs CHROMIUM MODULES FILE...   -> {FILE: {console, requests, overflow, faults, text}}
// `faults`: what axe-core finds serious or critical, in light and dark. Screenshots go beside each file.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const [chromium, modules, ...files] = process.argv.slice(2);
const require = createRequire(pathToFileURL(modules + '/'));
const puppeteer = require('puppeteer-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const browser = await puppeteer.launch({ executablePath: chromium, headless: true, args: ['--no-sandbox', '--disable-gpu', '--hide-scrollbars'] });
const out = {};
for (const file of files) {
  const r = (out[file] = { console: [], requests: [], overflow: [], faults: [], text: 0 });
  for (const [name, width, dark, script] of [['desktop', 1280, false, true], ['phone', 390, false, true], ['dark', 1280, true, true], ['plain', 1280, false, false]]) {
    const page = await browser.newPage();
    await page.setJavaScriptEnabled(script);
    await page.setViewport({ width, height: 900 });
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }]);
    page.on('console', m => r.console.push(`${name}: ${m.text()}`));
    page.on('pageerror', e => r.console.push(`${name}: ${e.message}`));
    page.on('request', q => { if (q.url() !== pathToFileURL(file).href && !q.url().startsWith('data:')) r.requests.push(q.url()); });
    await page.goto(pathToFileURL(file).href, { waitUntil: 'load' });
    await page.screenshot({ path: `${file}.${name}.png`, fullPage: true });
    if (script) {
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      if (wide > 0) r.overflow.push(`${name}: ${wide} px`);
      r.text = await page.evaluate(() => document.body.innerText.length);
      await page.setBypassCSP(true);
      await page.reload({ waitUntil: 'load' });
      await page.addScriptTag({ content: axe });
      const a = await page.evaluate(() => window.axe.run());
      for (const v of a.violations)
        if (v.impact === 'serious' || v.impact === 'critical')
          r.faults.push(`${name}: ${v.id}: ${v.nodes.map(n => n.html).slice(0, 2).join(' ')}`);
    }
    await page.close();
  }
}
await browser.close();
console.log(JSON.stringify(out));
