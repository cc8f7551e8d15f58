// The parts of a dashboard's JSON that this page understands. What it does not understand is a
// problem, which fails the check: `report.ts`.
import type { DataTransformerConfig, FieldConfigSource } from "@grafana/data";

export interface Target {
  refId: string;
  expr: string;
  legendFormat?: string;
  format?: "time_series" | "table";
  instant?: boolean;
  range?: boolean;
  interval?: string;
  hide?: boolean;
}

export interface Panel {
  id: number;
  type: string;
  title: string;
  description?: string;
  gridPos: { x: number; y: number; w: number; h: number };
  targets?: Target[];
  interval?: string;
  maxDataPoints?: number;
  fieldConfig?: FieldConfigSource;
  options?: Record<string, unknown>;
  transformations?: DataTransformerConfig[];
  collapsed?: boolean;
  panels?: Panel[];
  transparent?: boolean;
}

export interface Variable {
  name: string;
  type: string;
  label?: string;
  hide?: number;
  query?: string | { query: string };
  definition?: string;
  regex?: string;
  multi?: boolean;
  includeAll?: boolean;
  allValue?: string | null;
  current?: { text?: string | string[]; value?: string | string[] };
}

export interface AnnotationQuery {
  name: string;
  enable: boolean;
  hide?: boolean;
  builtIn?: number;
  expr?: string;
  step?: string;
  iconColor: string;
  titleFormat?: string;
  textFormat?: string;
  useValueForTime?: boolean | string;
  target?: { expr?: string };
}

export interface Dashboard {
  title: string;
  panels: Panel[];
  templating?: { list: Variable[] };
  annotations?: { list: AnnotationQuery[] };
  links?: { title: string; type: string; url?: string; tags?: string[] }[];
}

/** What is asked of this page, by the query of its address. */
export interface Asked {
  dashboard: string;
  prometheus: string;
  /** Milliseconds. */
  from: number;
  to: number;
  theme: "dark" | "light";
  /** How often Prometheus scrapes, as the data source says it. */
  scrapeSeconds: number;
  variables: Record<string, string>;
}

export function readAsked(search: string): Asked {
  const words = new URLSearchParams(search);
  const word = (name: string): string => {
    const value = words.get(name);
    if (value === null) throw new Error(`the address lacks ${name}`);
    return value;
  };
  const variables: Record<string, string> = {};
  for (const [name, value] of words) {
    if (name.startsWith("var-")) variables[name.slice(4)] = value;
  }
  return {
    dashboard: word("dashboard"),
    prometheus: word("prometheus"),
    from: Number(word("from")),
    to: Number(word("to")),
    theme: word("theme") === "light" ? "light" : "dark",
    scrapeSeconds: Number(word("scrape")),
    variables,
  };
}
