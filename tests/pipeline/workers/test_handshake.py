"""What a worker is asked to call before it paints."""

import signal
from typing import Any

from crews import WEIGHTS

from muralist.pipeline.settings import Settings
from muralist.pipeline.storage.store import Store
from muralist.pipeline.workers import handshake as module
from muralist.pipeline.workers.requirements import WorkerRequirements


def test_workers_are_made_ready(monkeypatch, tmp_path):
    """A worker gets its threads and its share of the memory; those of ours leave Ctrl-C to the driver."""
    from muralist.pipeline.workers import devices

    did: dict[Any, Any] = {}
    monkeypatch.setattr(devices, "use_threads", lambda count: did.update(threads=count))
    monkeypatch.setattr(devices, "choose_algorithms", lambda fast: did.update(fast=fast))
    monkeypatch.setattr(devices, "stay_near", lambda device: did.update(near=device))
    monkeypatch.setattr(module, "set_cache_limit", lambda limit: did.update(hold=limit))
    monkeypatch.setattr(signal, "signal", lambda number, action: did.update({number: action}))
    terms, store = WorkerRequirements.of(Store(str(tmp_path)), WEIGHTS), Store(str(tmp_path))
    store.write(terms.name, terms.token.encode())
    facts = module.handshake(terms, Settings(memory="1GiB"), store, "cpu", 3, 4)
    usual = {"fast": False, "near": "cpu"}
    assert did == {"threads": 3, "hold": 128 << 20, signal.SIGINT: signal.SIG_IGN} | usual
    assert terms.incompatibility(facts | terms.versions) is None
    did.clear()
    module.handshake(terms, Settings(memory="1GiB", scheduler="tcp://far:8786", fast=True), store, "cpu", None, 1)
    assert did == {"threads": None, "hold": 512 << 20, "fast": True, "near": "cpu"}
    did.clear()
    module.handshake(terms, Settings(memory="1GiB"), store, "cuda:77", None, 1)  # which is not there
    assert "near" not in did
