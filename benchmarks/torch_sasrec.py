"""SASRec in plain PyTorch, as `benchmarks.training` compares it with the zoo's: `PYTHON torch_sasrec.py FILE WARM_UP`.

Needs torch and numpy, and nothing of this project. FILE holds int32 [steps, batch, length + 1] sequences,
right-aligned, 0 for none. One JSON object is printed.

Reference: Kang and McAuley, Self-Attentive Sequential Recommendation (2018), with the full cross-entropy.
"""

import json
import os
import resource
import sys
import time

import numpy as np

ITEMS, WIDTH, LAYERS, HEADS, INNER, DROPOUT = 12_101, 64, 2, 2, 256, 0.5


def make_model(torch, length):
    """The model; `torch` is the library, which not every Python that reads this module has."""
    nn = torch.nn

    class SasRec(nn.Module):  # type: ignore[name-defined]
        def __init__(self, length):
            super().__init__()
            self.items = nn.Embedding(ITEMS + 1, WIDTH, padding_idx=0)
            nn.init.normal_(self.items.weight, std=0.02)
            self.places = nn.Parameter(0.02 * torch.randn(length, WIDTH))
            self.norm, self.dropout = nn.LayerNorm(WIDTH), nn.Dropout(DROPOUT)
            layer = nn.TransformerEncoderLayer(WIDTH, HEADS, INNER, DROPOUT, "gelu", batch_first=True)
            self.layers = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
            self.register_buffer("later", torch.triu(torch.ones(length, length, dtype=torch.bool), 1))

        def forward(self, rows):
            length = rows.shape[1]
            states = self.dropout(self.norm(self.items(rows) + self.places[-length:]))
            # Nothing attends to padding but padding, which has to attend to something.
            hidden = self.later[:length, :length] | (rows == 0)[:, None, :]
            hidden = hidden & ~torch.eye(length, dtype=torch.bool)
            return self.layers(states, mask=hidden.repeat_interleave(HEADS, 0))

    return SasRec(length)


def main(file, warm_up):
    import torch  # type: ignore[import-not-found]

    torch.set_num_threads(os.cpu_count())
    torch.manual_seed(0)
    batches = np.load(file)
    model = make_model(torch, batches.shape[2] - 1)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    done = 0
    cut = [torch.from_numpy(batch[:, -int((batch > 0).sum(1).max()) :]).long() for batch in batches]
    for number, rows in enumerate(cut):
        if number == warm_up:
            started = time.perf_counter()
        states = model(rows[:, :-1])
        real = (rows[:, :-1] > 0) & (rows[:, 1:] > 0)
        logits = states[real] @ model.items.weight[1:].T
        loss = torch.nn.functional.cross_entropy(logits, rows[:, 1:][real] - 1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        done += len(rows) * (number >= warm_up)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"sequences_per_second": round(done / seconds, 1), "peak_mb": round(peak), "loss": loss.item()}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
