"""Completion: one list of candidates, and what each shell needs to ask for it.

Answers are as those of kubectl's plug-ins: a candidate in each line, then `:` and a directive. As
`kubectl_complete-trimtab` on the path the program answers kubectl, too.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from trimtab.api.resource import Resource
from trimtab.cli.lazy import LazyParser
from trimtab.cli.names import SHORT, is_name
from trimtab.errors import TrimtabError

FILES, NO_FILES = 0, 4
"""Directives: whether the shell may offer files where there is no candidate."""
LIMIT_SECONDS = 3.0
MOST_NAMES = 500
_NAMESPACES = Resource("", "v1", "namespaces", "Namespace")


@dataclass
class Typed:
    """What was typed so far."""

    root: argparse.ArgumentParser
    parser: argparse.ArgumentParser
    expects: argparse.Action | None = None
    """The option whose value comes next."""
    positionals: int = 0
    values: dict[str, str] = field(default_factory=dict)


def complete(root: argparse.ArgumentParser, words: Sequence[str]) -> str:
    """Return the answer for the words behind the program's name; the last one is begun."""
    begun = words[-1] if words else ""
    try:
        candidates, directive = _candidates(_typed(root, words[:-1]), begun)
        found = [one for one in candidates if one.startswith(begun)]
    except TrimtabError:
        found, directive = [], NO_FILES
    return "\n".join([*found, f":{directive}"])


def _typed(root: argparse.ArgumentParser, words: Sequence[str]) -> Typed:
    typed = Typed(root, root)
    for word in words:
        if typed.expects is not None:
            typed.values[typed.expects.dest] = word
            typed.expects = None
        elif word.startswith("-") and len(word) > 1:
            _take_option(typed, word)
        elif typed.parser is root and word in _commands(root):
            typed.parser = _commands(root)[word]
            if isinstance(typed.parser, LazyParser):
                typed.parser.complete()
        else:
            typed.positionals += 1
    return typed


def _take_option(typed: Typed, word: str) -> None:
    name, equals, value = word.partition("=")
    for action in _options(typed):
        if name in action.option_strings and action.nargs != 0:
            if equals:
                typed.values[action.dest] = value
            else:
                typed.expects = action


def _candidates(typed: Typed, begun: str) -> tuple[Iterable[str], int]:
    if typed.expects is not None:
        return _values(typed, typed.expects)
    if begun.startswith("-"):
        return sorted({n for action in _options(typed) for n in action.option_strings}), NO_FILES
    if typed.parser is typed.root:
        return sorted(_commands(typed.root)), NO_FILES
    own = [action for action in typed.parser._actions if not action.option_strings]
    many = [action for action in own if action.nargs in ("*", "+")]
    if typed.positionals < len(own):
        return _values(typed, own[typed.positionals])
    return _values(typed, many[-1]) if many else ((), NO_FILES)


def _values(typed: Typed, action: argparse.Action) -> tuple[Iterable[str], int]:
    """Return what an argument may be: its choices, or what there is in the cluster."""
    if action.choices is not None:
        return [str(choice) for choice in action.choices], NO_FILES
    if action.dest == "namespace":
        return _names(typed, [("", _NAMESPACES)]), NO_FILES
    if action.dest == "context":
        return _contexts(), NO_FILES
    kinds = [part.partition("/") for part in str(action.metavar).split("|")]
    named = [(f"{short}/", SHORT[short]) for short, _, name in kinds if name and short in SHORT]
    return (_names(typed, named), NO_FILES) if named else ((), FILES)


def _options(typed: Typed) -> Iterator[argparse.Action]:
    for parser in {id(p): p for p in (typed.parser, typed.root)}.values():
        yield from (action for action in parser._actions if action.option_strings)


def _commands(root: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in root._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


# --- the cluster --------------------------------------------------------------------------------


def _names(typed: Typed, kinds: Sequence[tuple[str, Resource]]) -> list[str]:
    """Return the names of objects, only such as no shell reads anything into."""
    import asyncio

    from trimtab.cli.api import Scope
    from trimtab.cli.kubectl import Kubectl
    from trimtab.cli.seen import Seen

    async def listed() -> list[str]:
        api = Kubectl(typed.values.get("context"), timeout_seconds=LIMIT_SECONDS)
        if kinds[0][1] == _NAMESPACES:
            namespace = ""
        else:
            namespace = typed.values.get("namespace") or await api.namespace()
        found = []
        for prefix, resource in kinds:
            listing = await api.list(resource, Scope(namespace))
            names = (Seen(item).name for item in listing.items)
            found += [f"{prefix}{name}" for name in names if is_name(name)]
        return sorted(found)[:MOST_NAMES]

    return asyncio.run(listed())


def _contexts() -> list[str]:
    import asyncio

    from trimtab.cli.kubectl import Kubectl

    return sorted(asyncio.run(Kubectl(timeout_seconds=LIMIT_SECONDS).contexts()))


# --- shells -------------------------------------------------------------------------------------

_BASH = """\
# bash completion of trimtab: put `source <(trimtab completion bash)` into ~/.bashrc
_trimtab() {
    local line directive=4
    COMPREPLY=()
    while IFS='' read -r line; do
        case $line in
            :[0-9]*) directive=${line#:} ;;
            *) COMPREPLY+=("$line") ;;
        esac
    done < <("${COMP_WORDS[0]}" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    if [[ $directive != 0 ]]; then
        compopt +o default 2>/dev/null
    fi
}
complete -o default -F _trimtab trimtab kubectl-trimtab
"""
_ZSH = """\
#compdef trimtab kubectl-trimtab
# zsh completion of trimtab: put `source <(trimtab completion zsh)` behind compinit in ~/.zshrc
_trimtab() {
    local -a lines
    lines=("${(@f)$("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    local directive=${lines[-1]#:}
    lines[-1]=()
    if (( ${#lines} )); then
        compadd -- "${lines[@]}"
    elif [[ $directive == 0 ]]; then
        _files
    fi
}
compdef _trimtab trimtab kubectl-trimtab
"""
_FISH = """\
# fish completion of trimtab: put this into ~/.config/fish/completions/trimtab.fish
function __trimtab_complete
    set -l words (commandline -opc)
    set -l begun (commandline -ct)
    if test (count $begun) -eq 0
        set begun ''
    end
    for line in ($words[1] __complete $words[2..-1] $begun 2>/dev/null)
        if test "$line" = ':0'
            __fish_complete_path $begun
        else if not string match --quiet ':*' -- $line
            echo $line
        end
    end
end
complete -c trimtab -f -a '(__trimtab_complete)'
complete -c kubectl-trimtab -f -a '(__trimtab_complete)'
"""
_KUBECTL = """\
#!/bin/sh
# Completion of `kubectl trimtab`: save it as kubectl_complete-trimtab on the PATH, executable.
exec kubectl trimtab __complete "$@"
"""
SCRIPTS: Final = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH, "kubectl": _KUBECTL}
