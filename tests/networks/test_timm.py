"""Families of timm's image networks, with random weights; where it is not installed they are left out."""

from functools import partial

import pytest
from journey import images, travel

timm = pytest.importorskip("timm")

FAMILIES = {  # name -> (options, pixels)
    "test_byobnet": ({}, 32),
    "test_coatnet": ({"img_size": 64}, 64),
    "test_convnext": ({}, 32),
    "test_efficientnet": ({}, 32),
    "test_mambaout": ({}, 32),
    "test_maxvit": ({"img_size": 64}, 64),
    "test_nfnet": ({}, 32),
    "test_resnet": ({}, 32),
    "test_vit": ({"img_size": 32}, 32),
    "lcnet_035": ({}, 32),
    "tinynet_e": ({}, 32),
    "mobilenetv4_conv_small_035": ({}, 32),
    "ghostnet_050": ({}, 32),
    "regnetx_002": ({}, 32),
    "edgenext_xx_small": ({}, 64),
    "mobilevit_xxs": ({}, 64),
    "dla46x_c": ({}, 32),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_families(name, tmp_path):
    options, size = FAMILIES[name]
    travel(partial(timm.create_model, name, num_classes=4, **options), images(size), tmp_path)
