"""The command that says what is in use here: checks."""

from __future__ import annotations

import json as json_format


def checks(*, json: bool = False) -> None:
    """What is in use here: versions, processor, fast paths, optional packages, fonts, published weights.

    Args:
        json: as JSON
    """
    from siseon.surroundings import surroundings

    found = surroundings()
    if json:
        print(json_format.dumps(found, ensure_ascii=False, indent=1))
        return
    width = max(map(len, found))
    for name, what in found.items():
        print(f"{name:{width}}  {what}")
