"""The names that torchvision gives to the tensors of its models, written down independently of our renaming rules."""

NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def norm(prefix):
    return [f"{prefix}.{part}" for part in NORM]


def linear(prefix):
    return [f"{prefix}.weight", f"{prefix}.bias"]


def resnet_body(depths, convolutions):
    names = ["conv1.weight", *norm("bn1")]
    for stage, depth in enumerate(depths, 1):
        for block in range(depth):
            prefix = f"layer{stage}.{block}"
            for number in range(1, convolutions + 1):
                names += [f"{prefix}.conv{number}.weight", *norm(f"{prefix}.bn{number}")]
            if block == 0 and (stage > 1 or convolutions == 3):
                names += [f"{prefix}.downsample.0.weight", *norm(f"{prefix}.downsample.1")]
    return names


def resnet18():
    return [*resnet_body((2, 2, 2, 2), 2), *linear("fc")]


def resnet50():
    return [*resnet_body((3, 4, 6, 3), 3), *linear("fc")]


def mobilenet_v2():
    names = []
    for block in (0, 18):
        names += [f"features.{block}.0.weight", *norm(f"features.{block}.1")]
    for block in range(1, 18):
        wide = 1 if block == 1 else 2  # block 1 does not widen
        for number in range(wide):
            prefix = f"features.{block}.conv.{number}"
            names += [f"{prefix}.0.weight", *norm(f"{prefix}.1")]
        names += [f"features.{block}.conv.{wide}.weight", *norm(f"features.{block}.conv.{wide + 1}")]
    return [*names, *linear("classifier.1")]


def faster_rcnn_resnet50_fpn():
    names = [f"backbone.body.{name}" for name in resnet_body((3, 4, 6, 3), 3)]
    for level in range(4):
        names += linear(f"backbone.fpn.inner_blocks.{level}.0") + linear(f"backbone.fpn.layer_blocks.{level}.0")
    names += linear("rpn.head.conv.0.0") + linear("rpn.head.cls_logits") + linear("rpn.head.bbox_pred")
    names += linear("roi_heads.box_head.fc6") + linear("roi_heads.box_head.fc7")
    return names + linear("roi_heads.box_predictor.cls_score") + linear("roi_heads.box_predictor.bbox_pred")


def retinanet_resnet50_fpn():
    names = [f"backbone.body.{name}" for name in resnet_body((3, 4, 6, 3), 3)]
    for level in range(3):
        names += linear(f"backbone.fpn.inner_blocks.{level}.0") + linear(f"backbone.fpn.layer_blocks.{level}.0")
    names += linear("backbone.fpn.extra_blocks.p6") + linear("backbone.fpn.extra_blocks.p7")
    for kind, last in (("classification", "cls_logits"), ("regression", "bbox_reg")):
        for number in range(4):
            names += linear(f"head.{kind}_head.conv.{number}.0")
        names += linear(f"head.{kind}_head.{last}")
    return names


def ssd300_vgg16():
    names = ["backbone.scale_weight"]
    for number in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21):
        names += linear(f"backbone.features.{number}")
    for number in ("1", "3", "5", "7.1", "7.3"):
        names += linear(f"backbone.extra.0.{number}")
    for level in range(1, 5):
        names += linear(f"backbone.extra.{level}.0") + linear(f"backbone.extra.{level}.2")
    for kind in ("classification", "regression"):
        for level in range(6):
            names += linear(f"head.{kind}_head.module_list.{level}")
    return names


def fcn_resnet50():
    names = [f"backbone.{name}" for name in resnet_body((3, 4, 6, 3), 3)]
    return [*names, "classifier.0.weight", *norm("classifier.1"), *linear("classifier.4")]


def mask_rcnn_resnet50_fpn():
    names = faster_rcnn_resnet50_fpn()
    for layer in range(4):
        names += linear(f"roi_heads.mask_head.{layer}.0")
    return names + linear("roi_heads.mask_predictor.conv5_mask") + linear("roi_heads.mask_predictor.mask_fcn_logits")
