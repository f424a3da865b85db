"""What records rounds on a CPU, in place of CUDA graphs."""

from torch.fx.experimental.proxy_tensor import make_fx


def traced():
    """Record the operations that were done, one after the other, with all numbers that are no tensors as they were."""

    def record(work):
        module = make_fx(work)()
        result = module()

        def replay() -> None:
            for name, value in module().items():
                result[name].copy_(value)

        return replay, result

    return record


def repeated():
    """Record by doing all of it again, which is quicker where it is only asked what is recorded."""

    def record(work):
        result = dict(work())
        return lambda: result.update(work()), result

    return record


def refusing():
    """Begin to record, and fail."""

    def record(work):
        work()
        raise RuntimeError("operation not permitted when stream is capturing\nand much more")

    return record
