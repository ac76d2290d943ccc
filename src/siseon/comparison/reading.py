"""What the figures say, in sentences that follow from them, in English and Korean.

A difference is called one only where it is more than noise (noise.py); times within a tenth are called alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

from siseon.comparison import noise
from siseon.comparison.result import Comparison, Result
from siseon.comparison.tables import best_of_class, classes_of
from siseon.comparison.words import COLUMNS, STAGES, Text
from siseon.language.particles import with_particle

ALIKE = 1.1
"""The quotient of two times up to which they are called alike."""
MUCH_FASTER = 1.5
"""From which quotient on it is said where a model saves its time."""
NOTHING_LEARNT = 0.05
"""An accuracy of detection below this says that the training was too short."""


def reading(comparison: Comparison) -> list[Text]:
    """The sentences: bottlenecks, speed, where time was saved, objects or classes, accuracy, what to choose from."""
    timed = [result for result in comparison.finished if result.stages]
    sentences: list[Text] = []
    if timed:
        sentences.append(bottlenecks(timed))
    if len(timed) > 1:
        sentences.append(fastest(timed))
        sentences += savings(timed)
    if comparison.finished:
        if comparison.task == "detection":
            sentences.append(small_objects(comparison.finished))
        sentences.append(accuracy(comparison))
        if comparison.task == "segmentation":
            sentences += of_classes(comparison)
        sentences += outlines(comparison.finished)
    if len(timed) > 2:
        sentences += choice(timed, comparison.main)
    return sentences


def bottlenecks(results: Sequence[Result]) -> Text:
    """Which stage takes the most of the time of each model, and its share of it."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(max(result.stages, key=lambda name: result.stages[name]), []).append(result)
    english, korean = [], []
    for stage, members in groups.items():
        said = [f"{share(result, stage):.0%} of {milliseconds(result.milliseconds)}" for result in members]
        english.append(f"{STAGES[stage].en} in {listed_en(_with(members, said))}")
        said = [f"{milliseconds(result.milliseconds)}의 {share(result, stage):.0%}" for result in members]
        korean.append(f"{listed_ko(_with(members, said))}에서는 {STAGES[stage].ko}")
    if len(groups) == 1:
        ((stage, members),) = groups.items()
        said = [f"{milliseconds(result.milliseconds)}의 {share(result, stage):.0%}" for result in members]
        all_of_them = "모두 " if len(members) > 1 else ""
        korean_stage = with_particle(STAGES[stage].ko, "이다/다")
        return Text(
            f"The stage that takes longest is {english[0]}.",
            f"{listed_ko(_with(members, said))}에서 가장 오래 걸리는 단계는 {all_of_them}{korean_stage}.",
        )
    return Text(
        f"The stage that takes longest is {'; '.join(english)}.",
        f"가장 오래 걸리는 단계는 {with_particle(', '.join(korean), '이다/다')}.",
    )


def fastest(results: Sequence[Result]) -> Text:
    """Who is fastest, and how many times as fast as the next and the slowest."""
    first, *others = sorted(results, key=lambda result: result.milliseconds)
    alike = [first, *(r for r in others if r.milliseconds < ALIKE * first.milliseconds)]
    behind = [result for result in others if result not in alike]
    if len(alike) > 1:
        both = _with(alike, [milliseconds(result.milliseconds) for result in alike])
        english = f"{listed_en(both)} a picture are about equally fast"
        korean = f"{with_particle(listed_ko(both), '은/는')} 속도가 거의 같다"
    else:
        time = milliseconds(first.milliseconds)
        english = f"{first.model} is the fastest, {time} a picture"
        korean = f"가장 빠른 것은 {with_particle(first.model, '으로/로')}, 그림 한 장에 {time} 걸린다"
    if not behind:
        return Text(f"{english}.", f"{korean}.")
    times = [(result.model, quotient(result.milliseconds / first.milliseconds)) for result in behind]
    (near, least), (far, most) = times[0], times[-1]
    if len(behind) == 1:
        return Text(f"{english}, {least} times as fast as {near}.", f"{korean}. {near}보다 {least}배 빠르다.")
    return Text(
        f"{english}: {least} times as fast as {near}, the next, and {most} times as fast as {far}, the slowest.",
        f"{korean}. 다음인 {near}보다 {least}배, 가장 느린 {far}보다 {most}배 빠르다.",
    )


