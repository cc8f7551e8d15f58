// Opens pages in a real Chromium one after the other, and tells of each what the page reported.
//
// node driver.mjs FILE: FILE is JSON, {chromium, seconds, pages: [{url, width, height, picture}]}. Writes one line of
// JSON for each page. Nothing but 127.0.0.1 has a name here, so no page can ask anything else.
import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";

/** @typedef {{url: string, width: number, height: number, picture: string | null}} Wanted */
/** @type {{chromium: string, seconds: number, pages: Wanted[]}} */
const plan = JSON.parse(readFileSync(process.argv[2] ?? "", "utf8"));

const browser = await chromium.launch({
  executablePath: plan.chromium,
  args: [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--force-color-profile=srgb",
    "--font-render-hinting=none",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
  ],
});
try {
  for (const wanted of plan.pages) process.stdout.write(`${JSON.stringify(await open(wanted))}\n`);
} finally {
  await browser.close();
}

/** @param {Wanted} wanted */
async function open(wanted) {
  const context = await browser.newContext({
    // All of it is in view: parts that are not are drawn only when somebody scrolls to them.
    viewport: { width: wanted.width, height: wanted.height },
    reducedMotion: "reduce",
    timezoneId: "UTC",
    locale: "en-US",
  });
  /** @type {string[]} */
  const errors = [];
  /** @type {string[]} */
  const outside = [];
  const page = await context.newPage();
  page.setDefaultTimeout(plan.seconds * 1000);
  page.on("console", (message) => {
    if (message.type() === "error") errors.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => errors.push(`page: ${error.stack ?? error.message}`));
  page.on("requestfailed", (request) => {
    errors.push(`request: ${request.url()} ${request.failure()?.errorText ?? ""}`);
  });
  page.on("request", (request) => {
    const url = new URL(request.url());
    const isHere = url.hostname === "127.0.0.1" || url.protocol === "data:" || url.protocol === "blob:";
    if (!isHere) outside.push(request.url());
  });
  try {
    await page.goto(wanted.url);
    await page.waitForFunction(() => window.__report?.isDrawn === true);
    const report = await page.evaluate(() => window.__report);
    if (wanted.picture !== null) await page.screenshot({ path: wanted.picture, fullPage: true });
    return { ...wanted, report, errors, outside };
  } catch (error) {
    return { ...wanted, report: null, errors: [...errors, String(error)], outside };
  } finally {
    await context.close();
  }
}
