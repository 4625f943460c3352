import numpy as np
import pytest

torch = pytest.importorskip("torch")

from evenbits.iterative_pruning import load_weights, prunable, prune  # noqa: E402


@pytest.fixture
def task():
    """A layer that is to learn a sparse map, 160 rows to learn from and 40 to validate by."""
    generator = torch.Generator().manual_seed(0)
    x, true = torch.randn(200, 20, generator=generator), torch.zeros(5, 20)
    true[torch.arange(5), torch.arange(5) * 3] = 2.0
    y = x @ true.T + 0.01 * torch.randn(200, 5, generator=generator)
    model = torch.nn.Linear(20, 5)
    with torch.no_grad():
        model.weight.copy_(true + 0.1 * torch.randn(5, 20, generator=generator))

    def train(model):
        for _ in range(20):  # without torch.optim, which takes seconds to import
            model.zero_grad()
            ((model(x[:160]) - y[:160]) ** 2).mean().backward()
            with torch.no_grad():
                for p in model.parameters():
                    p.sub_(p.grad + 1e-4 * p)

    @torch.no_grad()
    def validate(model):
        return -float(((model(x[160:]) - y[160:]) ** 2).mean())

    return model, train, validate


def test_stages_reach_their_sparsities_and_learn_what_is_left(task):
    model, train, validate = task
    stages = list(prune(model, train, validate, sparsities=(0.5, 0.9, 0.95), epochs=3, distortion=0.002))
    assert all(stage.sparsity >= least for stage, least in zip(stages, (0.5, 0.9, 0.95), strict=True))
    assert all(stage.score > -0.05 for stage in stages)
    assert stages[0].sparsity < 0.9 < stages[1].sparsity
    np.testing.assert_array_equal(np.flatnonzero(model.weight.detach().numpy()), np.arange(5) * 23)
    assert validate(model) == stages[-1].score


def test_the_best_epoch_is_kept_by_validation_alone(task):
    model, _, validate = task

    def spoil(model):
        with torch.no_grad():
            model.weight.add_(1.0)

    (stage,) = prune(model, spoil, validate, sparsities=[0.5], epochs=2)
    assert stage.score > -1 and stage.sparsity >= 0.5


def test_a_stream_gives_weights_back_at_any_rate(task):
    model, train, validate = task
    (stage,) = prune(model, train, validate, sparsities=[0.2], epochs=0)
    weights = {"weight": torch.nn.Parameter(torch.zeros(5, 20))}
    load_weights(weights, stage.encoded)
    torch.testing.assert_close(weights["weight"], model.weight, rtol=0, atol=0)
    before = weights["weight"].count_nonzero()
    load_weights(weights, stage.encoded, bits=stage.encoded.bits_per_value - 3)
    assert 0 < weights["weight"].count_nonzero() < before


def test_arguments_are_checked(task):
    model, train, validate = task
    assert list(prunable(model)) == ["weight"]
    with pytest.raises(ValueError, match=r"sparsities has 0\.5 after 0\.9"):
        list(prune(model, train, validate, sparsities=(0.9, 0.5), epochs=0))
    with pytest.raises(ValueError, match="no weights to prune"):
        list(prune(torch.nn.ReLU(), train, validate))
