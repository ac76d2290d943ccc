"""What a race is, as its folder keeps it: recipe.toml, the settings of all, and race.json, who runs and what is shown.

A model may have settings of its own, where those of all would not let it learn: fields of the recipe, whose `options`
join the options of all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from siseon import tensorfile
from siseon.comparison.entrants import Entrant
from siseon.data.open_data import BUILT_IN
from siseon.interface import RecipeError
from siseon.training.recipe import Recipe

Own: TypeAlias = Mapping[str, Mapping[str, Any]]
"""Model, as it is named -> fields of the recipe that are its own."""


def lasting(data: str | Path) -> str:
    """Where the data is, so that the race can be gone on with from any folder."""
    return str(data) if str(data) in BUILT_IN else str(Path(data).expanduser().absolute())


def recipe_of(recipe: Recipe, own: Own, entrant: Entrant) -> Recipe:
    """The recipe of one model, from that of all and its own settings. Raises RecipeError for a setting unknown."""
    mine = dict(own.get(entrant.given, {}))
    options = {**recipe.options, **mine.pop("options", {})}
    return recipe.changed(model=entrant.model, **mine, options=options)


def check(recipe: Recipe, own: Own, entrants: Sequence[Entrant]) -> None:
    """Raise RecipeError for settings of a model that is not in the race, or that make no sense, before it begins."""
    named = [entrant.given for entrant in entrants]
    stranger = next((name for name in own if name not in named), None)
    if stranger is not None:
        raise RecipeError(f"{stranger} has settings of its own and is not in the race", f"Name {stranger} too")
    for entrant in entrants:
        recipe_of(recipe, own, entrant)


def keep(folder: Path, recipe: Recipe, own: Own, facts: Mapping[str, Any]) -> None:
    """Write down what the race is. Raises RecipeError where the folder holds another, or other things."""
    if (folder / "recipe.toml").exists():
        other = _difference(folder, recipe, own)
        if other is not None:
            raise RecipeError(f"{folder} holds a race with {other}", "Name another folder with --out")
    elif folder.exists() and any(folder.iterdir()):
        raise RecipeError(f"{folder} has other things in it than a race", "Name another folder with --out")
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**facts, "own": own}, ensure_ascii=False) + "\n"
    tensorfile.write_whole(folder / "race.json", [text.encode()])
    tensorfile.write_whole(folder / "recipe.toml", [recipe.to_toml().encode()])


def read(folder: Path) -> tuple[Recipe, dict[str, Any]]:
    """The recipe and the facts that `keep` wrote, "own" among them. Raises RecipeError where there is no race."""
    try:
        facts = json.loads((folder / "race.json").read_text(encoding="utf-8"))
        kept = {name: facts[name] for name in ("models", "family", "photos", "languages")}
        kept["own"] = facts.get("own", {})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise RecipeError(f"{folder} holds no race", "Name a folder that siseon compare made") from fault
    return Recipe.from_toml(folder / "recipe.toml"), kept


def _difference(folder: Path, recipe: Recipe, own: Own) -> str | None:
    """What the race in the folder has otherwise, in words; models that only one of the two has are none."""
    kept, facts = read(folder)
    there, wanted = kept.model_dump(), recipe.model_dump()
    for name in wanted:
        same = lasting(there[name]) == lasting(wanted[name]) if name == "data" else there[name] == wanted[name]
        if not same:
            return f"{name} = {there[name]}, not {wanted[name]}"
    for name in facts["models"]:
        before, now = facts["own"].get(name, {}), json.loads(json.dumps(own.get(name, {})))
        if name in own and before != now:
            return f"{name}: {before}, not {now}"
    return None
