"""The autoencoders of Mult-VAE: by hand, against dense algebra and torch.distributions, on planted clusters."""

import sys
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import ROOT, load_class

from recarena import DetectQueries, Interactions, Ragged, RankQueries, Run, Train, top_k

torch = pytest.importorskip("torch")

SMALL = {
    "mult_vae": {"n_hidden": 32, "n_latent": 8, "batch_size": 50, "n_epochs": 30, "learning_rate": 0.01},
    "mult_dae": {"n_hidden": 16, "batch_size": 50, "n_epochs": 30, "learning_rate": 0.01},
    "recvae": {"n_hidden": 32, "n_latent": 8, "batch_size": 50, "n_epochs": 15, "learning_rate": 0.005},
    "mult_vae_tuned": {"n_hidden": 32, "n_latent": 8, "batch_size": 50, "n_epochs": 30, "learning_rate": 0.01},
}
EVERYBODY = pytest.mark.parametrize("who", SMALL)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Curve(Run):
    """A run that keeps what is logged."""

    def __init__(self, seed=0):
        super().__init__(seed)
        self.points = []

    def log(self, **numbers):
        self.points.append(numbers)


def fitted(who, train, seed=0, **settings):
    model, run = load_class("mult_vae", who)(**(SMALL[who] | settings)), Curve(seed)
    model.fit(train, run)
    return model, run.points


def shared(name="_sparse"):
    load_class("mult_vae", "mult_vae")
    return sys.modules[f"contender.mult_vae.{name}"]


def asking(histories, n_items, k, user=None):
    history = Ragged.from_lists(histories)
    return RankQueries(user, history, history, None, k, n_items)


def train_on(histories, n_items):
    lists = Ragged.from_lists(histories)
    rows = lists.rows().astype(np.int32)
    return Train(Interactions(rows, lists.values.astype(np.int32), None, None, len(lists), n_items))


@pytest.fixture(scope="module")
def clusters():
    """200 users of two clusters of 20 items each, who have 10 of their own cluster's."""
    rng = np.random.default_rng(1)
    return train_on([np.sort(rng.choice(20, 10, replace=False)) + 20 * (user % 2) for user in range(200)], 40)


def a_batch(histories, n_items=8):
    sparse = shared().Histories(Ragged.from_lists(histories), "cpu")
    batch = sparse.of(torch.arange(len(histories)))
    x = torch.zeros(len(histories), n_items, dtype=torch.float64)
    for user, items in enumerate(histories):
        x[user, items] = 1
    return batch, x


def test_elbo_of_two_items_by_hand():
    model = load_class("mult_vae", "mult_vae")()
    network = sys.modules["contender.mult_vae.mult_vae"]._Network(2, 1, 1, 0.5, "float32")
    half = float(np.arctanh(0.5))
    with torch.no_grad():
        network.read.weight.copy_(torch.tensor([[half - 0.1], [9.0]]))
        network.read.bias.fill_(0.1)  # h = tanh(half) = 1/2
        network.infer.weight.copy_(torch.tensor([[2.0], [0.0]]))
        network.infer.bias.copy_(torch.tensor([0.0, np.log(4)]))  # mean 1, variance 4
        network.generate.weight.fill_(half)
        network.generate.bias.fill_(0)  # 1/2 again
        network.output.weight.copy_(torch.tensor([[2 * np.log(3)], [0.0]]))
        network.output.bias.fill_(0)  # logits ln 3 and 0: probabilities 3/4 and 1/4
    model.network, model.device = network, "cpu"
    kl = 0.5 * (4 + 1 - np.log(4) - 1)
    assert model.elbo(Ragged.from_lists([[0]])) == pytest.approx([np.log(3 / 4) - kl], rel=1e-5)
    nothing = model.elbo(Ragged.from_lists([[0], []]))
    assert nothing.shape == (2,)
    assert np.isfinite(nothing).all()


def test_kl_is_that_of_torch_distributions():
    normal, kl = torch.distributions.Normal, torch.distributions.kl_divergence
    mean, log_variance = (
        torch.randn(5, 3, generator=torch.Generator().manual_seed(0)),
        torch.linspace(-3, 2, 15).view(5, 3),
    )
    theirs = kl(normal(mean, (0.5 * log_variance).exp()), normal(torch.zeros(5, 3), 1)).sum(1)
    assert torch.allclose(shared().kl_from_standard_normal(mean, log_variance), theirs, rtol=1e-5)


