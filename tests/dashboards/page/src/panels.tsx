// One panel: its data, Grafana's field options and transformations, and Grafana's drawing of it.
import {
  applyFieldOverrides,
  applyNullInsertThreshold,
  cacheFieldDisplayNames,
  type DataFrame,
  type DisplayValue,
  type DisplayValueAlignmentFactors,
  type Field,
  type FieldConfigSource,
  type FieldDisplay,
  FieldType,
  formattedValueToString,
  getDisplayProcessor,
  getDisplayValueAlignmentFactors,
  getFieldDisplayName,
  getFieldDisplayValues,
  getValueFormats,
  type GrafanaTheme2,
  type ReduceDataOptions,
  reduceField,
  renderTextPanelMarkdown,
  standardTransformersRegistry,
  type TimeRange,
  transformDataFrame,
  VizOrientation,
} from "@grafana/data";
import {
  type BarGaugeDisplayMode,
  type BarGaugeNamePlacement,
  type BarGaugeValueMode,
  type LegendPlacement,
  type TableCellHeight,
  type VizLegendOptions,
  type VizTextDisplayOptions,
} from "@grafana/schema";
import {
  BarGauge,
  BigValue,
  type BigValueColorMode,
  type BigValueGraphMode,
  type BigValueJustifyMode,
  type BigValueTextMode,
  TimeSeries,
  VizRepeater,
  type VizRepeaterRenderValueProps,
} from "@grafana/ui";
import { TableNG } from "@grafana/ui/unstable";
import { type ReactElement, useLayoutEffect } from "react";
import { lastValueFrom } from "rxjs";
import type uPlot from "uplot";
import type { UPlotConfigBuilder } from "@grafana/ui";
import { type Mark, marksHook } from "./annotations";
import type { Asked, Panel } from "./model";
import { runTarget } from "./prometheus";
import { checkedFieldConfig, registryOf, TYPES } from "./registries";
import { type PanelReport, report, type Shown, tellProblem } from "./report";
import { substitute, type Values } from "./variables";

export interface Ready {
  panel: Panel;
  fieldConfig: FieldConfigSource;
  frames: DataFrame[];
  report: PanelReport;
}

export interface Surroundings {
  asked: Asked;
  values: Values;
  theme: GrafanaTheme2;
  range: TimeRange;
  marks: Mark[];
}

interface Drawing {
  ready: Ready;
  width: number;
  height: number;
  around: Surroundings;
}

const NO_DATA = "No data";
/** What Grafana's unit formats allow before free text, such as `suffix:rows`. */
const FREE_UNIT = /^(prefix|suffix|time|si|count|currency|bool):/;

export async function prepare(panel: Panel, width: number, around: Surroundings): Promise<Ready> {
  const { asked, values, theme } = around;
  const told: PanelReport = {
    id: panel.id,
    title: panel.title,
    type: panel.type,
    queries: [],
    shown: [],
    hasData: false,
    text: "",
    annotations: 0,
  };
  const where = `panel ${panel.title}`;
  if (!(panel.type in TYPES)) tellProblem(`${where}: type ${panel.type} is not understood`);
  let frames: DataFrame[] = [];
  for (const target of panel.targets ?? []) {
    if (target.hide === true) continue;
    try {
      const done = await runTarget(asked, panel, target, width, values);
      told.queries.push(done.report);
      frames.push(...done.frames);
    } catch (error) {
      tellProblem(`${where}: ${String(error)}`);
    }
  }
  for (const { id } of panel.transformations ?? []) {
    if (standardTransformersRegistry.getIfExists(id) === undefined) {
      tellProblem(`${where}: transformation ${id} is not understood`);
    }
  }
  const transformations = (panel.transformations ?? []).filter(
    ({ id }) => standardTransformersRegistry.getIfExists(id) !== undefined,
  );
  const replaceVariables = (text: string): string =>
    substitute(text, values, asked.scrapeSeconds, asked);
  if (transformations.length > 0) {
    frames = await lastValueFrom(
      transformDataFrame(transformations, frames, { interpolate: replaceVariables }),
    );
  }
  const fieldConfig = checkedFieldConfig(where, panel.type, panel.fieldConfig);
  frames = applyFieldOverrides({
    data: frames,
    fieldConfig,
    fieldConfigRegistry: registryOf(panel.type),
    replaceVariables,
    theme,
    timeZone: "utc",
  });
  cacheFieldDisplayNames(frames);
  checkUnits(where, frames);
  told.hasData = frames.some((frame) =>
    frame.fields.some(
      (field) =>
        field.type === FieldType.number &&
        field.values.some((value) => value !== null && value !== undefined && !Number.isNaN(value)),
    ),
  );
  report.panels.push(told);
  return { panel, fieldConfig, frames, report: told };
}

