// What the check reads when the page is drawn.

/** A number that a person sees, and the text that it is shown as (null: as a curve). */
export interface Shown {
  name: string;
  value: number;
  text: string | null;
}

/** The last value of one series of a query, as it was fetched. */
export interface Fetched {
  labels: Record<string, string>;
  value: number;
}

export interface QueryReport {
  refId: string;
  expr: string;
  kind: "instant" | "range";
  start: number;
  end: number;
  step: number;
  fetched: Fetched[];
}

export interface PanelReport {
  id: number;
  title: string;
  type: string;
  queries: QueryReport[];
  shown: Shown[];
  hasData: boolean;
  /** All text of the panel's drawing. */
  text: string;
  annotations: number;
}

export interface Report {
  title: string;
  panels: PanelReport[];
  variables: Record<string, string>;
  problems: string[];
  isDrawn: boolean;
  height: number;
}

declare global {
  interface Window {
    __report: Report;
    __grafana_public_path__: string;
  }
}

export const report: Report = {
  title: "",
  panels: [],
  variables: {},
  problems: [],
  isDrawn: false,
  height: 0,
};
window.__report = report;

export function tellProblem(text: string): void {
  if (!report.problems.includes(text)) report.problems.push(text);
}
