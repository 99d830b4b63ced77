import torch

from dinoir_plugin.nn.channel_norm import ChannelNorm


def test_keeps_eps_and_digits_in_half_precision():
    torch.manual_seed(0)
    norm = ChannelNorm(8)
    torch.nn.init.normal_(norm.g)
    # variances as small as eps, where another one shows
    x = (100 + torch.randn(4, 5, 8) * 0.25).half()
    x[0] = torch.randn(5, 8).half() * 3e-3
    plain = x.double()
    variance, mean = torch.var_mean(plain, dim=-1, correction=0, keepdim=True)
    expected = (plain - mean) / (variance + 1e-5).sqrt() * norm.g.double().flatten()
    with torch.no_grad():
        torch.testing.assert_close(norm(x.float()).double(), expected, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(norm.half()(x).double(), expected, rtol=3e-3, atol=3e-3)
