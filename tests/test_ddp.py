import json
import os
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
    pytest.skip("torch has no gloo here", allow_module_level=True)

SCRIPT = """
import hashlib, json, os, sys, warnings
warnings.simplefilter("ignore")
import numpy as np, torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from evenbits.ddp import GradientCodes, hook

rank, store = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
rng = np.random.default_rng(0)
features = rng.standard_normal((64, 20)).astype(np.float32)
wanted = torch.from_numpy(np.tanh(features @ rng.standard_normal((20, 3)).astype(np.float32)))
mine = slice(32 * rank, 32 * rank + 32)
x, y = torch.from_numpy(features)[mine], wanted[mine]


def train(steps, dtype=torch.float32, poison=None, **codes):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(20, 40), torch.nn.Tanh(), torch.nn.Linear(40, 3)).to(dtype)
    model = DistributedDataParallel(net, bucket_cap_mb=0.001)
    state = GradientCodes(**codes) if codes else None
    if state:
        model.register_comm_hook(state, hook)
    optimizer = torch.optim.SGD(model.parameters(), 0.3)
    for step in range(steps):
        optimizer.zero_grad()
        loss = ((model(x.to(dtype)) - y.to(dtype)) ** 2).mean()
        if step == poison:
            (loss * (float("inf") if rank == 1 else 1)).backward()
            assert all(not torch.isfinite(p.grad).any() for p in model.parameters())
            continue
        loss.backward()
        optimizer.step()
    full = ((net(torch.from_numpy(features).to(dtype)) - wanted.to(dtype)) ** 2).mean().item()
    parameters = b"".join(p.detach().float().numpy().tobytes() for p in net.parameters())
    size = sum(p.numel() for p in net.parameters())
    sent = state.sent * 8 / (steps * size) if state else 32
    return {"loss": full, "hash": hashlib.sha256(parameters).hexdigest(), "bits": sent}


result = {
    "full": train(80),
    "four": train(80, bits=4),
    "one": train(80, bits=1),
    "half": train(80, bits=0.5),
    "unbiased": train(80, bits=4, feedback=False),
    "bfloat16": train(20, dtype=torch.bfloat16, bits=4),
    "poisoned": train(20, bits=4, poison=7),
}
print(json.dumps(result), flush=True)
dist.barrier()
dist.destroy_process_group()
os._exit(0)  # threads of the group that still wait for the interpreter would end the process as it shuts down
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What two processes on this machine report of themselves."""
    folder = tmp_path_factory.mktemp("ddp")
    script = folder / "train.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(script)]
    processes = [
        subprocess.Popen(
            [*command, str(rank), str(folder / "store")],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    try:
        outputs = [process.communicate(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [p.returncode for p in processes] == [0, 0], "\n".join(error for _, error in outputs)
    return [json.loads(out.splitlines()[-1]) for out, _ in outputs]


@pytest.mark.parametrize("run", ["four", "one", "half", "unbiased", "bfloat16", "poisoned"])
def test_both_processes_have_the_same_parameters_to_the_bit(trained, run):
    first, second = (result[run] for result in trained)
    assert first["hash"] == second["hash"]
    assert np.isfinite(first["loss"])


def test_few_bits_train_as_well_as_float32(trained):
    result = trained[0]
    assert result["full"]["loss"] < 0.1  # from 1
    assert result["four"]["loss"] == pytest.approx(result["full"]["loss"], rel=0.1)
    assert result["unbiased"]["loss"] == pytest.approx(result["full"]["loss"], rel=0.3)
    assert result["one"]["loss"] < 1.5 * result["full"]["loss"]
    assert result["half"]["loss"] < 2 * result["full"]["loss"]


def test_the_bytes_sent_are_those_of_the_codes(trained):
    for run, bits in (("four", 4), ("one", 1), ("half", 0.5)):
        assert bits < trained[0][run]["bits"] < bits + 1  # small buckets: a scale and the padding of a row are much


def test_without_torch_the_extra_is_named(monkeypatch):
    monkeypatch.delitem(sys.modules, "evenbits.ddp", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModuleNotFoundError, match=r"evenbits\[torch\]"):
        import evenbits.ddp  # noqa: F401
