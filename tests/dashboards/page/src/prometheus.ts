// A Prometheus, asked as Grafana's data source asks it, and its answers as data frames.
import { FieldType, type DataFrame, type Labels, rangeUtil, dateTime } from "@grafana/data";
import type { Asked, Panel, Target } from "./model";
import type { Fetched, QueryReport } from "./report";
import { substitute, type Values } from "./variables";

interface Series {
  metric: Labels;
  values?: [number, string][];
  value?: [number, string];
}

interface Answer<T> {
  status: string;
  error?: string;
  data: T;
}

/** The letters by which PromQL writes what is no number. */
const SPECIAL: Record<string, number> = { "+Inf": Infinity, "-Inf": -Infinity, NaN: NaN };

export async function ask<T>(
  asked: Asked,
  path: string,
  words: Record<string, string>,
): Promise<T> {
  const url = `${asked.prometheus}/api/v1/${path}`;
  const response = await fetch(url, { method: "POST", body: new URLSearchParams(words) });
  const answer = (await response.json()) as Answer<T>;
  if (answer.status !== "success") throw new Error(`${words.query ?? path}: ${answer.error}`);
  return answer.data;
}

/** Series names of a selector with their labels; `label_values` of a variable needs no more. */
export async function labelValues(asked: Asked, label: string, selector: string): Promise<string[]> {
  const url = new URL(`${asked.prometheus}/api/v1/label/${label}/values`);
  if (selector !== "") url.searchParams.set("match[]", selector);
  url.searchParams.set("start", String(asked.from / 1000));
  url.searchParams.set("end", String(asked.to / 1000));
  const answer = (await (await fetch(url)).json()) as Answer<string[]>;
  if (answer.status !== "success") throw new Error(`label_values: ${answer.error}`);
  return answer.data;
}

export function stepSeconds(asked: Asked, points: number, least: string | undefined): number {
  const range = {
    from: dateTime(asked.from),
    to: dateTime(asked.to),
    raw: { from: dateTime(asked.from), to: dateTime(asked.to) },
  };
  const lowest = least === undefined || least === "" ? `${asked.scrapeSeconds}s` : least;
  return rangeUtil.calculateInterval(range, points, lowest).intervalMs / 1000;
}

export async function runTarget(
  asked: Asked,
  panel: Panel,
  target: Target,
  points: number,
  values: Values,
): Promise<{ frames: DataFrame[]; report: QueryReport }> {
  const step = stepSeconds(
    asked,
    panel.maxDataPoints ?? points,
    target.interval ?? panel.interval,
  );
  const expr = substitute(target.expr, values, step, asked);
  // As the data source does: without a word, a range.
  const isInstant = target.instant === true && target.range !== true;
  const start = Math.floor(asked.from / 1000 / step) * step;
  const end = isInstant ? asked.to / 1000 : Math.floor(asked.to / 1000 / step) * step;
  const words: Record<string, string> = isInstant
    ? { query: expr, time: String(end) }
    : { query: expr, start: String(start), end: String(end), step: String(step) };
  const { result, resultType } = await ask<{ resultType: string; result: Series[] }>(
    asked,
    isInstant ? "query" : "query_range",
    words,
  );
  const series: Series[] =
    resultType === "scalar" || resultType === "string"
      ? [{ metric: {}, value: result as unknown as [number, string] }]
      : result;
  const report: QueryReport = {
    refId: target.refId,
    expr,
    kind: isInstant ? "instant" : "range",
    start,
    end,
    step,
    fetched: series.map(lastOf),
  };
  const many = (panel.targets ?? []).filter((one) => one.hide !== true).length > 1;
  const frames =
    target.format === "table"
      ? tableFrames(series, target, many)
      : series.map((one) => seriesFrame(one, target, isInstant ? undefined : step));
  return { frames, report };
}

function pointsOf(one: Series): [number, number][] {
  const points = one.values ?? (one.value === undefined ? [] : [one.value]);
  return points.map(([at, text]) => [at * 1000, SPECIAL[text] ?? Number(text)]);
}

function lastOf(one: Series): Fetched {
  return { labels: one.metric, value: pointsOf(one).at(-1)?.[1] ?? NaN };
}

function seriesFrame(one: Series, target: Target, step: number | undefined): DataFrame {
  const points = pointsOf(one);
  const { __name__: name, ...labels } = one.metric;
  // With the step Grafana sees where a series was not there, and leaves a gap.
  const time = step === undefined ? {} : { interval: step * 1000 };
  return {
    refId: target.refId,
    length: points.length,
    fields: [
      { name: "Time", type: FieldType.time, config: time, values: points.map(([at]) => at) },
      {
        name: "Value",
        type: FieldType.number,
        labels: name === undefined ? labels : { ...labels, __name__: name },
        config: { displayNameFromDS: legend(one.metric, target) },
        values: points.map(([, value]) => value),
      },
    ],
  };
}

/** One frame of a query: time, a column for each label, the value. */
function tableFrames(series: Series[], target: Target, many: boolean): DataFrame[] {
  if (series.length === 0) return [];
  const rows = series.flatMap((one) => pointsOf(one).map((point) => ({ one, point })));
  const names = [...new Set(series.flatMap((one) => Object.keys(one.metric)))].sort();
  return [
    {
      refId: target.refId,
      length: rows.length,
      fields: [
        { name: "Time", type: FieldType.time, config: {}, values: rows.map((r) => r.point[0]) },
        ...names.map((name) => ({
          name,
          type: FieldType.string,
          config: { filterable: true },
          values: rows.map((r) => r.one.metric[name] ?? ""),
        })),
        {
          name: many ? `Value #${target.refId}` : "Value",
          type: FieldType.number,
          config: {},
          values: rows.map((r) => r.point[1]),
        },
      ],
    },
  ];
}

function legend(labels: Labels, target: Target): string | undefined {
  const wanted = target.legendFormat ?? "";
  if (wanted === "" || wanted === "__auto") {
    const { __name__: name, ...others } = labels;
    const pairs = Object.entries(others).map(([key, value]) => `${key}="${value}"`);
    if (wanted === "__auto" && pairs.length === 0) return name ?? target.expr;
    return `${name ?? ""}{${pairs.join(", ")}}`;
  }
  return wanted.replace(/\{\{\s*(.+?)\s*\}\}/g, (_, key: string) => labels[key] ?? "");
}
