"""What stands beside the figures in every form of the report: the title, the plots there are, how it was measured."""

from __future__ import annotations

from siseon.comparison import noise
from siseon.comparison.kinds import KINDS
from siseon.comparison.result import Comparison
from siseon.comparison.tables import stages_of
from siseon.comparison.words import STAGES, Text

FEW = 100
"""Fewer pictures than this are called few."""


def title(comparison: Comparison) -> Text:
    """What was compared on what."""
    kind = KINDS[comparison.task]
    count, minutes = len(comparison.results), comparison.minutes
    return Text(
        f"{count} {kind.models.en if count > 1 else kind.model} on {comparison.data}, {minutes:g} minutes each",
        f"{comparison.data} 자료로 비교한 {kind.models.ko} {count}개, 학습 시간 각 {minutes:g}분",
    )


def conditions(comparison: Comparison) -> list[Text]:
    """How the figures came about."""
    known = comparison.conditions
    processor = f"{known['processor']}, {known['cores']} cores"
    return [
        *_caution(comparison),
        *_own_settings(comparison),
        Text(
            f"Times: predict, one picture at a time, the median of {comparison.timed} test pictures, the models in "
            f"turns; {processor}, {known['threads']} threads, device {known['device']}, PyTorch {known['torch']}.",
            f"시간: predict로 한 장씩, 모델을 번갈아 가며 잰 시험 그림 {comparison.timed}장의 중앙값이다. "
            f"{processor}, 스레드 {known['threads']}개, 장치 {known['device']}, PyTorch {known['torch']}.",
        ),
        Text(
            "MACs: products of weights and values in convolutions and linear layers of one prediction, every region "
            "counted (PyTorch's counter, its FLOPs halved). Searching for proposals, resampling and NMS are none.",
            "곱셈-누산: 예측 한 번에 합성곱층과 완전 연결층이 하는 곱셈의 수로, 영역마다 센다(PyTorch가 센 FLOP의 "
            "절반). 후보 탐색, 재표본화, NMS는 세지 않는다.",
        ),
        Text(
            "Weights: the size of all tensors. Working memory: by how much the memory of a process rises in a "
            "prediction, on Linux.",
            "가중치: 모든 텐서의 크기. 작업 메모리: 예측하는 동안 프로세스의 메모리가 늘어나는 양(리눅스에서).",
        ),
    ]


def stage_meanings(comparison: Comparison) -> list[Text]:
    """What each stage is."""
    known = [(STAGES[name], KINDS[comparison.task].meaning(name)) for name in stages_of(comparison)]
    return [Text(f"{name.en}: {meaning.en}", f"{name.ko}: {meaning.ko}") for name, meaning in known]


def _caution(comparison: Comparison) -> list[Text]:
    """How far the figures can be trusted."""
    pictures, minutes = comparison.pictures, comparison.minutes
    few = pictures < FEW
    return [
        Text(
            f"{'Only ' if few else ''}{pictures:,} pictures judged the models; a difference is called one where it is "
            f"above {noise.SURE:g} standard errors (jackknife over ten groups of them).",
            f"모델을 평가한 그림은 {pictures:,}장{'뿐이다' if few else '이다'}. 차이가 표준오차(그림을 열 묶음으로 "
            f"나눈 잭나이프)의 {noise.SURE:g}배를 넘을 때만 차이로 본다.",
        ),
        Text(
            f"Each model was trained once, for {minutes:g} minutes with seed {comparison.seed}: another seed, more "
            "minutes or another recipe can change the order.",
            f"모델마다 {minutes:g}분씩 한 번만 학습했다(시드 {comparison.seed}). 시드나 학습 시간, 설정이 달라지면 "
            "순서가 바뀔 수 있다.",
        ),
    ]


def _own_settings(comparison: Comparison) -> list[Text]:
    """What single models have set otherwise than all."""
    said = []
    for name, own in comparison.own.items():
        fields = {**{key: value for key, value in own.items() if key != "options"}, **own.get("options", {})}
        said.append(f"{name}: {', '.join(f'{key} = {value}' for key, value in fields.items())}")
    if not said:
        return []
    listed = "; ".join(said)
    return [Text(f"Set otherwise for single models: {listed}.", f"모델마다 따로 정한 설정: {listed}.")]


def figures(comparison: Comparison) -> list[tuple[str, str]]:
    """(file, heading) of the plots that there are."""
    if not any(result.stages for result in comparison.finished):
        return []
    return [("accuracy_speed.png", "trade"), ("stages.png", "stages"), *KINDS[comparison.task].plot]
