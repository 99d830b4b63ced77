"""How the golden files of Perceive-IR are read and compared."""


def error(value, reference):
    """Give the largest difference over the largest value."""
    return ((value - reference).abs().max() / reference.abs().max()).item()


def loaded(golden, name, net):
    """Give the network with the parameters of a golden file, and the file's tensors."""
    params, tensors = golden(f'perceive_ir/{name}')
    net.load_state_dict(params, strict=True)
    return net, tensors
