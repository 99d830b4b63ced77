"""What a network may give."""

import pytest
import torch

from dinoir_plugin.core.outputs import Outputs, as_outputs


def test_an_image_alone_and_stages_with_the_final_one_first():
    images = [torch.rand(1, 3, 4, 4) for _ in range(3)]
    alone = as_outputs(images[0])
    assert alone.image is images[0] and alone.stages == () and alone.images == (images[0],)
    for given in (images, tuple(images), Outputs(images[0], tuple(images[1:]))):
        found = as_outputs(given)
        assert all(one is other for one, other in zip(found.images, images)) and len(found.images) == 3
    given = Outputs(images[0], aux={'logits': 3})
    assert as_outputs(given) is given


def test_a_change_is_made_to_every_image_and_to_nothing_else():
    given = Outputs(torch.ones(1), (torch.ones(1) * 2,), {'logits': 5})
    changed = given.map(lambda image: image * 10)
    assert [image.item() for image in changed.images] == [10, 20] and changed.aux == {'logits': 5}


@pytest.mark.parametrize('given', [None, [], (), [1], 'image', {'image': torch.ones(1)}])
def test_what_is_no_image_is_refused(given):
    with pytest.raises(TypeError, match='expected an image'):
        as_outputs(given)
