"""Pascal VOC: one XML file a picture (Everingham et al. 2010, the VOC2012 development kit, section 4).

Layouts read: Annotations/*.xml with JPEGImages and ImageSets/Main/{train,val,trainval,test}.txt; XML files beside the
pictures, in train and test folders or not; images and annotations folders. `difficult` objects become crowd: neither
object nor background.

Coordinates. The organisers count pixels from 1 and include the last one, so in their files a box covers xmin - 1 to
xmax. labelImg, from which most other VOC files come, writes edges counted from 0 and only lifts those below 1 to 1;
taking 1 away everywhere would shift its boxes. So it is done only where <database> says that a file is the
organisers' own ("The VOC2007 Database"). In labelImg's files a left or top edge on the border of the picture is then
wrong by one pixel, the others are right. `write` writes edges counted from 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np

from siseon.data.dataset import Annotation
from siseon.data.files import SPLIT_WORDS, Contents, Files, Notes, Record, clean_name, split_of, text_of
from siseon.interface import DataError, Size

EDGES = ("xmin", "ymin", "xmax", "ymax")


def recognises(files: Files) -> bool:
    """Whether the folder holds XML files that say <annotation>."""
    return any("<annotation" in _beginning(path) for path in files.of(".xml")[:5])


def read(files: Files, notes: Notes) -> Contents:
    """Read all XML files under the folder."""
    lists = _lists(files, notes)
    records = []
    for path in files.of(".xml"):
        split = _split(path, files, lists)
        if split is None:
            notes.once(path, "is in no list of ImageSets/Main", "left out")
            continue
        record = _record(path, split, files, notes)
        if record:
            records.append(record)
    _note_listed_without_xml(files, lists, notes)
    used = {record.picture for record in records}
    for picture in () if lists else files.pictures:
        if picture not in used:
            notes.add(picture, "has no annotation that can be used", "left out")
    return Contents("detection", records)


def parse(path: Path) -> ElementTree.Element:
    """The root of an XML file; a document type (entities, external files) is refused. Raises DataError naming it."""
    tree = ElementTree.TreeBuilder()
    # Text is decoded before, so that files in CP949 or without a declaration are read as well.
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse
    parser.StartElementHandler = tree.start
    parser.EndElementHandler = tree.end
    parser.CharacterDataHandler = tree.data
    try:
        parser.Parse(text_of(path).encode(), True)
        return tree.close()
    except (expat.ExpatError, _DocumentTypeError) as error:
        raise DataError(f"{path} is broken XML ({error})", "Write the file again, or leave it out") from error


class _DocumentTypeError(Exception):
    """The file declares a document type, which no annotation needs and attacks use."""


def _refuse(*_: object) -> None:
    raise _DocumentTypeError("it declares a document type, which is refused")


def _beginning(path: Path) -> str:
    try:
        return text_of(path)[:2000]
    except DataError:
        return ""


def _lists(files: Files, notes: Notes) -> dict[Path, dict[str, str]]:
    """Root -> name of a picture -> split, from ImageSets/Main. trainval counts where train is silent."""
    lists: dict[Path, dict[str, str]] = {}
    for word in ("trainval", "train", "val", "test"):
        for path in files.of(".txt"):
            if path.parts[-3:] != ("ImageSets", "Main", f"{word}.txt"):
                continue
            try:
                names = [line.strip() for line in text_of(path).splitlines()]
            except DataError as error:
                notes.add(path, error.problem, "left out")
                continue
            lists.setdefault(path.parents[2], {}).update(
                {clean_name(name): SPLIT_WORDS[word] for name in names if name}
            )
    return lists


def _split(path: Path, files: Files, lists: Mapping[Path, Mapping[str, str]]) -> str | None:
    """The split of an XML file; None where there are lists and it is in none."""
    for root, names in lists.items():
        if path.is_relative_to(root):
            return names.get(clean_name(path.stem))
    return split_of(*files.parts(path))


def _note_listed_without_xml(files: Files, lists: Mapping[Path, Mapping[str, str]], notes: Notes) -> None:
    stems = {(root, clean_name(path.stem)) for path in files.of(".xml") for root in lists if path.is_relative_to(root)}
    for root, names in lists.items():
        for name, split in names.items():
            if (root, name) not in stems:
                notes.once(root / name, f"is listed for {split} but has no XML file", "left out")


def _record(path: Path, split: str, files: Files, notes: Notes) -> Record | None:
    try:
        root = parse(path)
    except DataError as error:
        notes.add(path, error.problem.removeprefix(f"{path} "), "left out")
        return None
    if root.tag != "annotation":
        notes.add(path, f"is <{root.tag}>, not VOC's <annotation>", "left out")
        return None
    stated = root.findtext("filename", "").strip()
    picture = _picture(path, stated, files)
    if picture is None:
        notes.add(path, f"its picture '{stated or path.stem}' is missing", "left out")
        return None
    record = Record(picture, path, split or split_of(*files.parts(picture)), stated=_size(root))
    _add_objects(record, root, notes)
    return record


def _add_objects(record: Record, root: ElementTree.Element, notes: Notes) -> None:
    boxes, crowd = [], []
    for number, item in enumerate(root.findall("object"), start=1):
        box = _box(item)
        name = clean_name(item.findtext("name", ""))
        if box is None or not name:
            what = f"object {number} has no <bndbox> with four numbers" if name else f"object {number} has no name"
            notes.add(record.source, what, "left out")
            continue
        boxes.append(box)
        crowd.append(item.findtext("difficult", "").strip() == "1")
        record.names.append(name)
        record.shapes.append(None)
    record.boxes = np.array(boxes, float).reshape(-1, 4)
    record.crowd = np.array(crowd, bool)
    if re.search(r"\bVOC\s?20\d\d\b", root.findtext("source/database", "")):
        record.boxes[:, :2] -= 1


def _picture(path: Path, stated: str, files: Files) -> Path | None:
    """The picture of an XML file: what it names if that is its twin, else its twin, else what it names."""
    named = files.picture(stated, path) if stated else None
    if named and clean_name(named.stem) == clean_name(path.stem):
        return named
    return files.picture_of(path.stem, path) or named or files.picture_of(Path(stated).stem, path)


def _size(root: ElementTree.Element) -> Size | None:
    try:
        height, width = (int(float(root.findtext(f"size/{side}", "0"))) for side in ("height", "width"))
    except (ValueError, OverflowError):
        return None
    return (height, width) if height > 0 and width > 0 else None


def _box(item: ElementTree.Element) -> list[float] | None:
    try:
        return [float(item.findtext(f"bndbox/{edge}", "")) for edge in EDGES]
    except ValueError:
        return None


def write(path: Path, *, picture: str, annotation: Annotation, size: Size, classes: tuple[str, ...]) -> None:
    """Write one XML file: edges counted from 0, with two decimals where they are not whole; crowd becomes difficult."""
    root = ElementTree.Element("annotation")
    _add(root, "folder", "JPEGImages")
    _add(root, "filename", picture)
    _add(_add(root, "source"), "database", "siseon")
    frame = _add(root, "size")
    for name, value in zip(("width", "height", "depth"), (size[1], size[0], 3), strict=True):
        _add(frame, name, str(value))
    _add(root, "segmented", "0")
    for box, label, crowd in zip(annotation.boxes, annotation.labels, annotation.crowd, strict=True):
        item = _add(root, "object")
        _add(item, "name", classes[label])
        _add(item, "pose", "Unspecified")
        _add(item, "truncated", "0")
        _add(item, "difficult", str(int(crowd)))
        edges = _add(item, "bndbox")
        for edge, value in zip(EDGES, box, strict=True):
            _add(edges, edge, f"{value:.2f}".removesuffix(".00"))
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _add(parent: ElementTree.Element, name: str, text: str | None = None) -> ElementTree.Element:
    item = ElementTree.SubElement(parent, name)
    item.text = text
    return item
