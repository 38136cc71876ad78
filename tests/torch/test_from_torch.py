"""A PyTorch module in JAX: numbers, derivatives, precisions, checkpoints, and errors in words."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra torch: make test-torch")
pytest.importorskip("torchax", reason="needs the extra torch: make test-torch")

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402

from tests.torch.pairs import PAIRS, Encoder  # noqa: E402

nn, functional = torch.nn, torch.nn.functional

ROUNDING = {"float32": 2e-5, "float64": 1e-12}


def converted(module, example):
    from lambda_hat_core.torch import from_torch

    return from_torch(module, example)


def with_forward(forward, **parts):
    """Return a module with a linear layer, some parts, and this forward."""

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)
            for name, part in parts.items():
                setattr(self, name, part)

    Own.forward = forward
    return Own()


ROWS = torch.linspace(-1, 1, 12).reshape(3, 4)


@pytest.mark.parametrize("name", PAIRS)
def test_value_and_gradient_are_those_of_the_twin(name, dtype):
    pair = PAIRS[name]()
    apply, params = converted(pair.module, pair.example)
    wide = {key: jnp.asarray(value.astype(dtype)) for key, value in params.items()}
    held = {
        key: value.astype(dtype) if value.dtype.kind == "f" else value
        for key, value in apply.buffers.items()
    }
    inputs = jnp.asarray(pair.example.numpy())

    def square(function):
        return lambda p: jnp.mean(function(p, inputs.astype(dtype)) ** 2)

    if inputs.dtype.kind == "i":
        square = lambda function: lambda p: jnp.mean(function(p, inputs) ** 2)  # noqa: E731
    ours = jax.jit(jax.value_and_grad(square(apply)))(wide)
    theirs = jax.jit(jax.value_and_grad(square(lambda p, x: pair.twin(p, held, x))))(wide)
    assert ours[0].dtype == dtype
    largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(theirs))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert jnp.abs(a - b).max() <= ROUNDING[dtype] * largest


def test_rows_and_second_derivatives(x64):
    pair = PAIRS["gpt"](width=8, heads=2, layers=1)
    apply, params = converted(pair.module, pair.example)
    tokens = jnp.asarray(pair.example.numpy())
    w = jax.tree.map(jnp.asarray, {k: v.astype(np.float64) for k, v in params.items()})
    rows = jax.jit(jax.vmap(lambda row: apply(w, row[None])[0]))(tokens)
    np.testing.assert_allclose(rows, jax.jit(apply)(w, tokens), rtol=1e-9, atol=1e-10)

    def mean(function):
        return lambda p: jnp.mean(jnp.tanh(function(p)))

    along = jax.tree.map(lambda a: jnp.cos(jnp.arange(a.size, dtype=a.dtype)).reshape(a.shape), w)
    products = [
        jax.jit(lambda w, f=f: jax.jvp(jax.grad(mean(f)), (w,), (along,))[1])(w)
        for f in (lambda p: apply(p, tokens), lambda p: pair.twin(p, {}, tokens))
    ]
    for a, b in zip(*map(jax.tree.leaves, products), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-12)


def test_params_are_those_of_the_state_dict():
    pair = PAIRS["gpt"]()
    apply, params = converted(pair.module, pair.example)
    expected = [name for name in pair.module.state_dict() if name != "head.weight"]
    assert list(params) == expected  # the head is tied to the embeddings, and counts once
    assert sum(map(np.size, params.values())) == sum(p.numel() for p in pair.module.parameters())
    assert repr(apply) == "Apply(Gpt, d = 27008)"
    assert pair.module.training
    with torch.no_grad():
        pair.module.wte.weight.zero_()
    assert np.abs(params["wte.weight"]).max() > 0 and np.abs(apply.params["wte.weight"]).max() > 0


def test_frozen_parameters_and_loose_tensors_are_held():
    module = with_forward(lambda self, x: self.scale * self.layer(x), scale=torch.full((4,), 2.0))
    module.layer.bias.requires_grad_(False)
    apply, params = converted(module, ROWS)
    assert list(params) == ["layer.weight"] and set(apply.buffers) == {"layer.bias", "scale"}
    assert "scale" not in dict(module.named_buffers())


def test_what_forward_makes_by_itself():
    def forward(self, x, *, shift=None):
        positions = torch.arange(x.shape[1]) + torch.zeros(4) + torch.tensor([1.0, 2, 3, 4])
        return {"out": self.layer(x) * positions, "shift": shift}

    module = with_forward(forward)
    apply, params = converted(module, {"x": ROWS, "shift": np.ones(3, np.float32)})
    with torch.no_grad():
        expected = module(x=ROWS)["out"]
    np.testing.assert_allclose(apply(params, ROWS.numpy())["out"], expected, rtol=1e-5, atol=1e-6)


def test_checkpoints_share_one_function():
    pair = PAIRS["gpt"](layers=1)
    apply, params = converted(pair.module, pair.example)
    later = copy.deepcopy(pair.module)
    with torch.no_grad():
        later.lnf.bias.add_(1.0)
    found = apply.params_of(later.state_dict())
    assert list(found) == list(params) and np.all(found["lnf.bias"] == params["lnf.bias"] + 1)
    only_head = {k: v for k, v in later.state_dict().items() if k != "wte.weight"}
    np.testing.assert_array_equal(apply.params_of(only_head)["wte.weight"], params["wte.weight"])


def test_statistics_of_batch_norm_belong_to_a_checkpoint(told):
    pair = PAIRS["cnn"]()
    apply, params = converted(pair.module, pair.example)
    pair.module(5 * torch.randn(16, 1, 8, 8))
    state = pair.module.state_dict()
    words = told(apply.params_of, state)
    assert "CNN" not in words and "another 1.running_mean" in words and "apply.at(weights)" in words
    other, found = apply.at(state)
    with torch.no_grad():
        expected = pair.module.eval()(pair.example)
    inputs = pair.example.numpy()
    np.testing.assert_allclose(other(found, inputs), expected, rtol=1e-4, atol=1e-5)
    assert np.abs(apply(params, inputs) - expected.numpy()).max() > 0.1


def test_mistakes_of_a_state_dict(told):
    pair = PAIRS["mlp"]()
    apply, params = converted(pair.module, pair.example)
    state = {("0.weights" if k == "0.weight" else k): v for k, v in params.items()}
    state |= {"2.bias": np.zeros(3, np.float32), "4.bias": np.zeros(1, np.int32)}
    assert told(apply.params_of, state).splitlines() == [
        "the state_dict has no 0.weight of shape (16, 4); it has 0.weights",
        "the state_dict has 0.weights of shape (16, 4), which params have not; leave it out, or "
        "use the params of the network that was saved",
        "the state_dict has 2.bias of shape (3,), but params have (16,) there; use the sizes of "
        "the network that was saved",
        "the state_dict has 4.bias of type int32, but params have float32 there; weights must be "
        "floats, neither counts nor quantized",
    ]


class Masked(Encoder):
    def __init__(self, **causal):
        super().__init__(8, 2, 1)
        self.mask = nn.Transformer.generate_square_subsequent_mask(5)
        self.causal = causal

    def forward(self, x):
        return self.head(self.encoder(x, mask=self.mask, **self.causal))


def test_an_attention_mask_needs_is_causal(told):
    example = torch.linspace(-1, 1, 80).reshape(2, 5, 8)
    assert "needs is_causal=True" in told(converted, Masked(), example)
    module = Masked(is_causal=True)
    apply, params = converted(module, example)
    with torch.no_grad():
        expected = module.eval()(example)
    np.testing.assert_allclose(apply(params, example.numpy()), expected, rtol=1e-4, atol=1e-5)


def counting(self, x):
    self.calls += 1
    return self.layer(x)


def growing(self, x):
    self.seen = self.seen + 1
    return self.layer(x) * self.seen


REFUSED = {
    "buffer": (
        lambda: with_forward(counting, calls=nn.Buffer(torch.zeros(()))),
        "changes its buffer calls in forward",
    ),
    "attribute": (lambda: with_forward(growing, seen=0), "another output at its second call"),
    "dropout": (
        lambda: with_forward(lambda self, x: functional.dropout(self.layer(x))),
        "give F.dropout training=self.training",
    ),
    "branch": (
        lambda: with_forward(lambda self, x: self.layer(x) if x.sum() < 9 else x),
        "use torch.where",
    ),
    "list": (
        lambda: with_forward(lambda self, x: self.layer(x) + self.kept[0], kept=[torch.ones(4)]),
        "self.register_buffer(name, tensor, persistent=False)",
    ),
    "no_grad": (
        lambda: with_forward(
            lambda self, x: self.layer(x) + functional.linear(x, self.layer.weight.data)
        ),
        "gradient with respect to layer.weight is ",
    ),
    "half": (lambda: nn.Linear(4, 4).half(), "arrays of float16 (weight); all must be float32"),
    "mixture": (
        lambda: nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4).double()),
        "arrays of float32 (0.weight), float64 (1.weight)",
    ),
    "frozen": (lambda: nn.Linear(4, 4).requires_grad_(False), "module.requires_grad_(True)"),
    "lazy": (lambda: nn.LazyLinear(3), "call module(example) once before"),
    "sizes": (lambda: nn.Linear(5, 4), "cannot be called on the example in PyTorch"),
    "function": (lambda: functional.relu, "must be a torch.nn.Module"),
    "rows": (lambda: with_forward(lambda self, x: self.layer(x)[x > 0]), "cannot be run by JAX"),
}


@pytest.mark.filterwarnings("ignore:.*Lazy modules are a new feature:UserWarning")
@pytest.mark.parametrize("case", REFUSED)
def test_modules_that_are_refused(case, told):
    make, words = REFUSED[case]
    found = told(converted, make(), ROWS)
    assert found.startswith("from_torch: ") and words in found and "\n" not in found


def test_a_double_module_is_checked_in_double():
    module = with_forward(lambda self, x: torch.tanh(self.layer(x))).double()
    _, params = converted(module, ROWS.double())
    assert {value.dtype.name for value in params.values()} == {"float64"}