function checkUnits(where: string, frames: DataFrame[]): void {
  const known = new Set(
    getValueFormats().flatMap((group) => (group.submenu ?? []).map((item) => item.value)),
  );
  for (const field of frames.flatMap((frame) => frame.fields)) {
    const unit = field.config.unit ?? "";
    if (unit !== "" && !known.has(unit) && !FREE_UNIT.test(unit)) {
      tellProblem(`${where}: unit ${unit} is not known`);
    }
  }
}

/** The drawing of a panel within its frame. */
export function Draw(drawing: Drawing): ReactElement {
  const { panel, frames } = drawing.ready;
  if (panel.type === "text") return <Text {...drawing} />;
  const isSingle = panel.type === "stat" || panel.type === "bargauge" || panel.type === "gauge";
  if (isSingle) return <Values_ {...drawing} />;
  if (!frames.some((frame) => frame.length > 0)) return <Nothing {...drawing} />;
  return panel.type === "table" ? <Table {...drawing} /> : <Graph {...drawing} />;
}

function Nothing({ ready, height, around }: Drawing): ReactElement {
  const text = ready.fieldConfig.defaults.noValue ?? NO_DATA;
  return (
    <div
      style={{
        height,
        display: "flex",
        alignItems: "center",
        justifyContent: "center",
        textAlign: "center",
        color: around.theme.colors.text.secondary,
      }}
    >
      {text}
    </div>
  );
}

function Text({ ready, height, around }: Drawing): ReactElement {
  const options = ready.panel.options as { content?: string; mode?: string } | undefined;
  const { asked, values } = around;
  const content = substitute(options?.content ?? "", values, asked.scrapeSeconds, asked);
  return (
    <div
      className="markdown-html"
      style={{ height, overflow: "auto" }}
      dangerouslySetInnerHTML={{ __html: renderTextPanelMarkdown(content) }}
    />
  );
}

interface ValueOptions {
  reduceOptions?: ReduceDataOptions;
  orientation?: VizOrientation;
  text?: VizTextDisplayOptions;
  colorMode?: BigValueColorMode;
  graphMode?: BigValueGraphMode;
  justifyMode?: BigValueJustifyMode;
  textMode?: BigValueTextMode;
  wideLayout?: boolean;
  displayMode?: BarGaugeDisplayMode;
  valueMode?: BarGaugeValueMode;
  namePlacement?: BarGaugeNamePlacement;
  showUnfilled?: boolean;
  minVizWidth?: number;
  minVizHeight?: number;
  maxVizHeight?: number;
}

function Values_({ ready, width, height, around }: Drawing): ReactElement {
  const { panel, frames } = ready;
  const options = (panel.options ?? {}) as ValueOptions;
  const { asked, values, theme } = around;
  const isStat = panel.type === "stat";
  const shown = getFieldDisplayValues({
    data: frames,
    fieldConfig: ready.fieldConfig,
    reduceOptions: { calcs: ["lastNotNull"], ...options.reduceOptions },
    replaceVariables: (text) => substitute(text, values, asked.scrapeSeconds, asked),
    sparkline: isStat && options.graphMode === "area",
    theme,
    timeZone: "utc",
  });
  useShown(
    ready,
    shown
      .filter(({ display }) => ready.report.hasData && !Number.isNaN(display.numeric))
      .map(({ name, display }) => ({
        name: display.title ?? name,
        value: display.numeric,
        text: display.text,
      })),
  );
  if (!ready.report.hasData) checkCalm(ready, shown, theme);
  const one = isStat ? bigValue(options, theme) : bar(options, theme);
  return (
    <VizRepeater<FieldDisplay, DisplayValueAlignmentFactors>
      getValues={() => shown}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      renderValue={one}
      width={width}
      height={height}
      source={frames}
      autoGrid={isStat}
      itemSpacing={isStat ? 3 : 10}
      renderCounter={1}
      orientation={
        options.orientation ?? (isStat ? VizOrientation.Auto : VizOrientation.Horizontal)
      }
      minVizWidth={options.minVizWidth ?? 8}
      minVizHeight={options.minVizHeight ?? (isStat ? 0 : 16)}
      maxVizHeight={options.maxVizHeight ?? (isStat ? undefined : 300)}
    />
  );
}

