"""Panels and dashboards as this project draws them, on top of Grafana's foundation SDK.

Only types of panels that Grafana's own component library draws are here, so that a test can draw
every one of them. Widths and heights are those of Grafana's grid: 24 columns, rows of 30 pixels.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from string import ascii_uppercase
from typing import Any, Final, TypeVar

from grafana_foundation_sdk.builders import bargauge, common, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

COLUMNS: Final = 24
_BAR_TITLE, _SMALL = 13, 9
"""Pixels."""
_CELL: Final = 96
"""Pixels of a cell of a heat map: its head is `DD HH:mm`."""
SOURCE: Final = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
TAG: Final = "trimtab"

GREEN, BLUE, YELLOW, ORANGE, RED, GREY = "green", "blue", "yellow", "orange", "red", "text"
NOTHING: Final = "#8e8e8e"
"""Neither well nor ill, on a dark and on a light page."""

Steps = Sequence[tuple[float | None, str]]
"""From which value on which colour; the first value is None."""
GOOD_AT_ZERO: Final[Steps] = ((None, GREEN), (1, RED))
PLAIN: Final[Steps] = ((None, GREY),)

_Panel = TypeVar("_Panel", stat.Panel, timeseries.Panel, bargauge.Panel, table.Panel)


@dataclass(frozen=True)
class Query:
    """A query; legend: with `{{label}}`. Without a legend the name of the panel stands there."""

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class About:
    """What every panel says of itself.

    text: what is shown, and what a person does when it is red. unit: as Grafana names it, `none`
    for texts. no_value: what stands there while there is nothing. width: in columns.
    """

    title: str
    text: str
    unit: str
    no_value: str
    width: int
    decimals: int | None = None


@dataclass(frozen=True)
class Word:
    """What a value is shown as."""

    text: str
    color: str


@dataclass(frozen=True)
class Column:
    """A column of a table: its name in the answer, its title and how it is drawn.

    name: a label, or `Value #A` of the query A. link: where a click leads.
    """

    name: str
    title: str
    unit: str = "none"
    steps: Steps = ()
    words: Mapping[str, Word] = field(default_factory=dict)
    width: int | None = None
    link: tuple[str, str] | None = None
    decimals: int | None = None


@dataclass(frozen=True)
class Variable:
    """A variable whose values a label has."""

    name: str
    label: str
    series: str
    of: str
    many: bool


@dataclass(frozen=True)
class Annotation:
    """Marks on all graphs, where the value of `expr` is the time in milliseconds."""

    name: str
    expr: str
    title: str
    text: str
    color: str


Row = tuple[int, Sequence[models.Panel]]
"""Height, and what stands beside each other."""


# --- panels -------------------------------------------------------------------------------------


def stats(
    about: About,
    queries: Iterable[Query],
    *,
    steps: Steps = PLAIN,
    words: Mapping[str, Word] | None = None,
    label: str | None = None,
    graph: bool = False,
) -> models.Panel:
    """Return large figures. label: its value is what is to be read. graph: with its past."""
    color, past = common_models.BigValueColorMode, common_models.BigValueGraphMode
    panel = _described(stat.Panel(), about)
    panel.color_mode(color.NONE if steps is PLAIN and not words else color.BACKGROUND)
    panel.text_mode(common_models.BigValueTextMode.AUTO)
    panel.graph_mode(past.AREA if graph else past.NONE)
    panel.reduce_options(_last("" if label is None else f"/^{label}$/"))
    panel.thresholds(_steps(steps)).color_scheme(_by_threshold())
    panel.mappings([*([_mapping(words)] if words else []), _nothing(about)])
    return _asking(panel, queries, instant=not graph, as_table=label is not None)


def graph(
    about: About,
    queries: Iterable[Query],
    *,
    steps: Steps = (),
    top: float | None = None,
    stacked: bool = False,
    bars: bool = False,
    stairs: bool = False,
    from_zero: bool = True,
    many: bool = False,
    colors: Mapping[str, str] | None = None,
) -> models.Panel:
    """Return lines over time.

    steps: lines across, where they are; top: end of the axis, if there is nothing above it.
    from_zero: whether the axis begins at 0. many: lines, so that the legend has no room for their
    last values. colors: by a regular expression of the legend. bars: what was in each two minutes,
    which are four scrapes or more, so that hardly anything is in two bars.
    """
    panel = _described(timeseries.Panel(), about)
    legend = common.VizLegendOptions().show_legend(True)
    legend.calcs([] if many else ["lastNotNull"])
    legend.display_mode(common_models.LegendDisplayMode.LIST)
    panel.legend(legend.placement(common_models.LegendPlacement.BOTTOM))
    tooltip = common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI)
    panel.tooltip(tooltip.sort(common_models.SortOrder.DESCENDING))
    # The line of what is stacked would be seen on top where there is nothing of it.
    panel.line_width(0 if stacked else 2).show_points(common_models.VisibilityMode.AUTO)
    panel.fill_opacity(60 if stacked else 0)
    panel.color_scheme(build.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC))
    if from_zero:
        panel.min(0)
    if top is not None:
        panel.axis_soft_max(top)
    if bars:
        panel.draw_style(common_models.GraphDrawStyle.BARS)
    if stairs:
        panel.line_interpolation(common_models.LineInterpolation.STEP_AFTER)
    if stacked:
        panel.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL))
    if steps:
        dashed = common_models.GraphThresholdsStyleMode.DASHED
        panel.thresholds(_steps(steps))
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(dashed))
    for pattern, color in (colors or {}).items():
        panel.override_by_regexp(f"/{pattern}/", [_property("color", _fixed(color))])
    return _asking(panel.interval("2m") if bars else panel, queries, instant=False)


def bars(
    about: About,
    queries: Iterable[Query],
    *,
    steps: Steps,
    top: float | None = None,
    upright: bool = False,
    sorted_by: str | None = None,
) -> models.Panel:
    """Return a bar for each series.

    sorted_by: the label that names the bars and that they are sorted by; else as they come.
    """
    panel = _described(bargauge.Panel(), about).min(0)
    panel.display_mode(common_models.BarGaugeDisplayMode.BASIC).show_unfilled(True)
    way = common_models.VizOrientation
    panel.orientation(way.VERTICAL if upright else way.HORIZONTAL)
    panel.value_mode(common_models.BarGaugeValueMode.COLOR)
    panel.text(common.VizTextDisplayOptions().title_size(_SMALL if upright else _BAR_TITLE))
    panel.thresholds(_steps(steps)).color_scheme(_by_threshold()).mappings([_nothing(about)])
    if top is not None:
        panel.max(top)
    if sorted_by is None:
        panel.reduce_options(_last())
        return _asking(panel, queries, instant=True)
    panel.reduce_options(common.ReduceDataOptions().values(True).calcs([]).fields(""))
    panel.with_transformation(_transformation("sortBy", sort=[{"field": sorted_by}]))
    return _asking(panel, queries, instant=True, as_table=True)


def rows(
    about: About, queries: Iterable[Query], columns: Sequence[Column], *, sort: str, desc: bool
) -> models.Panel:
    """Return a table: a row for each set of labels that the queries share, as columns say."""
    panel = _described(table.Panel(), about).filterable(False)
    panel.with_transformation(_transformation("merge"))
    keep = [column.name for column in columns]
    panel.with_transformation(_transformation("filterFieldsByName", include={"names": keep}))
    panel.with_transformation(
        _transformation(
            "organize",
            excludeByName={},
            indexByName={name: place for place, name in enumerate(keep)},
            renameByName={column.name: column.title for column in columns},
        )
    )
    panel.sort_by([common.TableSortByFieldState().display_name(sort).desc(desc)])
    for column in columns:
        panel.override_by_name(column.title, _drawn(column))
    return _asking(panel, queries, instant=True, as_table=True)


def matrix(
    about: About, query: Query, *, row: str, title: str, steps: Steps, columns: int
) -> models.Panel:
    """Return a heat map: rows by a label, columns by time, cells coloured by their value.

    Grafana's heat map is no part of its component library; a table is, and has figures besides.
    """
    panel = _described(table.Panel(), about).filterable(False).max_data_points(columns)
    # Columns come in the order in which their times are met.
    panel.with_transformation(_transformation("sortBy", sort=[{"field": "Time"}]))
    panel.with_transformation(
        _transformation("formatTime", timeField="Time", outputFormat="DD HH:mm", useTimezone=True)
    )
    panel.with_transformation(
        _transformation(
            "groupingToMatrix",
            columnField="Time",
            rowField=row,
            valueField="Value",
            emptyValue="null",
        )
    )
    name = f"{row}\\Time"
    panel.with_transformation(
        _transformation("organize", excludeByName={}, indexByName={}, renameByName={name: title})
    )
    panel.thresholds(_steps(steps)).color_scheme(_by_threshold())
    nothing = models.ValueMappingResult(text="–", color="transparent")
    empty = models.SpecialValueMap(
        models.DashboardSpecialValueMapOptions(models.SpecialValueMatch.NULL, nothing)
    )
    panel.override_by_regexp(
        "/^[0-9]{2} /",
        [
            _property("custom.cellOptions", {"type": "color-background", "mode": "basic"}),
            _property("custom.width", _CELL),
            _property("noValue", "–"),
            _property("mappings", [empty]),
        ],
    )
    panel.override_by_name(title, [_property("custom.width", 220)])
    return _asking(panel, [query], instant=False, as_table=True)


# --- parts of panels ----------------------------------------------------------------------------


def _described(panel: _Panel, about: About) -> _Panel:
    panel.title(about.title).description(about.text).unit(about.unit).no_value(about.no_value)
    panel.datasource(SOURCE).span(about.width)
    if about.decimals is not None:
        panel.decimals(about.decimals)
    return panel


def _asking(
    panel: _Panel, queries: Iterable[Query], *, instant: bool, as_table: bool = False
) -> models.Panel:
    """Return the panel with its queries. as_table: labels and value are fields of one frame."""
    form = PromQueryFormat.TABLE if as_table else PromQueryFormat.TIME_SERIES
    built = panel.build()
    built.targets = []
    for letter, query in zip(ascii_uppercase, queries, strict=False):
        target = prometheus.Dataquery().expr(query.expr).ref_id(letter).datasource(SOURCE)
        target.format(form).legend_format(query.legend or "__auto")
        built.targets.append((target.instant() if instant else target.range()).build())
    return built


def _last(fields: str = "") -> common.ReduceDataOptions:
    """Return that the last value counts. fields: a pattern of names; all numbers if empty."""
    return common.ReduceDataOptions().values(False).calcs(["lastNotNull"]).fields(fields)


def _steps(steps: Steps) -> build.ThresholdsConfig:
    listed = [models.Threshold(value=value, color=color) for value, color in steps]
    return build.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(listed)


def _by_threshold() -> build.FieldColor:
    return build.FieldColor().mode(models.FieldColorModeId.THRESHOLDS)


def _fixed(color: str) -> dict[str, str]:
    return {"mode": "fixed", "fixedColor": color}


def _mapping(words: Mapping[str, Word]) -> models.ValueMap:
    return models.ValueMap(
        options={
            value: models.ValueMappingResult(text=word.text, color=word.color, index=place)
            for place, (value, word) in enumerate(words.items())
        }
    )


def _nothing(about: About) -> models.SpecialValueMap:
    """Return that no data are grey: Grafana gives them the colour of 0, which is mostly green."""
    return models.SpecialValueMap(
        options=models.DashboardSpecialValueMapOptions(
            match=models.SpecialValueMatch.NULL,
            result=models.ValueMappingResult(text=about.no_value, color=NOTHING),
        )
    )


def _property(name: str, value: object) -> models.DynamicConfigValue:
    return models.DynamicConfigValue(id_val=name, value=value)


def _transformation(name: str, **options: Any) -> models.DataTransformerConfig:
    return models.DataTransformerConfig(id_val=name, options=options)


def _drawn(column: Column) -> list[models.DynamicConfigValue]:
    """Return how the cells of a column look."""
    # The panel's own is said once, where there is no row at all.
    properties = [_property("unit", column.unit), _property("noValue", "–")]
    if column.decimals is not None:
        properties.append(_property("decimals", column.decimals))
    if column.width is not None:
        properties.append(_property("custom.width", column.width))
    if column.steps:
        config = _steps(column.steps).build()
        properties.append(_property("thresholds", config))
        properties.append(_property("color", {"mode": "thresholds"}))
    if column.words:
        properties.append(_property("mappings", [_mapping(column.words)]))
    if column.steps or column.words:
        properties.append(_property("custom.cellOptions", {"type": "color-text"}))
    if column.link is not None:
        title, url = column.link
        properties.append(_property("links", [{"title": title, "url": url}]))
    return properties


# --- dashboards ---------------------------------------------------------------------------------


class _Marks(models.AnnotationQuery):
    """An annotation query with the options that Prometheus has, which the SDK does not know."""

    def __init__(self, annotation: Annotation) -> None:
        super().__init__(
            name=annotation.name,
            datasource=SOURCE,
            icon_color=annotation.color,
            expr=annotation.expr,
        )
        self.of_prometheus = {
            "titleFormat": annotation.title,
            "textFormat": annotation.text,
            "tagKeys": "reason",
            "useValueForTime": True,
        }

    def to_json(self) -> dict[str, object]:
        return {**super().to_json(), **self.of_prometheus}


MARK_OPTIONS: Final = frozenset({"titleFormat", "textFormat", "tagKeys", "useValueForTime"})
"""What only we write and the SDK loses."""


def dashboard_text(
    *,
    uid: str,
    title: str,
    text: str,
    variables: Sequence[Variable],
    annotations: Sequence[Annotation],
    rows: Sequence[Row],
    span: str = "now-6h",
    refresh: str = "30s",
) -> str:
    """Return a dashboard as JSON, a panel a line. span: where the time shown begins."""
    board = build.Dashboard(title).uid(uid).description(text).tags([TAG]).time(span, "now")
    board.readonly().refresh(refresh).timezone("browser")
    board.tooltip(models.DashboardCursorSync.CROSSHAIR)
    board.variables([_source(), *map(_variable, variables)])
    others = build.DashboardLink("Trimtab").type(models.DashboardLinkType.DASHBOARDS).tags([TAG])
    board.link(others.include_vars(True).keep_time(True).as_dropdown(True))
    built = board.build()
    built.annotations = models.AnnotationContainer([_Marks(one) for one in annotations])
    built.panels = list(_placed(rows))
    return _written(built)


def _source() -> build.DatasourceVariable:
    return build.DatasourceVariable("datasource").label("Data source").type("prometheus")


def _variable(variable: Variable) -> build.QueryVariable:
    query = f"label_values({variable.series}, {variable.of})"
    made = build.QueryVariable(variable.name).label(variable.label).datasource(SOURCE)
    made.query({"query": query, "refId": variable.name}).refresh(_ON_TIME)
    made.sort(models.VariableSort.ALPHABETICAL_ASC).multi(variable.many)
    made.include_all(variable.many)
    if variable.many:
        made.all_value(".+").current(models.VariableOption(text="All", value="$__all"))
    return made


_ON_TIME: Final = models.VariableRefresh.ON_TIME_RANGE_CHANGED


def _placed(rows: Sequence[Row]) -> Iterable[models.Panel]:
    """Yield the panels with their places and numbers. ValueError: a row is too wide."""
    numbers, y = count(1), 0
    for height, panels in rows:
        x = 0
        for panel in panels:
            assert panel.grid_pos is not None
            panel.id_val = next(numbers)
            panel.grid_pos = models.GridPos(h=height, w=panel.grid_pos.w, x=x, y=y)
            x += panel.grid_pos.w
            yield panel
        if x > COLUMNS:
            raise ValueError(f"the row of {panels[0].title} is {x} columns wide")
        y += height


def _written(board: models.Dashboard) -> str:
    """Return JSON: short, and still with a line for each panel that a person can compare."""
    plain = json.loads(json.dumps(board, cls=JSONEncoder))
    panels = ",\n".join(_short(panel) for panel in plain.pop("panels"))
    head = ",\n".join(f"{_short(name)}:{_short(value)}" for name, value in plain.items())
    return f'{{{head},\n"panels":[\n{panels}\n]}}\n'


def _short(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
