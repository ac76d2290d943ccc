"""Pictures beside maps of their classes: images/ and masks/, train/ and trainannot/, or as Pascal VOC has them.

A map has the name of its picture, perhaps with "_mask", "_L" or the like behind it, and lies in a folder whose name
says what it is (mask, label, annot, segmentation, gt), or beside the picture with such an ending. It holds
- indices: grey PNG, or PNG with a palette; 255 is void. A map of 0 and 255 alone is background and foreground.
- or colours, which a table of classes explains; without a table each colour is a class.
The table is one of the files in `TABLES` with a class a line: "sky", "0 sky", "sky, 128, 128, 128", "128 128 128 sky",
or JSON. Without one the classes of Pascal VOC (SegmentationClass/) and of CamVid in SegNet's form (trainannot/) are
known by their folders; others are called by their numbers or colours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.resources import files as package_files
from pathlib import Path
from typing import NamedTuple

from siseon import pictures
from siseon.data.files import SPLIT_WORDS, Contents, Files, Notes, Record, clean_name, split_of, text_of
from siseon.data.map_files import MapFile, mode_and_size, numbers_in, packed
from siseon.data.mending import orientation_of
from siseon.interface import VOID, DataError, PictureError

FOLDERS = re.compile(r"mask|annot|label|segment|semantic|truth|(?:^|[^a-z])(?:gt|seg)s?(?:$|[^a-z])")
"""What the name of a folder of maps has in it, in lower case."""

ENDINGS = re.compile(r"[_-](?:l|masks?|labels?|gt|seg|segmentation|annot|annotation|semantic)$")
"""What the name of a map may have behind the name of its picture, in lower case."""

SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".gif")
"""Formats that keep numbers as they are; a JPEG invents new ones."""

TABLES = re.compile(
    r"(?:class(?:es)?(?:_names|_dict|_list)?|labels?|label_?(?:map|colors|colours)|codes|names|palette)"
)
"""Names of the files that list classes, without .txt, .csv or .json, in lower case."""

VOID_NAMES = {"void", "ignore", "ignored", "unlabeled", "unlabelled", "don't care"}
"""Classes of a table that are none."""

CAMVID = ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist")
"""Of the maps in SegNet's tutorial; 11 is void."""

MOST_COLOURS = 254


class Table(NamedTuple):
    """What a table of classes says: names in their order, the void among them, and the colour of each, if it does."""

    names: tuple[str, ...]
    colours: tuple[int, ...] | None


class Meaning(NamedTuple):
    """What the pixels of the maps of a data set mean."""

    classes: tuple[str, ...]
    labels: dict[int, int]
    coloured: bool


def recognises(files: Files) -> bool:
    """Whether at least half of the files that look like maps have a picture of their name."""
    maps = _maps(files)
    return bool(maps) and 2 * len(_pairs(files, maps)) >= len(maps)


def read(files: Files, notes: Notes) -> Contents:
    """Every picture that has a map, with it."""
    maps = _maps(files)
    pairs = _pairs(files, maps)
    for path in maps.keys() - pairs.keys():
        notes.add(path, "is a map without a picture", "left out")
    for picture in sorted(set(files.pictures) - set(maps) - set(pairs.values())):
        notes.add(picture, "has no map", "left out")
    meaning = _meaning(sorted(pairs), _table(files, notes), notes)
    lists = _lists(files)
    records = []
    for path, picture in sorted(pairs.items()):
        split = lists.get(clean_name(picture.stem), "") if lists else split_of(*reversed(files.parts(picture)))
        if lists and not split:
            notes.once(path, "is in no list of ImageSets/Segmentation", "left out")
            continue
        found = _map_file(path, picture, meaning, notes)
        if found is not None:
            records.append(Record(picture, path, split, map=found))
    return Contents("segmentation", records, meaning.classes)


def _maps(files: Files) -> dict[Path, None]:
    """The files that look like maps: by their folder, or by the ending of their name beside a picture without it."""
    stems = {path.stem.casefold() for path in files.pictures}
    found: dict[Path, None] = {}
    for path in files.of(*SUFFIXES):
        parts = [part.lower() for part in files.parts(path)]
        instances = any("object" in part or "instance" in part for part in parts)
        by_folder = any(FOLDERS.search(part) for part in parts) and not instances
        stem = path.stem.casefold()
        if by_folder or (ENDINGS.search(stem) and ENDINGS.sub("", stem) in stems):
            found[path] = None
    return found