def savings(results: Sequence[Result]) -> list[Text]:
    """For a model that is much faster than the one named before it: in which stage the time was saved."""
    sentences = []
    for before, after in pairwise(results):
        saved = before.milliseconds - after.milliseconds
        if before.milliseconds < MUCH_FASTER * after.milliseconds:
            continue
        names = dict.fromkeys((*before.stages, *after.stages))
        parts = {name: before.stages.get(name, 0.0) - after.stages.get(name, 0.0) for name in names}
        stage = max(parts, key=lambda name: parts[name])
        old, new = (milliseconds(result.stages.get(stage, 0.0)) for result in (before, after))
        now = Text(f"{old} before, {new} now", f"{old}에서 {with_particle(new, '으로/로')}")
        if stage not in after.stages:
            now = Text(f"{old} before, none now", f"{old} 걸리던 단계가 없어졌다")
        part = _part(parts[stage] / saved)
        sentences.append(
            Text(
                f"{after.model} needs {milliseconds(saved)} less than {before.model}; {part.en} of it is saved in "
                f"{STAGES[stage].en} ({now.en}).",
                f"{with_particle(after.model, '은/는')} {before.model}보다 {milliseconds(saved)} 덜 걸린다. "
                f"줄어든 시간의 {part.ko} {STAGES[stage].ko}에서 나왔다({now.ko}).",
            )
        )
    return sentences


def _part(share: float) -> Text:
    if share >= 0.8:
        return Text("most", "대부분이")
    return Text("more than half", "절반 이상이") if share > 0.5 else Text("the largest part", "가장 큰 몫이")


def small_objects(results: Sequence[Result]) -> Text:
    """Who finds small objects best."""
    known = [result for result in results if math.isfinite(result.figure("AP_small"))]
    if not known:
        return Text(
            "No test picture has a small object (below 32 × 32 pixels).",
            "시험 그림에는 작은 물체(32 × 32 화소 미만)가 없다.",
        )
    best, alike, behind = ranked(known, "AP_small")
    value = best.figure("AP_small")
    if value < NOTHING_LEARNT and len(known) > 1:
        return Text(
            f"None finds small objects (below 32 × 32 pixels): AP small is at most {value:.2f}, with {best.model}.",
            f"작은 물체(32 × 32 화소 미만)를 찾는 모델이 없다. 가장 나은 {best.model}의 AP가 "
            f"{with_particle(f'{value:.2f}', '이다/다')}.",
        )
    if len(known) == 1:
        return Text(
            f"On small objects (below 32 × 32 pixels) {best.model} reaches AP {value:.2f}.",
            f"작은 물체(32 × 32 화소 미만)에서 {best.model}의 AP는 {with_particle(f'{value:.2f}', '이다/다')}.",
        )
    if alike:
        group = _with([best, *alike], [f"AP {r.figure('AP_small'):.2f}" for r in (best, *alike)])
        end = _behind(behind, "AP_small")
        return Text(
            f"{listed_en(group)} find small objects (below 32 × 32 pixels) about equally well{end.en}.",
            f"작은 물체(32 × 32 화소 미만)는 {with_particle(listed_ko(group), '이/가')} 비슷하게 잘 찾는다{end.ko}.",
        )
    following = behind[0]
    if following.figure("AP_small") < NOTHING_LEARNT:
        return Text(
            f"Only {best.model} finds small objects (below 32 × 32 pixels): AP {value:.2f}, "
            f"against at most {following.figure('AP_small'):.2f}.",
            f"작은 물체(32 × 32 화소 미만)를 찾는 것은 {best.model}(AP {value:.2f})뿐이다. 나머지는 AP가 "
            f"{following.figure('AP_small'):.2f} 이하다.",
        )
    return Text(
        f"{best.model} finds small objects (below 32 × 32 pixels) best: AP {value:.2f}, "
        f"then {following.model} with {following.figure('AP_small'):.2f}.",
        f"작은 물체(32 × 32 화소 미만)를 가장 잘 찾는 것은 "
        f"{with_particle(f'{best.model}(AP {value:.2f})', '이고/고')}, 다음은 {_and_value(following, 'AP_small', 2)}.",
    )