def test_recvaes_density_is_that_of_torch_distributions():
    density = load_class("mult_vae", "recvae") and sys.modules["contender.mult_vae.recvae"]._log_normal
    z, mean, log_variance = torch.tensor(0.3), torch.tensor(-1.0), torch.tensor(0.7)
    theirs = torch.distributions.Normal(mean, (0.5 * log_variance).exp()).log_prob(z)
    assert density(z, mean, log_variance) == pytest.approx(float(theirs), rel=1e-6)


def test_normalised_rows_have_length_one_and_dropout_keeps_the_mean():
    batch, x = a_batch([[0, 3, 4, 7], [1], list(range(8)) * 1])
    value = batch.normalised(0, None)
    assert value.tolist() == pytest.approx([0.5] * 4 + [1] + [8**-0.5] * 8)
    dropped = torch.stack([batch.normalised(0.5, torch.Generator().manual_seed(n)) for n in range(2000)])
    assert set((dropped[:, 4]).tolist()) == {0.0, 2.0}
    assert torch.allclose(dropped.mean(0), value, atol=0.1)
    assert x.sum() == len(value)


def test_sparse_layer_and_its_gradient_are_the_dense_ones():
    layer = shared().SparseLinear(8, 5).double()
    for histories in ([[0, 3], [3, 7], [], [1]], [[2], [2, 3, 5]]):  # the buffer of the first is written over
        batch, x = a_batch(histories)
        value = torch.rand(len(batch.items), dtype=torch.float64)
        x[batch.rows, batch.items] = value
        weight = layer.weight.detach().clone().requires_grad_()
        dense = x @ weight + layer.bias
        ours = layer(batch, value)
        assert torch.allclose(ours, dense)
        layer.zero_grad()
        ours.square().sum().backward()
        bias = layer.bias.grad.clone()
        layer.bias.grad = None
        dense.square().sum().backward()
        assert torch.allclose(layer.weight.grad, weight.grad)
        assert torch.allclose(bias, layer.bias.grad)


def test_likelihood_and_its_gradients_are_the_dense_ones():
    layer = shared().Softmax(4, 8).double()
    for histories in ([[0, 3], [3, 7], [], [1, 2, 4, 5, 6]], [[2], [0, 2]]):  # the second uses part of the buffer
        batch, x = a_batch(histories)
        hidden = (30 * torch.randn(len(x), 4, dtype=torch.float64)).requires_grad_()  # exponentials that would overflow
        weight, bias = (p.detach().clone().requires_grad_() for p in (layer.weight, layer.bias))
        dense = -(x * torch.log_softmax(hidden @ weight.T + bias, 1)).sum(1).mean()
        expected = torch.autograd.grad(3 * dense, (hidden, weight, bias))
        layer.zero_grad()
        ours = layer.nll(hidden, batch)
        assert ours.item() == pytest.approx(dense.item())
        (3 * ours).backward()
        for got, wanted in zip((hidden.grad, layer.weight.grad, layer.bias.grad), expected, strict=True):
            assert torch.allclose(got, wanted)


def test_the_logits_hold_one_batch_at_a_time():
    layer, (batch, _) = shared().Softmax(4, 8).double(), a_batch([[0, 3]])
    first = layer.nll(torch.ones(1, 4, dtype=torch.float64, requires_grad=True), batch)
    layer.nll(torch.ones(1, 4, dtype=torch.float64), batch)
    with pytest.raises(RuntimeError, match="overwritten"):
        first.backward()


def test_bfloat16_products_are_near():
    sparse, (batch, _) = shared(), a_batch([[0, 3], [1, 2, 4]])
    exact, rough = sparse.Softmax(4, 8), sparse.Softmax(4, 8, "bfloat16")
    rough.load_state_dict(exact.state_dict())
    hidden = torch.randn(2, 4)
    assert rough.nll(hidden, batch).item() == pytest.approx(exact.nll(hidden, batch).item(), rel=0.02)


