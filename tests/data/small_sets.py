"""Builders of tiny data sets in the formats that are read, for the tests of this folder."""

import json
import zlib
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

EXIF_ORIENTATION = 0x0112


def picture(path, size=(30, 40), orientation=None, content=None):
    """Write a picture of (height, width) whose pixels follow from `content`, by default its path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(zlib.crc32((content or str(path)).encode()))
    coarse = random.integers(0, 256, (6, 8, 3), np.uint8)
    image = Image.fromarray(coarse).resize((size[1], size[0]))
    exif = Image.Exif()
    if orientation:
        exif[EXIF_ORIENTATION] = orientation
    image.save(path, exif=exif)
    return path


def voc_xml(path, objects=(), size=(30, 40), filename=None, database=None, extra=""):
    """Write a VOC file; objects: (class, (xmin, ymin, xmax, ymax)) or with difficult as a third."""
    root = ElementTree.Element("annotation")
    if filename is not None:
        ElementTree.SubElement(root, "filename").text = filename
    if database:
        ElementTree.SubElement(ElementTree.SubElement(root, "source"), "database").text = database
    if size:
        frame = ElementTree.SubElement(root, "size")
        ElementTree.SubElement(frame, "height").text, ElementTree.SubElement(frame, "width").text = map(str, size)
    for name, box, *difficult in objects:
        item = ElementTree.SubElement(root, "object")
        ElementTree.SubElement(item, "name").text = name
        ElementTree.SubElement(item, "difficult").text = str(int(bool(difficult and difficult[0])))
        edges = ElementTree.SubElement(item, "bndbox")
        for edge, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True):
            ElementTree.SubElement(edges, edge).text = str(value)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(extra + ElementTree.tostring(root, encoding="unicode"), encoding="utf-8")
    return path


def coco_json(path, images, annotations, categories=({"id": 1, "name": "고양이"}, {"id": 7, "name": "dog"})):
    """Write a COCO file; images: name or a whole entry, numbered from 1; annotations: entries, numbered from 1."""
    entries = [
        {"id": number, "file_name": image, "height": 30, "width": 40} if isinstance(image, str) else image
        for number, image in enumerate(images, start=1)
    ]
    items = [
        {"id": number, "iscrowd": 0, **item} if isinstance(item, dict) else item
        for number, item in enumerate(annotations, start=1)
    ]
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"images": entries, "annotations": items, "categories": list(categories)}
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return path


def text(path, content, encoding="utf-8"):
    """Write a text file."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode(encoding))
    return path


def objects_of(data):
    """Split -> name of picture -> [(class, box rounded to 2 decimals)], for comparing whole data sets."""
    found = {}
    for split, dataset in data:
        rows = found.setdefault(split, {})
        for index in range(len(dataset)):
            annotation = dataset.annotation(index)
            boxes = [tuple(round(float(edge), 2) for edge in box) for box in annotation.boxes]
            names = [data.classes[label] for label in annotation.labels]
            rows[annotation.name] = list(zip(names, boxes, strict=True))
    return found


def whats(data):
    """The problems of a data set as "file: what; done"."""
    return [str(problem) for problem in data.problems]