def accuracy(comparison: Comparison) -> Text:
    """Who is most accurate."""
    main = comparison.main
    name = COLUMNS[main]
    best, alike, behind = ranked(comparison.finished, main)
    value = best.figure(main)
    blind = learnt_nothing(best, main)
    if not math.isfinite(value):
        return Text("The test pictures cannot tell the accuracy.", "시험 그림으로는 정확도를 알 수 없다.")
    if blind and len(comparison.finished) == 1:
        return Text(
            f"{best.model} has not learnt much in {comparison.minutes:g} minutes: {name.en} {value:.2f}.",
            f"{with_particle(best.model, '은/는')} {comparison.minutes:g}분 동안 제대로 배우지 못했다"
            f"({name.ko} {value:.2f}).",
        )
    if blind:
        return Text(
            f"None has learnt much in {comparison.minutes:g} minutes: the best, {best.model}, has {name.en} "
            f"{value:.2f}.",
            f"{comparison.minutes:g}분 동안 제대로 배운 모델이 없다. 가장 나은 {best.model}의 "
            f"{with_particle(name.ko, '이/가')} {with_particle(f'{value:.2f}', '이다/다')}.",
        )
    if not alike and not behind:
        return Text(
            f"{best.model} reaches {name.en} {value:.3f} on {comparison.pictures:,} pictures.",
            f"{best.model}의 {with_particle(name.ko, '은/는')} 그림 {comparison.pictures:,}장에서 "
            f"{with_particle(f'{value:.3f}', '이다/다')}.",
        )
    if alike:
        group = _with([best, *alike], [f"{r.figure(main):.3f}" for r in (best, *alike)])
        end = _behind(behind, main)
        return Text(
            f"{listed_en(group)} are about equally accurate ({name.en}): the differences are within the noise of "
            f"{comparison.pictures:,} pictures{end.en}.",
            f"{with_particle(listed_ko(group), '은/는')} {with_particle(name.ko, '이/가')} 거의 같다. 그 차이는 그림 "
            f"{comparison.pictures:,}장의 오차 안에 있다{end.ko}.",
        )
    following = behind[0]
    return Text(
        f"{best.model} is the most accurate: {name.en} {value:.3f}, then {following.model} with "
        f"{following.figure(main):.3f}.",
        f"가장 정확한 것은 {with_particle(f'{best.model}({name.ko} {value:.3f})', '이고/고')}, 다음은 "
        f"{_and_value(following, main, 3)}.",
    )


def learnt_nothing(result: Result, main: str) -> bool:
    """Whether a main figure is so low that the training was too short: of maps, no more than one class can give."""
    if main == "mean_IoU":
        return result.figure(main) <= 1 / max(len(result.per_class), 1)
    return main == "AP50" and result.figure(main) < NOTHING_LEARNT


def of_classes(comparison: Comparison) -> list[Text]:
    """Who has the highest IoU in how many classes, and which class nobody does well.

    Nothing for a single class, or where nobody has learnt anything.
    """
    classes = classes_of(comparison)
    if len(classes) < 2 or all(learnt_nothing(result, comparison.main) for result in comparison.finished):
        return []
    won = {
        result.model: sum(result.of_class(name) == best_of_class(comparison, name) for name in classes)
        for result in comparison.finished
    }
    most = max(won, key=lambda model: won[model])
    tops = {name: max(_finite(result.of_class(name)) for result in comparison.finished) for name in classes}
    hardest = min(tops, key=lambda name: tops[name])
    sentences = [
        Text(
            f"The hardest class is {hardest}: its best IoU is {tops[hardest]:.2f}.",
            f"가장 어려운 클래스는 {with_particle(hardest, '으로/로')}, 가장 높은 IoU가 "
            f"{with_particle(f'{tops[hardest]:.2f}', '이다/다')}.",
        )
    ]
    if len(comparison.finished) < 2 or not won[most]:
        return sentences
    return [
        Text(
            f"{most} has the highest IoU in {won[most]} of {len(classes)} classes.",
            f"클래스 {len(classes)}개 가운데 {won[most]}개에서 {most}의 IoU가 가장 높다.",
        ),
        *sentences,
    ]


def _finite(value: float) -> float:
    return value if math.isfinite(value) else -math.inf


def outlines(results: Sequence[Result]) -> list[Text]:
    """How exactly the models that give masks outline the objects; nothing where none does or the data has no masks."""
    known = [result for result in results if math.isfinite(result.figure("mask_AP50"))]
    if not known:
        return []
    said = _with(known, [f"AP50 {r.figure('mask_AP50'):.2f}, AP {r.figure('mask_AP'):.2f}" for r in known])
    return [
        Text(
            f"{listed_en(said)} outline{'s' * (len(known) == 1)} the objects too: the figures of the masks.",
            f"{with_particle(listed_ko(said), '은/는')} 물체의 윤곽도 그린다. 괄호 안은 마스크의 값이다.",
        )
    ]