def _pairs(files: Files, maps: Mapping[Path, None]) -> dict[Path, Path]:
    """Map -> its picture: of its name, and of those the one whose folders are most like its own."""
    by_stem: dict[str, list[Path]] = {}
    for picture in files.pictures:
        if picture not in maps:
            by_stem.setdefault(clean_name(picture.stem).casefold(), []).append(picture)
    pairs = {}
    for path in maps:
        stem = clean_name(path.stem).casefold()
        found = by_stem.get(stem) or by_stem.get(ENDINGS.sub("", stem), [])
        here = {_bare(part) for part in files.parts(path)}
        if found:
            pairs[path] = max(found, key=lambda picture: len(here & {_bare(part) for part in files.parts(picture)}))
    return pairs


def _bare(part: str) -> str:
    """A folder's name without what says that it holds maps or pictures: "trainannot" and "train_images" are train."""
    return re.sub(r"[^a-z0-9]|mask|annotations?|annot|labels?|images?|img|s$", "", part.lower())


def _lists(files: Files) -> dict[str, str]:
    """Name of a picture -> split, from ImageSets/Segmentation, as Pascal VOC has them."""
    lists: dict[str, str] = {}
    for word in ("trainval", "train", "val", "test"):
        for path in files.of(".txt"):
            if path.parts[-3:] == ("ImageSets", "Segmentation", f"{word}.txt"):
                lists |= {clean_name(line): SPLIT_WORDS[word] for line in text_of(path).splitlines() if line.strip()}
    return lists


def _map_file(path: Path, picture: Path, meaning: Meaning, notes: Notes) -> MapFile | None:
    """The map of a picture, turned as the picture is; None, and a note, where the two do not belong together."""
    try:
        size, turned = pictures.size_and_turn(picture)
        height, width = mode_and_size(path)[1]
    except PictureError as error:
        notes.add(error.problem.partition(": ")[0], error.problem.partition(": ")[2], "left out")
        return None
    turn = orientation_of(picture) if turned else 1
    if (height, width) != size and (turn < 5 or (width, height) != size):
        if abs(height * size[1] / (width * size[0]) - 1) > 0.02:
            what = f"is {width}x{height}, its picture {size[1]}x{size[0]}"
            notes.add(path, what, "left out")
            return None
        notes.once(path, "is a map of another size than its picture", "scaled to it")
    drawn_before = turn if turn >= 5 and (width, height) == size else 1
    return MapFile(path, meaning.labels, meaning.coloured, drawn_before)


def _meaning(maps: list[Path], table: Table | None, notes: Notes) -> Meaning:
    """What the numbers or colours in the maps stand for. Raises DataError where that cannot be found out."""
    mode = next(_modes(maps), "L")
    in_colours = mode.startswith(("RGB", "CMYK", "HSV", "YC"))
    if table and table.colours and (in_colours or (mode == "P" and _uses(maps, table.colours))):
        return _labelled(table.names, table.colours, coloured=True)
    if table and len(table.names) > 2 and not in_colours:
        return _labelled(table.names, range(len(table.names)), coloured=False)
    # Of a known form a few maps tell enough; else a class may be in one map only.
    found = _all_values(maps[:20] if _known_names(maps, set()) else maps, coloured=in_colours)
    names = table.names if table else _known_names(maps, found)
    if not in_colours and found <= {0, 255} and 255 in found:
        names = names if len(names) == 2 else ("background", "foreground")
        return Meaning(names, {0: 0, 255: 1}, coloured=False)
    if in_colours:
        return _unnamed_colours(maps, found, names, notes)
    if not names:
        names = tuple(str(index) for index in range(max(found - {VOID}, default=0) + 1))
        notes.add(notes.root, "there is no list of the classes (classes.txt)", "they are called by their numbers")
    return _labelled(names, range(len(names)), coloured=False)


def _labelled(names: Iterable[str], numbers: Iterable[int], *, coloured: bool) -> Meaning:
    """The classes in their order without those that are void, and which number or colour each has."""
    kept = [(name, value) for name, value in zip(names, numbers, strict=True) if name.lower() not in VOID_NAMES]
    labels = {value: label for label, (_, value) in enumerate(kept)}
    return Meaning(tuple(name for name, _ in kept), labels, coloured)


def _unnamed_colours(maps: list[Path], found: set[int], names: tuple[str, ...], notes: Notes) -> Meaning:
    """Each colour a class: black and white are background and foreground, others are called by their colour."""
    if len(found) > MOST_COLOURS:
        raise DataError(
            f"the maps beside {maps[0]} have more than {MOST_COLOURS} colours, and no table says what they mean",
            "Write classes.txt with lines such as: sky, 128, 128, 128 (and save maps as PNG, without soft edges)",
        )
    colours = sorted(found)
    if len(names) != len(colours):
        notes.add(notes.root, "there is no table of the colours (classes.txt)", "each colour is a class")
        names = tuple(f"#{c % 256:02x}{c // 256 % 256:02x}{c // 65536:02x}" for c in colours)
        if found == {0, packed(255, 255, 255)}:
            names = ("background", "foreground")
    return _labelled(names, colours, coloured=True)