/** No data must not look like a value that is well or ill. */
function checkCalm(ready: Ready, shown: FieldDisplay[], theme: GrafanaTheme2): void {
  const steps = ready.fieldConfig.defaults.thresholds?.steps ?? [];
  const colors = steps
    .filter(({ color }) => color !== "text")
    .map(({ color }) => theme.visualization.getColorByName(color));
  if (shown.some(({ display }) => colors.includes(display.color ?? ""))) {
    tellProblem(`panel ${ready.panel.title}: no data have the colour of a value`);
  }
}

type One = VizRepeaterRenderValueProps<FieldDisplay, DisplayValueAlignmentFactors>;

function bigValue(options: ValueOptions, theme: GrafanaTheme2) {
  return ({ value, width, height, alignmentFactors, count }: One): ReactElement => (
    <BigValue
      value={value.display}
      sparkline={value.sparkline}
      count={count}
      width={width}
      height={height}
      theme={theme}
      alignmentFactors={alignmentFactors}
      colorMode={options.colorMode ?? ("value" as BigValueColorMode)}
      graphMode={options.graphMode ?? ("none" as BigValueGraphMode)}
      justifyMode={options.justifyMode}
      textMode={options.textMode}
      text={options.text}
      disableWideLayout={options.wideLayout === false}
    />
  );
}

function bar(options: ValueOptions, theme: GrafanaTheme2) {
  return ({ value, width, height, alignmentFactors, orientation }: One): ReactElement => (
    <BarGauge
      value={value.display}
      field={value.field}
      display={value.view?.getFieldDisplayProcessor(value.colIndex ?? 0)}
      width={width}
      height={height}
      theme={theme}
      orientation={orientation}
      text={options.text}
      itemSpacing={10}
      lcdCellWidth={8}
      displayMode={options.displayMode ?? ("gradient" as BarGaugeDisplayMode)}
      valueDisplayMode={options.valueMode}
      namePlacement={options.namePlacement}
      showUnfilled={options.showUnfilled ?? true}
      alignmentFactors={alignmentFactors}
    />
  );
}

interface TableOptions {
  showHeader?: boolean;
  cellHeight?: TableCellHeight;
  sortBy?: { displayName: string; desc?: boolean }[];
  enablePagination?: boolean;
}

function Table({ ready, width, height, around }: Drawing): ReactElement {
  const { panel, frames } = ready;
  const options = (panel.options ?? {}) as TableOptions;
  const frame = frames[0];
  if (frames.length > 1) {
    tellProblem(`panel ${panel.title}: a table of ${frames.length} frames shows the first only`);
  }
  const fields = (frame?.fields ?? []).filter(
    (field) => field.type === FieldType.number && !isHidden(field),
  );
  useShown(
    ready,
    fields.flatMap((field) =>
      numbers(field).map((value) => ({
        name: getFieldDisplayName(field, frame),
        value,
        text: textOf(field, value, around.theme),
      })),
    ),
  );
  if (frame === undefined) return <></>;
  return (
    <TableNG
      data={frame}
      width={width}
      height={height}
      noHeader={options.showHeader === false}
      sortBy={options.sortBy}
      cellHeight={options.cellHeight}
      enablePagination={options.enablePagination}
      enableVirtualization={false}
      structureRev={1}
      timeRange={around.range}
      fieldConfig={ready.fieldConfig}
      noValue={ready.fieldConfig.defaults.noValue}
      disableKeyboardEvents
    />
  );
}