def test_beta_at_given_updates():
    annealed = shared().annealed
    assert [annealed(update, 0.2, 40_000) for update in (0, 1, 20_000, 40_000, 46_799)] == [0, 5e-6, 0.1, 0.2, 0.2]
    rising = sys.modules["contender.mult_vae.mult_vae"].RISING
    assert round(rising * 200 * -(-116_677 // 500)) == 40_000  # ML-20M: the authors' schedule to the update


def test_beta_rises_as_far_on_few_updates(clusters):
    points = fitted("mult_vae", clusters, n_epochs=5, cap=0.3)[1]  # 20 updates, of which 17 rise
    assert [point["beta"] for point in points] == pytest.approx([0.3 * n / 17 for n in (3, 7, 11, 15)] + [0.3])


def test_the_cap_is_chosen_on_validation(clusters):
    points = fitted("mult_vae", clusters, n_epochs=6, cap=None)[1]
    first, second = points[:6], points[6:]
    assert first[-1]["beta"] == 1
    best = max(first, key=lambda point: point["validation"])
    assert second[-1]["beta"] == best["beta"]


@EVERYBODY
def test_two_clusters_are_told_apart(clusters, who):
    model, _ = fitted(who, clusters)
    lists = model.rank(asking([[1, 2, 3, 4, 5], [31, 32, 33, 34, 35]], 40, 10))
    assert (lists[0] < 20).all()
    assert (lists[1] >= 20).all()


@EVERYBODY
def test_who_has_no_history_gets_what_is_popular(clusters, who):
    model, _ = fitted(who, clusters, n_epochs=2)
    queries = asking([[], [1, 2], []], 40, 12)
    assert np.array_equal(model.rank(queries)[[0, 2]], top_k(model.count, queries)[[0, 2]])


@EVERYBODY
def test_same_seed_same_numbers_other_seed_others(clusters, who):
    one, two, other = (fitted(who, clusters, seed, n_epochs=3)[1] for seed in (3, 3, 4))
    assert one == two
    assert one != other


@EVERYBODY
def test_only_the_history_counts_not_who_asks(clusters, who):
    """Users never seen in training are as good as others; rows do not depend on each other."""
    model, _ = fitted(who, clusters, n_epochs=2)
    strangers, known = asking([[1, 2], [30]], 40, 5), asking([[1, 2], [30]], 40, 5, np.array([7, 3], np.int32))
    assert np.array_equal(model.rank(strangers), model.rank(known))
    assert np.array_equal(model.rank(asking([[30]], 40, 5))[0], model.rank(strangers)[1])


@EVERYBODY
def test_users_without_rows_and_a_single_update(who):
    model, points = fitted(who, train_on([[0, 1, 2, 3, 4], [], [2, 3, 4, 5, 6]], 8), n_epochs=1)
    assert all(np.isfinite(list(point.values())).all() for point in points)
    assert model.rank(asking([[0], []], 8, 3)).shape == (2, 3)


def test_own_validation_takes_a_fifth_of_the_items_and_hides_them(clusters):
    selection = shared("_selection").Selection(clusters, Run(0))
    queries, targets = selection.asks[0].queries, selection.asks[0].answers.relevant
    assert (targets.lengths == (0.2 * clusters.interactions.histories().lengths).astype(int)).all()
    for shown, hidden, all_of in zip(queries.history, targets, clusters.interactions.histories(), strict=True):
        assert np.array_equal(np.sort(np.append(shown, hidden)), np.sort(all_of))
    assert len(selection.histories.values) == len(clusters.interactions) - len(targets.values)


@pytest.mark.parametrize("suspicion", ["likelihood", "ratio"])
def test_mixed_histories_are_more_suspicious_whatever_their_length(clusters, suspicion):
    model, _ = fitted("mult_vae", clusters, suspicion=suspicion)
    own, mixed = [[1, 2, 3, 4, 5, 6], [31, 32, 33]], [[1, 2, 3, 31, 32, 33], [4, 34, 35]]
    score = model.detect(DetectQueries(Ragged.from_lists(own + mixed), 40))
    assert score[:2].max() < score[2:].min()


def test_a_suspicion_that_is_none_is_refused(clusters):
    with pytest.raises(ValueError, match='suspicion is "mood", expected "likelihood" or "ratio"'):
        fitted("mult_vae", clusters, suspicion="mood")


def test_elbo_is_higher_for_histories_that_fit(clusters):
    model, _ = fitted("mult_vae", clusters)
    fits, mixed = model.elbo(Ragged.from_lists([[1, 2, 3, 4], [1, 2, 31, 32]]))
    assert fits > mixed


@pytest.mark.parametrize(
    ("who", "settings", "least"), [("mult_vae", {"n_epochs": 12}, 0.40), ("mult_dae", {"n_epochs": 12}, 0.40)]
)
def test_quality_on_ml_100k(mirror, tmp_path, who, settings, least):
    mirror("ml-100k")
    from recarena.data.prepare import open_benchmark
    from recarena.data.sources import default_cache

    fold = open_benchmark(ROOT, "ml-100k-strong", cache=default_cache())[1][0]
    model = load_class("mult_vae", who)(batch_size=100, **settings)
    model.fit(fold.question.train, Run(0, scratch=Path(tmp_path)))
    (validation,) = fold.question.train.validation.values()
    assert validation.score(model.rank(validation.queries)) > least  # popularity: .26
