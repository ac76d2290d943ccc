"""Measure siseon beside its peers, and write docs/performance.md.

    python -m benchmarks [SECTION ...] --peer PYTHON_WITH_TORCHVISION [--others PYTHON_WITH_THE_REST] [--only NAME ...]
                         [--runs 10] [--data PHOTOS]

Sections: detectors, classifiers, export, operators, training, data, sliding, growth, start; all if none is named. A
peer that is not installed is left out and named. Selective Search has a program of its own, because recall belongs to
it: python benchmarks/selective_search.py.
"""

import argparse
import sys

from benchmarks import data, export, growth, inference, operators, rows, sliding_window, start, training

MEASURES = {
    "detectors": inference.detectors,
    "classifiers": inference.classifiers,
    "export": export.measured,
    "operators": operators.measured,
    "training": training.measured,
    "data": data.measured,
    "sliding": sliding_window.measured,
    "growth": growth.measured,
    "start": start.measured,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(MEASURES))
    parser.add_argument("--peer", default=sys.executable, help="a Python that has torchvision")
    parser.add_argument(
        "--others", default=sys.executable, help="a Python that has siseon, onnxruntime, openvino and albumentations"
    )
    parser.add_argument("--only", nargs="*", help="rows of these names")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--data", help="folder of JPEG photos for the section data; scikit-image's own if left out")
    given = parser.parse_args()
    if unknown := set(given.sections) - set(MEASURES):
        parser.error(f"there is no section {', '.join(unknown)}; there are {', '.join(MEASURES)}")
    for section in given.sections or MEASURES:
        for row in MEASURES[section](given):
            print(rows.shown(row), flush=True)
            rows.keep(row)


if __name__ == "__main__":
    main()
