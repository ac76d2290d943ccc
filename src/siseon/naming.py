"""A row of a literal table by its name; a wrong name is met with the nearest one."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TypeVar

from siseon.interface import RecipeError

Row = TypeVar("Row")


def lookup(table: Mapping[str, Row], name: str, *, what: str) -> Row:
    """table[name]. Raises RecipeError with the nearest name and all others; what: "activation" and the like."""
    if name in table:
        return table[name]
    small = name.lower()
    begun = [each for each in table if each.startswith(small)]
    near = begun or difflib.get_close_matches(small, table, n=1, cutoff=0.4)
    meant = f'Did you mean "{near[0]}"? ' if near else ""
    raise RecipeError(f'there is no {what} "{name}"', f"{meant}There are {', '.join(table)}")
