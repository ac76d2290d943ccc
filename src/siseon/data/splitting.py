"""A fixed split of pictures that nobody has split: 80 % train, 10 % val, 10 % test; of train and test only, 10 % val.

A picture's place follows from a hash of its name and the seed: the order of the files and the machine do not matter.
Copies of a file stay together, and so do the variants that Roboflow makes of one photo ("photo_jpg.rf.1a2b.jpg"),
because a picture that is also in train says nothing about a model. Pictures of a class folder are split class by
class.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

from siseon.data.files import Notes, Record, relative_name

HELD_OUT = 0.1
"""The share of val, and that of test."""


def split_pool(records: Sequence[Record], notes: Notes, seed: int) -> None:
    """Give each record its split, where the data names none but train.

    Fewer than three different pictures (of a class) all go to train; one of all pictures always goes to val.
    """
    splits = {record.split for record in records} - {""}
    if splits - {"train"}:
        _leave_out_unsplit(records, notes)
        if splits == {"train", "test"}:
            _hold_out_val([record for record in records if record.split == "train"], notes.root, seed)
        return
    strata: dict[str | None, list[list[Record]]] = {}
    for group in _groups(records, notes.root, seed):
        strata.setdefault(group[0].label, []).append(group)
    for groups in strata.values():
        held_out = max(1, round(HELD_OUT * len(groups))) if len(groups) > 2 else 0
        for index, group in enumerate(groups):
            split = "test" if index < held_out else "val" if index < 2 * held_out else "train"
            for record in group:
                record.split = split
    everything = [group for groups in strata.values() for group in groups]
    if len(everything) > 1 and all(record.split == "train" for record in records):
        for record in everything[0]:
            record.split = "val"


def _hold_out_val(records: Sequence[Record], root: Path, seed: int) -> None:
    """Take val from train: a best epoch that is chosen on the test pictures would make their figures too good."""
    groups = _groups(records, root, seed)
    for group in groups[: round(HELD_OUT * len(groups))]:
        for record in group:
            record.split = "val"


def _leave_out_unsplit(records: Sequence[Record], notes: Notes) -> None:
    for record in records:
        if not record.split:
            notes.add(record.picture, "is in none of the splits train, val and test", "left out")


def _groups(records: Sequence[Record], root: Path, seed: int) -> list[list[Record]]:
    """Records that must stay together, in the order of their hashes."""
    leader: dict[str, str] = {}

    def find(key: str) -> str:
        while leader.setdefault(key, key) != key:
            key = leader[key]
        return key

    names = {id(record): relative_name(record.picture, root) for record in records}
    sizes = Counter(record.picture.stat().st_size for record in records)
    for record in records:
        name = names[id(record)]
        keys = [f"name {name.split('.rf.')[0]}"]
        # Only files of the same length can be copies; the others need not be read.
        if sizes[record.picture.stat().st_size] > 1:
            keys.append(f"content {blake2b(record.picture.read_bytes()).hexdigest()}")
        for key in keys:
            first, second = sorted((find(name), find(key)))
            leader[second] = first
    groups: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda record: names[id(record)]):
        groups.setdefault(find(names[id(record)]), []).append(record)
    return sorted(groups.values(), key=lambda group: _digest(names[id(group[0])], seed))


def _digest(name: str, seed: int) -> bytes:
    return blake2b(f"{seed}:{name}".encode(), digest_size=8).digest()
