"""The words of the layer table in English and Korean; the Korean terms are the usual ones."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from siseon.interface import SiseonError

Language: TypeAlias = Literal["en", "ko"]

_KOREAN = {
    # kinds of layers
    "input": "입력",
    "convolution": "합성곱",
    "depthwise convolution": "깊이별 합성곱",
    "grouped convolution": "그룹 합성곱",
    "transposed convolution": "전치 합성곱",
    "max pooling": "최대 풀링",
    "average pooling": "평균 풀링",
    "adaptive pooling": "적응형 풀링",
    "global average pooling": "전역 평균 풀링",
    "normalisation": "정규화",
    "activation": "활성화 함수",
    "fully connected": "완전 연결",
    "matrix product": "행렬 곱",
    "attention": "어텐션",
    "recurrent": "순환",
    "embedding": "임베딩",
    "dropout": "드롭아웃",
    "flatten": "평탄화",
    "padding": "패딩",
    "upsampling": "업샘플링",
    "addition": "덧셈",
    "multiplication": "곱셈",
    "concatenation": "이어 붙이기",
    "identity": "항등",
    "other": "기타",
    "own parameters": "모듈 자체의 매개변수",
    "not run": "실행되지 않음",
    # columns
    "name": "이름",
    "layer": "층",
    "type": "형",
    "input size": "입력 크기",
    "output size": "출력 크기",
    "kernel": "커널",
    "stride": "스트라이드",
    "dilation": "팽창",
    "groups": "그룹",
    "weights": "가중치",
    "biases": "편향",
    "parameters": "매개변수",
    "parameters so far": "매개변수 누계",
    "activations": "활성값",
    "memory": "활성값 메모리",
    "memory so far": "메모리 누계",
    "MACs": "곱셈-누산 (MACs)",
    "MACs so far": "곱셈-누산 누계",
    "receptive field": "수용 영역",
    "jump": "누적 스트라이드",
    "bytes": "바이트",
    "bytes so far": "바이트 누계",
    "items": "개수",
    "By kind of layer": "층의 종류별",
    "Arithmetic": "계산 과정",
    # arithmetic
    "height": "높이",
    "width": "너비",
    "dilated kernel": "팽창된 커널",
    "rounded up": "올림",
    "rounded down": "내림",
    "channels": "채널",
    "unchanged": "그대로",
    "unknown": "알 수 없음",
}

_SENTENCES = {
    "title": ("Layers of {model} for pictures of {size}", "{model}의 층, 그림 크기 {size}"),
    "batch": ("batch of {batch}", "배치 {batch}"),
    "parameters": (
        "Parameters: {parameters} (weights {weights}, biases {biases})",
        "매개변수: {parameters} (가중치 {weights}, 편향 {biases})",
    ),
    "memory": (
        "Activation memory: {values} values = {megabytes} ({mebibytes}), fp32, input included",
        "활성값 메모리: 값 {values}개 = {megabytes} ({mebibytes}), fp32, 입력 포함",
    ),
    "macs": ("MACs: {macs}", "곱셈-누산 (MACs): {macs}"),
    "most parameters": (
        "Most parameters: {name} ({kind}), {count}, {share} of all",
        "매개변수가 가장 많은 층: {name} ({kind}), {count}, 전체의 {share}",
    ),
    "most activations": (
        "Most activation memory: {name} ({kind}), {count} values, {share} of all",
        "활성값 메모리가 가장 큰 층: {name} ({kind}), 값 {count}개, 전체의 {share}",
    ),
    "most macs": (
        "Most MACs: {name} ({kind}), {count}, {share} of all",
        "곱셈-누산이 가장 많은 층: {name} ({kind}), {count}, 전체의 {share}",
    ),
    "note on sizes": (
        "Sizes are channels x height x width. K kernel, S stride, P padding, D dilation, G groups.",
        "크기는 채널 x 높이 x 너비. K 커널, S 스트라이드, P 패딩, D 팽창, G 그룹.",
    ),
    "note on fields": (
        "The receptive field is in pixels of the picture, its edges ignored; "
        "jump is the distance in pixels between neighbouring cells.",
        "수용 영역은 그림의 화소 수이며 가장자리는 무시한다. 누적 스트라이드는 이웃한 두 칸 사이의 화소 거리다.",
    ),
    "note on memory": (
        "Memory counts what a layer writes anew: in place, reshaping and dropout at rest cost none.",
        "메모리는 층이 새로 쓰는 값만 센다. 제자리(in-place) 연산, 모양 바꾸기, 추론 때의 드롭아웃은 0이다.",
    ),
    "note on gaps": (
        "A dash means that the figure does not exist or cannot be told.",
        "-는 그 값이 없거나 알 수 없다는 뜻이다.",
    ),
    "last window": (
        "it does not divide (ceil mode): the last window is incomplete",
        "나누어떨어지지 않는다 (ceil mode): 마지막 창은 온전하지 않다",
    ),
    "left over": (
        "it does not divide: {left} of {length} left out at the end",
        "나누어떨어지지 않는다: {length}줄 가운데 끝의 {left}줄은 쓰지 않는다",
    ),
    "padding left over": (
        "it does not divide: {left} of {length} left out at the end, all of it padding",
        "나누어떨어지지 않는다: {length}줄 가운데 끝의 {left}줄은 쓰지 않는다 (모두 패딩)",
    ),
    "adaptive": (
        "cell i covers floor(i*{length}/{cells}) to ceil((i+1)*{length}/{cells}) - 1",
        "i번째 칸은 floor(i*{length}/{cells})부터 ceil((i+1)*{length}/{cells}) - 1까지 본다",
    ),
    "shared": ("those of {name}, counted there", "{name}의 것을 함께 쓰며 거기에서 센다"),
    "in place": ("in place, nothing new", "제자리 연산, 새 메모리 없음"),
    "view": ("a view, nothing new", "같은 메모리를 그대로 씀, 새 메모리 없음"),
    "whole map": ("the whole map of n cells", "n칸의 특징 맵 전체"),
}


def term(word: str, language: Language) -> str:
    """A term of the field in `language`, given in English."""
    return word if _known(language) == "en" else _KOREAN[word]


def sentence(name: str, language: Language, /, **values: object) -> str:
    """A sentence in `language`, with values filled in."""
    english, korean = _SENTENCES[name]
    return (english if _known(language) == "en" else korean).format(**values)


def _known(language: Language) -> Language:
    if language not in get_args(Language):
        raise SiseonError(f"No words in the language {language!r}", "Choose en or ko.")
    return language
