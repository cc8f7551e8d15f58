// One dashboard of a real Prometheus, drawn with Grafana's own components. What it is asked is in
// the address (`model.ts`); what the check reads afterwards is `window.__report` (`report.ts`).
window.__grafana_public_path__ = "/public/";

import { createTheme, dateTime, ThemeContext, type GrafanaTheme2 } from "@grafana/data";
import { GlobalStyles, PanelChrome } from "@grafana/ui";
import { type ReactElement } from "react";
import { createRoot } from "react-dom/client";
import { findMarks } from "./annotations";
import { type Asked, type Dashboard, type Panel, readAsked } from "./model";
import { Draw, prepare, type Ready, type Surroundings } from "./panels";
import { registerAll } from "./registries";
import { report, tellProblem } from "./report";
import { chooseValues, substitute, type Values } from "./variables";

const COLUMNS = 24;
const ROW = 30;
const GAP = 8;
const QUIET_MILLISECONDS = 500;

interface Box {
  left: number;
  top: number;
  width: number;
  height: number;
}

function boxOf({ gridPos }: Panel, width: number): Box {
  const column = (width - 2 * GAP + GAP) / COLUMNS;
  return {
    left: gridPos.x * column,
    top: gridPos.y * (ROW + GAP),
    width: gridPos.w * column - GAP,
    height: gridPos.h * (ROW + GAP) - GAP,
  };
}

/** Panels of a collapsed row are within it, and are drawn as if a person had opened it. */
function flat(panels: Panel[]): Panel[] {
  return panels.flatMap((panel) => [panel, ...(panel.panels ?? [])]);
}

function Page(given: {
  dashboard: Dashboard;
  ready: Ready[];
  rows: Panel[];
  around: Surroundings;
  width: number;
}): ReactElement {
  const { dashboard, ready, rows, around, width } = given;
  const { asked, values, theme } = around;
  const named = (text: string): string => substitute(text, values, asked.scrapeSeconds, asked);
  const boxes = [...rows, ...ready.map((one) => one.panel)].map((one) => boxOf(one, width));
  const height = Math.max(...boxes.map((box) => box.top + box.height));
  return (
    <div style={{ padding: GAP, background: theme.colors.background.canvas }}>
      <Bar dashboard={dashboard} around={around} />
      <div style={{ position: "relative", height }}>
        {rows.map((row) => (
          <div
            key={row.id}
            style={{ position: "absolute", ...boxOf(row, width), ...theme.typography.h5 }}
          >
            ⌄ {named(row.title)}
          </div>
        ))}
        {ready.map((one) => {
          const { left, top, ...size } = boxOf(one.panel, width);
          return (
            <div
              key={one.panel.id}
              data-panel={one.panel.id}
              style={{ position: "absolute", left, top }}
            >
              <PanelChrome
                {...size}
                title={named(one.panel.title)}
                description={one.panel.description}
                displayMode={one.panel.transparent === true ? "transparent" : "default"}
              >
                {(w: number, h: number) => <Draw ready={one} width={w} height={h} around={around} />}
              </PanelChrome>
            </div>
          );
        })}
      </div>
    </div>
  );
}

function Bar({ dashboard, around }: { dashboard: Dashboard; around: Surroundings }): ReactElement {
  const { theme, values, range } = around;
  const box = {
    border: `1px solid ${theme.colors.border.medium}`,
    borderRadius: theme.shape.radius.default,
    padding: "3px 8px",
  };
  const label = { ...box, background: theme.colors.background.secondary, borderRight: "none" };
  const visible = Object.values(values).filter(({ variable }) => (variable.hide ?? 0) !== 2);
  const format = "YYYY-MM-DD HH:mm:ss";
  return (
    <div style={{ marginBottom: GAP }}>
      <div style={{ display: "flex", alignItems: "center", marginBottom: GAP }}>
        <span style={{ ...theme.typography.h4, margin: 0, flexGrow: 1 }}>{dashboard.title}</span>
        <span style={box}>
          {range.from.utc().format(format)} to {range.to.utc().format(format)} UTC
        </span>
      </div>
      <div style={{ display: "flex", gap: GAP, flexWrap: "wrap" }}>
        {visible.map(({ variable, text }) => (
          <span key={variable.name} style={{ display: "flex" }}>
            <span style={label}>{variable.label ?? variable.name}</span>
            <span style={box}>{text === "" ? "–" : text}</span>
          </span>
        ))}
        <span style={{ flexGrow: 1 }} />
        {(dashboard.links ?? []).map((link) => (
          <span key={link.title} style={{ ...box, color: theme.colors.text.link }}>
            {link.title}
          </span>
        ))}
      </div>
    </div>
  );
}

/** Wait until nothing has changed for a while: Grafana draws some parts later than others. */
function quiet(): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      observer.disconnect();
      resolve();
    };
    let timer = setTimeout(done, QUIET_MILLISECONDS);
    const observer = new MutationObserver(() => {
      clearTimeout(timer);
      timer = setTimeout(done, QUIET_MILLISECONDS);
    });
    observer.observe(document.body, { subtree: true, childList: true, attributes: true });
  });
}

function readTexts(): void {
  for (const told of report.panels) {
    const element = document.querySelector<HTMLElement>(`[data-panel="${told.id}"]`);
    told.text = element?.textContent ?? "";
    if (element === null) tellProblem(`panel ${told.title}: not in the page`);
    for (const canvas of element?.querySelectorAll("canvas") ?? []) {
      if (canvas.width === 0 || canvas.height === 0) {
        tellProblem(`panel ${told.title}: its drawing has no room`);
      }
    }
  }
}

function timeRange(asked: Asked): Surroundings["range"] {
  const from = dateTime(asked.from);
  const to = dateTime(asked.to);
  return { from, to, raw: { from, to } };
}

async function draw(): Promise<void> {
  registerAll();
  const asked = readAsked(location.search);
  const response = await fetch(asked.dashboard);
  const dashboard = (await response.json()) as Dashboard;
  const theme: GrafanaTheme2 = createTheme({ colors: { mode: asked.theme } });
  const values: Values = await chooseValues(asked, dashboard);
  report.title = dashboard.title;
  report.variables = Object.fromEntries(
    Object.entries(values).map(([name, value]) => [name, value.query]),
  );
  const marks = await findMarks(asked, dashboard, values, theme);
  const around: Surroundings = { asked, values, theme, marks, range: timeRange(asked) };
  const width = document.documentElement.clientWidth;
  const panels = flat(dashboard.panels);
  const ready: Ready[] = [];
  for (const panel of panels.filter((one) => one.type !== "row")) {
    ready.push(await prepare(panel, Math.round(boxOf(panel, width).width), around));
  }
  const rows = panels.filter((one) => one.type === "row");
  const root = document.getElementById("root");
  if (root === null) throw new Error("no root");
  createRoot(root, {
    onUncaughtError: (error) => tellProblem(`the drawing failed: ${String(error)}`),
  }).render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <Page {...{ dashboard, ready, rows, around, width }} />
    </ThemeContext.Provider>,
  );
  await quiet();
  await document.fonts.ready;
  readTexts();
  report.height = document.documentElement.scrollHeight;
}

draw()
  .catch((error: unknown) => tellProblem(String(error)))
  .finally(() => {
    report.isDrawn = true;
  });
