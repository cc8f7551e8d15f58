// A dashboard's variables: their values, and their place in a query.
import { stringToJsRegex } from "@grafana/data";
import type { Asked, Dashboard, Variable } from "./model";
import { labelValues } from "./prometheus";
import { tellProblem } from "./report";

export interface Value {
  variable: Variable;
  /** What a person sees. */
  text: string;
  /** What stands in a query. */
  query: string;
}

export type Values = Record<string, Value>;

const ALL = "$__all";
const LABEL_VALUES = /^label_values\((?:(.+),\s*)?(\w+)\s*\)$/s;
const REFERENCE = /\$(\w+)|\$\{(\w+)(?::(\w+))?\}|\[\[(\w+)(?::(\w+))?\]\]/g;

export async function chooseValues(asked: Asked, dashboard: Dashboard): Promise<Values> {
  const values: Values = {};
  for (const variable of dashboard.templating?.list ?? []) {
    values[variable.name] = await choose(asked, variable, values);
  }
  return values;
}

async function choose(asked: Asked, variable: Variable, values: Values): Promise<Value> {
  if (variable.type === "datasource") {
    return { variable, text: "Prometheus", query: "prometheus" };
  }
  if (variable.type === "textbox" || variable.type === "constant") {
    const text = String(variable.current?.value ?? "");
    return { variable, text, query: text };
  }
  const options = await optionsOf(asked, variable, values);
  const wanted = asked.variables[variable.name] ?? one(variable.current?.value) ?? "";
  if (wanted === ALL && variable.includeAll === true) {
    const all = variable.allValue ?? "";
    const query = all === "" ? `(${options.map(escaped).join("|")})` : all;
    return { variable, text: "All", query };
  }
  const text = wanted === "" ? (options[0] ?? "") : wanted;
  if (options.length > 0 && !options.includes(text)) {
    tellProblem(`variable ${variable.name}: ${text} is none of ${options.join(", ")}`);
  }
  return { variable, text, query: variable.multi === true ? escaped(text) : text };
}

async function optionsOf(asked: Asked, variable: Variable, values: Values): Promise<string[]> {
  const query =
    typeof variable.query === "string" ? variable.query : (variable.query?.query ?? "");
  if (variable.type === "custom") return query.split(",").map((word) => word.trim());
  if (variable.type !== "query") {
    tellProblem(`variable ${variable.name}: type ${variable.type} is not understood`);
    return [];
  }
  const found = LABEL_VALUES.exec(query.trim());
  if (found === null) {
    tellProblem(`variable ${variable.name}: ${query} is not understood`);
    return [];
  }
  const selector = substitute(found[1] ?? "", values, asked.scrapeSeconds, asked);
  const all = await labelValues(asked, found[2] ?? "", selector);
  if (variable.regex === undefined || variable.regex === "") return all;
  const regex = stringToJsRegex(variable.regex);
  return all.flatMap((text) => {
    const match = regex.exec(text);
    return match === null ? [] : [match[1] ?? text];
  });
}

function one(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}

/** As the data source quotes a value within the pattern of a matcher. */
function escaped(text: string): string {
  return text.replace(/[\\^$*+?.()|[\]{}]/g, "\\\\$&");
}

export function substitute(text: string, values: Values, step: number, asked: Asked): string {
  const range = Math.round((asked.to - asked.from) / 1000);
  const own: Record<string, string> = {
    __interval: `${step}s`,
    __interval_ms: `${step * 1000}`,
    __rate_interval: `${Math.max(step + asked.scrapeSeconds, 4 * asked.scrapeSeconds)}s`,
    __range: `${range}s`,
    __range_s: `${range}`,
    __range_ms: `${range * 1000}`,
    __from: `${asked.from}`,
    __to: `${asked.to}`,
    __url_time_range: `from=${asked.from}&to=${asked.to}`,
  };
  return text.replace(REFERENCE, (whole, ...found: (string | undefined)[]) => {
    const name = found[0] ?? found[1] ?? found[3] ?? "";
    const value = own[name] ?? values[name]?.query;
    if (value === undefined) {
      // `$1` of label_replace and the like is Prometheus' own.
      if (!/^\d+$/.test(name)) tellProblem(`unknown variable ${whole} in: ${text}`);
      return whole;
    }
    return value;
  });
}
