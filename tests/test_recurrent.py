"""The recurrent networks: the LSTM is PyTorch's, and padding has no influence."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from skvae.networks import LSTM, RecurrentDecoder, RecurrentEncoder, pack
from skvae.networks.recurrent import CELLS, POOLS

LENGTHS = torch.tensor([3, 1, 4, 4])
SENTENCES = torch.tensor(
    [[1, 5, 4, 1, 0, 0], [1, 1, 0, 0, 0, 0], [1, 3, 4, 8, 1, 0], [1, 7, 7, 1, 0, 0]]
)


def test_packing_keeps_every_value_and_its_row():
    values = torch.arange(1, 17).view(4, 4)
    packed, rows = pack(values, LENGTHS)
    assert sorted(packed.data.tolist()) == [1, 2, 3, 5, 9, 10, 11, 12, 13, 14, 15, 16]
    assert torch.equal((packed.data - 1) // 4, rows)
    padded, lengths = pad_packed_sequence(packed, batch_first=True)
    assert torch.equal(lengths, LENGTHS)
    assert torch.equal(padded[2], values[2])


@pytest.mark.parametrize("with_state", [False, True])
def test_the_lstm_is_pytorchs(with_state):
    torch.manual_seed(0)
    ours, theirs = LSTM(3, 5).double(), nn.LSTM(3, 5).double()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(4, 4, 3, dtype=torch.float64)
    state = tuple(torch.randn(2, 1, 4, 5, dtype=torch.float64)) if with_state else None
    sequence = pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False)
    (states, last), (expected, expected_last) = ours(sequence, state), theirs(sequence, state)
    torch.testing.assert_close(states.data, expected.data)
    torch.testing.assert_close(last, expected_last)


def test_the_lstms_gradients_are_right():
    torch.manual_seed(0)
    lstm = LSTM(2, 3).double()
    x, h, c = (torch.randn(s, dtype=torch.float64) for s in ((4, 4, 2), (1, 4, 3), (1, 4, 3)))

    def states(x, h, c, *weights):
        sequence = pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False)
        named = dict(zip((name for name, _ in lstm.named_parameters()), weights, strict=True))
        out, last = torch.func.functional_call(lstm, named, (sequence, (h, c)))
        return out.data, *last

    inputs = (x, h, c, *(p.detach().clone() for p in lstm.parameters()))
    assert torch.autograd.gradcheck(states, [value.requires_grad_() for value in inputs])


def test_continuing_from_a_state_gives_the_same_as_one_run():
    torch.manual_seed(0)
    lstm, x = LSTM(2, 3), torch.randn(4, 5, 2)
    _, last = lstm(pack_padded_sequence(x, torch.full((4,), 5), batch_first=True))
    _, state = lstm(pack_padded_sequence(x[:, :2], torch.full((4,), 2), batch_first=True))
    _, continued = lstm(
        pack_padded_sequence(x[:, 2:], torch.full((4,), 3), batch_first=True), state
    )
    torch.testing.assert_close(continued, last)


@pytest.mark.parametrize("pooling", POOLS)
@pytest.mark.parametrize("cell", CELLS)
def test_features_do_not_depend_on_padding_or_other_rows(cell, pooling):
    torch.manual_seed(0)
    encoder = RecurrentEncoder(9, 4, 6, cell, pooling)
    alone = torch.cat([encoder(row[row != 0].unsqueeze(0)) for row in SENTENCES])
    torch.testing.assert_close(encoder(SENTENCES), alone)


def test_features_are_pooled_states():
    torch.manual_seed(0)
    encoder = RecurrentEncoder(9, 4, 6, "gru", "mean")
    row = SENTENCES[2:3]
    states = encoder.recurrence(encoder.embedding(row[:, 1:5]).transpose(0, 1))[0][:, 0]
    expected = {"mean": states.mean(0), "last": states[-1], "max": states.amax(0)}
    for encoder.pooling, pooled in expected.items():
        torch.testing.assert_close(encoder(row)[0], pooled)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("cell", CELLS)
def test_the_decoder_gives_the_same_step_by_step_as_at_once(cell, tied):
    torch.manual_seed(0)
    decoder, z = RecurrentDecoder(9, 2, 4, 6, cell, tied), torch.randn(4, 2)
    hidden, targets, rows = decoder(z, SENTENCES)
    at_once = decoder.output(hidden)
    state = decoder.first_state(z)
    for step in range(5):
        logits, state = decoder.step(SENTENCES[:, step], z, state)
        for row in range(4):
            if SENTENCES[row, step + 1]:
                here = (rows == row).nonzero()[step]
                torch.testing.assert_close(logits[row], at_once[here][0])
                assert targets[here] == SENTENCES[row, step + 1]


@pytest.mark.parametrize("cell", CELLS)
def test_the_decoder_does_not_look_ahead(cell):
    torch.manual_seed(0)
    decoder, z = RecurrentDecoder(9, 2, 4, 6, cell), torch.randn(1, 2)
    a, b = torch.tensor([[1, 5, 4, 6, 1]]), torch.tensor([[1, 5, 4, 7, 1]])
    hidden_a, hidden_b = decoder(z, a)[0], decoder(z, b)[0]
    torch.testing.assert_close(hidden_a[:3], hidden_b[:3])
    assert not torch.allclose(hidden_a[3], hidden_b[3])


@pytest.mark.parametrize("name", ["to_state", "to_input", "to_output"])
def test_each_map_of_the_code_changes_the_output(name):
    torch.manual_seed(0)
    decoder = RecurrentDecoder(9, 2, 4, 6)
    for other in {"to_state", "to_input", "to_output"} - {name}:
        nn.init.zeros_(getattr(decoder, other).weight)
    x = SENTENCES[:1]
    hidden = [decoder(z, x)[0] for z in (torch.zeros(1, 2), torch.ones(1, 2))]
    assert not torch.allclose(*hidden)


def test_tied_weights_are_the_same_parameter():
    decoder = RecurrentDecoder(9, 2, 4, 6, tied=True)
    assert decoder.output.weight is decoder.embedding.weight
    untied = RecurrentDecoder(9, 2, 4, 6, tied=False)
    assert untied.output.weight.shape == (9, 6)


def test_dropout_acts_in_training_only():
    torch.manual_seed(0)
    encoder, decoder = (
        RecurrentEncoder(9, 4, 6, dropout=0.5),
        RecurrentDecoder(9, 2, 4, 6, dropout=0.5),
    )
    z = torch.zeros(4, 2)
    assert not torch.allclose(encoder(SENTENCES), encoder(SENTENCES))
    assert not torch.allclose(decoder(z, SENTENCES)[0], decoder(z, SENTENCES)[0])
    encoder.eval(), decoder.eval()
    assert torch.equal(encoder(SENTENCES), encoder(SENTENCES))
    assert torch.equal(decoder(z, SENTENCES)[0], decoder(z, SENTENCES)[0])
