// Decisions as vertical lines, as Grafana's annotations show them.
import { type GrafanaTheme2 } from "@grafana/data";
import type uPlot from "uplot";
import type { Asked, Dashboard } from "./model";
import { ask } from "./prometheus";
import { tellProblem } from "./report";
import { substitute, type Values } from "./variables";

export interface Mark {
  at: number;
  color: string;
}

interface Matrix {
  result: { metric: Record<string, string>; values: [number, string][] }[];
}

export async function findMarks(
  asked: Asked,
  dashboard: Dashboard,
  values: Values,
  theme: GrafanaTheme2,
): Promise<Mark[]> {
  const marks = new Map<string, Mark>();
  for (const query of dashboard.annotations?.list ?? []) {
    const expr = query.expr ?? query.target?.expr ?? "";
    if (query.builtIn === 1 || !query.enable) continue;
    if (expr === "") {
      tellProblem(`annotation ${query.name}: no query`);
      continue;
    }
    const step = asked.scrapeSeconds;
    try {
      const { result } = await ask<Matrix>(asked, "query_range", {
        query: substitute(expr, values, step, asked),
        start: String(asked.from / 1000),
        end: String(asked.to / 1000),
        step: String(step),
      });
      const isByValue = query.useValueForTime === true || query.useValueForTime === "on";
      for (const { values: points } of result) {
        for (const at of moments(points, isByValue, step)) {
          if (at < asked.from || at > asked.to) continue;
          const color = theme.visualization.getColorByName(query.iconColor);
          marks.set(`${at} ${color}`, { at, color });
        }
      }
    } catch (error) {
      tellProblem(`annotation ${query.name}: ${String(error)}`);
    }
  }
  return [...marks.values()];
}

/** Milliseconds: of each run of points the first, or what the values say. */
function moments(points: [number, string][], isByValue: boolean, step: number): number[] {
  if (isByValue) return [...new Set(points.map(([, value]) => Math.floor(Number(value))))];
  const active = points.filter(([, value]) => Number(value) > 0).map(([at]) => at);
  return active.filter((at, i) => i === 0 || at - (active[i - 1] ?? 0) > step).map((at) => at * 1000);
}

export function marksHook(marks: Mark[]): (plot: uPlot) => void {
  return (plot) => {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    const size = devicePixelRatio;
    for (const { at, color } of marks) {
      const x = plot.valToPos(at, "x", true);
      const bottom = bbox.top + bbox.height;
      ctx.strokeStyle = color;
      ctx.fillStyle = color;
      ctx.lineWidth = size;
      ctx.setLineDash([4 * size, 3 * size]);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bottom);
      ctx.stroke();
      ctx.beginPath();
      ctx.moveTo(x, bottom - 6 * size);
      ctx.lineTo(x - 5 * size, bottom);
      ctx.lineTo(x + 5 * size, bottom);
      ctx.fill();
    }
    ctx.restore();
  };
}
