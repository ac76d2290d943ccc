"""What the page says, in English and Korean: one or two plain sentences a picture, and the paper it comes from."""

from __future__ import annotations

from siseon.inspection.words import Language

ZEILER = "Zeiler, Fergus 2014, arXiv:1311.2901"

SENTENCES: dict[str, tuple[str, str]] = {
    "title": ("{model} looks at {photo}", "{model}: {photo}"),
    "random": (
        "The weights are random, so the pictures show what an untrained network sees. Name weights or a trained run.",
        "가중치가 무작위이므로 학습하지 않은 신경망이 보는 모습이다. 가중치나 학습한 실행 폴더를 지정하라.",
    ),
    "input": ("What the network sees", "신경망이 보는 그림"),
    "input text": (
        "The photo at the size of the network: {height} x {width} pixels. All pictures below are of this one.",
        "신경망의 크기에 맞춘 사진: {height} x {width} 화소. 아래 그림은 모두 이 그림에서 나왔다.",
    ),
    "answer": ("Its answer", "신경망의 답"),
    "nothing": ("nothing above a score of {score}", "점수 {score} 이상인 것이 없다"),
    "filters": ("First filters", "첫 합성곱의 필터"),
    "filters text": (
        "The weights of the first convolution, {name}, as colours; grey is zero. Trained ones look for edges, bars and "
        "colours. Paper: Krizhevsky, Sutskever, Hinton 2012, figure 3.",
        "첫 합성곱 {name}의 가중치를 색으로 나타냈다. 회색이 0이다. 학습된 필터는 가장자리, 줄무늬, 색을 찾는다. "
        "논문: Krizhevsky, Sutskever, Hinton 2012, 그림 3.",
    ),
    "features": ("Feature maps", "특징 맵"),
    "features text": (
        "What each layer makes of the picture, first to last: the {count} channels that vary most, each from its "
        f"least value (dark) to its largest (bright). The maps shrink, and say more and more what instead of where. "
        f"Paper: {ZEILER}.",
        "각 층이 그림에서 만든 것을 처음부터 차례로 보인다. 변화가 가장 큰 채널 {count}개이며, 어두운 곳이 최솟값, "
        f"밝은 곳이 최댓값이다. 뒤로 갈수록 맵은 작아지고 '어디'보다 '무엇'을 나타낸다. 논문: {ZEILER}.",
    ),
    "left out": (
        "{shown} of {all} steps are shown, evenly spread.",
        "전체 {all}단계 가운데 {shown}단계를 고르게 골라 보인다.",
    ),
    "deconvolution": ("Deconvolution: what excited the strongest channels", "디컨볼루션: 가장 강한 채널을 자극한 것"),
    "deconvolution text": (
        "For the strongest channels of several layers: the part of the picture that the strongest cell sees, and "
        "beside it which of its pixels excited the cell, found by running the layers backwards with the switches of "
        f"the max poolings. Paper: {ZEILER}, section 2.1.",
        "여러 층의 가장 강한 채널마다, 왼쪽은 가장 강한 칸이 보는 부분이고 오른쪽은 그 칸을 자극한 화소다. 최대 풀링의 "
        f"스위치를 써서 층을 거꾸로 거슬러 올라가 찾는다. 논문: {ZEILER}, 2.1절.",
    ),
    "guided": (
        "Guided backpropagation: what excited the strongest channels",
        "유도 역전파: 가장 강한 채널을 자극한 것",
    ),
    "guided text": (
        "For the strongest channels of several layers: a part of the picture, and beside it which of its pixels "
        "excited the strongest cell. This is the gradient, cut at each rectifier on both ways; it is not ZFNet's "
        "deconvolution, which needs a plain chain of convolutions, ReLU and max poolings. Paper: Springenberg, "
        "Dosovitskiy, Brox, Riedmiller 2015, arXiv:1412.6806.",
        "여러 층의 가장 강한 채널마다, 왼쪽은 그림의 한 부분이고 오른쪽은 가장 강한 칸을 자극한 화소다. "
        "각 ReLU에서 양방향으로 음수를 잘라 낸 기울기이며, 합성곱, ReLU, 최대 풀링이 한 줄로 이어져야 하는 ZFNet의 "
        "디컨볼루션과는 다르다. 논문: Springenberg, Dosovitskiy, Brox, Riedmiller 2015, "
        "arXiv:1412.6806.",
    ),
    "no way back": (
        "There is none: this view needs a plain chain of convolutions, ReLU and max poolings.",
        "그림이 없다. 합성곱, ReLU, 최대 풀링이 한 줄로 이어진 신경망에만 쓸 수 있다.",
    ),
    "grad_cam": ("Grad-CAM: where the evidence for a class lies", "Grad-CAM: 클래스의 근거가 있는 곳"),
    "grad_cam text": (
        "Red is where the last feature maps speak most for the class, each map weighted by the gradient of the class's "
        "score. Each picture has its own scale. Paper: Selvaraju et al. 2016, arXiv:1610.02391.",
        "붉은 곳일수록 마지막 특징 맵이 그 클래스를 강하게 지지한다. 맵마다 클래스 점수의 기울기로 가중한다. 그림마다 "
        "척도가 다르다. 논문: Selvaraju 외 2016, arXiv:1610.02391.",
    ),
    "occlusion": ("Occlusion: which part the answer needs", "가리기: 답에 필요한 부분"),
    "occlusion text": (
        "A square of the mean colour, {square} pixels wide, covers each place in turn. Where the probability of "
        "{name} drops, there the network looked. The paper's square is grey. "
        f"Paper: {ZEILER}, section 4.2.",
        "한 변이 {square}화소인 평균색 사각형으로 자리를 옮겨 가며 가린다. {name}의 확률이 떨어지는 곳이 신경망이 본 "
        f"곳이다. 논문의 사각형은 회색이다. 논문: {ZEILER}, 4.2절.",
    ),
    "covered": ("covered here: {score}", "여기를 가리면: {score}"),
    "probability": ("probability, {low} to {high}", "확률, {low}에서 {high}까지"),
    "drop": ("how far it drops", "떨어지는 정도"),
    "classifiers": (
        "Grad-CAM, occlusion and deconvolution show what speaks for the class of a whole picture: they are for "
        "classifiers, and this network is a detector.",
        "Grad-CAM, 가리기, 디컨볼루션은 그림 전체의 클래스를 설명하는 방법으로 분류기를 위한 것이다. 이 신경망은 "
        "검출기다.",
    ),
    "channel": ("channel {channel}", "채널 {channel}"),
    "strength": ("channel {channel}: {strength}", "채널 {channel}: {strength}"),
}


def sentence(name: str, language: Language, /, **values: object) -> str:
    """A sentence in `language`, with values filled in."""
    english, korean = SENTENCES[name]
    return (english if language == "en" else korean).format(**values)
