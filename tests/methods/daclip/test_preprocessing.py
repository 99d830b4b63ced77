import pytest
import torch
from PIL import Image
from skimage import data
from torchvision import transforms
from torchvision.transforms.functional import to_tensor

from dinoir_plugin.methods.daclip.preprocessing import MEAN, STD, clip_image


@pytest.mark.parametrize('size', [(300, 451), (224, 224), (97, 64), (225, 500), (500, 333)])
def test_sees_what_the_authors_preprocessing_gives(size):
    photo = Image.fromarray(data.astronaut()[: size[0], : size[1]])
    theirs = transforms.Compose([transforms.Resize(224, Image.Resampling.BICUBIC), transforms.CenterCrop(224)])(photo)
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    seen = clip_image(to_tensor(photo)[None], 224)
    assert seen.shape == (1, 3, 224, 224)
    assert (seen[0] * std + mean - to_tensor(theirs)).abs().max() < 2 / 255
