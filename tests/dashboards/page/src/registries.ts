// What Grafana's server registers at its start, and what field options our panel types know.
import {
  FieldConfigProperty,
  PanelPlugin,
  booleanOverrideProcessor,
  dataLinksOverrideProcessor,
  displayNameOverrideProcessor,
  type FieldConfigOptionsRegistry,
  type FieldConfigPropertyItem,
  type FieldConfigSource,
  fieldMatchers,
  getPanelOptionsWithDefaults,
  identityOverrideProcessor,
  numberOverrideProcessor,
  standardFieldConfigEditorRegistry,
  standardTransformers,
  standardTransformersRegistry,
  stringOverrideProcessor,
  thresholdsOverrideProcessor,
  type TransformerRegistryItem,
  unitOverrideProcessor,
  valueMappingsOverrideProcessor,
} from "@grafana/data";
import { tellProblem } from "./report";

type Process = FieldConfigPropertyItem["process"];

const STANDARD: [FieldConfigProperty, Process][] = [
  [FieldConfigProperty.Unit, unitOverrideProcessor as Process],
  [FieldConfigProperty.Min, numberOverrideProcessor as Process],
  [FieldConfigProperty.Max, numberOverrideProcessor as Process],
  [FieldConfigProperty.FieldMinMax, booleanOverrideProcessor as Process],
  [FieldConfigProperty.Decimals, numberOverrideProcessor as Process],
  [FieldConfigProperty.DisplayName, displayNameOverrideProcessor as Process],
  [FieldConfigProperty.Color, identityOverrideProcessor as Process],
  [FieldConfigProperty.NoValue, stringOverrideProcessor as Process],
  [FieldConfigProperty.Links, dataLinksOverrideProcessor as Process],
  [FieldConfigProperty.Mappings, valueMappingsOverrideProcessor as Process],
  [FieldConfigProperty.Thresholds, thresholdsOverrideProcessor as Process],
  [FieldConfigProperty.Filterable, booleanOverrideProcessor as Process],
];

/** Options below `custom`, with the values that they have when the JSON says nothing. */
const GRAPH: Record<string, unknown> = {
  drawStyle: "line",
  lineInterpolation: "linear",
  barAlignment: 0,
  barWidthFactor: 0.6,
  lineWidth: 1,
  fillOpacity: 0,
  gradientMode: "none",
  lineStyle: undefined,
  spanNulls: false,
  insertNulls: false,
  showPoints: "auto",
  pointSize: 5,
  stacking: { mode: "none", group: "A" },
  axisPlacement: "auto",
  axisLabel: undefined,
  axisWidth: undefined,
  axisSoftMin: undefined,
  axisSoftMax: undefined,
  axisColorMode: "text",
  axisGridShow: undefined,
  axisBorderShow: false,
  axisCenteredZero: false,
  scaleDistribution: { type: "linear" },
  hideFrom: { tooltip: false, viz: false, legend: false },
  thresholdsStyle: { mode: "off" },
  fillBelowTo: undefined,
  transform: undefined,
};
const TABLE: Record<string, unknown> = {
  width: undefined,
  minWidth: undefined,
  align: "auto",
  cellOptions: { type: "auto" },
  inspect: false,
  filterable: undefined,
  hidden: undefined,
  hideFrom: undefined,
  wrapHeaderText: undefined,
  wrapText: undefined,
};

export const TYPES: Record<string, Record<string, unknown>> = {
  timeseries: GRAPH,
  table: TABLE,
  stat: {},
  bargauge: {},
  gauge: {},
  text: {},
};

/** What Grafana's server takes where the JSON says nothing. */
const DEFAULTS: Partial<Record<string, unknown>> = {
  [FieldConfigProperty.Mappings]: [],
  [FieldConfigProperty.Thresholds]: {
    mode: "absolute",
    steps: [
      { value: -Infinity, color: "green" },
      { value: 80, color: "red" },
    ],
  },
};

function propertyOf(id: string, process: Process): FieldConfigPropertyItem {
  return {
    id,
    defaultValue: DEFAULTS[id],
    path: id,
    name: id,
    editor: () => null,
    override: () => null,
    process,
    shouldApply: () => true,
    settings: {},
  };
}

export function registerAll(): void {
  standardFieldConfigEditorRegistry.setInit(() =>
    STANDARD.map(([id, process]) => propertyOf(id, process)),
  );
  standardTransformersRegistry.setInit(() => {
    const items = new Map<string, TransformerRegistryItem>();
    for (const one of Object.values(standardTransformers)) {
      items.set(one.id, {
        id: one.id,
        name: one.name,
        transformation: () => Promise.resolve(one),
        editor: () => null,
        imageDark: "",
        imageLight: "",
      });
    }
    return [...items.values()];
  });
}

const plugins = new Map<string, PanelPlugin>();

export function registryOf(type: string): FieldConfigOptionsRegistry {
  return pluginOf(type).fieldConfigRegistry;
}

function pluginOf(type: string): PanelPlugin {
  const known = plugins.get(type);
  if (known !== undefined) return known;
  const mode = type === "timeseries" ? "palette-classic" : "thresholds";
  const plugin = new PanelPlugin(() => null).useFieldConfig({
    standardOptions: { [FieldConfigProperty.Color]: { defaultValue: { mode } } },
    useCustomConfig: (builder) => {
      for (const [path, defaultValue] of Object.entries(TYPES[type] ?? {})) {
        builder.addCustomEditor({
          id: path,
          path,
          name: path,
          defaultValue,
          editor: () => null,
          override: () => null,
          process: identityOverrideProcessor,
          shouldApply: () => true,
          settings: {},
        });
      }
    },
  });
  plugins.set(type, plugin);
  return plugin;
}

/** Return the panel's field options with those that it leaves out, and tell of those that this page would pass over. */
export function checkedFieldConfig(
  where: string,
  type: string,
  given: FieldConfigSource | undefined,
): FieldConfigSource {
  const config = structuredClone(given ?? { defaults: {}, overrides: [] });
  config.defaults ??= {};
  config.overrides ??= [];
  const custom = TYPES[type] ?? {};
  const standard = new Set<string>([...STANDARD.map(([id]) => id), "custom"]);
  for (const key of Object.keys(config.defaults)) {
    if (!standard.has(key)) tellProblem(`${where}: field option ${key} is not understood`);
  }
  for (const key of Object.keys(config.defaults.custom ?? {})) {
    if (!(key in custom)) tellProblem(`${where}: field option custom.${key} is not understood`);
  }
  for (const { matcher, properties } of config.overrides) {
    if (fieldMatchers.getIfExists(matcher.id) === undefined) {
      tellProblem(`${where}: matcher ${matcher.id} is not understood`);
    }
    for (const { id } of properties) {
      const [head = "", ...path] = id.split(".");
      const isKnown = head === "custom" ? path.join(".") in custom : standard.has(head);
      if (!isKnown) tellProblem(`${where}: override of ${id} is not understood`);
    }
  }
  return getPanelOptionsWithDefaults({
    plugin: pluginOf(type),
    currentOptions: {},
    currentFieldConfig: config,
    isAfterPluginChange: false,
  }).fieldConfig;
}