def _known_names(maps: list[Path], found: set[int]) -> tuple[str, ...]:
    """The classes of Pascal VOC or CamVid, where folders and numbers are as theirs; else none."""
    parents = {path.parent.name for path in maps}
    numbers = max(found - {VOID}, default=0)
    if parents == {"SegmentationClass"} and numbers <= 20:
        return tuple(package_files("siseon").joinpath("names", "voc.txt").read_text(encoding="utf-8").splitlines())
    if parents <= {"trainannot", "valannot", "testannot"} and numbers <= len(CAMVID):
        return CAMVID
    return ()


def _modes(maps: Iterable[Path]) -> Iterator[str]:
    for path in maps:
        try:
            yield mode_and_size(path)[0]
        except PictureError:  # noted when it is read
            continue


def _uses(maps: Iterable[Path], colours: Iterable[int]) -> bool:
    """Whether the first map that can be read shows a colour of the table other than black."""
    wanted = set(colours) - {0}
    return any(bool(wanted & found) for found in _values_of(list(maps)[:5], coloured=True))


def _all_values(maps: Iterable[Path], *, coloured: bool) -> set[int]:
    """The numbers or colours in all maps; no more once there are too many to be classes."""
    found: set[int] = set()
    for more in _values_of(maps, coloured=coloured):
        found |= more
        if len(found) > 4 * MOST_COLOURS:
            break
    return found


def _values_of(maps: Iterable[Path], *, coloured: bool) -> Iterator[set[int]]:
    for path in maps:
        try:
            yield numbers_in(path, coloured=coloured)
        except PictureError:  # noted when it is read
            continue


def _table(files: Files, notes: Notes) -> Table | None:
    """The table of classes, from the file nearest to the root that has one."""
    candidates = [path for path in files.of(".txt", ".csv", ".json") if TABLES.fullmatch(path.stem.lower())]
    for path in sorted(candidates, key=lambda path: len(path.parts)):
        try:
            table = _json_table(path) if path.suffix.lower() == ".json" else _text_table(path)
        except (DataError, ValueError, TypeError, KeyError, AttributeError) as error:
            notes.add(path, f"is no table of classes ({error})", "left out")
            continue
        if table.names:
            return table
    return None


def _text_table(path: Path) -> Table:
    names, colours = [], []
    for line in text_of(path).splitlines():
        line = line.strip().lstrip("#").strip()
        name, colour = _row(line)
        if name and not name.lower().startswith(("name,", "label:color")):
            names.append(clean_name(name))
            colours.append(colour)
    known = tuple(colour for colour in colours if colour is not None)
    return Table(tuple(names), known if known and len(known) == len(names) else None)


_ROWS: tuple[tuple[str, Callable[[re.Match[str]], tuple[str, int | None]]], ...] = (
    (r"(\d+)[\s,]+(\d+)[\s,]+(\d+)[\s,]+(\D.*)", lambda m: (m[4], packed(int(m[1]), int(m[2]), int(m[3])))),
    (r"(.*?\D)[\s,:]+(\d+)[\s,]+(\d+)[\s,]+(\d+)[:\s]*", lambda m: (m[1], packed(int(m[2]), int(m[3]), int(m[4])))),
    (r"\d+[\s,:]+(\D.*)", lambda m: (m[1], None)),
)
"""Forms of a line: colour and name (CamVid), name and colour, number and name."""


def _row(line: str) -> tuple[str, int | None]:
    """The class and the colour that a line states; "" where it states none."""
    for form, parts in _ROWS:
        match = re.fullmatch(form, line)
        if match:
            name, colour = parts(match)
            return name.strip(" ,:\t"), colour
    return line, None


def _json_table(path: Path) -> Table:
    """A list of names, a dictionary name -> colour, number -> name or name -> number."""
    content = json.loads(text_of(path))
    if isinstance(content, list):
        return Table(tuple(clean_name(str(name)) for name in content), None)
    if all(isinstance(value, list) for value in content.values()):
        colours = tuple(packed(*map(int, value[:3])) for value in content.values())
        return Table(tuple(map(clean_name, content)), colours)
    numbered = {int(key): str(value) for key, value in content.items()} if _numbers(content) else {}
    numbered = numbered or {int(value): str(key) for key, value in content.items()}
    count = max(numbered) + 1
    return Table(tuple(clean_name(numbered.get(index, "void")) for index in range(count)), None)


def _numbers(content: Mapping[str, object]) -> bool:
    return all(key.isdigit() for key in content)