function isHidden(field: Field): boolean {
  const custom = field.config.custom as
    { hidden?: boolean; hideFrom?: { viz?: boolean } } | undefined;
  return custom?.hidden === true || custom?.hideFrom?.viz === true;
}

interface GraphOptions {
  legend?: Partial<VizLegendOptions>;
}

function Graph({ ready, width, height, around }: Drawing): ReactElement {
  const { panel, frames } = ready;
  const legend: VizLegendOptions = {
    showLegend: true,
    displayMode: "list" as VizLegendOptions["displayMode"],
    placement: "bottom" as LegendPlacement,
    calcs: [],
    ...(panel.options as GraphOptions | undefined)?.legend,
  };
  const finite = frames.map((frame) =>
    withoutSpecial(
      applyNullInsertThreshold({
        frame,
        refFieldPseudoMin: around.asked.from,
        refFieldPseudoMax: around.asked.to,
      }),
    ),
  );
  const drawn: Shown[] = [];
  const seen = (builder: UPlotConfigBuilder, aligned: DataFrame): null => {
    drawn.splice(0, drawn.length, ...curves(finite, aligned, legend, around.theme));
    ready.report.annotations = around.marks.length;
    builder.addHook("draw", marksHook(around.marks));
    builder.addHook("draw", (plot) => checkAxes(panel.title, plot, drawn.length > 0));
    return null;
  };
  useShown(ready, drawn);
  return (
    <TimeSeries
      frames={finite}
      structureRev={1}
      width={width}
      height={height}
      timeRange={around.range}
      timeZone="utc"
      legend={legend}
      options={panel.options}
    >
      {seen}
    </TimeSeries>
  );
}

/** As Grafana's panel does before it draws: a gap where a series was not there (the old component
 * does so for the first series only), and nothing for what has no place on an axis. */
function withoutSpecial(frame: DataFrame): DataFrame {
  const plain = (field: Field): Field =>
    field.type === FieldType.number
      ? { ...field, values: field.values.map((v: number) => (Number.isFinite(v) ? v : null)) }
      : field;
  return { ...frame, fields: frame.fields.map(plain) };
}

/** Curves without an axis are not drawn, for all that the legend lists them. */
function checkAxes(title: string, plot: uPlot, hasCurves: boolean): void {
  const axes = plot.series.slice(1).map(({ scale }) => plot.scales[scale ?? ""]);
  const isFlat = (axis: uPlot.Scale | undefined): boolean =>
    typeof axis?.min !== "number" || typeof axis.max !== "number";
  if (hasCurves && axes.some(isFlat)) tellProblem(`panel ${title}: curves without an axis`);
}

/** The last point of each curve, and the figures that its legend has as text. */
function curves(
  frames: DataFrame[],
  aligned: DataFrame,
  legend: VizLegendOptions,
  theme: GrafanaTheme2,
): Shown[] {
  const shown: Shown[] = [];
  for (const field of aligned.fields) {
    if (field.type !== FieldType.number) continue;
    const name = getFieldDisplayName(field, aligned, frames);
    const last = numbers(field).at(-1);
    if (last !== undefined) shown.push({ name, value: last, text: null });
    const isListed = (field.config.custom as { hideFrom?: { legend?: boolean } } | undefined)
      ?.hideFrom?.legend;
    if (isListed === true || !legend.showLegend) continue;
    for (const calc of legend.calcs.filter((one) => one === "last" || one === "lastNotNull")) {
      const value = reduceField({ field, reducers: [calc] })[calc] as number | null;
      if (value === null || value === undefined || Number.isNaN(value)) continue;
      shown.push({ name, value, text: textOf(field, value, theme) });
    }
  }
  return shown;
}

function numbers(field: Field): number[] {
  return (field.values as (number | null | undefined)[]).filter(
    (value): value is number => value !== null && value !== undefined && !Number.isNaN(value),
  );
}

function textOf(field: Field, value: number, theme: GrafanaTheme2): string {
  const display: DisplayValue = (
    field.display ?? getDisplayProcessor({ field, theme, timeZone: "utc" })
  )(value);
  return formattedValueToString(display);
}

function useShown(ready: Ready, shown: Shown[]): void {
  useLayoutEffect(() => {
    ready.report.shown = [...shown];
  });
}