def choice(results: Sequence[Result], main: str) -> list[Text]:
    """Which models are worth choosing between: those of `best_trades`. Nothing where that is all of them, or none."""
    front = best_trades(results, main)
    if len(front) in (0, len(results)):
        return []
    names = [(result.model, "") for result in front]
    if len(front) == 1:
        return [
            Text(
                f"No slower model is clearly more accurate than {front[0].model}.",
                f"{front[0].model}보다 느리면서 확실히 더 정확한 모델은 없다.",
            )
        ]
    return [
        Text(
            f"The choice is between {listed_en(names)}: every other model is slower than one of them and not clearly "
            "more accurate.",
            f"고를 만한 것은 {with_particle(listed_ko(names), '이다/다')}. 나머지는 이 가운데 하나보다 느리면서 확실히 "
            "더 정확하지도 않다.",
        )
    ]


def best_trades(results: Iterable[Result], main: str) -> list[Result]:
    """The models that are clearly more accurate than every faster one, fastest first; none that learnt nothing."""
    front: list[Result] = []
    for result in sorted(results, key=lambda entry: (entry.milliseconds, -entry.figure(main))):
        if not math.isfinite(result.figure(main)) or learnt_nothing(result, main):
            continue
        if not front or _is_better(result, front[-1], main):
            front.append(result)
    return front


def _is_better(result: Result, other: Result, figure: str) -> bool:
    """Whether a figure of one model is above that of the other, by more than noise."""
    difference = result.figure(figure) - other.figure(figure)
    error = noise.standard_error(result.without.get(figure, []), other.without.get(figure, []))
    return difference > 0 and noise.is_sure(difference, error)


def ranked(results: Sequence[Result], figure: str) -> tuple[Result, list[Result], list[Result]]:
    """The best in a figure; those that the noise does not tell from it; and those behind; each best first.

    Those without the figure are left out, unless that is all of them.
    """
    known = [result for result in results if math.isfinite(result.figure(figure))]
    best, *others = sorted(known, key=lambda result: result.figure(figure), reverse=True) or results[:1]
    alike: list[Result] = []
    behind: list[Result] = []
    for other in others:
        (behind if _is_better(best, other, figure) else alike).append(other)
    return best, alike, behind


def _behind(behind: Sequence[Result], figure: str) -> Text:
    """The end of a sentence about those that are as good: who comes next."""
    if not behind:
        return Text("", "")
    following = behind[0]
    value = following.figure(figure)
    return Text(f"; {following.model} follows with {value:.2f}", f". 그 뒤는 {_and_value(following, figure, 2)}")


def _and_value(result: Result, figure: str, digits: int) -> str:
    """The end of a Korean sentence: a model and its figure."""
    return with_particle(f"{result.model}({result.figure(figure):.{digits}f})", "이다/다")


def share(result: Result, stage: str) -> float:
    """The part of a prediction's time that a stage takes, 0..1."""
    return result.stages.get(stage, 0.0) / result.milliseconds if result.milliseconds else math.nan


def milliseconds(value: float) -> str:
    """A time with two or three digits that count: 0.31 ms, 6.1 ms, 1,850 ms."""
    digits = 2 if value < 1 else 1 if value < 10 else 0
    return f"{value:,.{digits}f} ms"


def quotient(value: float) -> str:
    """How many times: 1.4, 27."""
    return f"{value:.1f}" if value < 9.95 else f"{value:,.0f}"


def _with(results: Sequence[Result], remarks: Sequence[str]) -> list[tuple[str, str]]:
    return [(result.model, remark) for result, remark in zip(results, remarks, strict=True)]


def listed_en(items: Sequence[tuple[str, str]]) -> str:
    """Names with remarks in parentheses: a (1), b (2) and c (3)."""
    said = [f"{name} ({remark})" if remark else name for name, remark in items]
    return " and ".join([", ".join(said[:-1]), said[-1]]) if len(said) > 1 else said[0]


def listed_ko(items: Sequence[tuple[str, str]]) -> str:
    """Names with remarks: a(1), b(2)와 c(3), the particle after b by how b is said."""
    said = [f"{name}({remark})" if remark else name for name, remark in items]
    if len(said) == 1:
        return said[0]
    return f"{', '.join([*said[:-2], with_particle(said[-2], '과/와')])} {said[-1]}"
