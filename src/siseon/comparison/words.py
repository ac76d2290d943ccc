"""The words of the report in English and Korean."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from siseon.comparison.result import REST

Language: TypeAlias = Literal["en", "ko"]


class Text(NamedTuple):
    """The same in English and in Korean."""

    en: str
    ko: str

    def within(self, languages: tuple[Language, ...], between: str = " · ") -> str:
        """In the languages, one after the other where there are two."""
        said = [getattr(self, language) for language in languages]
        return between.join(dict.fromkeys(said))


STAGES = {
    "preparation": Text("preparation", "준비"),
    "proposals": Text("proposals", "후보 영역"),
    "features": Text("features", "특징 추출"),
    "regions": Text("regions", "영역 잘라 내기"),
    "head": Text("head", "헤드"),
    "selection": Text("selection", "선별"),
    REST: Text("rest", "나머지"),
}
"""The stages of a prediction, in the order in which they are drawn."""

MEANINGS = {
    "preparation": Text("reading and scaling the picture", "그림을 읽고 크기를 맞춘다"),
    "proposals": Text("where objects may be", "물체가 있을 만한 곳을 찾는다"),
    "features": Text("the convolutions", "합성곱"),
    "regions": Text("cutting the proposals out of picture or maps", "후보 영역을 그림이나 특징 맵에서 잘라 낸다"),
    "head": Text("class and box of each", "영역마다 클래스와 상자를 정한다"),
    "selection": Text("decoding, non-maximum suppression", "상자로 되돌리기, 비최대 억제(NMS)"),
    REST: Text("what is between the stages", "단계 사이의 일"),
}

COLUMNS = {
    "model": Text("model", "모델"),
    "AP50": Text("AP50", "AP50"),
    "AP": Text("AP", "AP"),
    "AP75": Text("AP75", "AP75"),
    "mask_AP50": Text("mask AP50", "마스크 AP50"),
    "mask_AP": Text("mask AP", "마스크 AP"),
    "AP_small": Text("AP small", "AP 작은 물체"),
    "AP_medium": Text("AP medium", "AP 중간 물체"),
    "AP_large": Text("AP large", "AP 큰 물체"),
    "accuracy": Text("accuracy", "정확도"),
    "top5": Text("top 5", "상위 5"),
    "macro_F1": Text("macro F1", "평균 F1"),
    "mean_IoU": Text("mean IoU", "평균 IoU"),
    "pixel_accuracy": Text("pixel accuracy", "화소 정확도"),
    "mean_accuracy": Text("mean class accuracy", "클래스 평균 정확도"),
    "milliseconds": Text("ms a picture", "장당 ms"),
    "parameters": Text("parameters", "매개변수"),
    "macs": Text("MACs", "곱셈-누산"),
    "weights": Text("weights, MB", "가중치, MB"),
    "peak": Text("working memory, MB", "작업 메모리, MB"),
    "epochs": Text("epochs", "에폭"),
    "seconds": Text("training, s", "학습 시간, 초"),
}
"""What the tables show."""

SIZES = {
    "AP_small": Text("small, below 32² pixels", "작은 물체, 32² 화소 미만"),
    "AP_medium": Text("medium", "중간"),
    "AP_large": Text("large, above 96² pixels", "큰 물체, 96² 화소 초과"),
}

HEADINGS = {
    "reading": Text("What the figures say", "결과 읽기"),
    "results": Text("Results", "결과"),
    "trade": Text("Accuracy against speed", "정확도와 속도"),
    "stages": Text("Where the time goes", "시간이 드는 곳"),
    "sizes": Text("Accuracy by object size", "물체 크기별 정확도"),
    "classes": Text("IoU by class", "클래스별 IoU"),
    "photos": Text("The same pictures", "같은 그림"),
    "failed": Text("Did not finish", "끝내지 못한 모델"),
    "conditions": Text("How this was measured", "측정 방법"),
    "truth": Text("truth", "정답"),
    "class": Text("class", "클래스"),
}
